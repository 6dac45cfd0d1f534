package airflow

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// shown is a Conn that can be compared and written in a table: "-" is None, as there is no other use of it here.
type shown struct{ Type, Login, Password, Host, Port, Schema, Extra string }

func show(c Conn) shown {
	s := func(p *string) string {
		if p == nil {
			return "-"
		}
		return *p
	}
	port := "-"
	if c.Port != nil {
		port = strconv.Itoa(*c.Port)
	}
	value := func(v secret.Value) string {
		if v.IsZero() {
			return "-"
		}
		return string(v.Reveal())
	}
	return shown{s(c.Type), s(c.Login), value(c.Password), s(c.Host), port, s(c.Schema), value(c.Extra)}
}

// The first part are the cases of Airflow's own tests (airflow-core tests/unit/models/test_connection.py), the second were
// computed with Airflow 3.3.2. What both implementations make of each is checked against them in python/tests/parity too.
func TestParseURI(t *testing.T) {
	for uri, want := range map[string]shown{
		"type://user:pass@host:100/schema": {"type", "user", "pass", "host", "100", "schema", "-"},
		"type://user:pass@host/schema?param1=val1&param2=val2": {"type", "user", "pass", "host", "-", "schema",
			`{"param1": "val1", "param2": "val2"}`},
		"type://host": {"type", "-", "-", "host", "-", "", "-"},
		"spark://k8s://100.68.0.1:443?deploy-mode=cluster": {"spark", "-", "-",
			"k8s://100.68.0.1", "443", "", `{"deploy-mode": "cluster"}`},
		"spark://h:80?namespace=kube+namespace": {"spark", "-", "-", "h", "80", "",
			`{"namespace": "kube namespace"}`},
		"type://protocol://user:pass@host:123?param=value": {"type", "user", "pass",
			"protocol://host", "123", "", `{"param": "value"}`},
		"http://https://example.com:8080/path": {"http", "-", "-",
			"https://example.com", "8080", "path", "-"},
		"scheme://user:password@host%2Flocation:1234/schema": {"scheme", "user", "password",
			"host/location", "1234", "schema", "-"},
		"scheme://u:p@h:1/s?extra1=a%20value&extra2=%2Fpath%2F": {"scheme", "u", "p", "h", "1", "s",
			`{"extra1": "a value", "extra2": "/path/"}`},
		"scheme://u:p@h:1/s?extra1=a%20value&extra2=": {"scheme", "u", "p", "h", "1", "s",
			`{"extra1": "a value", "extra2": ""}`},
		"scheme://u:p@h:1/s?__extra__=%7B%22my_val%22%3A+%5B%22list%22%5D%7D": {"scheme", "u", "p", "h", "1", "s",
			`{"my_val": ["list"]}`},
		"scheme://user:password@host%2Flocation%3Ax%3Ay:1234/schema": {"scheme", "user", "password",
			"host/location:x:y", "1234", "schema", "-"},
		"scheme://user:password%20with%20space@h:1/s": {"scheme", "user",
			"password with space", "h", "1", "s", "-"},
		"scheme://domain%2Fuser:password@h:1/s": {"scheme", "domain/user", "password",
			"h", "1", "s", "-"},
		"scheme://u:p@host:1234/schema%2Ftest": {"scheme", "u", "p", "host", "1234",
			"schema/test", "-"},
		"google-cloud-platform://?key_path=%2Fkeys%2Fkey.json&project=a": {"google_cloud_platform", "-", "-",
			"", "-", "", `{"key_path": "/keys/key.json", "project": "a"}`},
		"scheme://%2FTmP%2F:1234": {"scheme", "-", "-", "/TmP/", "1234",
			"", "-"},
		"scheme:///airflow": {"scheme", "-", "-", "", "-",
			"airflow", "-"},
		"scheme://@:1234": {"scheme", "", "-", "", "1234", "", "-"},
		"scheme://:password%2F%21%40%23%24%25%5E%26%2A%28%29%7B%7D@": {"scheme", "",
			"password/!@#$%^&*(){}", "", "-", "", "-"},
		"http://:password@host:80/database": {"http", "", "password", "host",
			"80", "database", "-"},
		"http://user:@host:80/database": {"http", "user", "", "host", "80",
			"database", "-"},
		"http://user:password@/database": {"http", "user", "password", "", "-",
			"database", "-"},
		"postgresql://u:p@%2Ftmp%2Fz6%2Fex%3Awest1%3Atestdb/testdb": {"postgres", "u", "p",
			"/tmp/z6/ex:west1:testdb", "-", "testdb", "-"},
		"spark://k8s%3a%2F%2F100.68.0.1:443?deploy-mode=cluster": {"spark", "-", "-",
			"k8s://100.68.0.1", "443", "", `{"deploy-mode": "cluster"}`},
		"spark://k8s%3a%2F%2Fno.port.com?deploy-mode=cluster": {"spark", "-", "-",
			"k8s://no.port.com", "-", "", `{"deploy-mode": "cluster"}`},
		"redis://": {"redis", "-", "-", "", "-", "", "-"},
		"postgres://user%40domain:pass%21word@host:5432/db": {"postgres", "user@domain", "pass!word", "host",
			"5432", "db", "-"},
		"//abc": {"", "-", "-", "abc", "-", "", "-"},

		"HTTP://Host/Db":                  {"http", "-", "-", "host", "-", "Db", "-"},
		"google_cloud_platform://h/s?x=y": {"", "-", "-", "", "-", "oogle_cloud_platform//h/s", `{"x": "y"}`},
		"pg://u:p@[::1]:5432/db":          {"pg", "u", "p", "::1", "5432", "db", "-"},
		"pg://u:p%2Bq+r@h/db?x=a+b":       {"pg", "u", "p+q+r", "h", "-", "db", `{"x": "a b"}`},
		"a://h/db?k=1&k=2":                {"a", "-", "-", "h", "-", "db", `{"k": "2"}`},
		"a://h?flag":                      {"a", "-", "-", "h", "-", "", `{"flag": ""}`},
		"a://h?__extra__=":                {"a", "-", "-", "h", "-", "", ""},
		"a://h/a/b":                       {"a", "-", "-", "h", "-", "a/b", "-"},
		"a://u:p@ss@h/db":                 {"a", "u", "p@ss", "h", "-", "db", "-"},
		"a://u:p:q@h":                     {"a", "u", "p:q", "h", "-", "", "-"},
		"http://http://host":              {"http", "-", "-", "", "-", "ost", "-"},
		"abc":                             {"", "-", "-", "", "-", "bc", "-"},
		"a://@h":                          {"a", "", "-", "h", "-", "", "-"},
		"a://h:0/db":                      {"a", "-", "-", "h", "0", "db", "-"},
		"a://h:":                          {"a", "-", "-", "h", "-", "", "-"},
		"postgresql+psycopg2://u:p@h/db":  {"postgresql+psycopg2", "u", "p", "h", "-", "db", "-"},
		"  a://h \n":                      {"a", "-", "-", "h", "-", "", "-"},
		"a://h/%E2%82x%FF":                {"a", "-", "-", "h", "-", "\uFFFDx\uFFFD", "-"},
	} {
		c, err := ParseConnection(secret.FromString(uri))
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if diff := cmp.Diff(want, show(c)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", uri, diff)
		}
	}
}

func TestParseURIRefuses(t *testing.T) {
	for uri, where := range map[string]string{
		"type://user:pass@protocol://host:port?param=value": `second "://"`,
		"http://https://ftp://example.com":                  "more than twice",
		"http://user@host://example.com":                    `second "://"`,
		`http://host?__extra__={"url":"https://x"}`:         `second "://"`,
		"pg://h:99999/db":                                   "port is not within",
		"pg://h:99999999999999999999999/db":                 "port is not within",
		"pg://h:abc/db":                                     "port is not a number",
		"a://u:p/q@h":                                       "port is not a number",
		"a://u:p#q@h":                                       "port is not a number",
		"a://u:p?q@h":                                       "port is not a number",
		"a://u:p[q]@h":                                      "brackets",
		"a://[::1":                                          "brackets",
		"a://[1.2.3.4]":                                     "brackets",
		"a://u:p\u2100@h":                                   "normalised",
		"":                                                  "empty",
		" \u2003\x1c":                                       "empty",
		"a://\xff":                                          "not UTF-8",
	} {
		_, err := ParseConnection(secret.FromString(uri))
		if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), where) {
			t.Errorf("%s: %v, want an error about %s", uri, err, where)
		}
	}
}

func TestKnownConnectionTypes(t *testing.T) {
	types := KnownConnectionTypes()
	if len(types) < 100 || !slices.IsSorted(types) {
		t.Errorf("%d types, sorted: %t", len(types), slices.IsSorted(types))
	}
	for _, known := range []string{"postgres", "google_cloud_platform", "wasb", "fs", "http", "aws"} {
		if !IsKnownConnectionType(known) {
			t.Errorf("%s is not known", known)
		}
	}
	for _, unknown := range []string{"postgresql", "google-cloud-platform", "", "# Connection"} {
		if IsKnownConnectionType(unknown) {
			t.Errorf("%q is known", unknown)
		}
	}
}
