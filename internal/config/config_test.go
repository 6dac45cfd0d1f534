package config

import (
	"strings"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

const vault = `"vault_url": "https://v.vault.azure.net/"`

func env(pairs ...string) Getenv {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(k string) string { return m[k] }
}

func TestFromKwargs(t *testing.T) {
	c, err := FromKwargs([]byte(`{`+vault+`, "cache_ttl": 1.5, "max_stale": "2h", "negative_ttl": 0, "multi_team": true,
		"agent_socket": "/run/a.sock", "on_error": "stop", "retry_total": 2,
		"list_interval": "1m", "prefetch": true, "vault_share": 0.05}`),
		env("https_proxy", "http://127.0.0.1:1", "SSL_CERT_FILE", "/ca.pem", "AZURE_AUTHORITY_HOST", "https://login.chinacloudapi.cn"))
	if err != nil {
		t.Fatal(err)
	}
	if c.CacheTTL != 1500*time.Millisecond || c.MaxStale != 2*time.Hour || c.NegativeTTL != 0 || !c.MultiTeam || c.AgentSocket != "/run/a.sock" {
		t.Errorf("%+v", c)
	}
	if c.ListInterval != time.Minute || !c.Prefetch || c.VaultShare != 0.05 {
		t.Errorf("%+v", c)
	}
	if c.Network != (Network{HTTPSProxy: "http://127.0.0.1:1", CAFile: "/ca.pem"}) || c.AuthorityHost != "https://login.chinacloudapi.cn" {
		t.Errorf("network %+v, authority %q", c.Network, c.AuthorityHost)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "retry_total") {
		t.Errorf("warnings %q", c.Warnings)
	}
}

func TestFromEnvironment(t *testing.T) {
	c, err := FromEnvironment(env(
		EnvKwargs, `{`+vault+`, "sep": "", "client_id": "json", "cache_ttl": 10}`,
		EnvKwargPrefix+"CLIENT_ID", "single", EnvKwargPrefix+"CACHE_TTL", "20s", EnvKwargPrefix+"MULTI_TEAM", "True",
		EnvKwargPrefix+"VAULT_SHARE", "1", EnvKwargPrefix+"PREFETCH", "yes", EnvKwargPrefix+"LIST_INTERVAL", "0s"))
	if err != nil {
		t.Fatal(err)
	}
	if c.ClientID != "single" || c.CacheTTL != 20*time.Second || !c.MultiTeam || c.Sep != "" {
		t.Errorf("%+v", c)
	}
	if c.VaultShare != 1 || !c.Prefetch || c.ListInterval != 0 {
		t.Errorf("%+v", c)
	}
	c, err = FromEnvironment(env(EnvAgentSocket, "/run/a.sock"))
	if err != nil || c.AgentSocket != "/run/a.sock" || c.Prefix(airflow.Variable) != airflow.NewPrefix("airflow-variables") {
		t.Errorf("with an agent elsewhere: %+v, %v", c, err)
	}
}

func TestProblems(t *testing.T) {
	for _, row := range []struct {
		kwargs string
		want   []string // in message or hints
	}{
		{`{}`, []string{"vault_url is missing", "Vault URI"}},
		{`{"vault_url": " "}`, []string{"vault_url is missing"}},
		{`{"vault_url": "v.vault.azure.net"}`, []string{"does not start with https://"}},
		{`{"vault_url": "http://v.vault.azure.net"}`, []string{"must be https"}},
		{`{"vault_url": "https://"}`, []string{"has no host"}},
		{`{"vault_url": "https://v.vault.azure.net/secrets/x"}`, []string{"has a path"}},
		{`{"vault_url": "https://u:canary@v.vault.azure.net"}`, []string{"user name"}},
		{`{"vault_url": "https://v.vault.azure.net?canary"}`, []string{"query"}},
		{`{"vault_url": "https://v%zz"}`, []string{"not a URL"}},
		{`{` + vault + `, "conections_prefix": "canary"}`, []string{`unknown key "conections_prefix"`, `did you mean "connections_prefix"?`}},
		{`{` + vault + `, "username": "canary"}`, []string{`unknown key "username"`}},
		{`{` + vault + `, "cache_ttl": "5"}`, []string{"cache_ttl must be", `"5m"`}},
		{`{` + vault + `, "cache_ttl": -1}`, []string{"between 0"}},
		{`{` + vault + `, "max_stale": true}`, []string{"max_stale must be"}},
		{`{` + vault + `, "on_error": "canary"}`, []string{`"fall_through" or "stop"`}},
		{`{` + vault + `, "multi_team": "canary"}`, []string{"true or false"}},
		{`{` + vault + `, "prefetch": 1}`, []string{"prefetch must be true or false"}},
		{`{` + vault + `, "vault_share": 0}`, []string{"vault_share must be a number above 0"}},
		{`{` + vault + `, "vault_share": 1.1}`, []string{"up to 1"}},
		{`{` + vault + `, "vault_share": "canary"}`, []string{"vault_share must be"}},
		{`{` + vault + `, "list_interval": 0.5}`, []string{"list_interval must be 0, which is off, or at least a second"}},
		{`{` + vault + `, "list_interval": "soon"}`, []string{"list_interval must be seconds"}},
		{`{` + vault + `, "agent_socket": 5}`, []string{"agent_socket must be a string"}},
		{`{"tenat_id": "canary", "cache_ttl": "x", "client_id": 5}`, []string{"tenat_id", `"tenant_id"`, "cache_ttl", "client_id must be", "vault_url"}},
	} {
		_, err := FromKwargs([]byte(row.kwargs), env())
		if !fault.Is(err, fault.Usage) {
			t.Errorf("%s: %v", row.kwargs, err)
			continue
		}
		all := err.Error() + "\n" + strings.Join(fault.HintsOf(err), "\n")
		for _, want := range row.want {
			if !strings.Contains(all, want) {
				t.Errorf("%s: %s\nwants %q", row.kwargs, all, want)
			}
		}
		if strings.Contains(all, "canary") {
			t.Errorf("%s: content is shown: %s", row.kwargs, all)
		}
	}
	if _, err := FromKwargs([]byte(`{`+vault+`, "username": "x"}`), env()); len(fault.HintsOf(err)) != 0 {
		t.Errorf("a far-fetched guess: %q", fault.HintsOf(err))
	}
}

func TestWarnings(t *testing.T) {
	for _, row := range []struct{ kwargs, want string }{
		{`{` + vault + `, "tenant_id": "t", "client_id": "c"}`, "client_id and tenant_id without client_secret"},
		{`{` + vault + `, "client_secret": "canary"}`, "client_secret without client_id and tenant_id"},
		{`{` + vault + `, "sep": "."}`, "sep"},
		{`{` + vault + `, "sep": ""}`, ""},
		{`{` + vault + `, "tenant_id": "t", "client_id": "c", "client_secret": "canary"}`, ""},
		{`{` + vault + `, "managed_identity_client_id": "m"}`, ""},
	} {
		c, err := FromKwargs([]byte(row.kwargs), env())
		if err != nil {
			t.Error(err)
		}
		if got := strings.Join(c.Warnings, "\n"); !strings.Contains(got, row.want) || (row.want == "") != (got == "") || strings.Contains(got, "canary") {
			t.Errorf("%s: warnings %q, want %q", row.kwargs, got, row.want)
		}
	}
}
