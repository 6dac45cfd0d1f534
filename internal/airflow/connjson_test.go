package airflow

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// The first part are the cases of Airflow's own tests, the second were computed with Airflow 3.3.2.
func TestParseJSON(t *testing.T) {
	for text, want := range map[string]shown{
		`{"extra": null}`:                         {"-", "-", "-", "-", "-", "-", "-"},
		`{"extra": {"yo": "hi"}}`:                 {"-", "-", "-", "-", "-", "-", `{"yo": "hi"}`},
		`{"extra": "{\"yo\": \"hi\"}"}`:           {"-", "-", "-", "-", "-", "-", `{"yo": "hi"}`},
		`{"conn_type": "abc-abc"}`:                {"abc_abc", "-", "-", "-", "-", "-", "-"},
		`{"conn_type": "postgresql"}`:             {"postgres", "-", "-", "-", "-", "-", "-"},
		`{"port": 1}`:                             {"-", "-", "-", "-", "1", "-", "-"},
		`{"port": "1"}`:                           {"-", "-", "-", "-", "1", "-", "-"},
		`{"port": ""}`:                            {"-", "-", "-", "-", "-", "-", "-"},
		`{"port": null}`:                          {"-", "-", "-", "-", "-", "-", "-"},
		`{"password": "pass :/!@#$%^&*(){}\""}`:   {"-", "-", `pass :/!@#$%^&*(){}"`, "-", "-", "-", "-"},
		`{"host": "h", "port": "5", "login": ""}`: {"-", "", "-", "h", "5", "-", "-"},
		`{"uri": "a://u:p@h"}`:                    {"a", "u", "p", "h", "-", "", "-"},

		`{"port": 0}`:              {"-", "-", "-", "-", "-", "-", "-"}, // a port of 0 is no truth for Python
		`{"port": "0"}`:            {"-", "-", "-", "-", "0", "-", "-"},
		`{"port": 1.9}`:            {"-", "-", "-", "-", "1", "-", "-"},
		`{"port": true}`:           {"-", "-", "-", "-", "1", "-", "-"},
		`{"port": " 8_0\u2003"}`:   {"-", "-", "-", "-", "80", "-", "-"},
		`{"port": "\u0668\u0660"}`: {"-", "-", "-", "-", "80", "-", "-"},
		`{"conn_type": "HTTP"}`:    {"HTTP", "-", "-", "-", "-", "-", "-"},
		`{"extra": [1, 2.50]}`:     {"-", "-", "-", "-", "-", "-", "[1, 2.5]"},
		`{"extra": {"ü": "\ud83d\ude00\u007f", "a": [NaN, 1e400, -0, 1E16]}}`: {"-", "-", "-", "-", "-", "-",
			`{"\u00fc": "\ud83d\ude00\u007f", "a": [NaN, Infinity, 0, 1e+16]}`},
		`{"uri": null, "host": "h"}`: {"-", "-", "-", "h", "-", "-", "-"},
		`{"host": "a", "host": "b"}`: {"-", "-", "-", "b", "-", "-", "-"},
		"\n { } ":                    {"-", "-", "-", "-", "-", "-", "-"},
	} {
		c, err := ParseConnection(secret.FromString(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, show(c)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestParseJSONRefuses(t *testing.T) {
	deep := strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)
	for _, row := range []struct{ text, message, hint string }{
		{`{"username": "u"}`, "does not know username", "login"},
		{`{"conn_id": "u"}`, "does not know conn_id", "take it out"},
		{`{"host": "h", "hunter2": 1}`, "does not know key no. 2", "extra"},
		{`{"team_name": "t"}`, "does not know team_name", "servers"},
		{`{"host": 5}`, "host must be a text or null", ""},
		{`{"password": ["p"]}`, "password must be a text or null", ""},
		{`{"conn_type": 5}`, "conn_type must be a text", ""},
		{`{"port": "1.5"}`, "port is not a whole number", ""},
		{`{"port": [1]}`, "port is not a whole number", ""},
		{`{"port": 1e400}`, "port is not a whole number", ""},
		{`{"port": 99999999999999999999}`, "port is not a whole number", ""},
		{`{"uri": "a://h", "host": "h"}`, "uri stands beside other keys", ""},
		{`{"uri": "a://h", "host": null}`, "uri stands beside other keys", "servers would read"},
		{`{"uri": 5}`, "uri must be a text", ""},
		{`{"login": "\ud800"}`, "login holds half of a surrogate pair", ""},
		{`{"extra": "\ud800"}`, "extra holds half of a surrogate pair", ""},
		{"{\"a\":\n 'b'}", "not valid at line 2, column 2", ""},
		{`{'conn_type': 'http'}`, "line 1, column 2", "double quotes"},
		{`{"host": "h",}`, "line 1, column 14", "comma"},
		{`{"extra": ` + deep + `}`, "not valid", ""},
		{`{"extra": ` + strings.Repeat("9", maxDigits+1) + `}`, "not valid", ""},
	} {
		_, err := ParseConnection(secret.FromString(row.text))
		if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.message) {
			t.Errorf("%.60s: %v, want %q", row.text, err, row.message)
		}
		if all := strings.Join(fault.HintsOf(err), "\n"); !strings.Contains(all, row.hint) {
			t.Errorf("%.60s: hints %q, want %q", row.text, all, row.hint)
		}
	}
}

func TestReadingsOfTheCore(t *testing.T) {
	for text, want := range map[string]shown{
		"http://user:@host": {"http", "user", "-", "host", "-", "", "-"},
		`{"password": ""}`:  {"-", "-", "-", "-", "-", "-", "-"},
		"a://h?n=1&t=true&s=x&e=&o=%7B": {"a", "-", "-", "h", "-", "",
			`{"n": 1, "t": true, "s": "x", "e": "", "o": "{"}`},
		`{"uri": "", "host": "h"}`:     {"-", "-", "-", "h", "-", "-", "-"},
		`{"uri": "a://h", "host": ""}`: {"a", "-", "-", "h", "-", "", "-"},
		`{"team_name": "t"}`:           {"-", "-", "-", "-", "-", "-", "-"},
	} {
		c, err := Core.Parse(secret.FromString(text))
		if diff := cmp.Diff(want, show(c)); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
	for text, where := range map[string]string{
		"a://h?__extra__=hi":                          "extra is not JSON at line 1, column 1",
		"a://h?__extra__=%5B1%5D":                     "not an object",
		`{"extra": "hi"}`:                             "extra is not JSON",
		`{"extra": "\"hi\""}`:                         "not an object",
		"a://h?n=" + strings.Repeat("9", maxDigits+1): "too large",
	} {
		if _, err := Core.Parse(secret.FromString(text)); !fault.Is(err, fault.Usage) ||
			!strings.Contains(err.Error(), where) {
			t.Errorf("%.60s: %v, want an error about %s", text, err, where)
		}
	}
}

func TestWrite(t *testing.T) {
	for _, row := range []struct {
		conn      Conn
		uri, json string
	}{
		{Conn{}, "//", "{}"},
		{Conn{Host: new("abc")}, "//abc", `{"host": "abc"}`},
		{conn("type", "protocol://host", "user", "pass", "schema", 100, `{"param1": "val1", "param2": "val2"}`),
			"type://protocol://user:pass@host:100/schema?param1=val1&param2=val2",
			`{"conn_type": "type", "host": "protocol://host", "login": "user", "password": "pass", "schema": "schema", "port": 100, "extra": {"param1": "val1", "param2": "val2"}}`},
		{Conn{Type: new("google_cloud_platform"), Extra: secret.FromString(`{"project":"p","num_retries":5}`)},
			"google-cloud-platform:///?__extra__=%7B%22project%22%3A%22p%22%2C%22num_retries%22%3A5%7D",
			`{"conn_type": "google_cloud_platform", "extra": {"project": "p", "num_retries": 5}}`},
		{Conn{Type: new("http"), Host: new("https://h"), Schema: new("p")}, "http://https://h/p",
			`{"conn_type": "http", "host": "https://h", "schema": "p"}`},
		{Conn{Type: new("http"), Host: new("http://h")}, "http://http%3A%2F%2Fh",
			`{"conn_type": "http", "host": "http://h"}`},
		{Conn{Type: new("a"), Port: new(80)}, "a://@:80", `{"conn_type": "a", "port": 80}`},
		{Conn{Type: new("a"), Host: new("::1"), Port: new(1)}, "a://%3A%3A1:1",
			`{"conn_type": "a", "host": "::1", "port": 1}`},
		{Conn{Type: new("a"), Login: new("u"), Password: secret.FromString("")}, "a://u:@",
			`{"conn_type": "a", "login": "u", "password": ""}`},
		{Conn{Type: new("a"), Host: new("h"), Schema: new("a/b"), Extra: secret.FromString(`{"k": ""}`)},
			"a://h/a%2Fb?k=", `{"conn_type": "a", "host": "h", "schema": "a/b", "extra": {"k": ""}}`},
		{Conn{Type: new("foo"), Login: new(""), Password: secret.FromString("p@$$")}, "foo://:p%40%24%24@",
			`{"conn_type": "foo", "login": "", "password": "p@$$"}`},
		{Conn{Host: new("apache.org"), Extra: secret.FromString("{}")}, "//apache.org/?__extra__=%7B%7D",
			`{"host": "apache.org"}`},
		{Conn{Type: new("aws"), Host: new(""), Schema: new(""), Description: new("d")}, "aws://",
			`{"conn_type": "aws", "description": "d", "host": "", "schema": ""}`},
		{Conn{Extra: secret.FromString("not JSON")}, "///?__extra__=not+JSON", "{}"},
	} {
		uri, err := row.conn.URI()
		if err != nil || string(uri.Reveal()) != row.uri {
			t.Errorf("URI %s, %v; want %s", uri.Reveal(), err, row.uri)
		}
		object, err := row.conn.JSON()
		if err != nil || string(object.Reveal()) != row.json {
			t.Errorf("JSON %s, %v; want %s", object.Reveal(), err, row.json)
		}
	}
	for _, extra := range []string{`{"a": "\ud800"}`, `{"\udfff": "a"}`, `{"n": ` + strings.Repeat("1",
		maxDigits+1) + `}`} {
		if _, err := (Conn{Extra: secret.FromString(extra)}).URI(); !fault.Is(err, fault.Usage) {
			t.Errorf("%.40s is written to a URI: %v", extra, err)
		}
	}
}

func conn(connType, host, login, password, schema string, port int, extra string) Conn {
	return Conn{Type: &connType, Host: &host, Login: &login, Password: secret.FromString(password), Schema: &schema,
		Port:  &port,
		Extra: secret.FromString(extra)}
}

func TestLostInURI(t *testing.T) {
	whole := conn("http", "https://h", "u", "p", "s", 1, `{"a":1}`)
	if lost := whole.LostInURI(); lost != nil {
		t.Errorf("lost: %v", lost)
	}
	for want, c := range map[string]Conn{
		"description":           {Type: new("a"), Description: new("d")},
		"host":                  {Type: new("a"), Host: new("Db.Example")},
		"port":                  {Type: new("a"), Port: new(0)},
		"conn_type":             {Type: new("A")},
		"extra":                 {Type: new("a"), Extra: secret.FromString(`{"__extra__": "x"}`)},
		"conn_type,host,schema": {Type: new("a b"), Host: new("h")},
	} {
		if got := strings.Join(c.LostInURI(), ","); got != want {
			t.Errorf("lost: %s, want %s", got, want)
		}
	}
}
