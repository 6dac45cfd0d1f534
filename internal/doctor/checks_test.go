package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"iter"
	"maps"
	"net"
	"net/http/httptrace"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/dotenv"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/keyvault"
)

const kwargs = `{"vault_url": "https://v.vault.azure.net", "tenant_id": "t", "client_id": "a", "client_secret": "canary"}`

// at makes a visit of a folder with these files. The environment is that of .env.
func at(t *testing.T, files map[string]string) *visit {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &visit{Config: Config{
		Dir: dir, Now: time.Now, Process: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()},
		Getenv: func() (config.Getenv, error) {
			entries, err := dotenv.Parse(".env", []byte(files[".env"]))
			env := dotenv.Map(entries)
			return func(key string) string { return env[key] }, err
		},
	}}
}

func astroProject(files map[string]string) map[string]string {
	all := map[string]string{
		".astro/config.yaml": "project:\n  name: p\n", "Dockerfile": "FROM x\n", "requirements.txt": "airlock-airflow\n",
		".gitignore": ".env\n", ".dockerignore": ".env\n",
		".env": airflow.EnvBackend + "=" + airflow.AirlockBackend + "\n" + airflow.EnvKwargs + "=" + kwargs + "\n",
	}
	maps.Copy(all, files)
	return all
}

func TestProjectFiles(t *testing.T) {
	tracked := func(v *visit, t *testing.T) {
		for _, args := range [][]string{{"init", "-q"}, {"add", "-f", ".env"}} {
			c := exec.Command("git", args...)
			c.Dir = v.Dir
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("git %v: %v %s", args, err, out)
			}
		}
	}
	kwargsLine := airflow.EnvKwargs + "="
	for _, row := range []struct {
		name   string
		files  map[string]string
		check  func(*visit) func(context.Context) Result
		state  State
		found  string
		before func(*visit, *testing.T)
	}{
		{"as it should be", nil, func(v *visit) func(context.Context) Result { return v.checkEnv }, OK, "come from .env", nil},
		{"quoted", map[string]string{".env": kwargsLine + "'" + kwargs + "'\n"}, env, Warning, ".env:1: the Astro CLI, Docker Compose", nil},
		{"exported", map[string]string{".env": "# why\nexport " + kwargsLine + kwargs + "\n"}, env, Warning, ".env:2: ", nil},
		{"dollar", map[string]string{".env": kwargsLine + strings.ReplaceAll(kwargs, "canary", "can$ary") + "\n"}, env, Warning, "holds $", nil},
		{"twice", map[string]string{".env": kwargsLine + "{}\n" + kwargsLine + kwargs + "\n"}, env, Warning, ".env:2: " + airflow.EnvKwargs + " stands in line 1", nil},
		{"others do not count", map[string]string{".env": "OTHER='a b' # c\n" + kwargsLine + kwargs + "\n"}, env, OK, "", nil},
		{"no file", map[string]string{".env": ""}, env, OK, "neither .env nor", nil},
		{"unreadable line", map[string]string{".env": "no equals sign\n"}, env, Broken, ".env:1: a line without =", nil},
		{"open quote", map[string]string{".env": kwargsLine + `"{"vault_url": "https://v.vault.azure.net", "client_secret": "canary"}"` + "\n"}, env, Broken,
			`airlock init puts it right; what was meant, it seems, is: ` + kwargsLine + `{"vault_url": "https://v.vault.azure.net", "client_secret": "[secret]"}`, nil},
		{"leaves the project", nil, env, Broken, "leaves the project", func(v *visit, t *testing.T) {
			path := filepath.Join(v.Dir, ".env")
			if err := errors.Join(os.Remove(path), os.Symlink("/etc/hostname", path)); err != nil {
				t.Fatal(err)
			}
		}},

		{"asks for it", map[string]string{"requirements.txt": "# x\nAirlock_Airflow[x]==1.0 ; python_version > '3'\n"}, requirements, OK, "airlock-airflow", nil},
		{"asks for another", map[string]string{"requirements.txt": "airlock-airflow-extra\n"}, requirements, Broken, "does not ask for airlock-airflow", nil},
		{"official", map[string]string{".env": airflow.EnvBackend + "=" + airflow.AzureBackend + "\n"}, requirements, Broken, "echo apache-airflow-providers-microsoft-azure >>", nil},

		{"private", nil, ignored, OK, "leave .env alone", nil},
		{"git takes it", map[string]string{".gitignore": "*.log\n"}, ignored, Warning, ".gitignore does not name .env", nil},
		{"git takes it back", map[string]string{".gitignore": ".env\n!.env\n"}, ignored, Warning, "the next git add takes it in", nil},
		{"docker takes it", map[string]string{".dockerignore": "logs/\n"}, ignored, Warning, "becomes a part of the image", nil},
		{"git has it", nil, ignored, Broken, "git rm --cached .env", tracked},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := at(t, astroProject(row.files))
			if row.before != nil {
				row.before(v, t)
			}
			if r := v.checkEnv(t.Context()); r.State != Broken {
				v.checkClass(t.Context())
			}
			r := row.check(v)(t.Context())
			said := said(r)
			if r.State != row.state || !strings.Contains(said, row.found) {
				t.Errorf("%s: %s\nwant %s with %q", r.State, said, row.state, row.found)
			}
			if strings.Contains(said, "canary") || strings.Contains(said, "can$ary") {
				t.Errorf("a secret is shown: %s", said)
			}
		})
	}
}

func env(v *visit) func(context.Context) Result          { return v.checkEnv }
func requirements(v *visit) func(context.Context) Result { return v.checkRequirements }
func ignored(v *visit) func(context.Context) Result      { return v.checkIgnored }

func said(r Result) string {
	return strings.Join(append(append([]string{r.Found}, r.Notes...), r.Remedies...), "\n")
}

func TestKwargsCorrection(t *testing.T) {
	v := at(t, astroProject(map[string]string{".env": airflow.EnvKwargs + `={'vault_url': 'https://v.vault.azure.net', 'client_secret': 'canary', 'connections_prefix': None,}` + "\n"}))
	v.checkEnv(t.Context())
	r := v.checkKwargs(t.Context())
	want := `what was meant, it seems, is: ` + airflow.EnvKwargs + `={"vault_url": "https://v.vault.azure.net", "client_secret": "[secret]", "connections_prefix": null}`
	if r.State != Broken || !strings.Contains(said(r), want) || !strings.Contains(said(r), "JSON wants double quotes") || strings.Contains(said(r), "canary") {
		t.Errorf("%s: %s\nwant %s", r.State, said(r), want)
	}
}

// TestImport imports classes with a real interpreter, from packages made for the test.
func TestImport(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 here")
	}
	const module = "site/airflow/providers/microsoft/azure/secrets/key_vault.py"
	const class = "class AzureKeyVaultBackend:\n    def __init__(self, connections_prefix='', sep='-', **kwargs): raise SystemExit('made')\n"
	official := func(files map[string]string) map[string]string {
		all := map[string]string{
			"site/apache_airflow-2.10.0.dist-info/METADATA":                           "Metadata-Version: 2.1\nName: apache-airflow\nVersion: 2.10.0\n",
			"site/apache_airflow_providers_microsoft_azure-11.0.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: apache-airflow-providers-microsoft-azure\nVersion: 11.0.0\n",
			module: class,
		}
		maps.Copy(all, files)
		return all
	}
	for _, row := range []struct {
		name, class string
		files       map[string]string
		conf        config.Config
		state       State
		found       string
	}{
		{"imports", airflow.AzureBackend, official(nil), config.Config{}, OK, "imports in Airflow 2.10.0"},
		{"names the provider", airflow.AzureBackend, official(nil), config.Config{}, OK, "apache-airflow-providers-microsoft-azure 11.0.0"},
		{"not installed", airflow.AirlockBackend, official(nil), config.Config{}, Broken, "there is no airlock_airflow"},
		{"a remedy", airflow.AirlockBackend, official(nil), config.Config{}, Broken, "pip install airlock-airflow"},
		{"no such class", airflow.AzureBackend, official(map[string]string{module: "x = 1\n"}), config.Config{}, Broken, "there is no " + airflow.AzureBackend},
		{"fails to import", airflow.AzureBackend, official(map[string]string{module: "raise RuntimeError('canary')\n"}), config.Config{}, Broken, "raises RuntimeError"},
		{"prints while it imports", airflow.AzureBackend, official(map[string]string{module: "print('canary')\n" + class}), config.Config{}, OK, "imports"},
		{"ends the interpreter", airflow.AzureBackend, official(map[string]string{module: "import os\nos._exit(3)\n"}), config.Config{}, Broken, "exit status 3"},
		{"team trap", airflow.AzureBackend, official(map[string]string{module: "TEAM_SEP = '--'\n" + class}), config.Config{}, Warning, "takes ids with two adjoining"},
		{"team trap, no separator", airflow.AzureBackend, official(map[string]string{module: "TEAM_SEP = '--'\n" + class}),
			config.Config{Kwargs: airflow.Kwargs{VaultURL: "https://v.vault.azure.net"}}, Broken, `finds nothing at all with "sep": ""`},
		{"no team trap any more", airflow.AzureBackend, official(map[string]string{module: "TEAM_SEP = '--'\nmulti_team = 1\n" + class}), config.Config{}, OK, ""},
		{"too old for the identity", airflow.AzureBackend, official(nil),
			config.Config{Kwargs: airflow.Kwargs{ManagedIdentityClientID: "i"}}, Warning, "does not know managed_identity_client_id"},
		{"no Airflow", airflow.AzureBackend, map[string]string{"site/x": ""}, config.Config{}, Skipped, "docker exec"},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := at(t, row.files)
			v.class, v.conf, v.Python = row.class, row.conf, python
			v.env = func(string) string { return "set" }
			v.Process = append(v.Process, "PYTHONPATH="+filepath.Join(v.Dir, "site"), "PYTHONDONTWRITEBYTECODE=1",
				airflow.EnvKwargs+"=canary", "AZURE_CLIENT_SECRET=canary")
			r := v.checkImport(t.Context())
			if r.State != row.state || !strings.Contains(said(r), row.found) || strings.Contains(said(r), "canary") {
				t.Errorf("%s: %s\nwant %s with %q", r.State, said(r), row.state, row.found)
			}
		})
	}
	t.Run("no program", func(t *testing.T) {
		v := at(t, nil)
		v.Python = filepath.Join(v.Dir, "nothing")
		if r := v.checkImport(t.Context()); r.State != Broken || !strings.Contains(r.Found, "names no program") {
			t.Errorf("%s: %s", r.State, r.Found)
		}
	})
	t.Run("never ends", func(t *testing.T) {
		v := at(t, official(map[string]string{module: "import time, os\nos.open(os.environ['SIGN'], os.O_CREAT)\ntime.sleep(600)\n"}))
		sign := filepath.Join(v.Dir, "sign")
		v.class, v.Python = airflow.AzureBackend, python
		v.Process = append(v.Process, "PYTHONPATH="+filepath.Join(v.Dir, "site"), "SIGN="+sign)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer cancel()
			for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
				if _, err := os.Stat(sign); err == nil {
					return
				}
			}
		}()
		if r := v.checkImport(ctx); r.State != Broken || !strings.Contains(r.Found, "took too long") {
			t.Errorf("%s: %s", r.State, r.Found)
		}
	})
}

// TestImportInRealAirflow asks the Airflow that `make` installs.
func TestImportInRealAirflow(t *testing.T) {
	python, err := filepath.Abs(filepath.Join("..", "..", "build", "venv", "bin", "python"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(python); err != nil {
		t.Skip("build/venv is missing; make builds it before it runs the tests")
	}
	v := at(t, nil)
	v.class, v.Python = airflow.AzureBackend, python
	v.env = func(string) string { return "" }
	r := v.checkImport(t.Context())
	if r.State != OK || !strings.Contains(r.Found, "imports in Airflow 3.") {
		t.Errorf("%s: %s", r.State, said(r))
	}
}

// fakeVault notes a way that no test can go for real, and lists what it is told to hold.
type fakeVault struct {
	Vault
	walk func(*httptrace.ClientTrace)
	err  error
	held []keyvault.Properties
}

func (f fakeVault) Challenge(ctx context.Context) (keyvault.Challenge, error) {
	f.walk(httptrace.ContextClientTrace(ctx))
	return keyvault.Challenge{TenantID: "t"}, f.err
}

func (f fakeVault) List(context.Context) iter.Seq2[keyvault.Properties, error] {
	return func(yield func(keyvault.Properties, error) bool) {
		for _, p := range f.held {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func TestWay(t *testing.T) {
	resolved := func(address string) func(*httptrace.ClientTrace) {
		return func(c *httptrace.ClientTrace) {
			c.DNSDone(httptrace.DNSDoneInfo{Addrs: []net.IPAddr{{IP: net.ParseIP(address)}}})
		}
	}
	slow := fault.New(fault.Unavailable, "v.vault.azure.net does not answer in time", "test the way with: curl")
	for _, row := range []struct {
		name  string
		walk  func(*httptrace.ClientTrace)
		err   error
		proxy string
		found map[string]string // by check
	}{
		{"straight", func(c *httptrace.ClientTrace) {
			resolved("20.1.2.3")(c)
			c.ConnectDone("tcp", "20.1.2.3:443", nil)
			c.TLSHandshakeDone(tls.ConnectionState{Version: tls.VersionTLS13}, nil)
		}, nil, "", map[string]string{"name": "ok: v.vault.azure.net is 20.1.2.3", "connection": "ok: 20.1.2.3:443 takes it", "tls": "ok: TLS 1.3", "vault": "ok: v.vault.azure.net answers"}},
		{"private endpoint", resolved("10.0.0.5"), slow, "", map[string]string{"name": "ok: v.vault.azure.net is 10.0.0.5, a private endpoint"}},
		{"packets are swallowed", func(c *httptrace.ClientTrace) {
			resolved("20.1.2.3")(c)
			c.ConnectDone("tcp", "20.1.2.3:443", errors.New("i/o timeout"))
		}, slow, "", map[string]string{"connection": "broken: v.vault.azure.net does not answer in time"}},
		{"proxy", func(c *httptrace.ClientTrace) {
			c.ConnectDone("tcp", "10.9.9.9:3128", nil)
			c.TLSHandshakeDone(tls.ConnectionState{Version: tls.VersionTLS12}, nil)
		}, nil, "http://user:canary@proxy:3128", map[string]string{"name": "ok: the proxy looks it up", "connection": "ok: the proxy at 10.9.9.9:3128"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := at(t, nil)
			v.conf = config.Config{Kwargs: airflow.Kwargs{VaultURL: "https://V.vault.azure.net:443/"}}
			v.Open = func(config.Config) (Road, error) {
				road := Road{Vault: fakeVault{walk: row.walk, err: row.err}}
				if row.proxy != "" {
					road.Proxy, _ = url.Parse(row.proxy)
				}
				return road, nil
			}
			if r := v.checkProxy(t.Context()); r.State != OK || strings.Contains(r.Found, "canary") {
				t.Fatalf("proxy: %+v", r)
			}
			results := map[string]Result{"name": v.checkName(t.Context())}
			results["connection"], results["tls"], results["vault"] = v.checkConnection(t.Context()), v.checkTLS(t.Context()), v.checkVault(t.Context())
			for check, want := range row.found {
				if got := string(results[check].State) + ": " + results[check].Found; !strings.HasPrefix(got, want) {
					t.Errorf("%s: %q, want %q", check, got, want)
				}
			}
		})
	}
}

func TestIDs(t *testing.T) {
	names := func(all ...string) []keyvault.Properties {
		var held []keyvault.Properties
		for _, name := range all {
			held = append(held, keyvault.Properties{Name: name, Enabled: true})
		}
		return held
	}
	for _, row := range []struct {
		name, kwargs, settings string
		held                   []keyvault.Properties
		state                  State
		found                  string
	}{
		{"fine", ``, "", names("airflow-variables-a", "airflow-connections-a-b"), OK, "no two ids"},
		{"no separator", `, "sep": ""`, "", names("airflow-variablesa-b"), OK, ""},
		{"another separator", `, "sep": "0"`, "", names("airflow-variables0a"), OK, ""},
		{"one begins the other", `, "connections_prefix": "airflow", "variables_prefix": "airflow-variables"`, "", nil, Warning, "the prefix of variables begins with that of connections"},
		{"no prefix", `, "connections_prefix": ""`, "", nil, Warning, "begins with that of connections"},
		{"null is no overlap", `, "connections_prefix": null, "variables_prefix": "airflow-config", "config_prefix": null`, "", nil, OK, ""},
		{"teams", `, "multi_team": true`, "", names("airflow-variables-team--a"), OK, ""},
		{"two ids, one secret", ``, "airflow:\n  variables:\n    - {variable_name: my_key, variable_value: canary}\n    - {variable_name: My-Key, variable_value: canary}\n", nil, Warning,
			"variable my_key and variable My-Key are one secret in the vault, airflow-variables-My-Key"},
		{"an id that no secret can have", ``, "airflow:\n  variables:\n    - {variable_name: a.b, variable_value: canary}\n", nil, Warning, `variable id "a.b" cannot be kept`},
	} {
		t.Run(row.name, func(t *testing.T) {
			files := map[string]string{".env": airflow.EnvKwargs + `={"vault_url": "https://v.vault.azure.net"` + row.kwargs + "}\n"}
			if row.settings != "" {
				files["airflow_settings.yaml"] = row.settings
			}
			v := at(t, files)
			v.checkEnv(t.Context())
			v.checkKwargs(t.Context())
			v.road.Vault = fakeVault{held: row.held}
			v.checkList(t.Context())
			r := v.checkIDs(t.Context())
			if r.State != row.state || !strings.Contains(said(r), row.found) || strings.Contains(said(r), "canary") {
				t.Errorf("%s: %s\nwant %s with %q", r.State, said(r), row.state, row.found)
			}
		})
	}
}

func TestAgent(t *testing.T) {
	const own, other = "https://v.vault.azure.net", "https://w.vault.azure.net/"
	healthy := agentapi.Status{PID: 7, Version: "1", VaultURL: own + "/", Lookups: 3, VaultRequests: 1}
	old, failing := healthy, healthy
	old.Version = "0"
	failing.Entries = []agentapi.Entry{
		{Kind: airflow.Variable, ID: "secret_one", Outcome: "forbidden"}, {Kind: airflow.Variable, ID: "absent", Outcome: "not_found"},
	}
	for _, row := range []struct {
		name   string
		agents []Agent
		class  string
		state  State
		found  string
	}{
		{"none", nil, airflow.AirlockBackend, OK, "the backend starts one"},
		{"none is asked", nil, airflow.AzureBackend, OK, "the official backend asks none"},
		{"one of another vault", []Agent{{Status: agentapi.Status{VaultURL: other}}}, airflow.AirlockBackend, OK, "1 agent for other vaults"},
		{"one that is gone", []Agent{{Err: errors.New("refused")}, {Status: healthy}}, airflow.AirlockBackend, OK, "agent 7 answers: 3 lookups, 1 request of the vault"},
		{"named and gone", []Agent{{Named: true, At: "/s", Err: fault.New(fault.Unavailable, "no agent answers at /s")}}, airflow.AirlockBackend, Broken, "no agent answers at /s"},
		{"named, of another vault", []Agent{{Named: true, Status: agentapi.Status{VaultURL: other, Version: "1"}}}, airflow.AirlockBackend, Warning, "serves another vault: " + other},
		{"another version", []Agent{{Status: old}}, airflow.AirlockBackend, Warning, "of version 0, and this is 1"},
		{"refused lookups", []Agent{{Status: failing}}, airflow.AirlockBackend, Warning, "end with forbidden: variable secret_one"},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := at(t, nil)
			v.class, v.Version, v.conf = row.class, "1", config.Config{Kwargs: airflow.Kwargs{VaultURL: own}}
			v.Agents = func(context.Context, config.Config) []Agent { return row.agents }
			if r := v.checkAgent(t.Context()); r.State != row.state || !strings.Contains(said(r), row.found) {
				t.Errorf("%s: %s\nwant %s with %q", r.State, said(r), row.state, row.found)
			}
		})
	}
}
