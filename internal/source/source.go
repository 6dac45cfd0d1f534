// Package source reads connections and variables from the files in which teams have them: airflow_settings.yaml, what
// `airflow connections export` and `airflow variables export` write, and .env files.
package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/dotenv"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Item is one connection or variable, in the text that Airflow reads from a secret.
type Item struct {
	Kind  airflow.Kind
	ID    string
	Value secret.Value
	Where string // file and line
}

// Parse reads a file, whose kind it sees from the content. The name is for errors, which are of kind Usage and tell
// file, line and field but never a value; all problems are reported at once. A file without any item is an error too:
// somebody expected something of it.
func Parse(name string, data []byte) ([]Item, error) {
	f := file{name: name}
	switch trimmed := bytes.TrimSpace(data); {
	case strings.HasPrefix(string(trimmed), "{"):
		f.json(data)
	case isEnv(name):
		f.env(data)
	default:
		f.yaml(data)
	}
	if err := errors.Join(f.problems...); err != nil {
		return nil, err
	}
	if len(f.items) == 0 {
		return nil, fault.New(fault.Usage, fmt.Sprintf("%s: holds no connection and no variable", name), formats)
	}
	return f.items, nil
}

const formats = "readable are airflow_settings.yaml, the JSON, YAML and ENV files of `airflow connections export` and " +
	"`airflow variables export`, and .env files with AIRFLOW_CONN_* and AIRFLOW_VAR_*"

func isEnv(name string) bool {
	base := filepath.Base(name)
	return filepath.Ext(base) == ".env" || strings.HasPrefix(base, ".env")
}

// file gathers what one file holds and what is wrong with it.
type file struct {
	name     string
	items    []Item
	problems []error
}

func (f *file) fail(line int, format string, args ...any) {
	where := f.name
	if line > 0 {
		where = fmt.Sprintf("%s:%d", f.name, line)
	}
	f.problems = append(f.problems, fault.New(fault.Usage, where+": "+fmt.Sprintf(format, args...)))
}

func (f *file) add(kind airflow.Kind, id, value string, line int) {
	where := f.name
	if line > 0 {
		where = fmt.Sprintf("%s:%d", f.name, line)
	}
	f.items = append(f.items, Item{Kind: kind, ID: id, Value: secret.FromString(value), Where: where})
}

// env reads a project's .env, where AIRFLOW_CONN_* and AIRFLOW_VAR_* count and the rest is other people's; or else the
// ENV file of `airflow connections export`, in which every line is a connection.
func (f *file) env(data []byte) {
	entries, err := dotenv.Parse(f.name, data)
	if err != nil {
		// The export quotes nothing and escapes nothing, so that its lines may break dotenv's rules.
		if exported := exportLines(data); exported != nil {
			entries = exported
		} else {
			f.problems = append(f.problems, err)
			return
		}
	}
	found := false
	for _, e := range entries {
		if id, ok := strings.CutPrefix(e.Key, "AIRFLOW_CONN_"); ok && id != "" {
			found = true
			f.add(airflow.Connection, strings.ToLower(id), e.Value, e.Line)
		}
		if id, ok := strings.CutPrefix(e.Key, "AIRFLOW_VAR_"); ok && id != "" {
			found = true
			f.add(airflow.Variable, strings.ToLower(id), e.Value, e.Line)
		}
	}
	if found {
		return
	}
	for _, e := range exportLines(data) {
		f.add(airflow.Connection, e.Key, e.Value, e.Line)
	}
}

// exportLines reads lines of ID=URI or ID=JSON; nil when any line is something else.
func exportLines(data []byte) []dotenv.Entry {
	var entries []dotenv.Entry
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, value, ok := strings.Cut(line, "=")
		if !ok || id == "" || !looksLikeConnection(value) {
			return nil
		}
		entries = append(entries, dotenv.Entry{Key: id, Value: value, Line: i + 1})
	}
	return entries
}

func looksLikeConnection(value string) bool {
	return strings.Contains(value, "://") || strings.HasPrefix(strings.TrimSpace(value), "{")
}

// json reads what Airflow's export commands write.
func (f *file) json(data []byte) {
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(data, &entries); err != nil {
		line := 0
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			line = 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n"))
		}
		f.fail(line, "not valid JSON")
		return
	}
	values := map[string]any{}
	for id, raw := range entries {
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		var value any
		if err := decoder.Decode(&value); err != nil {
			f.fail(0, "%q is not valid JSON", id)
			continue
		}
		values[id] = value
	}
	f.export(values, nil)
}

// yaml reads airflow_settings.yaml or a YAML export.
func (f *file) yaml(data []byte) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		f.fail(yamlLine(err), "not valid YAML")
		return
	}
	if len(doc.Content) == 0 {
		return
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		f.fail(root.Line, "not a mapping")
		return
	}
	if settings := child(root, "airflow"); settings != nil {
		f.settings(settings)
		return
	}
	values, lines := map[string]any{}, map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		var value any
		if err := node.Decode(&value); err != nil {
			f.fail(node.Line, "the value of %q is not understood", key.Value)
			continue
		}
		values[key.Value], lines[key.Value] = value, key.Line
	}
	f.export(values, lines)
}

// yamlLine takes the line out of a parse error, whose text could show content.
func yamlLine(err error) int {
	var line int
	_, text, _ := strings.Cut(err.Error(), "line ")
	_, _ = fmt.Sscanf(text, "%d", &line)
	return line
}

func child(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// export reads {id: value}: connections when any value is an object with a connection's fields, or when the file says
// so by its name and every value looks like a connection; variables otherwise.
func (f *file) export(values map[string]any, lines map[string]int) {
	connections := strings.Contains(strings.ToLower(filepath.Base(f.name)), "conn")
	for _, value := range values {
		text, isText := value.(string)
		connections = connections && isText && looksLikeConnection(text)
	}
	for _, value := range values {
		object, _ := value.(map[string]any)
		for field := range object {
			connections = connections || field != "description" && slices.Contains(connectionFields, field)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(values)) {
		if connections {
			f.connection(id, values[id], lines[id])
		} else {
			f.variable(id, values[id], lines[id])
		}
	}
}

// variable stores a value as `airflow variables import` does: text as it is, anything else as JSON; {"value": ...}
// carries a description beside it.
func (f *file) variable(id string, value any, line int) {
	if object, ok := value.(map[string]any); ok {
		if inner, ok := object["value"]; ok {
			value = inner
		}
	}
	text, ok := value.(string)
	if !ok {
		raw, err := encode(value)
		if err != nil {
			f.fail(line, "the value of variable %q cannot be written as JSON", id)
			return
		}
		text = raw
	}
	f.add(airflow.Variable, id, text, line)
}

// connectionFields are the keys of a connection in JSON.
var connectionFields = []string{"conn_type", "description", "host", "login", "password", "schema", "port", "extra", "uri"}

func (f *file) connection(id string, value any, line int) {
	switch v := value.(type) {
	case string:
		f.add(airflow.Connection, id, v, line)
	case map[string]any:
		fields := map[string]any{}
		for field, value := range v {
			switch {
			case field == "conn_id" || value == nil:
			case !slices.Contains(connectionFields, field):
				f.fail(line, "connection %q: Airflow knows no field %q", id, field)
				return
			default:
				fields[field] = value
			}
		}
		text, err := encode(fields)
		if err != nil {
			f.fail(line, "connection %q cannot be written as JSON", id)
			return
		}
		f.add(airflow.Connection, id, text, line)
	default:
		f.fail(line, "connection %q is neither text nor an object", id)
	}
}

// encode writes JSON without escaping what only HTML minds.
func encode(value any) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return strings.TrimSuffix(out.String(), "\n"), err
}
