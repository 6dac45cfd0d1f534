package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

var update = flag.Bool("update", false, "write the generated documentation instead of comparing it")

const minimal = "vaults:\n- url: https://prod.vault.azure.net/\n"

// load reads a document out of a private file.
func load(t testing.TB, document string, getenv Getenv) (Agent, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "airlock.yaml")
	if err := os.WriteFile(path, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadAgent(Source{File: path, Getenv: getenv})
}

func TestDocument(t *testing.T) {
	a, err := load(t, `
vaults:
- name: team-a
  url: https://prod.vault.azure.net/
  tenant_id: t
  client_id: c
  client_secret_env: SECRET_A
  variables_prefix: vars
  config_prefix: null
  multi_team: true
- url: https://shared.vault.azure.net
  sep: ""
cache:
  ttl: 90
  max_stale: 2h
listen:
  socket: /run/a.sock
  idle_exit: 15m
`, env("SECRET_A", "canary", "HTTPS_PROXY", "http://p:1", "AIRLOCK_MAX_STALE", "3h", "AIRLOCK_NEGATIVE_TTL", "5"))
	if err != nil {
		t.Fatal(err)
	}
	first, second := a.Vaults[0], a.Vaults[1]
	if first.Name != "team-a" || second.Name != "shared" {
		t.Errorf("names %q and %q", first.Name, second.Name)
	}
	if string(first.ClientSecret.Reveal()) != "canary" || first.TenantID != "t" || !first.MultiTeam || first.Network.HTTPSProxy != "http://p:1" {
		t.Errorf("first vault: %+v", first)
	}
	if first.Prefix(airflow.Variable) != airflow.NewPrefix("vars") || !first.Prefix(airflow.Config).Null() || first.Sep != "-" || second.Sep != "" {
		t.Errorf("naming %+v and %+v", first.Naming, second.Naming)
	}
	for _, v := range a.Vaults {
		if v.CacheTTL != 90*time.Second || v.MaxStale != 3*time.Hour || v.NegativeTTL != 5*time.Second {
			t.Errorf("times of %s: %v, %v, %v", v.Name, v.CacheTTL, v.MaxStale, v.NegativeTTL)
		}
	}
	if a.Listen != (Listen{Socket: "/run/a.sock", IdleExit: 15 * time.Minute}) || len(a.files) != 1 {
		t.Errorf("%+v, %q", a.Listen, a.files)
	}
	shown, err := a.Document()
	if err != nil || strings.Contains(string(shown), "canary") || !strings.Contains(string(shown), "max_stale: 3h") {
		t.Errorf("shown as %s, %v", shown, err)
	}
}

func TestDocumentProblems(t *testing.T) {
	for _, row := range []struct {
		name, document string
		want           []string
	}{
		{"empty", "# nothing\n", []string{"airlock.yaml: no vault is named"}},
		{"two documents", minimal + "---\n" + minimal, []string{"must be one YAML document"}},
		{"a list", "- canary\n", []string{"airlock.yaml:1: the document must have keys"}},
		{"broken", "vaults:\n\t- url: canary\n", []string{"airlock.yaml:2: is not valid YAML"}},
		{"an anchor that is not there", "vaults: *canary\n", []string{"is not valid YAML"}},
		{"an alias", "cache: &a {ttl: 5m}\nlisten: *a\n" + minimal, []string{"airlock.yaml:2: listen is an alias"}},
		{"a merge", minimal + "  <<: {name: x}\n", []string{"airlock.yaml:3: vaults[0] has a key that is not plain text"}},
		{"all at once", "vaults:\n- url: http://canary.vault.azure.net\n  nmae: x\n  sep: 5\n- name: b\n  tenant_id: [canary]\ncache:\n  ttl: canary\n  max_stale: -5\nlisten: 5\n", []string{
			"airlock.yaml:2: vaults[0].url must be https", `airlock.yaml:3: vaults[0]: unknown key "nmae"`, `did you mean "name"?`,
			"airlock.yaml:4: vaults[0].sep must be text", "airlock.yaml:6: vaults[1].tenant_id must be a single value",
			"airlock.yaml:8: cache.ttl must be seconds", "airlock.yaml:9: cache.max_stale must be between",
			"airlock.yaml:10: listen must have keys",
		}},
		{"no url", "vaults:\n- name: a\n", []string{"airlock.yaml:2: vaults[0].url is missing"}},
		{"twice", minimal + "  sep: a\n  sep: b\n", []string{"airlock.yaml:4: vaults[0].sep is there twice"}},
		{"one name", minimal + "- url: https://prod.vault.azure.cn/\n", []string{`airlock.yaml:3: vaults[1] is called "prod" like the vault of line 2`}},
		{"name", minimal + "  name: a b\n", []string{"vaults[0].name must be a name"}},
		{"two secrets", minimal + "  client_secret: canary\n  client_secret_env: A\n", []string{"given in more than one way"}},
		{"a number as secret", minimal + "  client_secret: 5150\n", []string{"vaults[0].client_secret must be text, in quotes"}},
		{"unset", minimal + "  client_secret_env: A\n", []string{"client_secret_env names a variable that is not set"}},
		{"no file", minimal + "  client_secret_file: absent\n", []string{"client_secret_file cannot be read"}},
		{"a flag", minimal + "  multi_team: canary\n", []string{"multi_team must be true or false"}},
	} {
		_, err := load(t, row.document, env())
		if !fault.Is(err, fault.Usage) {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		all := err.Error() + "\n" + strings.Join(fault.HintsOf(err), "\n")
		for _, want := range row.want {
			if !strings.Contains(all, want) {
				t.Errorf("%s: %s\nwants %q", row.name, all, want)
			}
		}
		if strings.Contains(all, "canary") || strings.Contains(all, "5150") {
			t.Errorf("%s: content is shown: %s", row.name, all)
		}
	}
	if _, err := load(t, minimal, env("AIRLOCK_CACHE_TTL", "canary")); err == nil || !strings.Contains(err.Error(), "AIRLOCK_CACHE_TTL must be") || strings.Contains(err.Error(), "canary") {
		t.Errorf("environment: %v", err)
	}
}

func TestRoutes(t *testing.T) {
	const two = "vaults:\n- {name: a, url: \"https://a.vault.azure.net\", config_prefix: null}\n- {name: b, url: \"https://b.vault.azure.net\"}\n"
	a, err := load(t, two, env())
	if err != nil || len(a.Routes) != 2 || a.Routes[0].Vault != 0 || a.Routes[1].Vault != 1 {
		t.Errorf("without routes: %+v, %v", a.Routes, err)
	}
	a, err = load(t, two+"routes:\n- {vault: b, kinds: [connections], ids: [B-*], on_denied: continue}\n- vault: a\nnever: {variables: [\"x*\"]}\n", env())
	if err != nil || len(a.Routes) != 2 || a.Routes[0].Vault != 1 || !a.Routes[0].PastDenial || a.Routes[1].PastDenial ||
		!a.Routes[0].Scope.Has(airflow.Connection, "b_x", "") || a.Routes[0].Scope.Has(airflow.Variable, "b_x", "") || !a.Never[airflow.Variable][0].Match("xy") {
		t.Errorf("%+v, %+v, %v", a.Routes, a.Never, err)
	}
	for _, row := range []struct{ routes, want string }{
		{"- vault: a\n", `airlock.yaml:3: vaults[1] "b" is in no route`},
		{"- vault: a\n- vault: bb\n- vault: b\n", `airlock.yaml:6: routes[1].vault names "bb", and no vault is called that`},
		{"- ids: [x]\n- vault: a\n- vault: b\n", "airlock.yaml:5: routes[0].vault is missing"},
		{"- vault: a\n- {vault: a, ids: [x]}\n- vault: b\n", "airlock.yaml:6: routes[1] can give nothing: the route of line 5"},
		{"- {vault: a, ids: [\"x*\"], on_denied: continue}\n- {vault: a, ids: [xy]}\n- vault: b\n", "routes[1] can give nothing"},
		{"- {vault: a, kinds: [config]}\n- vault: b\n", "routes[0] is for config, and the vault's config_prefix is null"},
		{"- vault: a\n- {vault: b, kinds: [config], teams: [x]}\n", "routes[1] is for config of teams"},
		{"- vault: a\n- {vault: b, kinds: [variable], ids: [xyz]}\nnever: {variables: [\"x*\"]}\n", "routes[1] is for ids that are never looked up"},
		{"- {vault: a, on_denied: maybe}\n- vault: b\n", `routes[0].on_denied must be "stop" or "continue"`},
		{"- {vault: a, kinds: [pool]}\n- vault: b\n", "routes[0].kinds[0] must be connection, variable or config"},
		{"- {vault: a, ids: [\"\"]}\n- vault: b\n", "routes[0].ids[0] is empty"},
		{"- {vault: a, ids: x}\n- vault: b\n", "routes[0].ids must be a list"},
		{"- {vault: a, vualt: x}\n- vault: b\n", `routes[0]: unknown key "vualt"`},
	} {
		if _, err := load(t, two+"routes:\n"+row.routes, env()); !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s%v\nwants %q", row.routes, err, row.want)
		}
	}
}

func TestPolicy(t *testing.T) {
	a, err := load(t, minimal+"policy:\n- {uids: [self, root, 7]}\n- {gids: [8], kinds: [variable], ids: [x]}\naudit: {file: a.jsonl}\n", env())
	if err != nil || len(a.Policy) != 2 || !reflect.DeepEqual(a.Policy[0].UIDs, []uint32{uint32(os.Geteuid()), 0, 7}) || a.Policy[1].GIDs[0] != 8 ||
		!a.Policy[1].Scope.Has(airflow.Variable, "x", "") || !filepath.IsAbs(a.AuditFile) {
		t.Errorf("%+v, %q, %v", a.Policy, a.AuditFile, err)
	}
	if a, err = load(t, minimal, env("AIRLOCK_AUDIT_FILE", "-")); err != nil || a.AuditFile != "-" {
		t.Errorf("%q, %v", a.AuditFile, err)
	}
	for _, row := range []struct{ rule, want string }{
		{"{kinds: [variable]}", "airlock.yaml:4: policy[0] is for everybody"},
		{"{uids: [canary]}", "policy[0].uids[0] must be a user's number, self or root"},
		{"{uids: [-1]}", "must be a user's number"},
		{"{gids: [4294967295]}", "must be a group's number"},
		{"{uids: [1], kinds: [config], teams: [a]}", "policy[0] is for config of teams"},
	} {
		if _, err := load(t, minimal+"policy:\n- "+row.rule+"\n", env()); !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", row.rule, err)
		}
	}
}

func TestFilesThatOthersRead(t *testing.T) {
	dir := t.TempDir()
	secretFile := filepath.Join(dir, "secret")
	holding := minimal + "  tenant_id: t\n  client_id: c\n  client_secret: canary\n"
	naming := minimal + "  tenant_id: t\n  client_id: c\n  client_secret_file: secret\n"
	kwargs := `{` + vault + `, "client_secret": "canary"}`
	for _, row := range []struct {
		document     string
		mode, secret os.FileMode
		want         string // "" is fine
	}{
		{minimal, 0o644, 0o600, ""},
		{minimal, 0o646, 0o600, "can be changed by other users (mode 0646)"},
		{holding, 0o600, 0o600, ""},
		{holding, 0o640, 0o600, ""}, // the group is ours
		{holding, 0o644, 0o600, "airlock.yaml holds a secret and can be read by other users (mode 0644)"},
		{naming, 0o644, 0o600, ""},
		{naming, 0o644, 0o604, "client_secret_file can be read by other users (mode 0604)"},
		{kwargs, 0o600, 0o600, ""},
		{kwargs, 0o644, 0o600, "airlock.yaml holds a secret and can be read"},
		{`{` + vault + `}`, 0o644, 0o600, ""},
	} {
		path := filepath.Join(dir, "airlock.yaml")
		for file, content := range map[string]string{path: row.document, secretFile: "canary\n"} {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(path, row.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(secretFile, row.secret); err != nil {
			t.Fatal(err)
		}
		a, err := LoadAgent(Source{File: path, Getenv: env()})
		if row.want == "" {
			if err != nil {
				t.Errorf("%q, mode %o: %v", row.document, row.mode, err)
			} else if row.document == naming && (string(a.Vaults[0].ClientSecret.Reveal()) != "canary" || len(a.files) != 2) {
				t.Errorf("secret of %d bytes, files %q", a.Vaults[0].ClientSecret.Len(), a.files)
			}
		} else if err == nil || !strings.Contains(err.Error(), row.want) || len(fault.HintsOf(err)) == 0 {
			t.Errorf("%q, mode %o: %v; want %q", row.document, row.mode, err, row.want)
		}
	}
}

func TestKwargsAreADocument(t *testing.T) {
	a, err := LoadAgent(Source{File: "-", Stdin: strings.NewReader(`{` + vault + `, "cache_ttl": 7, "agent_socket": "/x"}`), Getenv: env("AIRLOCK_MAX_STALE", "1h")})
	if err != nil || len(a.Vaults) != 1 || a.Vaults[0].Name != "v" || a.Vaults[0].CacheTTL != 7*time.Second || a.Vaults[0].MaxStale != time.Hour || a.Vaults[0].AgentSocket != "" {
		t.Errorf("%+v, %v", a, err)
	}
	a, err = LoadAgent(Source{Getenv: env(EnvKwargs, `{`+vault+`}`)})
	if err != nil || a.Vaults[0].VaultURL != "https://v.vault.azure.net/" {
		t.Errorf("from the environment: %+v, %v", a, err)
	}
	for _, broken := range []string{"", "'{}'", "{", "[]"} {
		if _, err := LoadAgent(Source{File: "-", Stdin: strings.NewReader(broken), Getenv: env()}); !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), "backend kwargs") {
			t.Errorf("%q: %v", broken, err)
		}
	}
	if _, err := LoadAgent(Source{File: "/nowhere/airlock.yaml", Getenv: env()}); !fault.Is(err, fault.Usage) {
		t.Errorf("no file: %v", err)
	}
}

func TestSame(t *testing.T) {
	read := func(document string) Vault {
		a, err := load(t, document, env())
		if err != nil {
			t.Fatal(err)
		}
		return a.Vaults[0]
	}
	base := minimal + "  tenant_id: t\n  client_id: c\n  client_secret: "
	if !read(base + "one\n").Same(read("# another comment\n" + base + "one\n  name: renamed\n")) {
		t.Error("what is the same counts as changed")
	}
	for _, other := range []string{base + "two\n", base + "one\n  sep: \"\"\n", base + "one\ncache: {ttl: 1}\n"} {
		if read(base + "one\n").Same(read(other)) {
			t.Errorf("%q counts as the same", other)
		}
	}
}

// example is the document that docs/airlock.yaml shows: every field, with its default where it has one.
func example() document {
	var doc document
	prepare(reflect.ValueOf(&doc).Elem())
	var team, shared vaultEntry
	team.setDefaults()
	shared.setDefaults()
	team.Name, team.URL = "team-a", "https://team-a-prod.vault.azure.net/"
	team.TenantID, team.ClientID = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
	team.ClientSecretEnv = "TEAM_A_CLIENT_SECRET"
	shared.Name, shared.URL = "shared", "https://shared-prod.vault.azure.net/"
	shared.ManagedIdentity = "33333333-3333-3333-3333-333333333333"
	shared.WorkloadTenant = "11111111-1111-1111-1111-111111111111"
	shared.ConfigOptions = prefixText{}
	doc.Vaults = []vaultEntry{team, shared}
	pattern := func(text string) idPattern {
		p, _ := airflow.NewPattern(text)
		return idPattern{p}
	}
	doc.Routes = []routeEntry{
		{Scoped: Scoped{
			Kinds: []kindName{"connection", "variable"}, IDs: []idPattern{pattern("team_a_*")}, Teams: []teamPattern{{pattern("team_a")}, {}},
		}, Vault: "team-a", OnDenied: denialContinue},
		{Vault: "shared", OnDenied: denialStop},
	}
	doc.Never = neverEntry{
		Connections: []idPattern{pattern("*_default")}, Variables: []idPattern{pattern("*.*"), pattern("local_*")},
		Config: []idPattern{pattern("smtp_*")},
	}
	doc.Policy = []ruleEntry{
		{UIDs: []userID{0, 50000}},
		{GIDs: []groupID{50001}, Scoped: Scoped{Kinds: []kindName{"variable"}, IDs: []idPattern{pattern("team_a_*")}}},
		{TCP: true, Scoped: Scoped{Kinds: []kindName{"connection", "variable"}}},
		{GIDs: []groupID{50002}, Operate: true},
	}
	doc.Audit.File = "/var/log/airlock/audit.jsonl"
	doc.Listen.Socket, doc.Listen.Group = "/run/airlock/agent.sock", group{"50001", 50001}
	doc.Listen.TCP, doc.Listen.Token, doc.Listen.Hosts = "127.0.0.1:8130", "/run/airlock/token", []host{"airlock.internal"}
	return doc
}

// TestReference: docs/airlock.yaml is what the code says of itself, and a configuration that is right.
func TestReference(t *testing.T) {
	want, err := write(example(), true)
	if err != nil {
		t.Fatal(err)
	}
	want = append([]byte("# A configuration of airlock agent, with every setting. This file is generated from the code; see configuration.md.\n\n"), want...)
	path := filepath.Join("..", "..", "docs", "airlock.yaml")
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/airlock.yaml is not what the code says (%v); write it with: go test ./internal/config -run Reference -update", err)
	}
	a, err := load(t, string(want), env("TEAM_A_CLIENT_SECRET", "canary"))
	if err != nil {
		t.Fatal(err)
	}
	// What is in force is a document, too, and says the same again.
	shown, err := a.Document()
	if err != nil {
		t.Fatal(err)
	}
	again, err := load(t, string(shown), env("TEAM_A_CLIENT_SECRET", "canary"))
	if err != nil || len(again.Vaults) != len(a.Vaults) {
		t.Fatalf("%s\n%v", shown, err)
	}
	for i, v := range again.Vaults {
		if !v.Same(a.Vaults[i]) || v.Name != a.Vaults[i].Name {
			t.Errorf("%+v, want %+v", v, a.Vaults[i])
		}
	}
}

// FuzzLoadAgent: whatever a file holds, it is read or refused; what is read can be written, and reads the same again.
func FuzzLoadAgent(f *testing.F) {
	reference, err := os.ReadFile(filepath.Join("..", "..", "docs", "airlock.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(reference))
	f.Add(minimal)
	f.Add(`{` + vault + `}`)
	f.Add("vaults: &a\n- *a\n")
	getenv := func(string) string { return "" }
	f.Fuzz(func(t *testing.T, document string) {
		read := func(text string) (Agent, error) {
			return LoadAgent(Source{File: "-", Stdin: strings.NewReader(text), Getenv: getenv})
		}
		a, err := read(document)
		if err != nil {
			if !fault.Is(err, fault.Usage) {
				t.Errorf("kind %v: %v", fault.KindOf(err), err)
			}
			return
		}
		for i := range a.Vaults {
			if a.Vaults[i].ClientSecret.Len() > 0 {
				return // masked, it is not the same again
			}
		}
		shown, err := a.Document()
		if err != nil {
			t.Fatal(err)
		}
		again, err := read(string(shown))
		if err != nil || len(again.Vaults) != len(a.Vaults) || !again.Vaults[0].Same(a.Vaults[0]) {
			t.Errorf("%q became %q: %v", document, shown, err)
		}
	})
}
