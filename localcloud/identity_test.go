package localcloud_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/airlock-secrets/airlock/localcloud"
)

func certificate(t *testing.T, from, to time.Time) (*x509.Certificate, *rsa.PrivateKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, key
}

func TestSDKClientCertificate(t *testing.T) {
	cert, key := certificate(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	stranger, strangersKey := certificate(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	p := provision()
	p.Apps[0].Certificates = []*x509.Certificate{cert}
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: p})
	if err := c.SetSecrets(vaultURL, map[string]string{"a": "value"}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name  string
		cert  *x509.Certificate
		key   crypto.PrivateKey
		chain bool
		want  string
	}{
		{"registered", cert, key, false, ""},
		{"registered, with its chain", cert, key, true, ""},
		{"not registered", stranger, strangersKey, false, "AADSTS700027: The certificate with identifier"},
	} {
		t.Run(row.name, func(t *testing.T) {
			credential, err := azidentity.NewClientCertificateCredential(tenant, appID, []*x509.Certificate{row.cert}, row.key,
				&azidentity.ClientCertificateCredentialOptions{ClientOptions: through(c), SendCertificateChain: row.chain})
			if err != nil {
				t.Fatal(err)
			}
			_, err = secretsClient(t, c, vaultURL, credential).GetSecret(t.Context(), "a", "", nil)
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestSDKWorkloadIdentity(t *testing.T) {
	const subject = "system:serviceaccount:airflow:worker"
	p := provision()
	p.Apps[0].Federated = []localcloud.FederatedCredential{{Subject: subject}}
	p.Identities = []localcloud.ManagedIdentity{
		{TenantID: tenant, ClientID: userID, Federated: []localcloud.FederatedCredential{{Subject: subject}}},
	}
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: p})
	if err := c.SetSecrets(vaultURL, map[string]string{"a": "value"}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ client, subject, want string }{
		{appID, subject, ""},
		{userID, subject, ""},
		{appID, "system:serviceaccount:airflow:other", "AADSTS700213: No matching federated identity record"},
	} {
		env, err := c.WorkloadIdentity(tenant, row.client, row.subject, filepath.Join(t.TempDir(), "token"))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range env {
			t.Setenv(name, value)
		}
		credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: through(c)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = secretsClient(t, c, vaultURL, credential).GetSecret(t.Context(), "a", "", nil)
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s as %s: %v", row.client, row.subject, err)
		}
	}
}

// signed makes an assertion.
func signed(t *testing.T, algorithm jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, claims jwt.Claims) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT")
	for name, value := range header {
		options = options.WithHeader(name, value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Each refusal of the token endpoint, in Entra ID's words.
func TestTokenEndpointRefuses(t *testing.T) {
	const expiredID, disabledID, certID = "aaaaaaaa-0000-0000-0000-000000000002", "aaaaaaaa-0000-0000-0000-000000000003", "aaaaaaaa-0000-0000-0000-000000000004"
	at := newClock()
	now := at.Now()
	cert, key := certificate(t, now.Add(-time.Hour), now.Add(time.Hour))
	old, oldKey := certificate(t, now.Add(-2*time.Hour), now.Add(-time.Hour))
	_, strangersKey := certificate(t, now, now)
	clusterKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := provision()
	p.Tenants = []string{"contoso.onmicrosoft.com"}
	for i := range p.Vaults {
		p.Vaults[i].TenantID = tenant
	}
	p.Apps = append(p.Apps,
		localcloud.App{TenantID: tenant, ClientID: expiredID, ClientSecret: appSecret, SecretExpires: now},
		localcloud.App{TenantID: tenant, ClientID: disabledID, ClientSecret: appSecret, Disabled: true},
		localcloud.App{TenantID: tenant, ClientID: certID, Certificates: []*x509.Certificate{old, cert},
			Federated: []localcloud.FederatedCredential{{
				Issuer: "https://cluster.example", Subject: "s", Audience: "a",
				Keys: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: clusterKey.Public(), KeyID: "k", Use: "sig", Algorithm: "ES256"}}},
			}}},
	)
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Now: at.Now, Provision: p})

	endpoint := "https://login.microsoftonline.com/" + tenant + "/oauth2/v2.0/token"
	thumbprint := func(c *x509.Certificate) map[jose.HeaderKey]any {
		sum := sha256.Sum256(c.Raw)
		return map[jose.HeaderKey]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
	}
	claims := func(change func(*jwt.Claims)) jwt.Claims {
		all := jwt.Claims{
			Issuer: certID, Subject: certID, Audience: jwt.Audience{endpoint},
			NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(10 * time.Minute)),
		}
		change(&all)
		return all
	}
	same := func(*jwt.Claims) {}
	federated := func(change func(*jwt.Claims)) jwt.Claims {
		return claims(func(c *jwt.Claims) {
			c.Issuer, c.Subject, c.Audience = "https://cluster.example", "s", jwt.Audience{"a"}
			change(c)
		})
	}
	assertion := func(raw string) url.Values {
		return url.Values{
			"client_id": {certID}, "client_secret": nil, "client_assertion": {raw},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}
	}
	clusters := func(change func(*jwt.Claims)) url.Values {
		return assertion(signed(t, jose.ES256, clusterKey, map[jose.HeaderKey]any{"kid": "k"}, federated(change)))
	}
	for _, row := range []struct {
		name, tenant string
		form         url.Values // over a good request; nil takes a parameter away
		status       int
		kind, want   string
	}{
		{"good", tenant, nil, 200, "", `"token_type":"Bearer"`},
		{"wrong secret", tenant, url.Values{"client_secret": {"x"}}, 401, "invalid_client", "AADSTS7000215: Invalid client secret provided."},
		{"no secret to match", tenant, url.Values{"client_id": {certID}, "client_secret": {""}}, 401, "invalid_client", "AADSTS7000215:"},
		{"expired secret", tenant, url.Values{"client_id": {expiredID}}, 401, "invalid_client", "AADSTS7000222: The provided client secret keys for app '" + expiredID + "' are expired."},
		{"disabled app", tenant, url.Values{"client_id": {disabledID}}, 400, "unauthorized_client", "AADSTS7000112: Application '" + disabledID + "' is disabled."},
		{"unknown app", tenant, url.Values{"client_id": {"nobody"}}, 400, "unauthorized_client", "AADSTS700016: Application with identifier 'nobody' was not found in the directory '" + tenant + "'."},
		{"app of another tenant", "contoso.onmicrosoft.com", nil, 400, "unauthorized_client", "AADSTS700016:"},
		{"unknown tenant", "99999999-2222-3333-4444-555555555555", nil, 400, "invalid_request", "AADSTS90002: Tenant '99999999-2222-3333-4444-555555555555' not found."},
		{"no name of a tenant", "nobody", nil, 400, "invalid_request", "AADSTS900023: Specified tenant identifier 'nobody'"},
		{"any tenant", "common", nil, 400, "invalid_request", "AADSTS50059:"},
		{"no grant", tenant, url.Values{"grant_type": nil}, 400, "invalid_request", "AADSTS900144: The request body must contain the following parameter: 'grant_type'."},
		{"another grant", tenant, url.Values{"grant_type": {"password"}}, 400, "unsupported_grant_type", "AADSTS70003:"},
		{"no client", tenant, url.Values{"client_id": nil}, 400, "invalid_request", "AADSTS900144: The request body must contain the following parameter: 'client_id'."},
		{"no scope", tenant, url.Values{"scope": nil}, 400, "invalid_request", "AADSTS900144: The request body must contain the following parameter: 'scope'."},
		{"scopes of OpenID Connect only", tenant, url.Values{"scope": {"openid profile"}}, 400, "invalid_request", "AADSTS900144:"},
		{"a permission", tenant, url.Values{"scope": {"https://vault.azure.net/user_impersonation"}}, 400, "invalid_scope", "AADSTS1002012: The provided value for scope https://vault.azure.net/user_impersonation"},
		{"two resources", tenant, url.Values{"scope": {"https://vault.azure.net/.default https://graph.microsoft.com/.default"}}, 400, "invalid_scope", "AADSTS1002012:"},
		{"unknown resource", tenant, url.Values{"scope": {"https://example.com/.default"}}, 400, "invalid_resource", "AADSTS500011: The resource principal named https://example.com was not found"},
		{"no credential", tenant, url.Values{"client_secret": nil}, 401, "invalid_client", "AADSTS7000218:"},
		{"body too large", tenant, url.Values{"client_secret": {strings.Repeat("x", 200<<10)}}, 413, "invalid_request", "AADSTS90015:"},

		{"certificate", tenant, assertion(signed(t, jose.PS256, key, thumbprint(cert), claims(same))), 200, "", "access_token"},
		{"certificate, RS256", tenant, assertion(signed(t, jose.RS256, key, thumbprint(cert), claims(same))), 200, "", "access_token"},
		{"certificate for the other endpoint", tenant, assertion(signed(t, jose.PS256, key, thumbprint(cert), claims(func(c *jwt.Claims) {
			c.Audience = jwt.Audience{"https://login.windows.net/" + tenant + "/oauth2/token"}
		}))), 200, "", "access_token"},
		{"not a JWT", tenant, assertion("x"), 401, "invalid_client", "AADSTS50027:"},
		{"no type", tenant, url.Values{"client_secret": nil, "client_assertion": {"x"}}, 400, "invalid_request", "'client_assertion_type'"},
		{"no thumbprint", tenant, assertion(signed(t, jose.PS256, key, nil, claims(same))), 401, "invalid_client", "AADSTS700027: The certificate with identifier"},
		{"another's key", tenant, assertion(signed(t, jose.PS256, strangersKey, thumbprint(cert), claims(same))), 401, "invalid_client", "AADSTS700027: Client assertion failed signature validation. [Reason - The provided signature"},
		{"expired certificate", tenant, assertion(signed(t, jose.PS256, oldKey, thumbprint(old), claims(same))), 401, "invalid_client", "Reason - The key used is expired."},
		{"expired assertion", tenant, assertion(signed(t, jose.PS256, key, thumbprint(cert), claims(func(c *jwt.Claims) {
			c.Expiry = jwt.NewNumericDate(now.Add(-10 * time.Minute))
		}))), 401, "invalid_client", "AADSTS700024: Client assertion is not within its valid time range. Current time: 2026-11-22T10:00:00.0000000Z"},
		{"assertion without an end", tenant, assertion(signed(t, jose.PS256, key, thumbprint(cert), claims(func(c *jwt.Claims) {
			c.Expiry = nil
		}))), 401, "invalid_client", "AADSTS700024:"},
		{"for another tenant", tenant, assertion(signed(t, jose.PS256, key, thumbprint(cert), claims(func(c *jwt.Claims) {
			c.Audience = jwt.Audience{"https://login.microsoftonline.com/other/v2.0"}
		}))), 401, "invalid_client", "AADSTS700023:"},
		{"for another app", tenant, assertion(signed(t, jose.PS256, key, thumbprint(cert), claims(func(c *jwt.Claims) {
			c.Subject = appID
		}))), 401, "invalid_client", "AADSTS700021:"},

		{"federated", tenant, clusters(same), 200, "", "access_token"},
		{"federated, other issuer", tenant, clusters(func(c *jwt.Claims) { c.Issuer = "https://x" }), 401, "invalid_client", "AADSTS700211: No matching federated identity record found for presented assertion issuer 'https://x'."},
		{"federated, other audience", tenant, clusters(func(c *jwt.Claims) { c.Audience = jwt.Audience{"b"} }), 401, "invalid_client", "AADSTS700212:"},
		{"federated, other subject", tenant, clusters(func(c *jwt.Claims) { c.Subject = "t" }), 401, "invalid_client", "AADSTS700213: No matching federated identity record found for presented assertion subject 't'."},
		{"federated, expired", tenant, clusters(func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(now.Add(-time.Hour)) }), 401, "invalid_client", "AADSTS700024:"},
		{"federated, other key", tenant, assertion(signed(t, jose.RS256, strangersKey, map[jose.HeaderKey]any{"kid": "k"}, federated(same))), 401, "invalid_client", "AADSTS50013:"},
	} {
		t.Run(row.name, func(t *testing.T) {
			form := url.Values{
				"client_id": {appID}, "client_secret": {appSecret}, "grant_type": {"client_credentials"},
				"scope": {"https://vault.azure.net/.default openid offline_access profile"},
			}
			for name, value := range row.form {
				if form[name] = value; value == nil {
					delete(form, name)
				}
			}
			response, err := c.HTTPClient().PostForm("https://login.microsoftonline.com/"+row.tenant+"/oauth2/v2.0/token", form)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			body, _ := io.ReadAll(response.Body)
			if response.StatusCode != row.status || !strings.Contains(string(body), row.want) {
				t.Errorf("%d %s\nwant %d %s", response.StatusCode, body, row.status, row.want)
			}
			var refusal struct {
				Error         string
				Codes         []int `json:"error_codes"`
				Timestamp     string
				TraceID       string `json:"trace_id"`
				CorrelationID string `json:"correlation_id"`
				URI           string `json:"error_uri"`
				Description   string `json:"error_description"`
			}
			if err := json.Unmarshal(body, &refusal); err != nil {
				t.Fatal(err)
			}
			if refusal.Error != row.kind {
				t.Errorf("error %q, want %q", refusal.Error, row.kind)
			}
			if row.status != 200 && (len(refusal.Codes) != 1 || refusal.Timestamp != "2026-11-22 10:00:00Z" || refusal.TraceID == "" ||
				refusal.CorrelationID == "" || !strings.Contains(refusal.URI, "/error?code=") ||
				!strings.HasSuffix(refusal.Description, "Timestamp: 2026-11-22 10:00:00Z")) {
				t.Errorf("shape: %s", body)
			}
			if strings.Contains(string(body), appSecret) {
				t.Error("the answer holds a client secret")
			}
		})
	}
}

// What the metadata publishes must verify what the endpoints issue, in both versions.
func TestMetadataAndKeys(t *testing.T) {
	c := start(t)
	getJSON := func(url string, into any) int {
		response, err := c.HTTPClient().Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		if err := json.NewDecoder(response.Body).Decode(into); err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		return response.StatusCode
	}
	for _, row := range []struct{ path, parameter, value, issuer string }{
		{"/v2.0", "scope", "https://vault.azure.net/.default", "https://login.microsoftonline.com/" + tenant + "/v2.0"},
		{"", "resource", "https://vault.azure.net", "https://sts.windows.net/" + tenant + "/"},
	} {
		var metadata struct {
			Issuer        string
			TokenEndpoint string `json:"token_endpoint"`
			KeysURI       string `json:"jwks_uri"`
		}
		if status := getJSON("https://login.microsoftonline.com/"+tenant+row.path+"/.well-known/openid-configuration", &metadata); status != 200 {
			t.Fatalf("status %d", status)
		}
		if metadata.Issuer != row.issuer {
			t.Errorf("issuer %q", metadata.Issuer)
		}
		var keys jose.JSONWebKeySet
		getJSON(metadata.KeysURI, &keys)
		request, _ := http.NewRequestWithContext(t.Context(), "POST", metadata.TokenEndpoint,
			strings.NewReader(url.Values{"grant_type": {"client_credentials"}, row.parameter: {row.value}}.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.SetBasicAuth(appID, url.QueryEscape(appSecret))
		response, err := c.HTTPClient().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		var answer map[string]any
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		raw, _ := answer["access_token"].(string)
		token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
		if err != nil {
			t.Fatalf("%v in %v", err, answer)
		}
		var got struct {
			jwt.Claims
			AppID string `json:"appid"`
			OID   string `json:"oid"`
			TID   string `json:"tid"`
			ACR   string `json:"appidacr"`
		}
		if err := token.Claims(keys, &got); err != nil {
			t.Fatal(err)
		}
		if got.Issuer != "https://sts.windows.net/"+tenant+"/" || !got.Audience.Contains("https://vault.azure.net") ||
			got.AppID != appID || got.OID == "" || got.OID != got.Subject || got.TID != tenant || got.ACR != "1" {
			t.Errorf("claims %+v", got)
		}
		if _, isText := answer["expires_in"].(string); isText != (row.path == "") {
			t.Errorf("numbers: %v", answer)
		}
	}
	var metadata map[string]any
	if status := getJSON("https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration", &metadata); status != 200 ||
		metadata["issuer"] != "https://login.microsoftonline.com/{tenantid}/v2.0" {
		t.Errorf("common: %d %v", status, metadata["issuer"])
	}
	if status := getJSON("https://login.microsoftonline.com/other/v2.0/.well-known/openid-configuration", &metadata); status != 400 || metadata["error"] != "invalid_tenant" {
		t.Errorf("unknown tenant: %d %v", status, metadata)
	}
	if status := getJSON("https://login.microsoftonline.com/common/discovery/instance?api-version=1.1&authorization_endpoint="+
		url.QueryEscape("https://login.example.com/x/oauth2/v2.0/authorize"), &metadata); status != 400 || metadata["error"] != "invalid_instance" {
		t.Errorf("unknown instance: %d %v", status, metadata)
	}
	if status := getJSON("https://login.microsoftonline.com/"+tenant+"/oauth2/v2.0/devicecode", &metadata); status != 404 || metadata["error"] != "not_implemented" {
		t.Errorf("unknown endpoint: %d %v", status, metadata)
	}
}

// Each refusal of the metadata service and of App Service's endpoint.
func TestManagedIdentityRefuses(t *testing.T) {
	p := provision()
	p.Identities = []localcloud.ManagedIdentity{
		{TenantID: tenant, ClientID: "user-a", ObjectID: "object-a", ResourceID: "/subscriptions/s/a"}, {TenantID: tenant, ClientID: "user-b"},
	}
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: p})
	endpoint, header := c.IdentityEndpoint()
	const imds = "http://169.254.169.254/metadata/identity/oauth2/token"
	const good = "?api-version=2018-02-01&resource=https://vault.azure.net"
	for _, row := range []struct {
		name, method, url, headerName, header string
		status                                int
		want                                  string
	}{
		{"by client id", "GET", imds + good + "&client_id=USER-B", "Metadata", "true", 200, `"client_id":"user-b"`},
		{"by object id", "GET", imds + good + "&object_id=object-a", "Metadata", "true", 200, `"client_id":"user-a"`},
		{"by resource id", "GET", imds + good + "&msi_res_id=/subscriptions/s/a", "Metadata", "true", 200, `"expires_in":"86399"`},
		{"by resource id, other name", "GET", imds + "/" + good + "&mi_res_id=/subscriptions/s/a", "Metadata", "true", 200, `"token_type":"Bearer"`},
		{"a probe", "GET", imds + "?api-version=2018-02-01", "", "", 400, "Required metadata header not specified"},
		{"no version", "GET", imds + "?resource=https://vault.azure.net", "Metadata", "true", 400, `"error":"bad_request_102"`},
		{"no resource", "GET", imds + "?api-version=2018-02-01", "Metadata", "true", 400, "'resource' is missing"},
		{"which of two", "GET", imds + good, "Metadata", "true", 400, "Multiple user assigned identities exist"},
		{"unknown", "GET", imds + good + "&client_id=nobody", "Metadata", "true", 400, "Identity not found"},
		{"resource", "GET", imds + "?api-version=2018-02-01&resource=https://example.com&client_id=user-a", "Metadata", "true", 400, "AADSTS500011"},
		{"method", "POST", imds + good, "Metadata", "true", 405, "not allowed"},
		{"other metadata", "GET", "http://169.254.169.254/metadata/instance", "Metadata", "true", 404, "not_found"},
		{"App Service", "GET", endpoint + good + "&client_id=user-b", "X-IDENTITY-HEADER", header, 200, `"client_id":"user-b"`},
		{"App Service, no header", "GET", endpoint + good + "&client_id=user-b", "", "", 401, `{"statusCode":401,"message":"The header X-IDENTITY-HEADER`},
		{"App Service, wrong header", "GET", endpoint + good + "&client_id=user-b", "X-IDENTITY-HEADER", "x", 401, "X-IDENTITY-HEADER"},
		{"App Service, unknown", "GET", endpoint + good + "&client_id=nobody", "X-IDENTITY-HEADER", header, 400, `{"statusCode":400,"message":"No User Assigned or Delegated Managed Identity found`},
		{"App Service, resource", "GET", endpoint + "?api-version=2019-08-01&resource=https://example.com&client_id=user-a", "X-IDENTITY-HEADER", header, 500, `{"statusCode":500,"message":"An unexpected error occured`},
	} {
		t.Run(row.name, func(t *testing.T) {
			request, _ := http.NewRequestWithContext(t.Context(), row.method, row.url, nil)
			if row.headerName != "" {
				request.Header.Set(row.headerName, row.header)
			}
			response, err := c.HTTPClient().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			if body, _ := io.ReadAll(response.Body); response.StatusCode != row.status || !strings.Contains(string(body), row.want) {
				t.Errorf("%d %s\nwant %d %s", response.StatusCode, body, row.status, row.want)
			}
		})
	}
	c.Remove(tenant, "user-a")
	request, _ := http.NewRequestWithContext(t.Context(), "GET", imds+good+"&client_id=user-a", nil)
	request.Header.Set("Metadata", "true")
	response, err := c.HTTPClient().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != 400 {
		t.Errorf("a revoked identity: %d", response.StatusCode)
	}
}

func TestAddWhileRunning(t *testing.T) {
	c := start(t)
	const late = "https://late-vault.vault.azure.net"
	if err := c.Add(localcloud.Provision{
		Apps:   []localcloud.App{{TenantID: tenant, ClientID: appID, ClientSecret: "rotated"}},
		Vaults: []localcloud.Vault{{URL: late}},
	}); err != nil {
		t.Fatal(err)
	}
	set(t, secretsClient(t, c, late, clientSecret(t, c, "rotated")), "a", "1")
	if _, err := clientSecret(t, c, appSecret).GetToken(t.Context(), policyFor("https://vault.azure.net")); err == nil ||
		!strings.Contains(err.Error(), "AADSTS7000215") {
		t.Errorf("the secret before: %v", err)
	}
	c.Remove(tenant, appID)
	if _, err := clientSecret(t, c, "rotated").GetToken(t.Context(), policyFor("https://vault.azure.net")); err == nil ||
		!strings.Contains(err.Error(), "AADSTS700016") {
		t.Errorf("a revoked app: %v", err)
	}
	if err := c.Add(localcloud.Provision{Apps: []localcloud.App{{TenantID: tenant, ClientID: appID,
		Federated: []localcloud.FederatedCredential{{Issuer: "https://cluster.example", Subject: "s"}}}}}); err == nil ||
		!strings.Contains(err.Error(), "the keys of the issuer") {
		t.Errorf("an issuer without keys: %v", err)
	}
}
