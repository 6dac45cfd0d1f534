package project

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/dotenv"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

func withSecret() Login {
	return Login{VaultURL: "https://contoso.vault.azure.net/", Auth: ClientSecret, TenantID: tenant, ClientID: client, Secret: secret.FromString("canary~secret")}
}

// initialised is a .env after the edit that `airlock init` makes.
func initialised(t interface{ Fatal(...any) }, data []byte, l Login) []byte {
	b, err := ReadBackend(".env", data)
	if err != nil {
		t.Fatal(err)
	}
	kwargs := b.Kwargs.Clone()
	kwargs.Apply(l)
	out, err := b.With(airflow.AirlockBackend, kwargs)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBackendGolden(t *testing.T) {
	cases := map[string]string{
		"empty": "",
		"crlf": "# ours\r\nexport FOO=bar\r\nAIRFLOW__SECRETS__BACKEND=old\r\nLINES=\"one\r\ntwo\" # both\r\n" +
			"AIRFLOW__SECRETS__BACKEND_KWARGS='{\"vault_url\": \"https://old.vault.azure.net\", \"config_prefix\": null}' # canary\r\nLAST=1",
		"export":     "export AIRFLOW__SECRETS__BACKEND = old\nexport AIRFLOW__SECRETS__BACKEND_KWARGS={\"cache_ttl\": 60}\n",
		"duplicates": "AIRFLOW__SECRETS__BACKEND_KWARGS={\"a\": 1}\nA=1\n  AIRFLOW__SECRETS__BACKEND_KWARGS={\"cache_ttl\": \"5m\"}\nB='x # y'\n",
		"same":       "AIRFLOW__SECRETS__BACKEND_KWARGS={\"client_secret\":\"canary~secret\",\"client_id\":\"" + client + "\",\"tenant_id\":\"" + tenant + "\",\"vault_url\":\"https://contoso.vault.azure.net/\",\"connections_prefix\":\"c\",\"variables_prefix\":null}\n# end\nAIRFLOW__SECRETS__BACKEND=airlock_airflow.AirlockBackend",
	}
	for name, data := range cases {
		t.Run(name, func(t *testing.T) {
			out := initialised(t, []byte(data), withSecret())
			golden(t, filepath.Join("env", name+".env"), out)
			if again := initialised(t, out, withSecret()); !bytes.Equal(again, out) {
				t.Errorf("a second run changes the file:\n%s", again)
			}
			if name == "same" && data != string(out) {
				t.Error("a file that says it already was changed")
			}
			before, after := MaskEnv([]byte(data), out)
			if shown := string(before) + string(after); strings.Contains(shown, "canary~") {
				t.Errorf("the diff shows the secret:\n%s", shown)
			}
		})
	}
}

// TestRepair: what is almost JSON is put right, and the place is told.
func TestRepair(t *testing.T) {
	const key = "AIRFLOW__SECRETS__BACKEND_KWARGS="
	for _, row := range []struct{ name, file, where, want string }{
		{"comma", "A=1\n" + key + `{"vault_url": "u", "client_secret": "canary",}` + "\n", ".env:2:79: ", `{"vault_url": "u", "client_secret": "canary"}`},
		{"quoted", key + `"{"vault_url": "u"}"` + "\nB=1\n", ".env:1:37: ", `{"vault_url": "u"}`},
		{"escaped", key + `{\"vault_url\": \"u\"}`, ".env:1:35: ", `{"vault_url": "u"}`},
		{"python", key + `{'vault_url': 'it\'s "u"', 'variables_prefix': None, 'prefetch': True}`, ".env:1:35: ", `{"vault_url": "it's \"u\"", "variables_prefix": null, "prefetch": true}`},
		{"typographic", key + "{“vault_url”: “u”}", ".env:1:35: ", `{"vault_url": "u"}`},
		{"no brace", key + `{"vault_url": "u"`, ".env:1:", `{"vault_url": "u"}`},
		{"no comma", key + `{"vault_url": "u" "sep": "-"}`, ".env:1:52: ", `{"vault_url": "u", "sep": "-"}`},
		{"lines", key + "{\n  \"vault_url\": \"u\",\n  \"cache_ttl\": 60\n}\n# next\nC=3\n", "", `{"vault_url": "u", "cache_ttl": 60}`},
		{"open quote", key + "'{\"vault_url\": \"u\"}\nC=3\n", ".env:1:34: ", `{"vault_url": "u"}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, err := ReadBackend(".env", []byte(row.file))
			if err != nil {
				t.Fatal(err, fault.HintsOf(err))
			}
			if got := string(b.Kwargs.Line().Reveal()); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
			if !strings.HasPrefix(b.Repaired, row.where) || b.Repaired == "" || strings.Contains(b.Repaired, "canary") {
				t.Errorf("repaired %q, want %q", b.Repaired, row.where)
			}
			out, err := b.With("c", b.Kwargs)
			if err != nil {
				t.Fatal(err)
			}
			entries, err := dotenv.Parse(".env", out)
			if err != nil || dotenv.Map(entries)[airflow.EnvKwargs] != row.want {
				t.Errorf("%v:\n%s", err, out)
			}
		})
	}
	for _, file := range []string{
		key + `{"vault_url": "canary" or "b"}`, key + `{vault_url: canary}`, key + `["canary"]`, key + `{"a": {"b": "canary",}}`,
		key + `{"a": "canary", "a": "c",}`, key + `canary`, "B C=canary\n" + key + `{"a": 1}`, "A='canary\n", key + `{"a": "canary"} {"b": 1}`,
	} {
		b, err := ReadBackend(".env", []byte(file))
		if !fault.Is(err, fault.Usage) {
			t.Errorf("%s: got %v, %v", file, b.Repaired, err)
			continue
		}
		if strings.Contains(err.Error()+strings.Join(fault.HintsOf(err), ""), "canary") {
			t.Errorf("the error shows content: %v", err)
		}
	}
}

// generated is a .env of entries and other lines that a strict reader takes.
func generated(t *rapid.T) []byte {
	eol := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "eol")
	lines := rapid.SliceOf(rapid.SampledFrom([]string{
		"", "  ", "# a comment", "#AIRFLOW__SECRETS__BACKEND=x", "A=1", "export B=2", "C='a" + eol + "b' # c", "D=\"x\\\"y\"", "E=", "  F = g h # i",
		"AIRFLOW__SECRETS__BACKEND=old", "export AIRFLOW__SECRETS__BACKEND='old' # why", "AIRFLOW__SECRETS__BACKEND_KWARGS={\"cache_ttl\": 1}",
		"AIRFLOW__SECRETS__BACKEND_KWARGS='{\"sep\": \"-\"}'", "\tAIRFLOW__SECRETS__BACKEND_KWARGS=", "G=ä ö", "AIRFLOW__SECRETS__BACKEND_X=1",
	})).Draw(t, "lines")
	text := strings.Join(lines, eol)
	if rapid.Bool().Draw(t, "end") {
		text += eol
	}
	return []byte(text)
}

// others are the lines that belong to nobody whom an edit is about, blank ones apart.
func others(t *rapid.T, data []byte) []string {
	places, err := dotenv.Places("f", data)
	if err != nil {
		t.Fatal(err)
	}
	var edits []edit
	for _, p := range places {
		if p.Key == airflow.EnvBackend || p.Key == airflow.EnvKwargs {
			e := removeLine(data, p)
			if comment := strings.TrimSpace(string(data[p.ValueEnd:p.End])); comment != "" {
				e.text = comment + lineEnd(data)
			}
			edits = append(edits, e)
		}
	}
	var lines []string
	for line := range strings.SplitSeq(string(apply(data, edits)), "\n") {
		if strings.TrimRight(line, "\r") != "" {
			lines = append(lines, strings.TrimRight(line, "\r"))
		}
	}
	return lines
}

func TestEnvProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := generated(t)
		once := initialised(t, data, withSecret())
		if twice := initialised(t, once, withSecret()); !bytes.Equal(once, twice) {
			t.Fatalf("edited twice it differs:\n%q\n%q", once, twice)
		}
		// A comment behind a line of which there was another moves nowhere: it goes with its line.
		was, is := others(t, data), others(t, once)
		was = slices.DeleteFunc(was, func(l string) bool { return l == "# why" })
		is = slices.DeleteFunc(is, func(l string) bool { return l == "# why" })
		if !slices.Equal(was, is) {
			t.Fatalf("other lines changed:\n%q\n%q", was, is)
		}
	})
}

func TestRequirements(t *testing.T) {
	for _, row := range []struct{ file, want string }{
		{"", "+"},
		{"# a comment", "# a comment\n+"},
		{"pandas\r\nnumpy\r\n", "pandas\r\nnumpy\r\nairlock-airflow\r\n"},
		{"pandas\r\nnumpy", "pandas\r\nnumpy\r\nairlock-airflow\r\n"},
		{"# airlock-airflow\n", "# airlock-airflow\n+"},
		{"airlock-airflow-extra==1\n", "airlock-airflow-extra==1\n+"},
		{"Airlock_Airflow", "="},
		{"pandas\nairlock.airflow == 1.0 ; python_version > '3' # pin\n", "="},
		{"airlock-airflow[x]>=1", "="},
		{"airlock-airflow@ file:///x.whl", "="},
		{"./dist/airlock_airflow-0.1.0-py3-none-manylinux_2_17_x86_64.whl --hash=sha256:0", "="},
		{"-e git+https://example.com/x#egg=Airlock-Airflow", "="},
		{"airlock-airflow \\\n  --hash=sha256:0\n", "="},
		{"x \\", "x \\\n\n+"},
		{"-r airlock-airflow.txt\n", "-r airlock-airflow.txt\n+"},
	} {
		want := strings.ReplaceAll(row.want, "+", "airlock-airflow\n")
		if row.want == "=" {
			want = row.file
		}
		got := AddRequirement([]byte(row.file), AirlockPackage)
		if string(got) != want {
			t.Errorf("%q: got %q, want %q", row.file, got, want)
		}
		if again := AddRequirement(got, AirlockPackage); !bytes.Equal(again, got) {
			t.Errorf("%q: a second run changes it: %q", row.file, again)
		}
	}
}

// TestAdditions: what is added at the end leaves every byte before it as it was.
func TestAdditions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := []byte(rapid.StringOf(rapid.RuneFrom([]rune("aA-_. #\\=<>;[]é\t\n\r"))).Draw(t, "file"))
		once := AddRequirement(data, AirlockPackage)
		if !bytes.HasPrefix(once, data) || !bytes.HasPrefix(AddIgnores(data, ".env"), data) {
			t.Fatalf("%q became %q", data, once)
		}
		if twice := AddRequirement(once, AirlockPackage); !bytes.Equal(once, twice) {
			t.Fatalf("%q became %q and %q", data, once, twice)
		}
	})
}

func TestLoginCheck(t *testing.T) {
	for _, row := range []struct {
		change func(*Login)
		want   string
	}{
		{func(*Login) {}, ""},
		{func(l *Login) { l.TenantID = "contoso.onmicrosoft.com" }, ""},
		{func(l *Login) { l.VaultURL = "" }, "the vault's URL is missing"},
		{func(l *Login) { l.VaultURL = "http://contoso.vault.azure.net" }, "not one of a vault"},
		{func(l *Login) { l.VaultURL = "<your-vault-url>" }, "not one of a vault"},
		{func(l *Login) { l.VaultURL = "https://contoso.vault.azure.net/secrets/x" }, "not one of a vault"},
		{func(l *Login) { l.Auth = "password" }, "authentication is one of"},
		{func(l *Login) { l.ClientID = "canary" }, "the client id is not a GUID"},
		{func(l *Login) { l.TenantID = "" }, "the tenant id is missing"},
		{func(l *Login) { l.Secret = secret.Value{} }, "the client secret is missing"},
		{func(l *Login) { l.Secret = secret.FromString(client) }, "the secret's id and not its value"},
		{func(l *Login) { l.Secret = secret.FromString("\xff") }, "not UTF-8"},
		{func(l *Login) { l.Auth, l.Secret = ManagedIdentity, secret.Value{} }, ""},
	} {
		l := withSecret()
		row.change(&l)
		err := l.Check()
		if row.want == "" && err != nil || row.want != "" && (!fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("got %v, want %q", err, row.want)
		}
	}
}
