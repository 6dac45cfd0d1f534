package source

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

// flat is an item with its value in the open, to compare.
type flat struct{ Kind, ID, Value, Where string }

func parse(t *testing.T, name, content string) []flat {
	t.Helper()
	items, err := Parse(name, []byte(content))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var all []flat
	for _, i := range items {
		all = append(all, flat{string(i.Kind), i.ID, string(i.Value.Reveal()), i.Where})
	}
	return all
}

func TestParse(t *testing.T) {
	for _, row := range []struct {
		name, content string
		want          []flat
	}{
		{"airflow_settings.yaml", `
airflow:
  connections:
    - conn_id: my_db
      conn_type: postgres
      conn_host: db.example
      conn_login: 007
      conn_password: 0123
      conn_port: 5432
      conn_schema:
      conn_extra:
        sslmode: require
    - conn_id: by_uri
      conn_uri: http://u:p@h/
    - conn_id:
      conn_type:
      conn_extra:
        example_extra_field:
  pools:
    - pool_name: p
      pool_slot: 1
  variables:
    - variable_name: hello
      variable_value: world
    - variable_name: number
      variable_value: 5
    - variable_name:
      variable_value:
`, []flat{
			{"connection", "my_db", `{"conn_type": "postgres", "host": "db.example", "login": "007", "password": "0123", "port": 5432, "extra": {"sslmode": "require"}}`, "airflow_settings.yaml:4"},
			{"connection", "by_uri", "http://u:p@h/", "airflow_settings.yaml:13"},
			{"variable", "hello", "world", "airflow_settings.yaml:23"},
			{"variable", "number", "5", "airflow_settings.yaml:25"},
		}},
		{"variables.json", `{"a": "text", "b": {"x": "<1>"}, "c": {"value": [1.50, true], "description": "d"}, "d": null, "e": "http://x"}`, []flat{
			{"variable", "a", "text", "variables.json:1"},
			{"variable", "b", `{"x": "<1>"}`, "variables.json:1"},
			{"variable", "c", `[1.5, true]`, "variables.json:1"},
			{"variable", "d", "null", "variables.json:1"},
			{"variable", "e", "http://x", "variables.json:1"},
		}},
		{"out.json", `{"a": {"conn_type": "http", "description": null, "login": "", "port": 80, "extra": "{\"k\": 1}"}, "b": "http://h"}`, []flat{
			{"connection", "a", `{"conn_type": "http", "login": "", "port": 80, "extra": {"k": 1}}`, "out.json:1"},
			{"connection", "b", "http://h", "out.json:1"},
		}},
		{"connections.json", `{"a": "http://h", "b": "{\"conn_type\": \"x\"}"}`, []flat{
			{"connection", "a", "http://h", "connections.json:1"},
			{"connection", "b", `{"conn_type": "x"}`, "connections.json:1"},
		}},
		{"c.yaml", "a:\n  conn_type: x\n  port: 1\nb: x://h\n", []flat{
			{"connection", "a", `{"conn_type": "x", "port": 1}`, "c.yaml:1"},
			{"connection", "b", "x://h", "c.yaml:4"},
		}},
		{"v.yml", "a: 1\nb: text\n", []flat{{"variable", "a", "1", "v.yml:1"}, {"variable", "b", "text", "v.yml:2"}}},
		{".env", "OTHER=1\nAIRFLOW_VAR_HELLO=world\nAIRFLOW_CONN_MY_DB='x://h'\n", []flat{
			{"variable", "hello", "world", ".env:2"}, {"connection", "my_db", "x://h", ".env:3"},
		}},
		{"old.yaml", "a: yes\nb: 0123\nc: '1'\nd: 1.0\ne: ~\nf: [on, 0x1F]\ng: 1e3\nh: !!str 5\n", []flat{
			{"variable", "a", "true", "old.yaml:1"}, {"variable", "b", "83", "old.yaml:2"}, {"variable", "c", "1", "old.yaml:3"},
			{"variable", "d", "1.0", "old.yaml:4"}, {"variable", "e", "null", "old.yaml:5"}, {"variable", "f", "[true, 31]", "old.yaml:6"},
			{"variable", "g", "1e3", "old.yaml:7"}, {"variable", "h", "5", "old.yaml:8"},
		}},
		{"c2.json", "\ufeff{\n\n\"a\": {\"conn_type\": \"x\", \"conn_id\": \"a\", \"extra_dejson\": {\"k\": 1.50}}}", []flat{
			{"connection", "a", `{"conn_type": "x", "extra": {"k": 1.5}}`, "c2.json:3"},
		}},
		{"variables2.json", `{"db": {"host": "h", "port": 1}}`, []flat{{"variable", "db", `{"host": "h", "port": 1}`, "variables2.json:1"}}},
		{"-", "# piped\nAIRFLOW_VAR_A=1\nAIRFLOW_VAR_A=2\n", []flat{{"variable", "a", "2", "-:3"}}},
		{"connections.env", "my_db=x://u:'p@h\nMy.Other={\"conn_type\": \"y\"} # not a comment\n", []flat{
			{"connection", "my_db", "x://u:'p@h", "connections.env:1"},
			{"connection", "My.Other", `{"conn_type": "y"} # not a comment`, "connections.env:2"},
		}},
	} {
		if d := cmp.Diff(row.want, parse(t, row.name, row.content)); d != "" {
			t.Errorf("%s: %s", row.name, d)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, row := range []struct{ name, content, want string }{
		{"a.json", "{\n\"canary\": x}", "a.json:2: not valid JSON"},
		{"a.yaml", "a: 1\nb: [canary\n", "a.yaml:"},
		{"a.yaml", "- canary\n", "a.yaml:1: not a mapping"},
		{".env", "AIRFLOW_VAR_A=1\nAIRFLOW_VAR_B='canary", ".env:2: the quote"},
		{".env", "OTHER=canary", "holds no connection and no variable"},
		{"a.yaml", "", "holds no connection"},
		{"airflow_settings.yaml", "airflow:\n  variables:\n    - variable_value: canary\n", ":3: a variable without variable_name"},
		{"airflow_settings.yaml", "airflow:\n  connections:\n    - conn_type: canary\n", ":3: a connection without conn_id"},
		{"airflow_settings.yaml", "airflow:\n  connections:\n    - conn_id: a\n      username: canary\n", `:3: connection "a": airflow_settings.yaml knows no field "username"`},
		{"airflow_settings.yaml", "airflow:\n  connections:\n    - canary\n", ":3: an entry that is not a mapping"},
		{"c.json", `{"a": {"conn_type": "x", "user": "canary"}}`, `connection "a": Airflow knows no field "user"`},
		{"c.json", `{"a": {"conn_type": "x"}, "b": 5}`, `connection "b" is neither`},
		{"c.json", "{\"a\": {\"conn_type\": \"x\"},\n \"a\": {\"conn_type\": \"canary\"}}", `c.json:2: "a" stands in line 1 already`},
		{"c.json", `{"a": {"conn_type": "x", "conn_id": "canary"}}`, `its conn_id is another one`},
		{"c.json", `{"a": {"conn_type": "x", "host": "h", "host": "canary"}}`, `the field "host" stands twice`},
		{"c.json", `{"a": {"conn_type": "x", "extra": "canary", "extra_dejson": {}}}`, `exclude one another`},
		{"c.json", `{"a": "canary://x"}`, `could be connections or variables`},
		{"c.json", "{\"a\": \"canary\",\n", `c.json:1: not valid JSON`},
		{"c.json", "{\n\"a\": \"canary \xe9\"}", "c.json:2: not UTF-8 text"},
		{"c.yaml", "a: \"canary \xe9\"", "c.yaml"},
		{"c.json", `{"a": "canary \ud83d"}`, `c.json:1: the value of "a" holds half of a surrogate pair`},
		{"c.json", `{"a": "1"} canary`, `c.json:1: not valid JSON`},
		{"c.json", `["canary"]`, `c.json:1: not a mapping`},
		{"v.yaml", "a: 1\n---\nb: canary", "v.yaml:2: more than one document"},
		{"v.yaml", "a: 2020-01-01 # canary", "v.yaml:1: a date, a time"},
		{"v.yaml", "a: !!binary canary", "v.yaml:1: a value with a tag"},
		{"v.yaml", "a: {k: 1, k: canary}", "v.yaml:1: a key that stands twice"},
		{"v.yaml", "1: canary", "v.yaml:1: a key that is not text"},
		{"v.yaml", "x: &x {a: 1}\ny:\n  <<: *x", "v.yaml:3: a merge key"},
	} {
		_, err := Parse(row.name, []byte(row.content))
		if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s %q: %v, want %q", row.name, row.content, err, row.want)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s %q shows content: %v", row.name, row.content, err)
		}
	}
}

func TestParseAs(t *testing.T) {
	for _, row := range []struct {
		format  Format
		content string
		want    string // of the first item, or of the error
	}{
		{ConnectionsJSON, `{"a": "x://h"}`, "connection a x://h"},
		{VariablesJSON, `{"a": "x://h"}`, "variable a x://h"},
		{ConnectionsJSON, `{"a": [{"conn_type": "x"}]}`, `connection a {"conn_type": "x"}`},
		{ConnectionsJSON, `{"a": ["x://canary", "x://h"]}`, `s:1: connection "a" is a list, and not of one`},
		{VariablesJSON, `{"a": {"conn_type": "x"}}`, `variable a {"conn_type": "x"}`},
		{VariablesEnv, "# no\n\na='1' # all\n", "variable a '1' # all"},
		{VariablesEnv, "a=1\na=canary", `s:2: variable "a" stands in line 1 already`},
		{VariablesEnv, "a=1\ncanary", "s:2: not a line of ID=VALUE"},
		{VariablesEnv, "a=", "s:1: not a line of ID=VALUE"},
		{ConnectionsEnv, "AIRFLOW_CONN_A=x://h", "connection AIRFLOW_CONN_A x://h"},
		{Dotenv, "AIRFLOW_CONN_A=x://h", "connection a x://h"},
		{Dotenv, "a=x://canary", "s: holds no connection and no variable"},
		{Settings, "a: canary", "s:1: no mapping airflow"},
		{VariablesYAML, "airflow: {variables: 1}", `variable airflow {"variables": 1}`},
		{ConnectionsJSON, "a: canary", "s:1: not valid JSON"},
	} {
		items, err := ParseAs(row.format, "s", []byte(row.content))
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = fmt.Sprint(items[0].Kind, " ", items[0].ID, " ", string(items[0].Value.Reveal()))
		}
		if got != row.want && !(err != nil && strings.HasPrefix(got, row.want)) {
			t.Errorf("%s %q: %s, want %s", row.format, row.content, got, row.want)
		}
	}
	if _, err := ParseFormat("toml"); !fault.Is(err, fault.Usage) {
		t.Errorf("a format that there is not: %v", err)
	}
}

// TestAliases: what swells by aliases is refused before it fills the memory.
func TestAliases(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1)
	}
	if _, err := Parse("v.yaml", []byte(bomb.String())); !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), "too large") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a.json", `{"a": {"conn_type": "x"}}`)
	f.Add("a.yaml", "airflow:\n  variables:\n  - variable_name: x\n")
	f.Add("a.yaml", "a: &x [1, 0x1f, ~, on, 1.5]\nb: *x\n")
	f.Add(".env", "AIRFLOW_VAR_A=1")
	f.Fuzz(func(t *testing.T, name, content string) {
		items, err := Parse(name, []byte(content))
		if err != nil && !fault.Is(err, fault.Usage) {
			t.Errorf("an error of another kind: %v", err)
		}
		for _, item := range items {
			if item.Where == "" || item.Kind == "" {
				t.Errorf("an item without place or kind: %+v", item)
			}
		}
		for _, format := range Formats() {
			writeAgain(t, format, items)
		}
	})
}

// writeAgain holds Write to its promise: what it writes is read back as the same, or it refuses.
func writeAgain(t interface{ Errorf(string, ...any) }, format Format, items []Item) {
	file, err := Write(format, items)
	if err != nil {
		if !fault.Is(err, fault.Usage) {
			t.Errorf("%s: an error of another kind: %v", format, err)
		}
		return
	}
	if len(items) == 0 {
		return
	}
	back, err := ParseAs(format, "back", file)
	if err != nil || len(back) != len(items) {
		t.Errorf("%s: %d of %d items come back: %v\n%s", format, len(back), len(items), err, file)
		return
	}
	byID := map[string]Item{}
	for _, item := range items {
		byID[item.ID] = item
	}
	for _, got := range back {
		want, ok := byID[got.ID]
		same := string(got.Value.Reveal()) == string(want.Value.Reveal())
		if !same && want.Kind == airflow.Connection {
			same = airflow.SameConnection(got.Value, want.Value) || got.Loose && airflow.SimilarConnection(got.Value, want.Value)
		}
		if !ok || got.Kind != want.Kind || !same {
			t.Errorf("%s: %s %q comes back as %q, was %q", format, got.Kind, got.ID, got.Value.Reveal(), want.Value.Reveal())
		}
	}
	// Once read back, the texts stay as they are.
	again, err := Write(format, back)
	if err != nil {
		t.Errorf("%s: cannot be written again: %v", format, err)
		return
	}
	twice, err := ParseAs(format, "back", again)
	if err != nil || len(twice) != len(back) {
		t.Errorf("%s: cannot be read again: %v", format, err)
		return
	}
	for i := range back {
		if string(back[i].Value.Reveal()) != string(twice[i].Value.Reveal()) {
			t.Errorf("%s: %q becomes %q the second time", format, back[i].Value.Reveal(), twice[i].Value.Reveal())
		}
	}
}
