package project

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing them")

// golden compares what an edit made with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (-update writes it):\n%s", path, got)
	}
}

const (
	tenant   = "11111111-1111-1111-1111-111111111111"
	client   = "22222222-2222-2222-2222-222222222222"
	identity = "33333333-3333-3333-3333-333333333333"
)

func kwargsOf(t *testing.T, text string) Kwargs {
	t.Helper()
	k, err := ParseKwargs([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func byIdentity(t *testing.T) Values {
	return Values{Class: airflow.AirlockBackend, ServiceAccount: "remote-exec-sa", Kwargs: kwargsOf(t, `{"connections_prefix": "airflow-connections",
		"vault_url": "https://contoso.vault.azure.net/", "managed_identity_client_id": "`+identity+`", "workload_identity_tenant_id": "`+tenant+`"}`)}
}

func bySecret(t *testing.T) Values {
	return Values{Class: airflow.AzureBackend, SecretName: "airlock", SecretKey: "client-secret", Kwargs: kwargsOf(t, `{"vault_url": "https://contoso.vault.azure.net/",
		"tenant_id": "`+tenant+`", "client_id": "`+client+`", "client_secret": "canary~secret"}`)}
}

func TestEditValuesGolden(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "values", "*.in.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no values: %v", err)
	}
	for _, path := range files {
		for kind, v := range map[string]Values{"identity": byIdentity(t), "secret": bySecret(t)} {
			name := strings.TrimSuffix(filepath.Base(path), ".in.yaml")
			t.Run(name+"/"+kind, func(t *testing.T) {
				in, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				out, _, err := EditValues("values.yaml", in, v)
				if err != nil {
					t.Fatal(err)
				}
				golden(t, filepath.Join("values", name+"."+kind+".yaml"), out)
				if strings.Contains(string(out), "canary~secret") {
					t.Error("the client secret is in the file")
				}
				again, _, err := EditValues("values.yaml", out, v)
				if err != nil || string(again) != string(out) {
					t.Errorf("a second run changes the file: %v", err)
				}
				a, b := MaskValues(in, out)
				if masked := string(a) + string(b); strings.Contains(masked, "canary") || strings.Contains(masked, "hunter2") {
					t.Errorf("the diff shows a secret:\n%s", masked)
				}
			})
		}
	}
}

func TestEditValuesRefuses(t *testing.T) {
	for _, row := range []struct{ name, file, want string }{
		{"duplicate", "commonEnv: []\nlabels: {}\ncommonEnv: []\n", "values.yaml:3: the key commonEnv stands in line 1 already"},
		{"annotation", "a: 1\nannotations:\n  azure.workload.identity/client-id: " + client + "\n", "values.yaml:3: the annotation azure.workload.identity/client-id names the identity " + client},
		{"account", "serviceAccount:\n  workers:\n    annotations: {azure.workload.identity/client-id: " + client + "}\n", "values.yaml:3: the annotation"},
		{"kwargs", "commonEnv:\n  - name: AIRFLOW__SECRETS__BACKEND_KWARGS\n    value: '{\"managed_identity_client_id\": \"" + client + "\"}'\n", "values.yaml:3: managed_identity_client_id names"},
		{"twice", "commonEnv:\n- name: AIRFLOW__SECRETS__BACKEND_KWARGS\n  value: a\n- {name: AIRFLOW__SECRETS__BACKEND_KWARGS, value: b}\n", "values.yaml:4: AIRFLOW__SECRETS__BACKEND_KWARGS stands in commonEnv twice"},
		{"list", "- a\n", "values.yaml:1: not a mapping"},
		{"scalar", "a: 1\ncommonEnv: x\n", "values.yaml:2: commonEnv is not a plain list"},
		{"alias", "a: &a [{name: B, value: canary}]\ncommonEnv: *a\n", "values.yaml:2: commonEnv is not a plain list"},
		{"two documents", "a: 1\n---\nb: 2\n", "values.yaml:2: a second document"},
		{"empty", "# nothing\n", "values.yaml is empty"},
		{"broken", "a: 1\nb: [canary\nc: 2\n", "not valid YAML"},
		{"tabs", "a:\n\tcanary: 1\n", "not valid YAML"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, _, err := EditValues("values.yaml", []byte(row.file), byIdentity(t))
			if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows content: %v", err)
			}
		})
	}
}
