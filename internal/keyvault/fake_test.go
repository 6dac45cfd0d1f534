package keyvault

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/secret"
)

const (
	tenantID = "6f1d1b6c-0f34-4b7e-9d8f-6a1f3c2b5e01"
	appID    = "0d6f7c1a-2b3c-4d5e-8f90-a1b2c3d4e5f6"
	objectID = "1c2d3e4f-5a6b-4c7d-8e9f-0a1b2c3d4e5f"

	vaultHost = "team-a.vault.azure.net"
	loginHost = "login.microsoftonline.com"

	clientSecretCanary = "canary-client-secret-5b1e"
	valueCanary        = "canary-value-93af"
)

// cloudFake is a vault, an Entra ID and an IMDS on loopback, behind their real names: the client's dialer leads there
// and its CA pool trusts the fake's certificate. It is small on purpose, and no relative of localcloud.
type cloudFake struct {
	vault http.HandlerFunc // answers a request that carries a token; nil: 404
	login http.HandlerFunc // answers a token request; nil: a token
	imds  http.HandlerFunc // nil: nothing listens there

	challenge string // of the vault; empty: Key Vault's for tenantID
	hosts     []string

	tls, plain *httptest.Server
	roots      *x509.CertPool

	mu   sync.Mutex
	seen []string // "HOST METHOD PATH", with "!" before a vault request that carries a token
}

func newFake(t *testing.T, f *cloudFake) *cloudFake {
	t.Helper()
	isolate(t)
	f.hosts = append(f.hosts, vaultHost, loginHost)
	cert, roots := certify(t, f.hosts)
	f.roots = roots
	f.tls = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	f.tls.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	f.tls.EnableHTTP2 = true
	f.tls.Config.ErrorLog = log.New(io.Discard, "", 0) // what it says about clients that go away
	f.tls.StartTLS()
	f.plain = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.tls.Close)
	t.Cleanup(f.plain.Close)
	return f
}

// isolate takes away what the machine that runs the tests has of Azure.
func isolate(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_USERNAME",
		"AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST", "AZURE_ADDITIONALLY_ALLOWED_TENANTS",
		"AZURE_TOKEN_CREDENTIALS", "AZURE_REGIONAL_AUTHORITY_NAME", "IDENTITY_ENDPOINT", "IDENTITY_HEADER",
		"IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET",
	} {
		t.Setenv(name, "") // puts it back afterwards
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", t.TempDir()) // neither az nor azd
}

// transport leads every connection to the fake.
func (f *cloudFake) transport() *http.Transport {
	tr := Transport()
	tr.Proxy = nil
	tr.TLSClientConfig.RootCAs = f.roots
	tr.DialContext = f.dial
	return tr
}

func (f *cloudFake) dial(ctx context.Context, network, address string) (net.Conn, error) {
	to := f.tls.Listener.Addr().String()
	if address == imdsHost+":80" {
		if f.imds == nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("no route to host")}
		}
		to = f.plain.Listener.Addr().String()
	}
	return (&net.Dialer{}).DialContext(ctx, network, to)
}

// config logs in with a client secret and tries once.
func (f *cloudFake) config() Config {
	return Config{
		VaultURL:     "https://" + vaultHost + "/",
		TenantID:     tenantID,
		ClientID:     appID,
		ClientSecret: secret.FromString(clientSecretCanary),
		HTTPClient:   &http.Client{Transport: f.transport()},
		Retries:      -1,
	}
}

func (f *cloudFake) serve(w http.ResponseWriter, r *http.Request) {
	token := r.Header.Get("Authorization")
	mark := ""
	if token != "" {
		mark = "!"
	}
	// Read before anything is answered, as a real service does with so little: azcore rewinds a body for the next try
	// while net/http may still be sending it, and the race detector minds.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	f.mu.Lock()
	f.seen = append(f.seen, mark+r.Host+" "+r.Method+" "+r.URL.Path)
	f.mu.Unlock()

	switch host := r.Host; {
	case host == imdsHost && r.Header.Get("Metadata") == "":
		answer(w, http.StatusBadRequest,
			`{"error":"invalid_request","error_description":"Required metadata header not specified"}`)
	case host == imdsHost:
		f.imds(w, r)
	case strings.HasPrefix(host, "login."):
		f.serveLogin(w, r)
	case token == "":
		challenge := f.challenge
		if challenge == "" {
			_, domain, _ := strings.Cut(host, ".")
			challenge = fmt.Sprintf(`Bearer authorization="https://%s/%s", resource="https://%s"`, loginHost, tenantID, domain)
		}
		w.Header().Set("WWW-Authenticate", challenge)
		answer(w, http.StatusUnauthorized,
			`{"error":{"code":"Unauthorized","message":"AKV10000: Request is missing a Bearer or PoP token."}}`)
	case f.vault != nil:
		f.vault(w, r)
	default:
		answer(w, http.StatusNotFound, `{"error":{"code":"SecretNotFound","message":"A secret was not found."}}`)
	}
}

func (f *cloudFake) serveLogin(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/v2.0/.well-known/openid-configuration"):
		tenant := strings.Split(r.URL.Path, "/")[1]
		if tenant != tenantID {
			answer(w, http.StatusBadRequest, entraError("invalid_tenant", 90002, "Tenant '"+tenant+"' not found. Check to "+
				"make sure you have the correct tenant ID and are signing into the correct cloud."))
			return
		}
		base := "https://" + r.Host + "/" + tenant
		answer(w, http.StatusOK, encode(map[string]string{
			"issuer": base + "/v2.0", "authorization_endpoint": base + "/oauth2/v2.0/authorize",
			"token_endpoint": base + "/oauth2/v2.0/token", "jwks_uri": base + "/discovery/v2.0/keys",
		}))
	case r.Method == http.MethodPost && f.login != nil:
		f.login(w, r)
	case r.Method == http.MethodPost:
		answer(w, http.StatusOK, `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"token"}`)
	default:
		http.NotFound(w, r)
	}
}

// count tells how many requests were seen that begin like this.
func (f *cloudFake) count(prefix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(f.seen), func(s string) bool { return !strings.HasPrefix(s, prefix) }))
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

// refuse answers every request in one way.
func refuse(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		answer(w, status, body)
	}
}

func vaultError(code, inner, message string) string {
	detail := map[string]any{"code": code, "message": message}
	if inner != "" {
		detail["innererror"] = map[string]string{"code": inner}
	}
	return encode(map[string]any{"error": detail})
}

// entraError is Entra ID's body; the description ends as the real ones do.
func entraError(name string, number int, text string) string {
	return encode(map[string]any{
		"error": name,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: 3a0ff3b1-8c1d-4a2b-9a53-0e5b6e1a2d00 "+
			"Correlation ID: 5e7b9c1d-2a3b-4c5d-8e6f-7a8b9c0d1e2f Timestamp: 2026-05-24 13:34:39Z", number, text),
		"error_codes": []int{number},
		"timestamp":   "2026-05-24 13:34:39Z",
	})
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// memory is a vault's handler that keeps what it is given, in pages of two and with absolute next links, as Key Vault
// makes them.
func memory(secrets map[string]string) http.HandlerFunc {
	var mu sync.Mutex
	const version = "48a43b28f13c4640924b0973197d5e7d"
	attributes := map[string]any{"enabled": true, "created": 1619569461, "updated": 1619569462, "exp": 1900000000}
	bundle := func(name string) map[string]any {
		return map[string]any{
			"value": secrets[name], "id": "https://" + vaultHost + "/secrets/" + name + "/" + version,
			"attributes": attributes, "contentType": "text/plain", "tags": map[string]string{"team": "a"},
		}
	}
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		name := strings.Trim(strings.TrimPrefix(r.URL.Path, "/secrets"), "/")
		_, known := secrets[name]
		switch {
		case r.URL.Query().Get("api-version") == "":
			answer(w, http.StatusBadRequest, vaultError("BadParameter", "", "no api-version"))
		case r.Method == http.MethodGet && name == "":
			names := slices.Sorted(maps.Keys(secrets))
			at := slices.Index(names, r.URL.Query().Get("$skiptoken"))
			page := map[string]any{"nextLink": nil}
			var items []any
			for i := at + 1; i < len(names) && i <= at+2; i++ {
				items = append(items, map[string]any{
					"id": "https://" + vaultHost + "/secrets/" + names[i], "attributes": attributes,
				})
				if i == at+2 && i+1 < len(names) {
					page["nextLink"] = "https://" + vaultHost + ":443/secrets?api-version=7.4&$skiptoken=" + names[i]
				}
			}
			page["value"] = items
			answer(w, http.StatusOK, encode(page))
		case r.Method == http.MethodPut:
			var body struct{ Value string }
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				answer(w, http.StatusBadRequest, vaultError("BadParameter", "", "no body"))
				return
			}
			secrets[name] = body.Value
			answer(w, http.StatusOK, encode(bundle(name)))
		case !known:
			answer(w, http.StatusNotFound, notFoundBody(name))
		case r.Method == http.MethodDelete:
			b := bundle(name)
			delete(b, "value")
			delete(secrets, name)
			answer(w, http.StatusOK, encode(b))
		default:
			answer(w, http.StatusOK, encode(bundle(name)))
		}
	}
}

func notFoundBody(name string) string {
	return vaultError("SecretNotFound", "", "A secret with (name/id) "+name+" was not found in this key vault. If you "+
		"recently deleted this secret you may be able to recover it using the correct recovery command. For help "+
		"resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182")
}

// certify makes a certificate authority and one certificate for the hosts.
func certify(t *testing.T, hosts []string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "keyvault test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		DNSNames:              hosts,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}

// open makes a client or ends the test.
func open(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parseURL(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
