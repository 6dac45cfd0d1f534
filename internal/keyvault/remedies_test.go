package keyvault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

const (
	caller = "appid=" + appID + ";oid=" + objectID + ";iss=https://sts.windows.net/" + tenantID + "/"
	who    = "app " + appID + " (object " + objectID + ")"

	otherTenant = "99999999-0f34-4b7e-9d8f-6a1f3c2b5e01"
)

func rbacBody(action string) string {
	return vaultError("Forbidden", "ForbiddenByRbac", "Caller is not authorized to perform action on resource.\r\nIf role "+
		"assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\n"+
		"Caller: "+caller+"\r\nAction: 'Microsoft.KeyVault/vaults/secrets/"+action+"'\r\nResource: '/subscriptions/s/"+
		"resourcegroups/g/providers/microsoft.keyvault/vaults/team-a/secrets/a'\r\nAssignment: (not found)\r\n"+
		"DenyAssignmentId: null\r\nDecisionReason: null \r\nVault: team-a;location=eastus\r\n")
}

// example is one way to run into a row of the table. Without more, it reads secret "a" with a client secret.
type example struct {
	row   string
	fake  *cloudFake // nil: one that answers 404
	setup func(t *testing.T, f *cloudFake, cfg *Config)
	call  func(ctx context.Context, c *Client) error

	kind fault.Kind
	msg  string
	hint string // one of the hints
}

func setValue(ctx context.Context, c *Client) error {
	_, err := c.Set(ctx, "a", Content{Value: secret.FromString(valueCanary)})
	return err
}

func listAll(ctx context.Context, c *Client) error {
	for _, err := range c.List(ctx) {
		if err != nil {
			return err
		}
	}
	return nil
}

var examples = []example{
	{row: "canceled",
		call: func(ctx context.Context, c *Client) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return setValue(ctx, c)
		},
		kind: fault.Canceled, msg: `canceled while waiting to write secret "a"`},
	{row: "deadline",
		fake: &cloudFake{vault: refuse(503, "", "Retry-After", "9")},
		setup: func(_ *testing.T, _ *cloudFake, cfg *Config) {
			cfg.Retries = 1
		},
		call: func(ctx context.Context, c *Client) error {
			ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			defer cancel()
			return listAll(ctx, c)
		},
		kind: fault.Unavailable,
		msg:  "team-a.vault.azure.net took too long: the time to list the secrets is over (its last answer was HTTP 503)",
		hint: "test the way with: curl -sv https://team-a.vault.azure.net/"},

	{row: "paused",
		fake: &cloudFake{vault: refuse(429, vaultError("Throttled", "", "Too many."), "Retry-After", "3600")},
		call: func(ctx context.Context, c *Client) error {
			_, _ = c.Get(ctx, "a")
			return listAll(ctx, c)
		},
		kind: fault.Unavailable, msg: `vault "team-a" gets too many requests and asked to be left alone`,
		hint: "it asks to wait 10m0s"}, // no longer than that, whatever it says
	{row: "own share",
		setup: func(_ *testing.T, _ *cloudFake, cfg *Config) { cfg.Share = 1e-6 }, // for the challenge and no more
		kind:  fault.Unavailable, msg: `vault "team-a" is asked for so much that our share of its limit is used up`,
		hint: "vault_share in the backend kwargs is our share; raise it where few agents read this vault"},

	{row: "disabled",
		fake: &cloudFake{vault: refuse(403, vaultError("Forbidden", "SecretDisabled",
			"Operation get is not allowed on a disabled secret."))},
		kind: fault.Forbidden, msg: `secret "a" in vault "team-a" is disabled`,
		hint: "enable it with: az keyvault secret set-attributes --vault-name team-a --name a --enabled true"},
	{row: "rbac",
		fake: &cloudFake{vault: refuse(403, rbacBody("getSecret/action"))},
		kind: fault.Forbidden, msg: who + ` may not read secret "a" in vault "team-a": no role allows it`,
		hint: `give it the role "Key Vault Secrets User" with: az role assignment create --role "Key Vault Secrets User" ` +
			`--assignee-object-id ` + objectID + ` --scope "$(az keyvault show --name team-a --query id --output tsv)"`},
	{row: "rbac",
		fake: &cloudFake{vault: refuse(403, rbacBody("setSecret/action"))}, call: setValue,
		kind: fault.Forbidden, msg: who + ` may not write secret "a" in vault "team-a": no role allows it`,
		hint: `give it the role "Key Vault Secrets Officer" with: az role assignment create --role "Key Vault Secrets ` +
			`Officer" --assignee-object-id ` + objectID + ` --scope "$(az keyvault show --name team-a --query id --output tsv)"`},
	{row: "policy",
		fake: &cloudFake{vault: refuse(403, vaultError("Forbidden", "AccessDenied", "The user, group or application '"+caller+
			"' does not have secrets list permission on key vault 'team-a;location=eastus'. For help resolving this issue, "+
			"please see https://go.microsoft.com/fwlink/?linkid=2125287"))},
		call: listAll,
		kind: fault.Forbidden, msg: who + ` may not list the secrets in vault "team-a": no access policy allows it`,
		hint: "allow it with: az keyvault set-policy --name team-a --object-id " + objectID + " --secret-permissions list"},
	{row: "firewall",
		fake: &cloudFake{vault: refuse(403, vaultError("Forbidden", "ForbiddenByFirewall", "Client address is not authorized "+
			"and caller is not a trusted service.\r\nClient address: 20.1.2.3\r\nCaller: "+caller+"\r\nVault: team-a;location=eastus"))},
		kind: fault.Forbidden, msg: `the firewall of vault "team-a" does not let this address in: it saw 20.1.2.3`,
		hint: "let it in with: az keyvault network-rule add --name team-a --ip-address 20.1.2.3"},
	{row: "private",
		fake: &cloudFake{vault: refuse(403, vaultError("Forbidden", "ForbiddenByFirewall", "Public network access is disabled "+
			"and request is not from a trusted service nor via an approved private link.\r\nCaller: "+caller+"\r\nVault: team-a"))},
		kind: fault.Forbidden, msg: `vault "team-a" is closed to public networks`,
		hint: "or open it with: az keyvault update --name team-a --public-network-access Enabled"},
	{row: "private",
		fake: &cloudFake{vault: refuse(403, vaultError("Forbidden", "ForbiddenByConnection", "Connection is not an approved "+
			"private link and caller was ignored because bypass is not set to 'AzureServices' and PublicNetworkAccess is set to "+
			"'Disabled'.\r\nVault: team-a;location=eastus"))},
		kind: fault.Forbidden, msg: `vault "team-a" is closed to public networks`,
		hint: "reach it through its private endpoint, from a network whose DNS knows that"},
	{row: "forbidden",
		fake: &cloudFake{vault: refuse(403, vaultError("Forbidden", "", "Operation is not allowed."))},
		kind: fault.Forbidden, msg: `vault "team-a" refuses to read secret "a"`,
		hint: `see who may with: az role assignment list --include-inherited ` +
			`--scope "$(az keyvault show --name team-a --query id --output tsv)"`},
	{row: "not found",
		fake: &cloudFake{vault: refuse(404, notFoundBody("a"))},
		kind: fault.NotFound, msg: `vault "team-a" has no secret "a"`,
		hint: "if it was deleted: az keyvault secret recover --vault-name team-a --name a"},
	{row: "soft-deleted",
		fake: &cloudFake{vault: refuse(409, vaultError("Conflict", "ObjectIsDeletedButRecoverable", "Secret a is currently in a "+
			"deleted but recoverable state, and its name cannot be reused; in this state, the secret can only be recovered or purged."))},
		call: setValue,
		kind: fault.Usage, msg: `secret "a" in vault "team-a" is deleted but not gone, so it cannot be set`,
		hint: "or remove it for good with: az keyvault secret purge --vault-name team-a --name a"},
	{row: "being deleted",
		fake: &cloudFake{vault: refuse(409, vaultError("Conflict", "ObjectIsBeingDeleted",
			"Secret is currently being deleted."))},
		call: setValue,
		kind: fault.Unavailable, msg: `secret "a" in vault "team-a" is being changed by somebody else`,
		hint: "try again in some seconds"},
	{row: "throttled",
		fake: &cloudFake{vault: refuse(429, vaultError("Throttled", "", "Request was not processed because too many requests "+
			"were received. Reason: VaultRequestTypeLimitReached"), "Retry-After", "7")},
		kind: fault.Unavailable,
		msg:  `vault "team-a" gets too many requests and answers no more for the moment`, hint: "it asks to wait 7s"},
	{row: "vault down",
		fake: &cloudFake{vault: refuse(503, "<html>down</html>")},
		kind: fault.Unavailable, msg: `vault "team-a" fails with HTTP 503`, hint: hintRetry},
	{row: "too large",
		fake: &cloudFake{vault: refuse(400, vaultError("BadParameter", "", "Property  has invalid value\r\n"))},
		call: func(ctx context.Context, c *Client) error {
			_, err := c.Set(ctx, "a", Content{Value: secret.New(make([]byte, 25601))})
			return err
		},
		kind: fault.Usage, msg: `the value for secret "a" has 25601 bytes, and Key Vault holds 25600`,
		hint: "keep it elsewhere and store where it is"},
	{row: "bad name",
		fake: &cloudFake{vault: refuse(400, vaultError("BadParameter", "",
			"The request URI contains an invalid name: my_name"))},
		call: func(ctx context.Context, c *Client) error { return c.Delete(ctx, "my_name") },
		kind: fault.Usage, msg: `secret "my_name" has a name that Key Vault cannot hold`,
		hint: "a name has 1 to 127 letters, digits and dashes"},
	{row: "wrong tenant",
		fake: &cloudFake{vault: refuse(401, vaultError("Unauthorized", "", "AKV10032: Invalid issuer. Expected one of "+
			"https://sts.windows.net/"+otherTenant+"/, https://sts.windows.net/f8cdef31-a31e-4b4a-93e4-5f571e91255a/, found "+
			"https://sts.windows.net/"+tenantID+"/."), "WWW-Authenticate", realChallenge)},
		kind: fault.Forbidden, msg: `vault "team-a" belongs to another tenant than the login`,
		hint: "log in to the vault's tenant: tenant_id or AZURE_TENANT_ID is " + otherTenant},
	{row: "wrong audience",
		fake: &cloudFake{vault: refuse(401, vaultError("Unauthorized", "", "AKV10022: Invalid audience. Expected "+
			"https://vault.azure.net, found: https://management.azure.com/."), "WWW-Authenticate", realChallenge)},
		kind: fault.Forbidden, msg: `vault "team-a" refuses the token: it was made for another service`, hint: hintAccess},
	{row: "token refused",
		fake: &cloudFake{vault: refuse(401, vaultError("Unauthorized", "", "AKV10001: Token has expired."),
			"WWW-Authenticate", realChallenge)},
		kind: fault.Forbidden, msg: `vault "team-a" refuses the token`,
		hint: "compare this machine's clock with the world's, and the tenant with the vault's: " +
			"az keyvault show --name team-a --query properties.tenantId"},
	{row: "refused",
		fake: &cloudFake{vault: refuse(405, vaultError("MethodNotAllowed", "", "HTTP PUT not allowed"))}, call: setValue,
		kind: fault.Usage,
		msg:  `vault "team-a" does not understand the request to write secret "a" (HTTP 405 MethodNotAllowed)`},

	{row: "refused",
		fake: &cloudFake{vault: refuse(404, vaultError("VaultNotFound", "", "this host has no vault"))},
		kind: fault.Usage,
		msg:  `vault "team-a" does not understand the request to read secret "a" (HTTP 404 VaultNotFound)`,
		hint: "the vault says: this host has no vault"},

	{row: "other tenant",
		fake: &cloudFake{challenge: `Bearer authorization="https://login.microsoftonline.com/` + otherTenant +
			`", resource="https://vault.azure.net"`},
		kind: fault.Forbidden, msg: `vault "team-a" belongs to another tenant than the login`,
		hint: "log in to the vault's tenant: tenant_id or AZURE_TENANT_ID is " + otherTenant},
	{row: "wrong secret",
		fake: &cloudFake{login: refuse(401, entraError("invalid_client", 7000215, "Invalid client secret provided. Ensure the "+
			"secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '"+
			appID+"'."))},
		kind: fault.Forbidden, msg: "the client secret of app " + appID + " is wrong",
		hint: "make a new secret with: az ad app credential reset --id " + appID + " --append --query password"},
	{row: "wrong secret", // found in the environment, behind a chain that stops there
		fake: &cloudFake{login: refuse(401, entraError("invalid_client", 7000215, "Invalid client secret provided. Ensure the "+
			"secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '"+
			appID+"'."))},
		setup: func(t *testing.T, f *cloudFake, cfg *Config) {
			t.Setenv("AZURE_TENANT_ID", tenantID)
			t.Setenv("AZURE_CLIENT_ID", appID)
			t.Setenv("AZURE_CLIENT_SECRET", clientSecretCanary)
			*cfg = Config{VaultURL: cfg.VaultURL, HTTPClient: cfg.HTTPClient, Retries: -1}
			tool(t, "az", cliToken, 0)
		},
		kind: fault.Forbidden, msg: "the client secret of app " + appID + " is wrong",
		hint: "use the secret's value, not its id"},
	{row: "expired secret",
		fake: &cloudFake{login: refuse(401, entraError("invalid_client", 7000222, "The provided client secret keys for app '"+
			appID+"' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret"))},
		kind: fault.Forbidden, msg: "the client secret of app " + appID + " has expired",
		hint: "make a new secret with: az ad app credential reset --id " + appID + " --append --query password"},
	{row: "unknown app",
		fake: &cloudFake{login: refuse(400, entraError("unauthorized_client", 700016, "Application with identifier '"+appID+
			"' was not found in the directory 'Contoso'. This can happen if the application has not been installed by the "+
			"administrator of the tenant or consented to by any user in the tenant."))},
		kind: fault.Forbidden, msg: "app " + appID + " is not known in the tenant",
		hint: "see whether it is there with: az ad app show --id " + appID + " --query displayName"},
	{row: "unknown tenant",
		fake: &cloudFake{challenge: `Bearer authorization="https://login.microsoftonline.com/` + otherTenant +
			`", resource="https://vault.azure.net"`},
		setup: func(_ *testing.T, _ *cloudFake, cfg *Config) { cfg.TenantID = otherTenant },
		kind:  fault.Forbidden, msg: "the tenant is not known to login.microsoftonline.com",
		hint: `see yours with: az account list --query "[].tenantId"`},
	{row: "federation",
		fake: &cloudFake{login: refuse(401, entraError("invalid_client", 700213, "No matching federated identity record found for "+
			"presented assertion subject 'system:serviceaccount:airflow:worker'. Check your federated identity credential "+
			"Subject, Audience and Issuer against the presented assertion."))},
		setup: func(t *testing.T, f *cloudFake, cfg *Config) {
			file := filepath.Join(t.TempDir(), "token")
			writeFile(t, file, "assertion")
			t.Setenv("AZURE_FEDERATED_TOKEN_FILE", file)
			*cfg = Config{VaultURL: cfg.VaultURL, HTTPClient: cfg.HTTPClient, Retries: -1,
				ManagedIdentityClientID: appID, WorkloadIdentityTenantID: tenantID}
		},
		kind: fault.Forbidden, msg: "app APP_ID does not trust the workload's token: issuer, subject or audience differ",
		hint: "for a managed identity: az identity federated-credential list --identity-name NAME --resource-group GROUP"},
	{row: "no such identity",
		fake:  &cloudFake{imds: refuse(400, `{"error":"invalid_request","error_description":"Identity not found"}`)},
		setup: onlyIdentity,
		kind:  fault.Forbidden, msg: "this host does not have the managed identity that was asked for",
		hint: `compare managed_identity_client_id or AZURE_CLIENT_ID with: az identity list --query "[].clientId"`},
	{row: "login throttled",
		fake: &cloudFake{login: refuse(429, "", "Retry-After", "11")},
		kind: fault.Unavailable, msg: "login.microsoftonline.com gets too many logins and answers no more for the moment",
		hint: "it asks to wait 11s"},
	{row: "login down",
		fake: &cloudFake{login: refuse(502, "<html>")},
		kind: fault.Unavailable, msg: "the login at login.microsoftonline.com fails with HTTP 502", hint: hintRetry},
	{row: "login refused",
		fake: &cloudFake{login: refuse(400, entraError("invalid_grant", 53003, "Access has been blocked by Conditional Access "+
			"policies. The access policy does not allow token issuance."))},
		kind: fault.Forbidden, msg: "login.microsoftonline.com refuses the login of ClientSecretCredential with AADSTS53003",
		hint: "read what it means at https://login.microsoftonline.com/error?code=53003"},
	{row: "login odd",
		fake: &cloudFake{login: refuse(403, "<html>blocked</html>")},
		kind: fault.Unavailable,
		msg: "login.microsoftonline.com answers the login of ClientSecretCredential with HTTP 403, " +
			"not as an identity service does",
		hint: "a proxy may answer in its place: see HTTPS_PROXY, HTTP_PROXY and NO_PROXY"},
	{row: "login failed",
		setup: func(t *testing.T, f *cloudFake, cfg *Config) {
			t.Setenv("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token")
			*cfg = Config{VaultURL: cfg.VaultURL, HTTPClient: cfg.HTTPClient, Retries: -1,
				ManagedIdentityClientID: appID, WorkloadIdentityTenantID: tenantID}
		},
		kind: fault.Unavailable,
		msg:  "WorkloadIdentityCredential gives no token: open /nowhere/token: no such file or directory",
		hint: "another kind of login is chosen with AZURE_TOKEN_CREDENTIALS"},
	{row: "no credential",
		setup: func(t *testing.T, f *cloudFake, cfg *Config) {
			*cfg = Config{VaultURL: cfg.VaultURL, HTTPClient: cfg.HTTPClient, Retries: -1}
			tool(t, "az", "ERROR: Please run az login to setup account.", 1)
		},
		kind: fault.Unavailable,
		msg: `no credential for vault "team-a" was found; tried ` +
			`EnvironmentCredential (missing environment variable AZURE_TENANT_ID), ` +
			`WorkloadIdentityCredential (no client ID specified), ` +
			`ManagedIdentityCredential (no identity endpoint is set and nothing answers at 169.254.169.254), ` +
			`AzureCLICredential (ERROR: Please run az login to setup account), ` +
			`AzureDeveloperCLICredential (executable not found on path)`,
		hint: "on your own machine: az login"},

	{row: "not a vault", // a login page that answers everything
		fake: &cloudFake{vault: refuse(200, "<html>please log in</html>")},
		kind: fault.Unavailable, msg: "team-a.vault.azure.net answers, but not as Key Vault does", hint: hintNotVault},
	{row: "not a vault", // a gateway's own 404 is not a missing secret
		fake: &cloudFake{vault: refuse(404, "<html>not found</html>")},
		kind: fault.Unavailable, msg: "team-a.vault.azure.net answers, but not as Key Vault does", hint: hintNotVault},
	{row: "not a vault", // a challenge that would make the SDK panic
		fake: &cloudFake{
			challenge: `Bearer authorization="https://login.microsoftonline.com", resource="https://vault.azure.net"`,
		},
		kind: fault.Unavailable, msg: "team-a.vault.azure.net answers, but not as Key Vault does", hint: hintNotVault},
	{row: "not a vault",
		fake: &cloudFake{challenge: `Basic realm="proxy"`},
		kind: fault.Unavailable, msg: "team-a.vault.azure.net answers, but not as Key Vault does", hint: hintNotVault},
	{row: "not a vault", // a secret without a value
		fake: &cloudFake{vault: refuse(200, `{"id":"https://team-a.vault.azure.net/secrets/a/1"}`)},
		kind: fault.Unavailable, msg: "team-a.vault.azure.net answers, but not as Key Vault does", hint: hintNotVault},
	{row: "proxy",
		setup: func(t *testing.T, f *cloudFake, cfg *Config) {
			proxy := httptest.NewServer(refuse(http.StatusProxyAuthRequired, ""))
			t.Cleanup(proxy.Close)
			tr := Transport()
			tr.Proxy = http.ProxyURL(parseURL(t, proxy.URL))
			cfg.HTTPClient = &http.Client{Transport: tr}
		},
		kind: fault.Unavailable, msg: "the proxy does not let us through to team-a.vault.azure.net",
		hint: "see HTTPS_PROXY, and its user and password, if it wants them"},
	{row: "proxy", // nobody there
		setup: func(t *testing.T, f *cloudFake, cfg *Config) {
			tr := Transport()
			login := url.UserPassword("me", valueCanary)
			tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: closedPort(t), User: login})
			cfg.HTTPClient = &http.Client{Transport: tr}
		},
		kind: fault.Unavailable, msg: "the proxy does not let us through to team-a.vault.azure.net",
		hint: "hosts to be reached without it belong in NO_PROXY"},
	{row: "no identity endpoint",
		setup: onlyIdentity,
		kind:  fault.Unavailable,
		msg:   "nothing answers at 169.254.169.254, where Azure gives a host's managed identity its tokens",
		hint:  "another kind of login is chosen with AZURE_TOKEN_CREDENTIALS"},
	{row: "unknown vault",
		setup: func(t *testing.T, f *cloudFake, cfg *Config) { resolveNothing(t, f, cfg, vaultHost) },
		kind:  fault.Unavailable, msg: "there is no host team-a.vault.azure.net: is the vault's name right?",
		hint: `list your vaults with: az keyvault list --query "[].properties.vaultUri"`},
	{row: "unknown login",
		setup: func(t *testing.T, f *cloudFake, cfg *Config) { resolveNothing(t, f, cfg, loginHost) },
		kind:  fault.Unavailable, msg: "there is no host login.microsoftonline.com: is the network up?",
		hint: "AZURE_AUTHORITY_HOST, if it is set, names the login's host"},
	{row: "untrusted",
		setup: func(t *testing.T, f *cloudFake, cfg *Config) {
			tr := f.transport()
			_, tr.TLSClientConfig.RootCAs = certify(t, []string{"other.example"})
			cfg.HTTPClient = &http.Client{Transport: tr}
		},
		kind: fault.Unavailable, msg: "the certificate of team-a.vault.azure.net is not trusted",
		hint: "if a proxy reads the traffic, name its certificate authority's file in SSL_CERT_FILE"},
	{row: "timeout", // the vault
		fake: &cloudFake{vault: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}, setup: hurry,
		kind: fault.Unavailable, msg: "team-a.vault.azure.net does not answer in time",
		hint: "test the way with: curl -sv https://team-a.vault.azure.net/"},
	{row: "timeout", // the login
		fake: &cloudFake{login: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}, setup: hurry,
		kind: fault.Unavailable, msg: "login.microsoftonline.com does not answer in time",
		hint: "test the way with: curl -sv https://login.microsoftonline.com/"},
	{row: "unreachable",
		setup: func(t *testing.T, f *cloudFake, cfg *Config) {
			port := closedPort(t)
			tr := f.transport()
			tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, port)
			}
			cfg.HTTPClient = &http.Client{Transport: tr}
		},
		kind: fault.Unavailable, msg: "team-a.vault.azure.net cannot be reached",
		hint: "test the way with: curl -sv https://team-a.vault.azure.net/"},

	{row: "wrong cloud",
		fake: &cloudFake{challenge: `Bearer authorization="https://login.microsoftonline.com/` + tenantID +
			`", resource="https://vault.azure.cn"`},
		kind: fault.Forbidden, msg: "team-a.vault.azure.net wants a token for another domain, so it gets none",
		hint: "is vault_url right? it looks like https://NAME.vault.azure.net/"},
	{row: "unforeseen",
		setup: func(t *testing.T, f *cloudFake, cfg *Config) {
			// A next link that is no address is one of the few ways to make the SDK fail in itself.
			f.vault = refuse(200, `{"value":[],"nextLink":"https://%zz/`+valueCanary+`"}`)
		},
		call: listAll,
		kind: fault.Internal, msg: `the attempt to list the secrets in vault "team-a" failed`},
}

const (
	hintNotVault  = "is vault_url right? a proxy or a login page of the network may answer in its place"
	realChallenge = `Bearer authorization="https://login.microsoftonline.com/` + tenantID +
		`", resource="https://vault.azure.net"`
)

// TestEveryRemedy runs into every row of the table, through the real SDK, and looks for canaries in what comes out.
func TestEveryRemedy(t *testing.T) {
	var shown []string
	for i, e := range examples {
		shown = append(shown, e.row)
		t.Run(fmt.Sprintf("%02d %s", i, e.row), func(t *testing.T) {
			f := e.fake
			if f == nil {
				f = &cloudFake{}
			}
			newFake(t, f)
			cfg := f.config()
			if e.setup != nil {
				e.setup(t, f, &cfg)
			}
			call := e.call
			if call == nil {
				call = func(ctx context.Context, c *Client) error { _, err := c.Get(ctx, "a"); return err }
			}
			err := call(t.Context(), open(t, cfg))
			if err == nil {
				t.Fatal("no error")
			}
			var f2 *fault.Error
			if !errors.As(err, &f2) || f2 != err {
				t.Fatalf("%T is not a *fault.Error", err)
			}
			if f2.Kind != e.kind || f2.Msg != e.msg {
				t.Errorf("got  %v: %s\nwant %v: %s\n(%s)", f2.Kind, f2.Msg, e.kind, e.msg, fault.Detail(err))
			}
			if e.hint != "" && !slices.Contains(f2.Hints, e.hint) {
				t.Errorf("hints %q\nlack %q", f2.Hints, e.hint)
			}
			for _, text := range append([]string{f2.Msg}, f2.Hints...) {
				if word.MatchString(text) || strings.HasSuffix(text, ".") || strings.Contains(text, "\n") {
					t.Errorf("%q is not for people", text)
				}
			}
			noCanary(t, err)
		})
	}
	for _, r := range remedies {
		if !slices.Contains(shown, r.id) {
			t.Errorf("row %q has no example", r.id)
		}
	}
}

// noCanary prints an error in every way, and its whole chain, and looks for the secrets.
func noCanary(t *testing.T, err error) {
	t.Helper()
	var out strings.Builder
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(&out, verb+"\n", e)
		}
	}
	fmt.Fprintln(&out, fault.Detail(err), fault.HintsOf(err))
	for _, canary := range []string{valueCanary, clientSecretCanary} {
		for _, form := range []string{canary, fmt.Sprintf("%x", canary)} {
			if strings.Contains(out.String(), form) {
				t.Errorf("the canary leaked:\n%s", out.String())
			}
		}
	}
}

// Servers that send back what they were sent, in every place that we read.
func TestEchoesDoNotLeak(t *testing.T) {
	echo := func(canary string) string {
		return encode(map[string]any{
			"error": map[string]any{
				"code": canary, "message": "bad: " + canary, "innererror": map[string]string{"code": canary},
			},
		})
	}
	for _, status := range []int{200, 302, 400, 401, 403, 404, 409, 429, 500} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			f := newFake(t, &cloudFake{vault: refuse(status, echo(valueCanary), "x-ms-request-id", valueCanary+"!",
				"Retry-After", valueCanary, "WWW-Authenticate", realChallenge)})
			if err := setValue(t.Context(), open(t, f.config())); err != nil {
				noCanary(t, err)
			} else if status != 200 {
				t.Error("no error")
			}

			f = newFake(t, &cloudFake{login: refuse(status, encode(map[string]any{
				"error": clientSecretCanary, "error_description": "AADSTS7000215: " + clientSecretCanary + " is wrong",
			}))})
			_, err := open(t, f.config()).Get(t.Context(), "a")
			if err == nil {
				t.Fatal("no error")
			}
			noCanary(t, err)
		})
	}
	// A part of the value is a leak as well.
	half := valueCanary[:12]
	f := newFake(t, &cloudFake{vault: refuse(400, vaultError("BadParameter", "", "cannot hold "+half+"..."))})
	if err := setValue(t.Context(), open(t, f.config())); err == nil || strings.Contains(fault.Detail(err), half) {
		t.Errorf("half of the canary leaked: %v", fault.Detail(err))
	}
	// A body that cannot be read: the SDK quotes it.
	for _, body := range []string{
		valueCanary, `"` + valueCanary + `"`, `{"value":["` + valueCanary + `"]}`, `{"value":"` + valueCanary,
		`{"value":"x","attributes":{"created":"` + valueCanary + `"}}`,
	} {
		f := newFake(t, &cloudFake{vault: refuse(200, body)})
		_, err := open(t, f.config()).Get(t.Context(), "a")
		if err == nil {
			t.Fatalf("no error for %s", body)
		}
		noCanary(t, err)
	}
}

// The SDK goes on with the old token when it cannot renew it ahead of time; when the vault then is silent, it is the
// vault that we speak of. (The SDK waits 30 seconds before it renews again, so this is shown without it.)
func TestVainRenewalIsNotBlamed(t *testing.T) {
	c := &Client{host: vaultHost}
	silent := &url.Error{Op: "Get", Err: context.DeadlineExceeded}
	p := c.dissect(failure{ctx: t.Context(), op: operation{verb: get, name: "a"}, err: silent, seen: &trace{
		attempts: []attempt{{"AzureCLICredential", errors.New("expired")}}, host: vaultHost, err: silent,
	}})
	if p.stage != atWire || p.host != vaultHost {
		t.Errorf("stage %d at %s", p.stage, p.host)
	}
}

func TestEveryStageEndsInARowForAll(t *testing.T) {
	for s := inSDK; s <= atChain; s++ {
		if !slices.ContainsFunc(remedies, func(r remedy) bool { return r.stage == s && r.when(problem{}) }) {
			t.Errorf("stage %d has no last row", s)
		}
	}
}

// onlyIdentity leaves the managed identity alone in the chain.
func onlyIdentity(_ *testing.T, _ *cloudFake, cfg *Config) {
	*cfg = Config{
		VaultURL: cfg.VaultURL, HTTPClient: cfg.HTTPClient, Retries: -1,
		ManagedIdentityClientID: nextID(), TokenCredentials: "ManagedIdentityCredential",
	}
}

// hurry makes the transport give up at once on a server that says nothing.
func hurry(_ *testing.T, f *cloudFake, cfg *Config) {
	tr := f.transport()
	tr.ResponseHeaderTimeout = 100 * time.Millisecond
	cfg.HTTPClient = &http.Client{Transport: tr}
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// resolveNothing asks a name server on loopback, which knows no name, for one host.
func resolveNothing(t *testing.T, f *cloudFake, cfg *Config, host string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for buf := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			// The question goes back as a response with the code NXDOMAIN (RFC 1035, section 4.1.1).
			buf[2] |= 0x80
			buf[3] = buf[3]&0xf0 | 3
			_, _ = conn.WriteTo(buf[:n], from)
		}
	}()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	tr := f.transport()
	tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, host) {
			return (&net.Dialer{Resolver: resolver}).DialContext(ctx, network, address)
		}
		return f.dial(ctx, network, address)
	}
	cfg.HTTPClient = &http.Client{Transport: tr}
}
