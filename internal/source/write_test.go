package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

func items(kind airflow.Kind, pairs ...string) []Item {
	var all []Item
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, Item{Kind: kind, ID: pairs[i], Value: secret.FromString(pairs[i+1])})
	}
	return all
}

func TestWrite(t *testing.T) {
	connections := items(airflow.Connection,
		"my_db", "postgres://u:p%40ss@Db.Example:5432/dwh?sslmode=require",
		"api", `{"conn_type": "http", "password": "", "extra": {"n": 1}}`)
	variables := items(airflow.Variable, "text", "a: b # c", "number", "5", "spaced", `{"a":1}`, "object", `{"a": [1.5, null, "\u00e9"]}`,
		"value", `{"value": 1}`, "yes", "yes", "empty", "")
	for _, row := range []struct {
		format Format
		items  []Item
		want   string
	}{
		{ConnectionsJSON, connections, `{
  "api": {
    "conn_type": "http",
    "description": null,
    "login": null,
    "password": "",
    "host": null,
    "port": null,
    "schema": null,
    "extra": "{\"n\": 1}"
  },
  "my_db": {
    "conn_type": "postgres",
    "description": null,
    "login": "u",
    "password": "p@ss",
    "host": "db.example",
    "port": 5432,
    "schema": "dwh",
    "extra": "{\"sslmode\": \"require\"}"
  }
}
`},
		{ConnectionsEnv, connections[:1], "my_db=postgres://u:p%40ss@Db.Example:5432/dwh?sslmode=require\n"},
		{VariablesJSON, variables, `{
    "empty": "",
    "number": 5,
    "object": {
        "a": [
            1.5,
            null,
            "é"
        ]
    },
    "spaced": "{\"a\":1}",
    "text": "a: b # c",
    "value": "{\"value\": 1}",
    "yes": "yes"
}
`},
		{VariablesYAML, variables, `"empty": ""
"number": 5
"object":
    "a":
        - 1.5
        - null
        - "é"
"spaced": "{\"a\":1}"
"text": "a: b # c"
"value": "{\"value\": 1}"
"yes": "yes"
`},
		{ConnectionsEnv, items(airflow.Connection, "a", `{"conn_type": "google_cloud_platform", "extra": {"n": [1]}}`),
			"a=google-cloud-platform:///?__extra__=%7B%22n%22%3A+%5B1%5D%7D\n"},
		{VariablesYAML, nil, "{}\n"},
		{VariablesEnv, variables[:2], "number=5\ntext=a: b # c\n"},
	} {
		got, err := Write(row.format, row.items)
		if err != nil {
			t.Errorf("%s: %v", row.format, err)
		}
		if d := cmp.Diff(row.want, strings.ReplaceAll(string(got), `\u00e9`, "é")); d != "" {
			t.Errorf("%s: %s", row.format, d)
		}
		writeAgain(t, row.format, row.items)
	}
}

// TestWriteRefuses: what a format cannot hold is named, with nothing of the value.
func TestWriteRefuses(t *testing.T) {
	for _, row := range []struct {
		format Format
		items  []Item
		want   string
	}{
		{VariablesEnv, items(airflow.Variable, "a", "canary\ncanary"), `variable "a" cannot be written as variables-env`},
		{VariablesEnv, items(airflow.Variable, "a", ""), `variable "a" cannot be written`},
		{VariablesEnv, items(airflow.Variable, "#a", "canary"), `variable "#a" cannot be written`},
		{VariablesEnv, items(airflow.Variable, "a=b", "canary"), `variable "a=b" cannot be written`},
		{ConnectionsEnv, items(airflow.Connection, "a", `{"conn_type": "x", "description": "canary"}`), `connection "a" cannot be written`},
		{ConnectionsJSON, items(airflow.Connection, "a", `{"conn_type": "x", "canary": 1}`), `connection "a" is none to Airflow`},
		{ConnectionsJSON, items(airflow.Variable, "a", "canary"), `variable "a" is no connection`},
		{VariablesJSON, items(airflow.Variable, "a", "1", "a", "2"), `variable "a" is there twice`},
		{Dotenv, nil, "for reading only"},
	} {
		_, err := Write(row.format, row.items)
		if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want %s", row.format, err, row.want)
		}
	}
}

// TestRoundTrip: whatever is stored, what Write writes is read back as the same, and json and yaml refuse nothing that
// Airflow could use.
func TestRoundTrip(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("ab0159:/@%#?&=+-_.,{}[]()\"'\\ \t\n\r\u2028é🚀~!|>*"))),
		rapid.SampledFrom([]string{"", "yes", "null", "~", "0123", "1e3", "1_000", "2020-01-01", "12:30", "=", "<<", "- a", "NaN", ".inf", `{"value": 1}`}))
	jsonText := rapid.Custom(func(t *rapid.T) string {
		var value any = text.Draw(t, "text")
		switch rapid.IntRange(0, 5).Draw(t, "shape") {
		case 0:
			value = rapid.Float64().Draw(t, "float")
		case 1:
			value = rapid.Int64().Draw(t, "int")
		case 2:
			value = map[string]any{text.Draw(t, "key"): value, "b": []any{nil, true, 1.0}}
		case 3:
			value = []any{value, map[string]any{}}
		}
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "spaced") {
			if spaced, err := airflow.DumpJSON(string(raw)); err == nil {
				return spaced
			}
		}
		return string(raw)
	})
	field := rapid.OneOf(rapid.Just(""), text)
	connection := rapid.Custom(func(t *rapid.T) string {
		escape := func(s string) string {
			var b strings.Builder
			for _, c := range []byte(s) {
				if rapid.IntRange(0, 9).Draw(t, "bare") > 0 || c >= 0x80 {
					fmt.Fprintf(&b, "%%%02X", c)
				} else {
					b.WriteByte(c)
				}
			}
			return b.String()
		}
		if rapid.Bool().Draw(t, "uri") {
			return rapid.SampledFrom([]string{"postgres", "google-cloud-platform", "HTTP", "a_b"}).Draw(t, "type") + "://" +
				escape(field.Draw(t, "login")) + ":" + escape(field.Draw(t, "password")) + "@" + escape(field.Draw(t, "host")) + "/" +
				escape(field.Draw(t, "schema")) + "?" + escape(field.Draw(t, "key")) + "=" + escape(field.Draw(t, "value"))
		}
		fields := map[string]any{"conn_type": rapid.SampledFrom([]any{"postgres", "http", "A b", nil}).Draw(t, "type")}
		for _, name := range []string{"host", "login", "password", "schema", "description"} {
			if rapid.Bool().Draw(t, name) {
				fields[name] = field.Draw(t, name)
			}
		}
		if rapid.Bool().Draw(t, "port") {
			fields["port"] = rapid.SampledFrom([]any{0, 1, 65535, "80", "", nil}).Draw(t, "port")
		}
		switch rapid.IntRange(0, 3).Draw(t, "extra") {
		case 0:
			fields["extra"] = map[string]any{field.Draw(t, "key"): field.Draw(t, "value")}
		case 1:
			fields["extra"] = jsonText.Draw(t, "extra")
		case 2:
			fields["extra"] = map[string]any{"n": rapid.Float64().Draw(t, "n"), "l": []any{1, nil, true}}
		}
		raw, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	})
	usable := 0
	rapid.Check(t, func(t *rapid.T) {
		id := text.Draw(t, "id")
		variable := items(airflow.Variable, id, rapid.OneOf(text, jsonText).Draw(t, "variable"), "other", "x")
		if id == "other" {
			variable = variable[:1]
		}
		for _, format := range []Format{VariablesJSON, VariablesYAML, VariablesEnv} {
			if _, err := Write(format, variable); err != nil && format != VariablesEnv {
				t.Errorf("%s: %v for %q", format, err, variable[0].Value.Reveal())
			}
			writeAgain(t, format, variable)
		}
		one := items(airflow.Connection, id, connection.Draw(t, "connection"))
		for _, format := range []Format{ConnectionsJSON, ConnectionsYAML, ConnectionsEnv} {
			_, unread := airflow.ParseConnection(one[0].Value)
			if _, err := Write(format, one); err != nil && unread == nil && format != ConnectionsEnv {
				t.Errorf("%s: %v for %q", format, err, one[0].Value.Reveal())
			}
			if unread == nil {
				usable++
			}
			writeAgain(t, format, one)
		}
	})
	if usable == 0 {
		t.Error("no connection was one to Airflow: the test shows nothing")
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := Read(path); err != nil || string(data) != "{}" {
		t.Errorf("read %q, %v", data, err)
	}
	for name, change := range map[string]func() error{
		"written": func() error { return os.WriteFile(path, []byte(`{"canary": 1}`), 0o600) },
		"touched": func() error { return os.Chtimes(path, time.Time{}, time.Unix(1, 0)) },
		"replaced": func() error {
			return errors.Join(os.WriteFile(path+"2", []byte("{}"), 0o600), os.Rename(path+"2", path))
		},
		"removed": func() error { return os.Remove(path) },
	} {
		if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := read(path, func(r io.Reader) ([]byte, error) {
			data, err := ReadAll(r)
			return data, errors.Join(err, change())
		})
		if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), "changed while it was read") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(path + "-not"); !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Read(filepath.Dir(path)); !fault.Is(err, fault.Usage) {
		t.Errorf("a folder: %v", err)
	}
}
