package project

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/airflow"
)

// rendered is what the tests look at in an object that Helm made.
type rendered struct {
	Kind     string
	Metadata struct {
		Name                string
		Labels, Annotations map[string]string
	}
	Spec struct {
		Template struct {
			Metadata struct{ Labels, Annotations map[string]string }
			Spec     struct {
				ServiceAccountName string `yaml:"serviceAccountName"`
				Containers         []struct {
					Env []struct {
						Name, Value string
						ValueFrom   struct {
							SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
						} `yaml:"valueFrom"`
					}
				}
			}
		}
	}
}

func helmTemplate(t *testing.T, values []byte) []rendered {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, values, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(build(t, "testtools/helm"), "template", "agent", filepath.Join("testdata", "chart"), "--values", file)
	c.Env = append(os.Environ(), "HELM_CACHE_HOME="+t.TempDir(), "HELM_CONFIG_HOME="+t.TempDir(), "HELM_DATA_HOME="+t.TempDir())
	var complaints bytes.Buffer
	c.Stderr = &complaints
	out, err := c.Output()
	if err != nil {
		t.Fatalf("helm: %v\n%s", err, &complaints)
	}
	var objects []rendered
	for decoder := yaml.NewDecoder(bytes.NewReader(out)); ; {
		var o rendered
		switch err := decoder.Decode(&o); {
		case errors.Is(err, io.EOF):
			return objects
		case err != nil:
			t.Fatalf("%v in\n%s", err, out)
		case o.Kind != "":
			objects = append(objects, o)
		}
	}
}

// TestHelm: a chart renders with each edited file, and what was put in comes out in every component.
func TestHelm(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "values", "*.in.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no values: %v", err)
	}
	for _, path := range files {
		in, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for kind, v := range map[string]Values{"identity": byIdentity(t), "secret": bySecret(t)} {
			t.Run(filepath.Base(path)+"/"+kind, func(t *testing.T) {
				out, _, err := EditValues("values.yaml", in, v)
				if err != nil {
					t.Fatal(err)
				}
				deployments := 0
				for _, o := range helmTemplate(t, out) {
					if o.Kind != "Deployment" {
						if kind == "identity" {
							t.Errorf("a %s is made, and the account was to be one that exists", o.Kind)
						}
						continue
					}
					deployments++
					checkComponent(t, o, v)
				}
				if deployments != 3 {
					t.Errorf("%d components", deployments)
				}
			})
		}
	}
}

func checkComponent(t *testing.T, o rendered, v Values) {
	t.Helper()
	pod := o.Spec.Template
	env, refs := map[string]string{}, map[string]string{}
	for _, e := range pod.Spec.Containers[0].Env {
		env[e.Name] = e.Value
		if ref := e.ValueFrom.SecretKeyRef; ref.Name != "" {
			refs[e.Name] = ref.Name + "/" + ref.Key
		}
	}
	if env[airflow.EnvBackend] != v.Class {
		t.Errorf("class %q", env[airflow.EnvBackend])
	}
	got := kwargsOf(t, env[airflow.EnvKwargs])
	if v.ServiceAccount == "" {
		if d := cmp.Diff(map[string]string{"AZURE_CLIENT_SECRET": "airlock/client-secret"}, refs); d != "" {
			t.Error(d)
		}
		if env["AZURE_TENANT_ID"] != tenant || env["AZURE_CLIENT_ID"] != client || env["AZURE_CLIENT_SECRET"] != "" {
			t.Errorf("login %v", env)
		}
		if !got.Equal(kwargsOf(t, `{"vault_url": "https://contoso.vault.azure.net/"}`)) {
			t.Errorf("kwargs %s", got.Line().Reveal())
		}
		return
	}
	if !got.Equal(v.Kwargs) {
		t.Errorf("kwargs %s", got.Line().Reveal())
	}
	for _, where := range []struct{ labels, annotations map[string]string }{
		{o.Metadata.Labels, o.Metadata.Annotations}, {pod.Metadata.Labels, pod.Metadata.Annotations},
	} {
		if where.labels["azure.workload.identity/use"] != "true" || where.annotations["azure.workload.identity/client-id"] != identity {
			t.Errorf("labels %v, annotations %v", where.labels, where.annotations)
		}
	}
	if pod.Spec.ServiceAccountName != "remote-exec-sa" {
		t.Errorf("service account %q", pod.Spec.ServiceAccountName)
	}
}
