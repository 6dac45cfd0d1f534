// Package entra is the local cloud's Entra ID: tenants, apps, and the endpoints that give out tokens.
package entra

import (
	"crypto/rsa"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/airlock-secrets/airlock/localcloud/clouds"
	"github.com/airlock-secrets/airlock/localcloud/internal/rest"
)

const (
	maxBody       = 128 << 10 // an assertion with its certificates is the longest thing in a token request
	tokenLifetime = 3599 * time.Second
)

// Config is what the service needs.
type Config struct {
	// Key gives the RSA key that signs tokens; it is asked once, at the first use.
	Key func() (*rsa.PrivateKey, error)
	Now func() time.Time
}

// Service answers for Entra ID's hosts. Its methods are safe for concurrent use.
type Service struct {
	now       func() time.Time
	key       func() (*signingKey, error)
	directory directory
	mux       *http.ServeMux
	lifetime  atomic.Int64 // of tokens, in nanoseconds; 0: the usual
}

// SetTokenLifetime makes the tokens that are issued from now on live so long, those of managed identities too; 0 puts
// the usual lifetimes back.
func (s *Service) SetTokenLifetime(d time.Duration) { s.lifetime.Store(int64(d)) }

// TokenLifetime is what SetTokenLifetime set.
func (s *Service) TokenLifetime() time.Duration { return time.Duration(s.lifetime.Load()) }

// New returns a service that knows no tenant.
func New(cfg Config) *Service {
	s := &Service{
		now: cfg.Now,
		key: sync.OnceValues(func() (*signingKey, error) {
			key, err := cfg.Key()
			if err != nil {
				return nil, err
			}
			return newSigningKey(key)
		}),
		directory: directory{tenants: map[string]string{}, apps: map[appKey]App{}},
	}
	s.mux = s.routes().Mux(noRoute, func(w http.ResponseWriter, r *http.Request, run http.HandlerFunc) { run(w, r) })
	return s
}

// answers is how the service writes JSON.
var answers rest.Format

// Endpoints lists what is served.
func Endpoints() []rest.Endpoint { return new(Service).routes().Endpoints() }

func (s *Service) routes() *rest.Table[http.HandlerFunc] {
	var t rest.Table[http.HandlerFunc]
	t.Add("GET /{tenant}/discovery/instance", "instance discovery", s.instance)
	t.Add("GET /{tenant}/v2.0/.well-known/openid-configuration", "OpenID Connect metadata, v2", s.metadata)
	t.Add("GET /{tenant}/.well-known/openid-configuration", "OpenID Connect metadata, v1", s.metadata)
	t.Add("GET /{tenant}/discovery/v2.0/keys", "keys that verify tokens, v2", s.keys)
	t.Add("GET /{tenant}/discovery/keys", "keys that verify tokens, v1", s.keys)
	t.Add("POST /{tenant}/oauth2/v2.0/token", "tokens, v2: client credentials", s.tokenV2)
	t.Add("POST /{tenant}/oauth2/token", "tokens, v1: client credentials", s.tokenV1)
	return &t
}

func noRoute(w http.ResponseWriter, _ *http.Request) {
	answers.Write(w, http.StatusNotFound, map[string]string{
		"error": "not_implemented",
		"error_description": "The local cloud does not stand in for this endpoint; its page of limitations lists those " +
			"that it has.",
	})
}

// ServeHTTP answers a request for any of the sign-in hosts.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "max-age=86400, private")
	header.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("P3P", `CP="DSP CUR OTPi IND OTRi ONL FIN"`)
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Access-Control-Allow-Methods", "GET, OPTIONS")
	s.mux.ServeHTTP(w, r)
}

// cloudOf is the cloud of the host that was asked; for a host of none it is the public one.
func cloudOf(r *http.Request) clouds.Cloud {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if cloud, found := clouds.OfLogin(strings.ToLower(host)); found {
		return cloud
	}
	return clouds.All[0]
}

// instance says which sign-in hosts are one. MSAL asks the public cloud for any authority that it does not know.
func (s *Service) instance(w http.ResponseWriter, r *http.Request) {
	endpoint, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
	if err != nil || endpoint.Scheme != "https" {
		answers.Write(w, http.StatusBadRequest, map[string]any{
			"error":             "invalid_request",
			"error_description": "AADSTS900144: The request must contain the parameter 'authorization_endpoint'.",
			"error_codes":       []int{900144},
		})
		return
	}
	if _, known := clouds.OfLogin(strings.ToLower(endpoint.Hostname())); !known {
		answers.Write(w, http.StatusBadRequest, map[string]any{
			"error":             "invalid_instance",
			"error_description": "AADSTS50049: Unknown or invalid instance.",
			"error_codes":       []int{50049},
		})
		return
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(endpoint.Path, "/"), "/")
	type group struct {
		Network string   `json:"preferred_network"`
		Cache   string   `json:"preferred_cache"`
		Aliases []string `json:"aliases"`
	}
	var groups []group
	for _, c := range clouds.All {
		g := group{Network: c.Login, Cache: c.Login, Aliases: append([]string{c.Login}, c.Aliases...)}
		if c.Login == "login.microsoftonline.com" {
			g.Cache = "login.windows.net"
		}
		groups = append(groups, g)
	}
	const old = "login-us.microsoftonline.com" // a former name of the Government's, which is a group of its own
	groups = append(groups, group{Network: old, Cache: old, Aliases: []string{old}})
	answers.Write(w, http.StatusOK, struct {
		Endpoint string  `json:"tenant_discovery_endpoint"`
		Version  string  `json:"api-version"`
		Metadata []group `json:"metadata"`
	}{"https://" + endpoint.Host + "/" + tenant + "/v2.0/.well-known/openid-configuration", "1.1", groups})
}

func (s *Service) metadata(w http.ResponseWriter, r *http.Request) {
	tenant, issued, refusal := s.metadataTenant(r.PathValue("tenant"))
	if refusal != nil {
		s.writeError(w, r, refusal)
		return
	}
	cloud := cloudOf(r)
	host := "https://" + r.Host + "/"
	base := host + tenant
	oauth, keys, issuer := base+"/oauth2", base+"/discovery/keys", cloud.Issuer+issued+"/"
	// SDKs take a tenant of the name adfs for an AD FS, of which they ask nobody whether they may trust it. An AD FS has one
	// kind of metadata, and an endpoint that takes scopes.
	if strings.Contains(r.URL.Path, "/v2.0/") || tenant == "adfs" {
		oauth, keys, issuer = base+"/oauth2/v2.0", base+"/discovery/v2.0/keys", host+issued+"/v2.0"
	}
	answers.Write(w, http.StatusOK, map[string]any{
		"issuer":                                issuer,
		"authorization_endpoint":                oauth + "/authorize",
		"token_endpoint":                        oauth + "/token",
		"device_authorization_endpoint":         oauth + "/devicecode",
		"end_session_endpoint":                  oauth + "/logout",
		"userinfo_endpoint":                     "https://" + cloud.Graph + "/oidc/userinfo",
		"jwks_uri":                              keys,
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"request_uri_parameter_supported":       false,
		"http_logout_supported":                 true,
		"frontchannel_logout_supported":         true,
		"claims_supported": []string{"sub", "iss", "cloud_instance_name", "cloud_instance_host_name",
			"cloud_graph_host_name", "msgraph_host", "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username",
			"name", "tid", "ver", "at_hash", "c_hash", "email"},
		"tenant_region_scope":   "NA",
		"cloud_instance_name":   strings.TrimPrefix(cloud.Login, "login."),
		"cloud_graph_host_name": "graph.windows.net",
		"msgraph_host":          cloud.Graph,
		"rbac_url":              "https://pas.windows.net",
	})
}

// metadataTenant finds the tenant that metadata is asked for, and how it stands in the issuer: for a group of tenants,
// as a placeholder.
func (s *Service) metadataTenant(asked string) (tenant, issued string, refusal *Error) {
	if manyTenants(asked) {
		return asked, "{tenantid}", nil
	}
	if tenant = s.directory.tenant(asked); tenant == "" {
		refusal = errUnknownTenant(asked, "invalid_tenant")
	}
	return tenant, tenant, refusal
}

// manyTenants says whether a name stands for more than one tenant.
func manyTenants(name string) bool {
	return name == "common" || name == "organizations" || name == "consumers"
}

func (s *Service) keys(w http.ResponseWriter, r *http.Request) {
	set, err := s.Keys()
	if err != nil {
		http.Error(w, "the local cloud has no signing key", http.StatusInternalServerError)
		return
	}
	answers.Write(w, http.StatusOK, set)
}

func (s *Service) tokenV2(w http.ResponseWriter, r *http.Request) {
	_, token, ok := s.grant(w, r, resourceOfScope)
	if !ok {
		return
	}
	seconds := int64(token.Lifetime / time.Second)
	answers.Write(w, http.StatusOK, struct {
		Type    string `json:"token_type"`
		Expires int64  `json:"expires_in"`
		Ext     int64  `json:"ext_expires_in"`
		Token   string `json:"access_token"`
	}{"Bearer", seconds, seconds, token.Raw})
}

// tokenV1 differs in asking for a resource instead of a scope, and in giving its numbers as strings.
func (s *Service) tokenV1(w http.ResponseWriter, r *http.Request) {
	resource, token, ok := s.grant(w, r, func(form url.Values) (string, *Error) {
		if form.Get("resource") == "" {
			return "", errMissing("resource")
		}
		return form.Get("resource"), nil
	})
	if !ok {
		return
	}
	seconds := strconv.FormatInt(int64(token.Lifetime/time.Second), 10)
	answers.Write(w, http.StatusOK, struct {
		Type      string `json:"token_type"`
		Expires   string `json:"expires_in"`
		Ext       string `json:"ext_expires_in"`
		ExpiresOn string `json:"expires_on"`
		NotBefore string `json:"not_before"`
		Resource  string `json:"resource"`
		Token     string `json:"access_token"`
	}{
		"Bearer", seconds, seconds, strconv.FormatInt(token.Expires.Unix(), 10), strconv.FormatInt(token.NotBefore.Unix(), 10),
		resource, token.Raw,
	})
}

// resourceOf finds the resource that a token is asked for.
type resourceOf func(form url.Values) (string, *Error)

// resourceOfScope finds the one resource among the scopes of the request. The scopes of OpenID Connect, which MSAL for Go
// and Node add to each request, mean nothing here.
func resourceOfScope(form url.Values) (string, *Error) {
	var resource string
	for scope := range strings.FieldsSeq(form.Get("scope")) {
		switch scope {
		case "openid", "profile", "email", "offline_access":
			continue
		}
		name, isDefault := strings.CutSuffix(scope, "/.default")
		if !isDefault || name == "" || resource != "" {
			return "", errScope(form.Get("scope"))
		}
		resource = name
	}
	if resource == "" {
		return "", errMissing("scope")
	}
	return resource, nil
}

// grant runs the checks that both versions of the token endpoint share, and answers itself when one fails.
func (s *Service) grant(w http.ResponseWriter, r *http.Request, resource resourceOf) (string, Token, bool) {
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.Header().Set("Pragma", "no-cache")
	w.Header().Set("Expires", "-1")
	w.Header().Set("X-Ms-Clitelem", "1,0,0,,")
	audience, token, err := s.tryGrant(w, r, resource)
	var refusal *Error
	switch {
	case errors.As(err, &refusal):
		s.writeError(w, r, refusal)
	case err != nil:
		http.Error(w, "the local cloud could not issue a token", http.StatusInternalServerError)
	}
	return audience, token, err == nil
}

func (s *Service) tryGrant(w http.ResponseWriter, r *http.Request, resource resourceOf) (string, Token, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return "", Token{}, errTooLarge()
		}
		return "", Token{}, errMalformed()
	}
	form := r.PostForm
	if id, secret, ok := r.BasicAuth(); ok { // client_secret_basic, RFC 6749, 2.3.1: both parts are form-encoded
		if decoded, err := url.QueryUnescape(id); err == nil {
			form.Set("client_id", decoded)
		}
		if decoded, err := url.QueryUnescape(secret); err == nil {
			form.Set("client_secret", decoded)
		}
	}
	asked := r.PathValue("tenant")
	tenant := s.directory.tenant(asked)
	switch {
	case tenant != "":
	case manyTenants(asked):
		return "", Token{}, errNoTenant()
	case !strings.Contains(asked, ".") && uuid.Validate(asked) != nil:
		return "", Token{}, errTenantName(asked)
	default:
		return "", Token{}, errUnknownTenant(asked, "invalid_request")
	}
	for _, parameter := range []string{"grant_type", "client_id"} {
		if form.Get(parameter) == "" {
			return "", Token{}, errMissing(parameter)
		}
	}
	if grant := form.Get("grant_type"); grant != "client_credentials" {
		return "", Token{}, errGrantType(grant)
	}
	audience, refusal := resource(form)
	if refusal != nil {
		return "", Token{}, refusal
	}
	app, proof, refusal := s.authenticate(r, tenant, form)
	if refusal != nil {
		return "", Token{}, refusal
	}
	token, err := s.Issue(cloudOf(r), Grant{
		Principal: Principal{TenantID: tenant, ClientID: app.ClientID, ObjectID: app.ObjectID},
		Resource:  audience, Lifetime: tokenLifetime, proof: proof,
	})
	return audience, token, err
}

// authenticate finds the app and checks what it shows to prove itself.
func (s *Service) authenticate(r *http.Request, tenant string, form url.Values) (App, string, *Error) {
	id := form.Get("client_id")
	app, found := s.directory.app(tenant, id)
	switch {
	case !found:
		return app, "", errUnknownApp(id, tenant)
	case app.Disabled:
		return app, "", errDisabled(app.ClientID)
	case form.Has("client_assertion"):
		return app, byAssertion, s.checkAssertion(r, app, form)
	case !form.Has("client_secret"):
		return app, "", errNoCredential()
	case app.ClientSecret == "" || !equal(app.ClientSecret, form.Get("client_secret")):
		return app, "", errWrongSecret(app.ClientID)
	case !app.SecretExpires.IsZero() && !s.now().Before(app.SecretExpires):
		return app, "", errExpiredSecret(app.ClientID)
	}
	return app, bySecret, nil
}

// equal compares without telling by its duration where two strings differ.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
