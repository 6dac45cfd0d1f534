package keyvault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

// remedy is one row of the table: how a problem is recognised, and what is said about it. The first row of its stage
// that matches is taken. In msg and hints a {word} is replaced, see words; a hint with a word that is not known for
// this problem is left out.
type remedy struct {
	id    string // the fault's case; the tests hold an example of every row
	stage stage
	when  func(problem) bool
	kind  fault.Kind
	msg   string
	hints []string
}

const (
	hintReset    = `make a new secret with: az ad app credential reset --id {app} --append --query password`
	hintRetry    = `try again in a minute; what Azure knows of itself is at https://azure.status.microsoft`
	hintWait     = `it asks to wait {wait}`
	hintLimit    = `Key Vault serves 4000 requests in 10 seconds to all readers of a vault together`
	hintAccess   = `a vault in another cloud needs AZURE_AUTHORITY_HOST, for example https://login.microsoftonline.us/`
	hintWireTest = `test the way with: curl -sv https://{host}/`
)

var remedies = []remedy{
	// The caller.
	{"canceled", atCaller, is(context.Canceled), fault.Canceled, `canceled while waiting to {deed}`, nil},
	{"deadline", atCaller, always, fault.Unavailable,
		`{host} took too long: the time to {deed} is over{last}`, []string{hintWireTest}},

	// Ourselves.
	{"paused", atShare, func(p problem) bool { return errors.Is(p.err, errPaused) }, fault.Unavailable,
		`vault "{vault}" gets too many requests and asked to be left alone`, []string{hintWait, hintLimit}},
	{"own share", atShare, always, fault.Unavailable,
		`vault "{vault}" is asked for so much that our share of its limit is used up`,
		[]string{hintLimit, `vault_share in the backend kwargs is our share; raise it where few agents read this vault`}},

	// The vault's refusals.
	{"disabled", atVault, inner("SecretDisabled"), fault.Forbidden,
		`{secret} in vault "{vault}" is disabled`,
		[]string{`enable it with: az keyvault secret set-attributes --vault-name {vault} --name {name} --enabled true`}},
	{"rbac", atVault, either(inner("ForbiddenByRbac"), says("Caller is not authorized to perform action")),
		fault.Forbidden,
		`{who} may not {deed} in vault "{vault}": no role allows it`,
		[]string{
			`give it the role "{role}" with: az role assignment create --role "{role}" --assignee-object-id {oid}` +
				` --scope "$(az keyvault show --name {vault} --query id --output tsv)"`,
			`a new role assignment needs some minutes to work`,
		}},
	{"private", atVault, either(inner("ForbiddenByConnection"), says("Public network access is disabled")),
		fault.Forbidden,
		`vault "{vault}" is closed to public networks`,
		[]string{
			`reach it through its private endpoint, from a network whose DNS knows that`,
			`or open it with: az keyvault update --name {vault} --public-network-access Enabled`,
		}},
	{"firewall", atVault, either(inner("ForbiddenByFirewall"), says("Client address is not authorized")),
		fault.Forbidden,
		`the firewall of vault "{vault}" does not let this address in{seen}`,
		[]string{`let it in with: az keyvault network-rule add --name {vault} --ip-address {address}`}},
	{"policy", atVault, either(inner("AccessDenied", "ForbiddenByPolicy"), says("does not have secrets")),
		fault.Forbidden,
		`{who} may not {deed} in vault "{vault}": no access policy allows it`,
		[]string{`allow it with: az keyvault set-policy --name {vault} --object-id {oid}` +
			` --secret-permissions {permission}`}},
	{"forbidden", atVault, status(http.StatusForbidden), fault.Forbidden,
		`vault "{vault}" refuses to {deed}`,
		[]string{`see who may with: az role assignment list --include-inherited` +
			` --scope "$(az keyvault show --name {vault} --query id --output tsv)"`}},
	{"not found", atVault, code("SecretNotFound"), fault.NotFound,
		`vault "{vault}" has no {secret}`,
		[]string{
			`see what it has for Airflow with: airlock list`,
			`if it was deleted: az keyvault secret recover --vault-name {vault} --name {name}`,
		}},
	{"soft-deleted", atVault, inner("ObjectIsDeletedButRecoverable"), fault.Usage,
		`{secret} in vault "{vault}" is deleted but not gone, so it cannot be set`,
		[]string{
			`take it back with: az keyvault secret recover --vault-name {vault} --name {name}`,
			`airlock set --recover takes it back and writes over it`,
			`or remove it for good with: az keyvault secret purge --vault-name {vault} --name {name}`,
		}},
	{"being deleted", atVault, status(http.StatusConflict), fault.Unavailable,
		`{secret} in vault "{vault}" is being changed by somebody else`, []string{`try again in some seconds`}},
	{"throttled", atVault, status(http.StatusTooManyRequests), fault.Unavailable,
		`vault "{vault}" gets too many requests and answers no more for the moment`,
		[]string{hintWait, hintLimit}},
	{"vault down", atVault, above(http.StatusInternalServerError), fault.Unavailable,
		`vault "{vault}" fails with HTTP {status}`, []string{hintWait, hintRetry}},
	{"too large", atVault, func(p problem) bool {
		return p.status == http.StatusRequestEntityTooLarge ||
			p.status == http.StatusBadRequest && p.op.value.Len() > airflow.MaxValueBytes
	}, fault.Usage,
		`the value for {secret} has {size} bytes, and Key Vault holds ` + strconv.Itoa(airflow.MaxValueBytes),
		[]string{`keep it elsewhere and store where it is`}},
	{"bad name", atVault, says("invalid name"), fault.Usage,
		`{secret} has a name that Key Vault cannot hold`,
		[]string{`a name has 1 to 127 letters, digits and dashes`}},
	{"wrong tenant", atVault, says("AKV10032"), fault.Forbidden,
		`vault "{vault}" belongs to another tenant than the login`,
		[]string{`log in to the vault's tenant: tenant_id or AZURE_TENANT_ID is {tenant}`}},
	{"wrong audience", atVault, says("AKV10022"), fault.Forbidden,
		`vault "{vault}" refuses the token: it was made for another service`, []string{hintAccess}},
	{"token refused", atVault, status(http.StatusUnauthorized), fault.Forbidden,
		`vault "{vault}" refuses the token`,
		[]string{`compare this machine's clock with the world's, and the tenant with the vault's: ` +
			`az keyvault show --name {vault} --query properties.tenantId`}},
	{"refused", atVault, always, fault.Usage,
		`vault "{vault}" does not understand the request to {deed} (HTTP {status} {code})`,
		[]string{`the vault says: {answer}`}},

	// The login's refusals.
	{"other tenant", atLogin, says("isn't configured to acquire tokens for tenant"), fault.Forbidden,
		`vault "{vault}" belongs to another tenant than the login`,
		[]string{`log in to the vault's tenant: tenant_id or AZURE_TENANT_ID is {tenant}`}},
	{"wrong secret", atLogin, entra(7000215), fault.Forbidden,
		`the client secret of app {app} is wrong`,
		[]string{`use the secret's value, not its id`, hintReset}},
	{"expired secret", atLogin, entra(7000222), fault.Forbidden,
		`the client secret of app {app} has expired`, []string{hintReset}},
	{"unknown app", atLogin, entra(700016), fault.Forbidden,
		`app {app} is not known in the tenant`,
		[]string{
			`see whether it is there with: az ad app show --id {app} --query displayName`,
			`see the tenant that you look at with: az account show --query tenantId`,
		}},
	{"unknown tenant", atLogin, entra(90002, 900023), fault.Forbidden,
		`the tenant is not known to {host}`,
		[]string{`see yours with: az account list --query "[].tenantId"`, hintAccess}},
	{"federation", atLogin, either(entra(70021), says("No matching federated identity record")), fault.Forbidden,
		`app {app} does not trust the workload's token: issuer, subject or audience differ`,
		[]string{
			`for an app, compare with: az ad app federated-credential list --id {app}`,
			`for a managed identity: az identity federated-credential list --identity-name NAME --resource-group GROUP`,
		}},
	{"no such identity", atLogin, func(p problem) bool {
		return p.credential == "ManagedIdentityCredential" && p.status == http.StatusBadRequest
	}, fault.Forbidden,
		`this host does not have the managed identity that was asked for`,
		[]string{
			`compare managed_identity_client_id or AZURE_CLIENT_ID with: az identity list --query "[].clientId"`,
			`without a client id, the host needs a system-assigned identity`,
		}},
	{"login throttled", atLogin, status(http.StatusTooManyRequests), fault.Unavailable,
		`{host} gets too many logins and answers no more for the moment`, []string{hintWait, hintRetry}},
	{"login down", atLogin, above(http.StatusInternalServerError), fault.Unavailable,
		`the login at {host} fails with HTTP {status}`, []string{hintWait, hintRetry}},
	{"login refused", atLogin, entra(), fault.Forbidden,
		`{host} refuses the login of {credential} with AADSTS{entra}`,
		[]string{`read what it means at https://login.microsoftonline.com/error?code={entra}`}},
	{"login odd", atLogin, above(1), fault.Unavailable,
		`{host} answers the login of {credential} with HTTP {status}, not as an identity service does`,
		[]string{`a proxy may answer in its place: see HTTPS_PROXY, HTTP_PROXY and NO_PROXY`}},
	{"login failed", atLogin, always, fault.Unavailable,
		`{credential} gives no token: {reason}`,
		[]string{`another kind of login is chosen with AZURE_TOKEN_CREDENTIALS`}},
	{"no credential", atChain, always, fault.Unavailable,
		`no credential for vault "{vault}" was found; tried {reason}`,
		[]string{
			`on your own machine: az login`,
			`in a container: set tenant_id, client_id and client_secret in backend_kwargs,` +
				` or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET`,
			`on Azure: give the host a managed identity`,
		}},

	// The way there.
	{"not a vault", atWire, is(errNotKeyVault), fault.Unavailable,
		`{host} answers, but not as Key Vault does`,
		[]string{`is vault_url right? a proxy or a login page of the network may answer in its place`}},
	{"proxy", atWire, wire(isProxy), fault.Unavailable,
		`the proxy does not let us through to {host}`,
		[]string{
			`see HTTPS_PROXY, and its user and password, if it wants them`,
			`hosts to be reached without it belong in NO_PROXY`,
		}},
	{"no identity endpoint", atWire, func(p problem) bool { return p.host == imdsHost }, fault.Unavailable,
		`nothing answers at {host}, where Azure gives a host's managed identity its tokens`,
		[]string{
			`does this host run on Azure, and does NO_PROXY have {host}?`,
			`another kind of login is chosen with AZURE_TOKEN_CREDENTIALS`,
		}},
	{"unknown login", atWire, func(p problem) bool { return isUnknownHost(p.err) && p.credential != "" },
		fault.Unavailable,
		`there is no host {host}: is the network up?`,
		[]string{`AZURE_AUTHORITY_HOST, if it is set, names the login's host`}},
	{"unknown vault", atWire, wire(isUnknownHost), fault.Unavailable,
		`there is no host {host}: is the vault's name right?`,
		[]string{
			`list your vaults with: az keyvault list --query "[].properties.vaultUri"`,
			`a vault with a private endpoint is only known inside its network`,
		}},
	{"untrusted", atWire, wire(isUntrusted), fault.Unavailable,
		`the certificate of {host} is not trusted`,
		[]string{
			`if a proxy reads the traffic, name its certificate authority's file in SSL_CERT_FILE`,
			`look at it with: openssl s_client -connect {host}:443 -servername {host} -showcerts`,
		}},
	{"timeout", atWire, wire(isTimeout), fault.Unavailable,
		`{host} does not answer in time`,
		[]string{hintWireTest, `a firewall that swallows packets looks like this; so does a missing HTTPS_PROXY`}},
	{"unreachable", atWire, always, fault.Unavailable,
		`{host} cannot be reached`, []string{hintWireTest}},

	// What is left.
	{"wrong cloud", inSDK, says("doesn't match the requested domain"), fault.Forbidden,
		`{host} wants a token for another domain, so it gets none`,
		[]string{`is vault_url right? it looks like https://NAME.vault.azure.net/`}},
	{"unforeseen", inSDK, always, fault.Internal, `the attempt to {deed} in vault "{vault}" failed`, nil},
}

func always(problem) bool { return true }

func is(target error) func(problem) bool {
	return func(p problem) bool { return errors.Is(p.err, target) }
}

func wire(test func(error) bool) func(problem) bool {
	return func(p problem) bool { return test(p.err) }
}

func status(code int) func(problem) bool {
	return func(p problem) bool { return p.status == code }
}

func above(code int) func(problem) bool {
	return func(p problem) bool { return p.status >= code }
}

func code(name string) func(problem) bool {
	return func(p problem) bool { return p.code == name }
}

func inner(names ...string) func(problem) bool {
	return func(p problem) bool { return slices.Contains(names, p.inner) }
}

func says(text string) func(problem) bool {
	return func(p problem) bool { return strings.Contains(p.message, text) }
}

// entra tests for one of Entra ID's numbers; without numbers, for any.
func entra(numbers ...int) func(problem) bool {
	return func(p problem) bool { return p.entra != 0 && (len(numbers) == 0 || slices.Contains(numbers, p.entra)) }
}

func either(tests ...func(problem) bool) func(problem) bool {
	return func(p problem) bool {
		return slices.ContainsFunc(tests, func(test func(problem) bool) bool { return test(p) })
	}
}

// Ids, addresses and tenants are taken out of a service's message by their shape, and nothing else is.
const guid = `([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})`

var (
	saidApp     = regexp.MustCompile(`(?:appid=|app '|identifier ')` + guid)
	saidObject  = regexp.MustCompile(`oid=` + guid)
	saidAddress = regexp.MustCompile(`Client address: ([0-9a-fA-F.:]*[0-9a-fA-F])`)
	// AKV10032 lists the vault's tenants first; azidentity quotes the one that it was asked for.
	saidTenant = regexp.MustCompile(`(?:Expected one of https://sts\.windows\.net/|for tenant ")` + guid)
)

// words are the replacements for one problem; an empty one is not known.
func (c *Client) words(p problem) map[string]string {
	said := func(shape *regexp.Regexp) string {
		if m := shape.FindStringSubmatch(p.message); m != nil {
			return c.show(p, m[1])
		}
		return ""
	}
	w := map[string]string{
		"vault":      c.vault,
		"host":       p.host,
		"name":       p.op.name,
		"secret":     "secret " + strconv.Quote(p.op.name),
		"deed":       p.op.deed(),
		"permission": p.op.verb.permission,
		"role":       p.op.verb.role,
		"size":       strconv.Itoa(p.op.value.Len()),
		"status":     strconv.Itoa(p.status),
		"code":       c.show(p, p.code),
		"entra":      strconv.Itoa(p.entra),
		"credential": p.credential,
		"reason":     p.reason,
		"address":    said(saidAddress),
		"tenant":     said(saidTenant),
		"app":        said(saidApp),
		"oid":        said(saidObject),
		"who":        "the login",
	}
	if p.op.value.Len() == 0 { // an answer to a write may quote what was written
		w["answer"] = c.show(p, p.message)
	}
	if w["app"] != "" && w["oid"] != "" {
		w["who"] = fmt.Sprintf("app %s (object %s)", w["app"], w["oid"])
	}
	if w["app"] == "" {
		w["app"] = c.app
	}
	if w["app"] == "" {
		w["app"] = "APP_ID"
	}
	if w["address"] != "" {
		w["seen"] = ": it saw " + w["address"]
	}
	if p.wait > 0 {
		w["wait"] = max(p.wait.Round(time.Second), time.Second).String()
	}
	if p.status != 0 {
		w["last"] = fmt.Sprintf(" (its last answer was HTTP %d)", p.status)
	}
	return w
}

var word = regexp.MustCompile(`\{\w+\}`)

// fault fills in the row.
func (r remedy) fault(words map[string]string, cause error) *fault.Error {
	fill := func(text string) (string, bool) {
		known := true
		filled := word.ReplaceAllStringFunc(text, func(w string) string {
			value := words[strings.Trim(w, "{}")]
			known = known && value != ""
			return value
		})
		return filled, known
	}
	msg, _ := fill(r.msg)
	var hints []string
	for _, h := range r.hints {
		if hint, known := fill(h); known {
			hints = append(hints, hint)
		}
	}
	return &fault.Error{Kind: r.kind, Msg: msg, Hints: hints, Err: cause}
}
