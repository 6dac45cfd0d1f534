package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/doctor"
	"github.com/airlock-secrets/airlock/localcloud"
)

const (
	clinicVault    = "https://clinic.vault.azure.net/"
	clinicTenant   = "11111111-2222-3333-4444-555555555555"
	strangeTenant  = "99999999-2222-3333-4444-555555555555"
	clinicApp      = "aaaaaaaa-0000-0000-0000-000000000001"
	strangeApp     = "aaaaaaaa-0000-0000-0000-000000000002"
	expiredApp     = "aaaaaaaa-0000-0000-0000-000000000003"
	clinicIdentity = "bbbbbbbb-0000-0000-0000-000000000001"
	clinicSecret   = "canary-app-secret-91ab"
)

// clinic is the local cloud and a project that uses it as it should.
type clinic struct {
	t      *testing.T
	cloud  *localcloud.Cloud
	dir    string
	env    map[string]string // of the process
	inFile bool              // the backend's settings are in .env, and not in the environment
	kwargs map[string]any
	args   []string
}

// enough is what Airflow needs, and no more.
var enough = localcloud.Permissions{Model: localcloud.RBAC, Roles: []localcloud.RoleAssignment{
	{Principal: clinicApp, Role: "Key Vault Secrets User"}, {Principal: clinicIdentity, Role: "Key Vault Secrets User"},
}}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	c := &clinic{t: t, dir: t.TempDir(), args: []string{"doctor"}}
	c.cloud = localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: localcloud.Provision{
		Apps: []localcloud.App{
			{TenantID: clinicTenant, ClientID: clinicApp, ClientSecret: clinicSecret},
			{TenantID: strangeTenant, ClientID: strangeApp, ClientSecret: clinicSecret},
			{TenantID: clinicTenant, ClientID: expiredApp, ClientSecret: clinicSecret, SecretExpires: time.Now().Add(-time.Hour)},
		},
		Identities: []localcloud.ManagedIdentity{{TenantID: clinicTenant, ClientID: clinicIdentity}},
		Vaults:     []localcloud.Vault{{URL: clinicVault, TenantID: clinicTenant, Permissions: enough}},
		Astro: []localcloud.AstroOrganization{{ID: "org", Workspaces: []localcloud.AstroWorkspace{{ID: "ws"}},
			Tokens: []localcloud.AstroToken{{ID: "reader", Scope: localcloud.AstroOrganizationScope, Role: "ORGANIZATION_OWNER"}}}},
	}})
	c.hold(map[string]string{
		"airflow-variables-hello": "canary-value", "airflow-connections-my-db": "canary://value", "unrelated": "canary-value",
	})
	c.env = map[string]string{
		"HTTPS_PROXY": c.cloud.ProxyURL(), "HTTP_PROXY": c.cloud.ProxyURL(), "SSL_CERT_FILE": c.cloud.CAFile(),
		"AIRLOCK_RUNTIME_DIR": t.TempDir(), "PATH": "", "AZURE_TOKEN_CREDENTIALS": "prod",
	}
	c.kwargs = map[string]any{
		"vault_url": clinicVault, "tenant_id": clinicTenant, "client_id": clinicApp, "client_secret": clinicSecret,
	}
	return c
}

func (c *clinic) hold(secrets map[string]string) {
	c.t.Helper()
	if err := c.cloud.SetSecrets(clinicVault, secrets); err != nil {
		c.t.Fatal(err)
	}
}

// allow changes the vault's permissions.
func (c *clinic) allow(p localcloud.Permissions) {
	c.t.Helper()
	vault := localcloud.Vault{URL: clinicVault, TenantID: clinicTenant, Permissions: p}
	if err := c.cloud.Add(localcloud.Provision{Vaults: []localcloud.Vault{vault}}); err != nil {
		c.t.Fatal(err)
	}
}

// attribute changes a secret's attributes, as the portal does.
func (c *clinic) attribute(name, attributes string) {
	c.t.Helper()
	c.allow(localcloud.Permissions{})
	form := url.Values{"client_id": {clinicApp}, "client_secret": {clinicSecret}, "grant_type": {"client_credentials"},
		"scope": {"https://vault.azure.net/.default"}}
	answer, err := c.cloud.HTTPClient().PostForm("https://login.microsoftonline.com/"+clinicTenant+"/oauth2/v2.0/token", form)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&token); err != nil {
		c.t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPatch, clinicVault+"secrets/"+name+"?api-version=7.5", strings.NewReader(`{"attributes":`+attributes+`}`))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token.AccessToken)
	changed, err := c.cloud.HTTPClient().Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer changed.Body.Close()
	if changed.StatusCode != http.StatusOK {
		c.t.Fatalf("attributes of %s: %s", name, changed.Status)
	}
	c.allow(enough)
}

func (c *clinic) environ() []string {
	c.t.Helper()
	env := maps.Clone(c.env)
	if c.inFile {
		c.write(".env", config.EnvBackend+"=airlock_airflow.AirlockBackend\n"+config.EnvKwargs+"="+c.document()+"\n")
		env[config.EnvBackend], env[config.EnvKwargs] = "", ""
	}
	if _, set := env[config.EnvKwargs]; !set && c.kwargs != nil {
		env[config.EnvKwargs] = c.document()
	}
	if _, set := env[config.EnvBackend]; !set {
		env[config.EnvBackend] = "airlock_airflow.AirlockBackend"
	}
	var all []string
	for key, value := range env {
		all = append(all, key+"="+value)
	}
	return all
}

func (c *clinic) document() string {
	c.t.Helper()
	document, err := json.Marshal(c.kwargs)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(document)
}

func (c *clinic) write(name, text string) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// run runs the command. Whatever it says, it says no secret.
func (c *clinic) run(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	var out, errs bytes.Buffer
	code = Main(Env{Context: ctx, Args: append([]string{"airlock"}, args...), Dir: c.dir, Environ: c.environ(),
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
	for _, said := range []string{out.String(), errs.String()} {
		if strings.Contains(said, "canary") || strings.Contains(said, "eyJ") {
			c.t.Errorf("a secret is shown:\n%s", said)
		}
	}
	return code, out.String(), errs.String()
}

func (c *clinic) report() (int, doctor.Report) {
	c.t.Helper()
	code, stdout, stderr := c.run(c.t.Context(), append(c.args, "--json")...)
	var report doctor.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || stderr != "" {
		c.t.Fatalf("%v: %s\n%s", err, stdout, stderr)
	}
	// People are told the same.
	if again, plain, _ := c.run(c.t.Context(), c.args...); again != code {
		c.t.Errorf("exit code %d with --json, and %d without:\n%s", code, again, plain)
	}
	return code, report
}

func find(t *testing.T, r doctor.Report, check string) doctor.Result {
	t.Helper()
	for _, result := range r.Checks {
		if result.Check == check {
			return result
		}
	}
	t.Fatalf("the report has no check %q", check)
	return doctor.Result{}
}

func lines(r doctor.Result) string {
	return strings.Join(append(append([]string{r.Found}, r.Notes...), r.Remedies...), "\n")
}

// chain is what needs what, from the vault's way on: a broken link is the reason for which the rest is not looked at.
var chain = []string{"kwargs", "proxy", "name", "connection", "tls", "vault", "token", "firewall", "get"}

func TestDoctorFindsTheBrokenLink(t *testing.T) {
	type row struct {
		name   string
		break_ func(*clinic)
		check  string
		state  doctor.State
		found  string
		remedy string
	}
	closed := func(t *testing.T) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return "http://" + l.Addr().String()
	}
	for _, r := range []row{
		{"nothing", func(c *clinic) {}, "get", doctor.OK, "may read", ""},
		{"managed identity", func(c *clinic) {
			c.kwargs = map[string]any{"vault_url": clinicVault, "managed_identity_client_id": clinicIdentity, "workload_identity_tenant_id": clinicTenant}
		}, "token", doctor.OK, "ManagedIdentityCredential gives one for app " + clinicIdentity, ""},

		{"no backend", func(c *clinic) { c.env[config.EnvBackend] = "" }, "class", doctor.Broken, "is not set",
			"AIRFLOW__SECRETS__BACKEND=airlock_airflow.AirlockBackend"},
		{"quoted class", func(c *clinic) { c.env[config.EnvBackend] = `"airlock_airflow.AirlockBackend"` }, "class", doctor.Broken, "quotes", ""},
		{"old class", func(c *clinic) {
			c.env[config.EnvBackend] = "airflow.providers.microsoft.azure.secrets.azure_key_vault.AzureKeyVaultBackend"
		}, "class", doctor.Broken, "newer providers do not have", "secrets.key_vault.AzureKeyVaultBackend"},
		{"not a class", func(c *clinic) { c.env[config.EnvBackend] = "x; rm -rf canary" }, "class", doctor.Broken, "not the path", ""},

		{"broken JSON", func(c *clinic) {
			c.env[config.EnvKwargs] = `{"vault_url": "https://clinic.vault.azure.net", "client_secret": "canary",}`
		},
			"kwargs", doctor.Broken, "line 1, column 75", "a comma stands before"},
		{"no vault", func(c *clinic) { delete(c.kwargs, "vault_url") }, "kwargs", doctor.Broken, "vault_url is missing", "Vault URI"},
		{"unknown kwarg", func(c *clinic) { c.kwargs["variable_prefix"] = "canary" }, "kwargs", doctor.Broken, `unknown key "variable_prefix"`, "variables_prefix"},
		{"half a login", func(c *clinic) { delete(c.kwargs, "client_secret") }, "kwargs", doctor.Warning, "client_id and tenant_id without client_secret", "together"},
		{"separator", func(c *clinic) { c.kwargs["sep"] = "" }, "kwargs", doctor.Warning, "mydb", `"connections_prefix": ""`},
		{"half an identity", func(c *clinic) {
			c.env[config.EnvBackend] = "airflow.providers.microsoft.azure.secrets.key_vault.AzureKeyVaultBackend"
			c.kwargs["managed_identity_client_id"] = clinicIdentity
		}, "kwargs", doctor.Warning, "ignored by the official backend", "workload_identity_tenant_id"},
		{"an agent elsewhere", func(c *clinic) {
			c.kwargs = map[string]any{"agent_socket": filepath.Join(c.dir, "nobody.sock")}
		}, "agent", doctor.Broken, "no agent answers at ", "airlock agent --socket "},
		{"overlap", func(c *clinic) { c.kwargs["connections_prefix"], c.kwargs["variables_prefix"] = "airflow", "airflow" },
			"ids", doctor.Warning, "connections and variables have one prefix", "null"},

		{"proxy is no URL", func(c *clinic) { c.env["HTTPS_PROXY"] = "127.0.0.1" }, "proxy", doctor.Broken, "HTTPS_PROXY is not the URL", "http://"},
		{"no authorities", func(c *clinic) { c.env["SSL_CERT_FILE"] = "/dev/null" }, "proxy", doctor.Broken, "without certificates", ""},
		{"proxy down", func(c *clinic) { c.env["HTTPS_PROXY"] = closed(c.t) }, "connection", doctor.Broken, "the proxy does not let us through", "HTTPS_PROXY"},
		{"proxy wants a login", func(c *clinic) {
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }))
			c.t.Cleanup(proxy.Close)
			c.env["HTTPS_PROXY"] = proxy.URL
		}, "connection", doctor.Broken, "407", "user and password"},
		{"no such name", func(c *clinic) {
			answerDNS(c.t)
			delete(c.env, "HTTPS_PROXY")
		}, "name", doctor.Broken, "there is no host clinic.vault.azure.net", "az keyvault list"},
		{"untrusted", func(c *clinic) {
			c.env["SSL_CERT_FILE"] = localcloud.Start(c.t, localcloud.Config{Hermetic: true}).CAFile()
		}, "tls", doctor.Broken, "the certificate is of clinic.vault.azure.net by Airlock local cloud", "SSL_CERT_FILE"},
		{"no such vault", func(c *clinic) { c.kwargs["vault_url"] = "https://nobody.vault.azure.net" }, "vault", doctor.Broken, "VaultNotProvisioned", ""},
		{"vault hangs up", func(c *clinic) { c.fault("service=keyvault drop=true") }, "vault", doctor.Broken, "cannot be reached", "curl -sv"},
		{"vault is overrun", func(c *clinic) { c.fault("service=keyvault status=429") }, "vault", doctor.Broken, "too many requests", "4000"},
		{"vault is down", func(c *clinic) { c.fault("service=keyvault status=503") }, "vault", doctor.Broken, "503", "azure.status"},

		{"clock", func(c *clinic) { c.cloud.Clock().Advance(10 * time.Minute) }, "clock", doctor.Broken, "10 minutes behind the vault", "set-ntp"},
		{"clock, a little", func(c *clinic) { c.cloud.Clock().Advance(-2 * time.Minute) }, "clock", doctor.Warning, "2 minutes ahead of the vault", "set-ntp"},

		{"wrong secret", func(c *clinic) { c.kwargs["client_secret"] = "canary-wrong" }, "token", doctor.Broken, "client secret of app " + clinicApp + " is wrong",
			"az ad app credential reset --id " + clinicApp},
		{"expired secret", func(c *clinic) { c.kwargs["client_id"] = expiredApp }, "token", doctor.Broken, "has expired", "credential reset"},
		{"unknown app", func(c *clinic) { c.kwargs["client_id"] = "aaaaaaaa-0000-0000-0000-00000000000f" }, "token", doctor.Broken, "is not known in the tenant", "az ad app show"},
		{"wrong tenant", func(c *clinic) { c.kwargs["tenant_id"], c.kwargs["client_id"] = strangeTenant, strangeApp }, "token", doctor.Broken,
			"it is of tenant " + strangeTenant + ", and the vault belongs to tenant " + clinicTenant, "set tenant_id or AZURE_TENANT_ID to " + clinicTenant},
		{"no login", func(c *clinic) {
			c.kwargs, c.env["AZURE_TOKEN_CREDENTIALS"] = map[string]any{"vault_url": clinicVault}, "EnvironmentCredential"
		}, "token", doctor.Broken, "no credential for vault", "az login"},
		{"no such identity", func(c *clinic) {
			c.kwargs = map[string]any{"vault_url": clinicVault, "managed_identity_client_id": strangeApp}
		}, "token", doctor.Broken, "this host does not have the managed identity", "az identity list"},

		{"firewall", func(c *clinic) {
			p := enough
			p.Network = localcloud.NetworkRules{Deny: true, Allowed: []string{"203.0.113.7"}}
			c.allow(p)
		}, "firewall", doctor.Broken, "it saw 127.0.0.1", "network-rule add --name clinic --ip-address 127.0.0.1"},
		{"private endpoint only", func(c *clinic) {
			p := enough
			p.Network = localcloud.NetworkRules{Disabled: true}
			c.allow(p)
		}, "firewall", doctor.Broken, "closed to public networks", "private endpoint"},
		{"no role", func(c *clinic) { c.allow(localcloud.Permissions{Model: localcloud.RBAC}) }, "get", doctor.Broken, "may not read secrets", "Key Vault Secrets User"},
		{"no policy", func(c *clinic) { c.allow(localcloud.Permissions{Model: localcloud.AccessPolicies}) }, "get", doctor.Broken, "no access policy allows it",
			"az keyvault set-policy --name clinic"},
		{"no list", func(c *clinic) { c.policy("get") }, "list", doctor.Warning, "may not list the secrets", "--secret-permissions list"},
		{"metadata alone", func(c *clinic) {
			c.allow(localcloud.Permissions{Model: localcloud.RBAC, Roles: []localcloud.RoleAssignment{{Principal: clinicApp, Role: "Key Vault Reader"}}})
		}, "get", doctor.Broken, "may not read secrets", "Key Vault Secrets User"},
		{"the documented template", func(c *clinic) {
			c.allow(localcloud.Permissions{Model: localcloud.AccessPolicies, Policies: []localcloud.AccessPolicy{
				{Principal: clinicApp, Template: "Key, Secret, & Certificate Management"}}})
		}, "rights", doctor.Warning, "may also set, delete, recover, backup;", "set-policy --name clinic"},
		{"one right too many", func(c *clinic) { c.policy("get", "list", "purge") }, "rights", doctor.Warning, "may also purge;", "--secret-permissions get list"},

		{"nothing for Airflow", func(c *clinic) {
			c.kwargs["connections_prefix"], c.kwargs["variables_prefix"] = "prod-connections", "prod-variables"
		},
			"secrets", doctor.Warning, "none of the vault's 3 secrets is under a prefix", "--name prod-variables-hello"},
		{"disabled", func(c *clinic) { c.attribute("airflow-variables-hello", `{"enabled":false}`) }, "validity", doctor.Warning,
			"1 secret is disabled, which Airflow cannot read: airflow-variables-hello", "set-attributes --vault-name clinic --name airflow-variables-hello --enabled true"},
		{"expired", func(c *clinic) { c.attribute("airflow-variables-hello", `{"exp":1600000000}`) }, "validity", doctor.Warning, "expired, and still given out", "rotate"},
		{"expiring", func(c *clinic) {
			c.attribute("airflow-variables-hello", fmt.Sprintf(`{"exp":%d}`, time.Now().Add(48*time.Hour).Unix()))
		}, "validity", doctor.Warning, "about to expire within 30 days", "attributes.expires"},
	} {
		t.Run(r.name, func(t *testing.T) {
			c := newClinic(t)
			r.break_(c)
			code, report := c.report()
			got := find(t, report, r.check)
			if got.State != r.state || !strings.Contains(lines(got), r.found) {
				t.Errorf("%s is %s: %s\nwant %s, with %q", r.check, got.State, lines(got), r.state, r.found)
			}
			if remedies := strings.Join(got.Remedies, "\n"); !strings.Contains(remedies, r.remedy) {
				t.Errorf("remedies of %s: %s\nwant %q", r.check, remedies, r.remedy)
			}
			if r.state == doctor.Broken && code != exitBroken || report.State != doctor.Broken && code != 0 {
				t.Errorf("exit code %d of a report that is %s", code, report.State)
			}
			if r.state == doctor.Broken && r.check != "agent" {
				checkChain(t, report, r.check)
			}
		})
	}
}

// checkChain: what comes before a broken link works, and what needs it is skipped because of it.
func checkChain(t *testing.T, report doctor.Report, broken string) {
	t.Helper()
	behind := false
	for _, check := range chain {
		result := find(t, report, check)
		switch {
		case check == broken:
			behind = true
		case behind && (result.State != doctor.Skipped || result.Because != broken):
			t.Errorf("%s is %s because of %q, behind the broken link %s", check, result.State, result.Because, broken)
		case !behind && (result.State == doctor.Broken || result.State == doctor.Skipped) && broken != "class" && broken != "clock":
			t.Errorf("%s is %s, before the broken link %s: %s", check, result.State, broken, lines(result))
		}
		if broken == "class" || broken == "clock" {
			return
		}
	}
}

func (c *clinic) policy(permissions ...string) {
	c.t.Helper()
	c.allow(localcloud.Permissions{Model: localcloud.AccessPolicies, Policies: []localcloud.AccessPolicy{{Principal: clinicApp, Secrets: permissions}}})
}

func (c *clinic) fault(line string) {
	c.t.Helper()
	rule, err := localcloud.ParseFault(line)
	if err == nil {
		err = c.cloud.SetFaults(localcloud.Faults{Rules: []localcloud.Fault{rule}})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// answerDNS lets this process's names be looked up at a server of our own, which knows none.
func answerDNS(t *testing.T) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, from, err := server.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil {
				continue
			}
			m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeNameError, nil
			if answer, err := m.Pack(); err == nil {
				_, _ = server.WriteTo(answer, from)
			}
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	t.Cleanup(func() { net.DefaultResolver = before })
}

// deploy makes a Deployment with variables, and a token that sees it.
func (c *clinic) deploy(variables ...localcloud.AstroVariable) {
	c.t.Helper()
	err := c.cloud.Add(localcloud.Provision{Astro: []localcloud.AstroOrganization{{ID: "org", Workspaces: []localcloud.AstroWorkspace{
		{ID: "ws", Deployments: []localcloud.AstroDeployment{{ID: "dep", Name: "prod", Variables: variables}}},
	}}}})
	if err != nil {
		c.t.Fatal(err)
	}
	if c.env["ASTRO_API_TOKEN"], err = c.cloud.AstroToken("reader"); err != nil {
		c.t.Fatal(err)
	}
	c.inFile, c.args = true, []string{"doctor", "--deployment", "prod"}
}

func TestDoctorDeployment(t *testing.T) {
	backend := localcloud.AstroVariable{Key: config.EnvBackend, Value: "airlock_airflow.AirlockBackend"}
	kwargs := localcloud.AstroVariable{Key: config.EnvKwargs, Value: "{}", Secret: true}
	for _, row := range []struct {
		name   string
		have   func(*clinic)
		state  doctor.State
		found  string
		remedy string
	}{
		{"as here", func(c *clinic) { c.deploy(backend, kwargs) }, doctor.OK, "prod (dep) has what stands here: 1 the same, 1 secret", ""},
		{"no kwargs", func(c *clinic) { c.deploy(backend) }, doctor.Broken, config.EnvKwargs + " is not set", "airlock push prod"},
		{"kwargs for everybody", func(c *clinic) {
			c.deploy(backend, localcloud.AstroVariable{Key: config.EnvKwargs, Value: c.document()})
		}, doctor.Broken, "not marked as secret", "airlock push prod"},
		{"kwargs without a credential", func(c *clinic) {
			c.kwargs = map[string]any{"vault_url": clinicVault, "managed_identity_client_id": clinicIdentity, "workload_identity_tenant_id": clinicTenant}
			c.deploy(backend, localcloud.AstroVariable{Key: config.EnvKwargs, Value: c.document()})
		}, doctor.OK, "2 the same", ""},
		{"another class", func(c *clinic) {
			c.deploy(localcloud.AstroVariable{Key: config.EnvBackend, Value: "canary"}, kwargs)
		}, doctor.Warning, config.EnvBackend + " is another in the Deployment", "airlock push prod"},
		{"a login that is not here", func(c *clinic) {
			c.deploy(backend, kwargs, localcloud.AstroVariable{Key: "AZURE_CLIENT_SECRET", Value: "canary", Secret: true})
		}, doctor.Warning, "AZURE_CLIENT_SECRET is set in the Deployment and not here", "--deployment-id dep"},
		{"not there", func(c *clinic) {
			c.deploy()
			c.args = []string{"doctor", "--deployment", "nowhere"}
		}, doctor.Broken, `no Deployment has the id or name "nowhere"`, "prod (dep)"},
		{"no token", func(c *clinic) {
			c.deploy()
			c.env["ASTRO_API_TOKEN"], c.env["ASTRO_HOME"] = "", c.dir
		}, doctor.Broken, "", "ASTRO_API_TOKEN"},
		{"Astro is down", func(c *clinic) {
			c.deploy()
			c.env["ASTRO_API_TOKEN"] += "x"
		}, doctor.Broken, "does not accept the token", "astro login"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newClinic(t)
			row.have(c)
			_, report := c.report()
			if get := find(t, report, "get"); get.State != doctor.OK {
				t.Errorf("get: %s", lines(get))
			}
			got := find(t, report, "deployment")
			if got.State != row.state || !strings.Contains(lines(got), row.found) || !strings.Contains(strings.Join(got.Remedies, "\n"), row.remedy) {
				t.Errorf("%s: %s\nwant %s with %q and %q", got.State, lines(got), row.state, row.found, row.remedy)
			}
		})
	}
}

func TestDoctorValues(t *testing.T) {
	identity := map[string]any{"vault_url": clinicVault, "managed_identity_client_id": clinicIdentity, "workload_identity_tenant_id": clinicTenant}
	written := func(c *clinic) {
		c.write("values.yaml", "namespace: airflow # ours\n")
		if code, out, stderr := c.run(c.t.Context(), "values", "values.yaml", "--yes"); code != 0 {
			c.t.Fatalf("values: %d %s %s", code, out, stderr)
		}
	}
	for _, row := range []struct {
		name   string
		kwargs map[string]any // nil: a client secret
		have   func(*clinic)
		state  doctor.State
		found  string
	}{
		{"written by airlock", nil, written, doctor.OK, "it says what the kwargs say"},
		{"with an identity", identity, written, doctor.OK, "it says what the kwargs say"},
		{"with a secret of another name", nil, func(c *clinic) {
			c.write("values.yaml", "namespace: airflow\n")
			c.run(c.t.Context(), "values", "values.yaml", "--yes", "--secret-name", "ours", "--secret-key", "k")
		}, doctor.OK, "it says what the kwargs say"},
		{"nothing yet", nil, func(c *clinic) { c.write("values.yaml", "namespace: airflow\n") }, doctor.Broken, "+secretBackend: airlock_airflow.AirlockBackend"},
		{"another vault", identity, func(c *clinic) {
			written(c)
			c.kwargs["vault_url"] = "https://clinic.vault.azure.net" // a slash less is another text
			c.kwargs["connections_prefix"] = "other"
		}, doctor.Broken, "airlock values values.yaml"},
		{"a key twice", identity, func(c *clinic) { c.write("values.yaml", "labels: {a: b}\nlabels: {c: d}\n") }, doctor.Broken, "values.yaml:2: the key labels stands in line 1 already"},
		{"another identity", identity, func(c *clinic) {
			c.write("values.yaml", "annotations:\n  azure.workload.identity/client-id: "+strangeApp+"\n")
		}, doctor.Broken, "names the identity " + strangeApp},
		{"not there", nil, func(*clinic) {}, doctor.Broken, "cannot read values.yaml"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newClinic(t)
			c.inFile, c.args = true, []string{"doctor", "--values", "values.yaml"}
			if row.kwargs != nil {
				c.kwargs = maps.Clone(row.kwargs)
			}
			row.have(c)
			_, report := c.report()
			if got := find(t, report, "values"); got.State != row.state || !strings.Contains(lines(got), row.found) {
				t.Errorf("%s: %s\nwant %s with %q", got.State, lines(got), row.state, row.found)
			}
		})
	}
}

// TestDoctorChangesNothing: the vault holds afterwards what it held before, no value was read, and no request could
// have had an effect.
func TestDoctorChangesNothing(t *testing.T) {
	c := newClinic(t)
	c.allow(localcloud.Permissions{}) // everything is allowed, so that whatever has an effect has it
	c.cloud.ForgetRequests()
	if code, _, _ := c.run(t.Context(), "doctor"); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	random := regexp.MustCompile(`^/(deleted)?secrets/airlock-doctor-[0-9a-f]{32}(/|/recover|/backup)?$`)
	tried := map[string]bool{}
	for _, r := range c.cloud.Requests() {
		if r.Service != "keyvault" || strings.Trim(r.Path, "/") == "secrets" && r.Method == http.MethodGet {
			continue
		}
		if !random.MatchString(r.Path) {
			t.Errorf("%s %s is not a request about a secret that does not exist", r.Method, r.Path)
		}
		if r.Status != http.StatusUnauthorized && r.Status != http.StatusNotFound {
			t.Errorf("%s %s was answered with %d", r.Method, r.Path, r.Status)
		}
		tried[r.Method] = true
	}
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete, http.MethodPost} {
		if !tried[method] {
			t.Errorf("no right was tried with %s", method)
		}
	}
	code, after, _ := c.run(t.Context(), "list")
	if code != 0 || strings.Count(after, "\n") != 2 {
		t.Errorf("the vault lists afterwards (%d):\n%s", code, after)
	}
}

// TestDoctorTellsNoSecret: whatever is broken, and wherever the secret stands, no output holds it.
func TestDoctorTellsNoSecret(t *testing.T) {
	secretly := `"vault_url": "` + clinicVault + `", "client_secret": "canary"`
	for name, broken := range map[string]func(*clinic){
		"cut short":            func(c *clinic) { c.env[config.EnvKwargs] = `{` + secretly },
		"not an object":        func(c *clinic) { c.env[config.EnvKwargs] = `"canary"` },
		"single quotes":        func(c *clinic) { c.env[config.EnvKwargs] = strings.ReplaceAll(`{`+secretly+`}`, `"`, `'`) },
		"escaped":              func(c *clinic) { c.env[config.EnvKwargs] = strings.ReplaceAll(`{`+secretly+`}`, `"`, `\"`) },
		"quoted in .env":       func(c *clinic) { c.write(".env", config.EnvKwargs+`="{`+secretly+`}"`+"\n") },
		"several lines":        func(c *clinic) { c.write(".env", config.EnvKwargs+"={\n"+secretly+"\n}\n") },
		"a bare line":          func(c *clinic) { c.write(".env", "canary\n") },
		"no name":              func(c *clinic) { c.write(".env", "= canary\n") },
		"not UTF-8":            func(c *clinic) { c.write(".env", "AZURE_CLIENT_SECRET=canary\xff\n") },
		"unknown key":          func(c *clinic) { c.kwargs["clientsecret"] = "canary" },
		"wrong type":           func(c *clinic) { c.kwargs["client_secret"] = []string{"canary"} },
		"odd prefix":           func(c *clinic) { c.kwargs["connections_prefix"] = 7; c.kwargs["sep"] = nil },
		"user in the URL":      func(c *clinic) { c.kwargs["vault_url"] = "https://user:canary@clinic.vault.azure.net" },
		"query in the URL":     func(c *clinic) { c.kwargs["vault_url"] = clinicVault + "?sig=canary" },
		"user of the proxy":    func(c *clinic) { c.env["HTTPS_PROXY"] = strings.Replace(c.cloud.ProxyURL(), "//", "//user:canary@", 1) },
		"proxy down":           func(c *clinic) { c.env["HTTPS_PROXY"] = "http://user:canary@127.0.0.1:1" },
		"proxy odd":            func(c *clinic) { c.env["HTTPS_PROXY"] = "http://user:canary@[" },
		"tenant":               func(c *clinic) { c.kwargs["tenant_id"] = "canary tenant" },
		"one key a variable":   func(c *clinic) { c.env[config.EnvKwargPrefix+"CLIENT_SECRET"] = "canary-wrong" },
		"answers with a text":  func(c *clinic) { c.fault("service=entra status=400") },
		"refused by a gateway": func(c *clinic) { c.fault("service=keyvault status=403") },
		"Astro's token":        func(c *clinic) { c.deploy(); c.env["ASTRO_API_TOKEN"] = "canary" },
		"values": func(c *clinic) {
			c.write("values.yaml", "commonEnv:\n  - name: AZURE_CLIENT_SECRET\n    value: canary\n")
		},
		"values that are no YAML": func(c *clinic) { c.write("values.yaml", "commonEnv: [canary\n") },
	} {
		t.Run(name, func(t *testing.T) {
			c := newClinic(t)
			c.env["AZURE_TOKEN_CREDENTIALS"] = "EnvironmentCredential"
			broken(c)
			if _, err := os.Stat(filepath.Join(c.dir, ".env")); err == nil && !c.inFile {
				c.env[config.EnvKwargs] = ""
			}
			args := append(c.args, "--values", "values.yaml")
			code, report, stderr := c.run(t.Context(), append(args, "--json")...) // it looks for canaries
			if code != exitBroken || stderr != "" || !strings.HasPrefix(report, "{") {
				t.Errorf("exit code %d\n%s\n%s", code, report, stderr)
			}
			c.run(t.Context(), args...)
		})
	}
}

// TestDoctorStrict: warnings have an exit code of their own, for those who ask for it.
func TestDoctorStrict(t *testing.T) {
	c := newClinic(t)
	c.policy("get")
	for args, want := range map[string]int{"doctor": 0, "doctor --strict": exitFound} {
		if code, out, _ := c.run(t.Context(), strings.Fields(args)...); code != want {
			t.Errorf("%s: exit code %d, want %d\n%s", args, code, want, out)
		}
	}
}

// TestDoctorInterrupted: Ctrl-C ends a check that waits, and what is known is told.
func TestDoctorInterrupted(t *testing.T) {
	c := newClinic(t)
	c.fault("service=entra latency=4m")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if c.cloud.InFlight() > 0 && len(c.cloud.Requests()) > 0 { // the challenge is answered, the login hangs
				cancel()
				return
			}
		}
	}()
	code, out, stderr := c.run(ctx, "doctor")
	if code != 130 || !strings.Contains(out, "ok\tvault\t") || !strings.Contains(out, "skipped\ttoken\tinterrupted") || !strings.Contains(stderr, "interrupted") {
		t.Errorf("exit code %d\n%s\n%s", code, out, stderr)
	}
}

// What differs from run to run.
var (
	anyPort   = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	anyCA     = regexp.MustCompile(`(development CA) [0-9a-f]+`)
	anyDate   = regexp.MustCompile(`until \d{4}-\d\d-\d\d`)
	anyBundle = regexp.MustCompile(`/\S+/ca-bundle\.pem`)
	anyLife   = regexp.MustCompile(`another \d+ minutes`)
	anyName   = regexp.MustCompile(`airlock-doctor-[0-9a-f]{32}`)
)

// TestDoctorGolden: what people see, on a terminal and in a pipe, of a chain that is whole and of one that is not.
func TestDoctorGolden(t *testing.T) {
	for _, row := range []struct {
		name     string
		terminal bool
		noColor  string
		prepare  func(*clinic)
	}{
		{"whole.pipe", false, "", func(*clinic) {}},
		{"whole.terminal", true, "", func(*clinic) {}},
		{"broken.terminal", true, "", func(c *clinic) { c.allow(localcloud.Permissions{Model: localcloud.AccessPolicies}) }},
		{"broken.nocolor", true, "1", func(c *clinic) { c.kwargs["tenant_id"], c.kwargs["client_id"] = strangeTenant, strangeApp }},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newClinic(t)
			row.prepare(c)
			c.env["NO_COLOR"], c.env["TERM"] = row.noColor, "xterm"
			var out bytes.Buffer
			Main(Env{Context: t.Context(), Args: []string{"airlock", "doctor"}, Dir: c.dir, Environ: c.environ(),
				Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, StdoutTerminal: row.terminal})
			got := out.String()
			for shape, instead := range map[*regexp.Regexp]string{
				anyPort: "127.0.0.1:PORT", anyCA: "$1 ID", anyDate: "until DATE", anyBundle: "CA-BUNDLE", anyLife: "another N minutes", anyName: "RANDOM",
			} {
				got = shape.ReplaceAllString(got, instead)
			}
			if row.noColor != "" && strings.Contains(got, "\x1b[3") {
				t.Error("NO_COLOR is not honoured")
			}
			path := filepath.Join("testdata", "doctor", row.name)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || got != string(want) {
				t.Errorf("%s (%v); write it with: go test ./internal/cli -run DoctorGolden -update\n%s", path, err, got)
			}
		})
	}
}

// TestNarrowTerminal: findings stay in their column, broken at blanks; hints can be copied.
func TestNarrowTerminal(t *testing.T) {
	for _, row := range []struct {
		columns int
		want    string
	}{
		{27 + 30, "\r\x1b[Kok       clock             this machine agrees with the\n" +
			strings.Repeat(" ", 27) + "vault, to the second\n" +
			strings.Repeat(" ", 27) + "a-word-that-is-longer-than-the-column\n" +
			strings.Repeat(" ", 27) + "is whole\n" +
			strings.Repeat(" ", 27) + "hint: airlock set variable hello and something that is long\n"},
		{40, "\r\x1b[Kok       clock             this machine agrees with the vault, to the second\n" +
			strings.Repeat(" ", 27) + "a-word-that-is-longer-than-the-column is whole\n" +
			strings.Repeat(" ", 27) + "hint: airlock set variable hello and something that is long\n"},
	} {
		var out bytes.Buffer
		size := func() (int, int, error) { return row.columns, 24, nil }
		a := &app{env: Env{Stdout: &out, StdoutTerminal: true, StdoutSize: size}, getenv: func(key string) string {
			return map[string]string{"NO_COLOR": "1", "TERM": "xterm"}[key]
		}}
		a.doctorView().hears(doctor.Result{
			Title: "clock", State: doctor.OK, Found: "this machine agrees with the vault, to the second",
			Notes:    []string{"a-word-that-is-longer-than-the-column is whole"},
			Remedies: []string{"airlock set variable hello and something that is long"},
		})
		if got := out.String(); got != row.want {
			t.Errorf("%d columns:\n%q\nwant\n%q", row.columns, got, row.want)
		}
	}
}
