package project

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/dotenv"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// astroLoader reads .env as `astro deployment variable create --load` of astro-cli 1.45 does: lines, the first "=", and
// quotes trimmed from both ends.
func astroLoader(data []byte) map[string]string {
	env := map[string]string{}
	for scanner := bufio.NewScanner(bytes.NewReader(data)); scanner.Scan(); {
		line := scanner.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok && value != "" {
			env[key] = strings.TrimSpace(strings.Trim(strings.Trim(value, `"`), `'`))
		}
	}
	return env
}

// dockerEnvFile reads as `docker --env-file` does: nothing is taken from a value, not even a quote.
// https://docs.docker.com/reference/cli/docker/container/run/#env
func dockerEnvFile(data []byte) map[string]string {
	env := map[string]string{}
	for scanner := bufio.NewScanner(bytes.NewReader(data)); scanner.Scan(); {
		line := strings.TrimLeft(scanner.Text(), " \t")
		if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") && !strings.ContainsAny(key, " \t") {
			env[key] = value
		}
	}
	return env
}

// build is where `make` puts what tests run.
func build(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "build", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("build/%s is missing; make builds it before it runs the tests", name)
	}
	return path
}

const pythonReader = `import dotenv, json, sys; print(json.dumps(dotenv.dotenv_values(sys.argv[1])))`

// readers are all who read a project's .env, by name.
func readers(t *testing.T, data []byte) map[string]map[string]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(c *exec.Cmd, names ...string) []map[string]string {
		var complaints bytes.Buffer
		c.Stderr = &complaints
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, &complaints)
		}
		decoder := json.NewDecoder(bytes.NewReader(out))
		answers := make([]map[string]string, len(names))
		for i := range answers {
			if err := decoder.Decode(&answers[i]); err != nil {
				t.Fatal(err)
			}
		}
		return answers
	}
	goReaders := ask(exec.Command(build(t, "testtools/dotenvread"), path), "compose", "gotenv")
	python := ask(exec.Command(build(t, "venv/bin/python"), "-c", pythonReader, path), "python-dotenv")
	entries, err := dotenv.Parse(".env", data)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]map[string]string{
		"the Astro CLI": astroLoader(data), "docker --env-file": dockerEnvFile(data), "Docker Compose": goReaders[0],
		"gotenv": goReaders[1], "python-dotenv": python[0], "airlock": dotenv.Map(entries),
	}
}

// nasty are values that somebody's grammar stumbles over.
var nasty = []string{
	"plain", "a b", `say "hi"`, "it's", `"quoted"`, `'quoted'`, "a#b", "a #b", "#a", "$HOME", "a$b", "${A}", "$$", `\`, `a\b`, `\n`, `\\`, `\$x`, `a\"b`,
	"ünïcödé ✓", " lead", "trail ", "a=b", "=", "a: b", "`id`", "$(id)", "%x", "!x", "~", "a\tb", "a\nb", "a\r\nb", "\u00a0a", "a\u2028b", "\ufeffa", "a\u0085b",
	"", "{", "}", `{"a": "b"}`, ",", "export X=1", strings.Repeat("x", 5000), "a,b;c|d&e<f>g(h)i[j]k*l?m",
}

func nastyMix(r *rand.Rand) string {
	const letters = ` "'#$\={}:,.~-_ab0é✓%!` + "`\t"
	runes := []rune(letters)
	var out strings.Builder
	for range 1 + r.IntN(12) {
		out.WriteRune(runes[r.IntN(len(runes))])
	}
	return out.String()
}

// TestFourReaders: what dotenv.Line writes, all readers take the same way; and kwargs can hold anything.
func TestFourReaders(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 2026))
	values := nasty
	for range 2000 {
		values = append(values, nastyMix(r))
	}
	t.Run("values", func(t *testing.T) {
		var file bytes.Buffer
		want := map[string]string{}
		refused := 0
		for i, v := range values {
			key := fmt.Sprintf("K%d", i)
			line, err := dotenv.Line(key, v)
			if err != nil {
				refused++
				if !fault.Is(err, fault.Usage) || len(fault.HintsOf(err)) == 0 {
					t.Errorf("%q: %v", v, err)
				}
				continue
			}
			want[key] = v
			file.WriteString(line + "\n")
		}
		if len(want) < 100 || refused < 100 {
			t.Fatalf("%d written, %d refused: the values are not what they were meant to be", len(want), refused)
		}
		compare(t, file.Bytes(), want)
	})
	t.Run("kwargs", func(t *testing.T) {
		var file bytes.Buffer
		want := map[string]string{}
		for i, v := range values {
			var k Kwargs
			k.Apply(Login{VaultURL: "https://contoso.vault.azure.net/", Auth: ClientSecret, TenantID: tenant, ClientID: client, Secret: secret.FromString(v), ConnectionsPrefix: &values[i]})
			key := fmt.Sprintf("K%d", i)
			line, err := dotenv.Line(key, string(k.Line().Reveal()))
			if err != nil {
				t.Fatalf("%q: %v", v, err)
			}
			file.WriteString(line + "\r\n")
			want[key] = string(k.Line().Reveal())
			back, err := airflow.ParseObject([]byte(want[key]))
			if err != nil {
				t.Fatal(err)
			}
			if kwargs, err := airflow.KwargsFrom(back); err != nil || string(kwargs.ClientSecret.Reveal()) != v {
				t.Errorf("%q came back as %q (%v)", v, kwargs.ClientSecret.Reveal(), err)
			}
		}
		compare(t, file.Bytes(), want)
	})
	t.Run("refusals are needed", func(t *testing.T) {
		// Written plainly all the same, some reader takes another value, or fails.
		for _, v := range []string{"$HOME", "a #b", `"quoted"`, "it is'", "trail ", "a#b"} {
			if _, err := dotenv.Line("K", v); err == nil {
				t.Errorf("%q is not refused", v)
			}
			agree := true
			for _, env := range readers(t, []byte("K="+v+"\n")) {
				agree = agree && env["K"] == v
			}
			if agree {
				t.Errorf("%q is refused, and every reader takes it", v)
			}
		}
	})
	t.Run("too long", func(t *testing.T) {
		if _, err := dotenv.Line("K", strings.Repeat("x", 70_000)); err == nil || !strings.Contains(err.Error(), "64 KiB") {
			t.Error(err)
		}
		line, err := dotenv.Line("K", strings.Repeat("x", 64*1024-4))
		if err != nil || len(astroLoader([]byte(line + "\r\n"))["K"]) != 64*1024-4 {
			t.Errorf("the longest line is not read: %v", err)
		}
	})
}

func compare(t *testing.T, file []byte, want map[string]string) {
	t.Helper()
	for name, got := range readers(t, file) {
		if len(got) != len(want) {
			t.Errorf("%s finds %d variables of %d", name, len(got), len(want))
		}
		for key, value := range want {
			if got[key] != value {
				t.Errorf("%s takes %q for %q", name, got[key], value)
			}
		}
	}
}
