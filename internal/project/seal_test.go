package project

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/secret"
)

const sealedEnv = "# ours\r\nexport FOO=bar\r\nAIRFLOW__SECRETS__BACKEND=airlock_airflow.AirlockBackend\r\n" +
	`AIRFLOW__SECRETS__BACKEND_KWARGS={"vault_url": "https://contoso.vault.azure.net/", "tenant_id": "` + tenant + `", "client_id": "` + client + `", "client_secret": "canary~\"one", "api_version": "canary-x", "cache_ttl": 60}` +
	"\r\nAZURE_CLIENT_SECRET='canary~two' # why\r\nLINES=\"a\r\nb\"\r\nASTRO_API_TOKEN=canary~three\r\nAZURE_PASSWORD=\r\nAIRFLOW_CONN_DB=postgres://u:canary~four@h/db"

func TestSeal(t *testing.T) {
	s, err := Seal([]byte(sealedEnv), nil)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("seal", "new.env"), s.Env)
	golden(t, filepath.Join("seal", "new.env.example"), s.Example)
	var names []string
	for _, c := range s.Credentials {
		names = append(names, c.Name)
	}
	if want := []string{"AIRFLOW__SECRETS__BACKEND_KWARGS", "AZURE_CLIENT_SECRET", "ASTRO_API_TOKEN"}; !slices.Equal(names, want) {
		t.Errorf("credentials %v, want %v", names, want)
	}
	if k := kwargsOf(t, string(s.Credentials[0].Value.Reveal())); string(k.Text("client_secret").Reveal()) != `canary~"one` || k.public("tenant_id") != tenant {
		t.Error("what is kept elsewhere is not the whole of the kwargs")
	}
	if len(s.Secrets) != 3 || string(s.Secrets[0].Reveal()) != `canary~"one` {
		t.Errorf("%d secrets", len(s.Secrets))
	}
	if strings.Contains(string(s.Example), "canary") {
		t.Errorf("the example holds a secret:\n%s", s.Example)
	}
	for _, c := range []string{`canary~`} {
		if n := strings.Count(string(s.Env), c); n != 1 { // the connection stays
			t.Errorf("%d secrets in the sealed .env:\n%s", n, s.Env)
		}
	}
	again, err := Seal(s.Env, s.Example)
	if err != nil || !bytes.Equal(again.Env, s.Env) || !bytes.Equal(again.Example, s.Example) || len(again.Credentials) > 0 {
		t.Errorf("a second run changes the files: %v", err)
	}
	mine, err := Seal([]byte(sealedEnv), []byte("# mine\nFOO=example\nAIRFLOW__SECRETS__BACKEND_KWARGS={}"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("seal", "mine.env.example"), mine.Example)
}

func TestWorkflow(t *testing.T) {
	w := Workflow{DeploymentID: "clx2abcde0001", Branch: "main", Root: "airflow/prod", Names: []string{"AIRFLOW__SECRETS__BACKEND_KWARGS", "ASTRO_API_TOKEN"}}
	golden(t, filepath.Join("seal", "workflow.yml"), w.YAML())
	w.Names = nil
	golden(t, filepath.Join("seal", "workflow-plain.yml"), w.YAML())

	// The step does what it says with any value: a fake astro shows what it was given.
	w.Names = []string{"AIRFLOW__SECRETS__BACKEND_KWARGS", "AZURE_CLIENT_SECRET"}
	var parsed struct {
		Jobs map[string]struct {
			Steps []struct {
				Run string            `yaml:"run"`
				Env map[string]string `yaml:"env"`
			} `yaml:"steps"`
		} `yaml:"jobs"`
	}
	if err := yaml.Unmarshal(w.YAML(), &parsed); err != nil {
		t.Fatal(err)
	}
	step := parsed.Jobs["deploy"].Steps[1]
	if step.Env["AZURE_CLIENT_SECRET"] != "${{ secrets.AZURE_CLIENT_SECRET }}" {
		t.Errorf("env %v", step.Env)
	}
	dir := t.TempDir()
	fake := "#!/bin/sh\necho \"$@\"\nstat -c %a \"$RUNNER_TEMP/credentials.env\"\ncat \"$RUNNER_TEMP/credentials.env\"\n"
	if err := os.WriteFile(filepath.Join(dir, "astro"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("bash", "-e", "-o", "pipefail", "-c", step.Run)
	kwargs := `{"client_secret": "it's \"$HOME\" %s \\n"}`
	c.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "RUNNER_TEMP=" + dir, "DEPLOYMENT_ID=clx", "AZURE_CLIENT_SECRET=a b", "AIRFLOW__SECRETS__BACKEND_KWARGS=" + kwargs}
	out, err := c.CombinedOutput()
	want := "deployment variable update --deployment-id clx --load --env " + dir + "/credentials.env --secret\n600\n" +
		"AIRFLOW__SECRETS__BACKEND_KWARGS=" + kwargs + "\nAZURE_CLIENT_SECRET=a b\n"
	if err != nil || string(out) != want {
		t.Errorf("%v: got\n%s\nwant\n%s", err, out, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "credentials.env")); err == nil {
		t.Error("the file is left behind")
	}
}

// runGit runs git in a folder, as nobody in particular.
func runGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := exec.Command("git", append([]string{"-c", "user.name=n", "-c", "user.email=n@example.invalid", "-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"}, args...)...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestHistory(t *testing.T) {
	dir, _ := folder(t, map[string]string{"sub/.env": "A=1\n", "other": "x"})
	secrets := []secret.Value{secret.FromString(`canary~"one`), secret.FromString("canary~two"), secret.FromString("x"), secret.FromString("nowhere-to-be-found")}
	find := func() []string {
		t.Helper()
		leaks, err := History(t.Context(), filepath.Join(dir, "sub"), secrets)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, l := range leaks {
			found = append(found, runGit(t, dir, "log", "-1", "--format=%s", l.Commit)+" "+l.Path)
		}
		slices.Sort(found)
		return found
	}
	if got := find(); got != nil {
		t.Errorf("without a repository: %v", got)
	}
	runGit(t, dir, "init", "-q")
	if got := find(); got != nil {
		t.Errorf("without a commit: %v", got)
	}
	commit := func(subject string, files map[string]string) {
		t.Helper()
		for name, text := range files {
			put(t, dir, name, text)
		}
		runGit(t, dir, "add", "-A")
		runGit(t, dir, "commit", "-q", "-m", subject)
	}
	commit("first", nil)
	commit("leak", map[string]string{"sub/.env": sealedEnv})
	commit("removed", map[string]string{"sub/.env": "A=1\n"})
	runGit(t, dir, "checkout", "-q", "-b", "side", "HEAD~2")
	commit("on a branch", map[string]string{"bin": "\x00\x01canary~two\n", "ä b": "canary~two"})
	runGit(t, dir, "checkout", "-q", "main")
	want := []string{"leak sub/.env", "on a branch bin", "on a branch ä b"}
	if got := find(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestIgnores(t *testing.T) {
	ask := func(dir string) []string {
		t.Helper()
		data, _ := os.ReadFile(filepath.Join(dir, GitignoreFile))
		open, err := Committable(t.Context(), dir, data, ".env", ".airlock/")
		if err != nil {
			t.Fatal(err)
		}
		return open
	}
	for _, row := range []struct {
		name, gitignore string
		want            []string
	}{
		{"none", "", []string{".env", ".airlock/"}},
		{"both", ".env\n.airlock/\n", nil},
		{"patterns", "*.env\r\n/.air*\r\n", nil},
		{"taken back", ".env\n.airlock\n!.env\n", []string{".env"}},
		{"comment", "#.env\n.airlock/", []string{".env"}},
		{"all", "*\n", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, inRepository := range []bool{false, true} {
				dir, _ := folder(t, map[string]string{GitignoreFile: row.gitignore})
				if inRepository {
					runGit(t, dir, "init", "-q")
					// What only this clone ignores protects nobody else.
					put(t, dir, ".git/info/exclude", ".env\n.airlock\n")
				}
				if got := ask(dir); !slices.Equal(got, row.want) {
					t.Errorf("repository %v: got %q, want %q", inRepository, got, row.want)
				}
				put(t, dir, GitignoreFile, string(AddIgnores([]byte(row.gitignore), row.want...)))
				if got := ask(dir); got != nil {
					t.Errorf("repository %v: after the edit: %q", inRepository, got)
				}
			}
		})
	}
	t.Run("the repository's own", func(t *testing.T) {
		dir, _ := folder(t, map[string]string{GitignoreFile: "**/.env\n", "sub/" + GitignoreFile: ".airlock\n"})
		runGit(t, dir, "init", "-q")
		if got := ask(filepath.Join(dir, "sub")); got != nil {
			t.Errorf("got %q", got)
		}
		put(t, dir, "sub/.env", "A=1")
		runGit(t, dir, "add", "-f", "sub/.env")
		if got := Tracked(t.Context(), filepath.Join(dir, "sub"), ".env"); !slices.Equal(got, []string{".env"}) {
			t.Errorf("tracked %q", got)
		}
	})
	t.Run("without git", func(t *testing.T) {
		t.Setenv("PATH", "")
		dir, _ := folder(t, map[string]string{GitignoreFile: "/.env\n"})
		if got := ask(dir); !slices.Equal(got, []string{".airlock/"}) {
			t.Errorf("got %q", got)
		}
	})
	for _, row := range []struct {
		dockerignore string
		want         []string
	}{
		{"", []string{".env", ".airlock/"}},
		{"# x\n.env\n.airlock/\n", nil},
		{"**\n!.env\n", []string{".env"}},
		{"sub/.env\n.airlock", []string{".env"}},
	} {
		got, err := Unignored([]byte(row.dockerignore), ".env", ".airlock/")
		if err != nil || !slices.Equal(got, row.want) {
			t.Errorf("%q: got %q (%v), want %q", row.dockerignore, got, err, row.want)
		}
	}
	if _, err := Unignored([]byte("[a\n"), ".env"); err == nil {
		t.Error("a pattern that Docker refuses is taken")
	}
}
