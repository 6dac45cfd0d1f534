package airflow

import (
	"fmt"
	"strings"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// parseKwargs reads kwargs as the configuration does.
func parseKwargs(data []byte) (Kwargs, error) {
	raw, err := ParseObject(data)
	if err != nil {
		return Kwargs{}, err
	}
	return KwargsFrom(raw)
}

func TestParseKwargs(t *testing.T) {
	k, err := parseKwargs([]byte(`{
		"connections_prefix": null, "variables_prefix": "", "vault_url": "https://v.vault.azure.net/",
		"tenant_id": "t", "client_id": "c", "client_secret": "s3cret",
		"managed_identity_client_id": "m", "workload_identity_tenant_id": null, "cache_ttl": "5m", "retry_total": 3}`))
	if err != nil {
		t.Fatal(err)
	}
	if !k.Prefix(Connection).Null() || k.Prefix(Variable) != NewPrefix("") || k.Prefix(Config) != NewPrefix("airflow-config") {
		t.Errorf("prefixes: %+v", k.Naming)
	}
	if k.Sep != "-" || k.VaultURL != "https://v.vault.azure.net/" || k.TenantID != "t" || k.ClientID != "c" ||
		string(k.ClientSecret.Reveal()) != "s3cret" || k.ManagedIdentityClientID != "m" || k.WorkloadIdentityTenantID != "" {
		t.Errorf("kwargs: %+v", k)
	}
	if len(k.Extra) != 2 || string(k.Extra["cache_ttl"]) != `"5m"` || string(k.Extra["retry_total"]) != "3" {
		t.Errorf("extra: %q", k.Extra)
	}
	if got := fmt.Sprintf("%+v %#v", k, k); strings.Contains(got, "s3cret") {
		t.Error("the client secret prints")
	}
}

func TestParseKwargsEmpty(t *testing.T) {
	for _, text := range []string{"", "  \n", "{}"} {
		k, err := parseKwargs([]byte(text))
		if err != nil || k.Prefix(Variable) != NewPrefix("airflow-variables") {
			t.Errorf("ParseKwargs(%q) = %+v, %v", text, k, err)
		}
	}
}

func TestParseKwargsErrors(t *testing.T) {
	for _, row := range []struct{ text, message, hint string }{
		{`{"vault_url": "https://canary",}`, "not valid JSON at line 1, column 32", "comma"},
		{"{\n  \"vault_url\": canary\n}", "not valid JSON at line 2, column 16", ""},
		{`'{"vault_url": "canary"}'`, "line 1, column 1", "quotes around"},
		{`"{\"vault_url\": \"canary\"}"`, "not a JSON object", ""},
		{`{\"vault_url\": \"canary\"}`, "line 1, column 2", "escaped"},
		{`{'vault_url': 'canary'}`, "line 1, column 2", "double quotes"},
		{`{"connections_prefix": None}`, "line 1, column 24", "null, true and false"},
		{`{"vault_url": "canary"`, "not valid JSON", "closing brace"},
		{`{"vault_url": "canary"} canary`, "text after the closing brace", ""},
		{`["canary"]`, "not a JSON object", ""},
		{`null`, "not a JSON object", ""},
		{`{"vault_url": 1, "tenant_id": ["canary"]}`, "vault_url must be a string", ""},
		{`{"vault_url": 1, "tenant_id": ["canary"]}`, "tenant_id must be a string", ""},
		{`{"config_prefix": false}`, "config_prefix must be a string or null", ""},
		{`{"sep": null}`, "sep must be a string", ""},
	} {
		_, err := parseKwargs([]byte(row.text))
		if err == nil {
			t.Errorf("ParseKwargs(%s) is accepted", row.text)
			continue
		}
		if !strings.Contains(err.Error(), row.message) || !strings.Contains(strings.Join(fault.HintsOf(err), "\n"), row.hint) {
			t.Errorf("ParseKwargs(%s): %q, hints %q; want %q and %q", row.text, err, fault.HintsOf(err), row.message, row.hint)
		}
		if all := fmt.Sprintf("%+v %q", err, fault.HintsOf(err)); strings.Contains(all, "canary") {
			t.Errorf("ParseKwargs(%s) shows content: %s", row.text, all)
		}
	}
}

func TestParseKind(t *testing.T) {
	for _, s := range []string{"variable", "variables", "connection", "connections", "config"} {
		if _, err := ParseKind(s); err != nil {
			t.Error(err)
		}
	}
	if _, err := ParseKind("pool"); !fault.Is(err, fault.Usage) {
		t.Errorf("ParseKind(pool): %v", err)
	}
}

func FuzzParseKwargs(f *testing.F) {
	f.Add(`{"vault_url": "x", "sep": ""}`)
	f.Add(`{"a"`)
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := parseKwargs([]byte(text)); err != nil && !fault.Is(err, fault.Usage) {
			t.Errorf("an error of another kind: %v", err)
		}
	})
}
