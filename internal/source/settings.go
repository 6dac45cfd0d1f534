package source

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/yamlnode"
)

// settings reads the "airflow" mapping of an Astro project's airflow_settings.yaml. Pools are not secrets, and entries
// without any content are the blanks of the template that `astro dev init` writes.
func (f *file) settings(airflowNode *yaml.Node) {
	for _, node := range elements(airflowNode, "connections") {
		fields, ok := f.fields(node)
		if !ok || blank(fields) {
			continue
		}
		if id := textOf(fields, "conn_id"); id != "" {
			f.settingsConnection(id, fields, node.Line)
		} else {
			f.fail(node.Line, "a connection without conn_id")
		}
	}
	for _, node := range elements(airflowNode, "variables") {
		fields, ok := f.fields(node)
		if !ok || blank(fields) {
			continue
		}
		id := textOf(fields, "variable_name")
		if id == "" {
			f.fail(node.Line, "a variable without variable_name")
			continue
		}
		value := ""
		for _, field := range fields {
			if text, ok := field.text(); field.key == "variable_value" && ok {
				value = text
			} else if field.key == "variable_value" && field.raw != "null" {
				value = pythonJSON(field.raw)
			}
		}
		f.add(airflow.Variable, id, value, node.Line)
	}
}

func (f *file) settingsConnection(id string, fields []member, line int) {
	if uri := textOf(fields, "conn_uri"); uri != "" {
		f.add(airflow.Connection, id, uri, line)
		return
	}
	var connection []member
	for _, field := range fields {
		name, ok := strings.CutPrefix(field.key, "conn_")
		switch {
		case field.key == "conn_id" || field.key == "conn_uri" || empty(field):
		case field.key == "conn_type":
			connection = append(connection, field)
		case !ok || !isConnectionField(name):
			f.fail(line, "connection %q: airflow_settings.yaml knows no field %q", id, field.key)
			return
		default:
			connection = append(connection, member{key: name, raw: field.raw})
		}
	}
	f.connection(member{key: id, raw: object(connection), line: line})
}

func elements(mapping *yaml.Node, key string) []*yaml.Node {
	if list := yamlnode.Value(mapping, key); list != nil && list.Kind == yaml.SequenceNode {
		return list.Content
	}
	return nil
}

// fields reads one entry. Scalars keep the text that was written, so that a password 0123 stays one; but a port is a number.
func (f *file) fields(node *yaml.Node) ([]member, bool) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind != yaml.MappingNode {
		f.fail(node.Line, "an entry that is not a mapping")
		return nil, false
	}
	var fields []member
	r := yamlReader{left: maxNodes}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i].Value, node.Content[i+1]
		field := member{key: key, line: value.Line}
		if value.Kind == yaml.ScalarNode && key != "conn_port" {
			field.raw = quote(value.Value)
			if value.Tag == "!!null" {
				field.raw = "null"
			}
		} else if raw, err := r.value(value); err == nil {
			field.raw = raw
		} else {
			f.fail(err.line, "the value of %s is not understood: %s", key, err.why)
			return nil, false
		}
		fields = append(fields, field)
	}
	return fields, true
}

func textOf(fields []member, key string) string {
	for _, field := range fields {
		if text, ok := field.text(); ok && field.key == key {
			return text
		}
	}
	return ""
}

func empty(field member) bool { return field.raw == "null" || field.raw == `""` }

func blank(fields []member) bool {
	for _, field := range fields {
		if !empty(field) && !(field.isObject() && blank(field.members())) {
			return false
		}
	}
	return true
}
