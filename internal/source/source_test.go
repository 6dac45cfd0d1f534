package source

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
			{"connection", "my_db", `{"conn_type":"postgres","extra":{"sslmode":"require"},"host":"db.example","login":"007","password":"0123","port":5432}`, "airflow_settings.yaml:4"},
			{"connection", "by_uri", "http://u:p@h/", "airflow_settings.yaml:13"},
			{"variable", "hello", "world", "airflow_settings.yaml:23"},
			{"variable", "number", "5", "airflow_settings.yaml:25"},
		}},
		{"variables.json", `{"a": "text", "b": {"x": "<1>"}, "c": {"value": [1.50, true], "description": "d"}, "d": null, "e": "http://x"}`, []flat{
			{"variable", "a", "text", "variables.json"},
			{"variable", "b", `{"x":"<1>"}`, "variables.json"},
			{"variable", "c", `[1.50,true]`, "variables.json"},
			{"variable", "d", "null", "variables.json"},
			{"variable", "e", "http://x", "variables.json"},
		}},
		{"out.json", `{"a": {"conn_type": "http", "description": null, "login": "", "port": 80, "extra": "{\"k\": 1}"}, "b": "http://h"}`, []flat{
			{"connection", "a", `{"conn_type":"http","extra":"{\"k\": 1}","login":"","port":80}`, "out.json"},
			{"connection", "b", "http://h", "out.json"},
		}},
		{"connections.json", `{"a": "http://h", "b": "{\"conn_type\": \"x\"}"}`, []flat{
			{"connection", "a", "http://h", "connections.json"},
			{"connection", "b", `{"conn_type": "x"}`, "connections.json"},
		}},
		{"c.yaml", "a:\n  conn_type: x\n  port: 1\nb: x://h\n", []flat{
			{"connection", "a", `{"conn_type":"x","port":1}`, "c.yaml:1"},
			{"connection", "b", "x://h", "c.yaml:4"},
		}},
		{"v.yml", "a: 1\nb: text\n", []flat{{"variable", "a", "1", "v.yml:1"}, {"variable", "b", "text", "v.yml:2"}}},
		{".env", "OTHER=1\nAIRFLOW_VAR_HELLO=world\nAIRFLOW_CONN_MY_DB='x://h'\n", []flat{
			{"variable", "hello", "world", ".env:2"}, {"connection", "my_db", "x://h", ".env:3"},
		}},
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

func FuzzParse(f *testing.F) {
	f.Add("a.json", `{"a": {"conn_type": "x"}}`)
	f.Add("a.yaml", "airflow:\n  variables:\n  - variable_name: x\n")
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
	})
}
