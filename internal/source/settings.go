package source

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// settings reads the "airflow" mapping of an Astro project's airflow_settings.yaml. Pools are not secrets, and entries
// without any content are the blanks of the template that `astro dev init` writes.
func (f *file) settings(airflowNode *yaml.Node) {
	for _, node := range elements(airflowNode, "connections") {
		f.settingsConnection(node)
	}
	for _, node := range elements(airflowNode, "variables") {
		fields, ok := f.fields(node)
		if !ok || blank(fields) {
			continue
		}
		id := text(fields["variable_name"])
		if id == "" {
			f.fail(node.Line, "a variable without variable_name")
			continue
		}
		value := fields["variable_value"]
		if value == nil {
			value = ""
		}
		f.variable(id, value, node.Line)
	}
}

func (f *file) settingsConnection(node *yaml.Node) {
	fields, ok := f.fields(node)
	if !ok || blank(fields) {
		return
	}
	id := text(fields["conn_id"])
	if id == "" {
		f.fail(node.Line, "a connection without conn_id")
		return
	}
	if uri := text(fields["conn_uri"]); uri != "" {
		f.connection(id, uri, node.Line)
		return
	}
	connection := map[string]any{}
	for field, value := range fields {
		name, ok := strings.CutPrefix(field, "conn_")
		switch {
		case field == "conn_id" || field == "conn_uri" || empty(value):
		case field == "conn_type":
			connection["conn_type"] = value
		case !ok:
			f.fail(node.Line, "connection %q: airflow_settings.yaml knows no field %q", id, field)
			return
		case field == "conn_host" || field == "conn_schema" || field == "conn_login" || field == "conn_password":
			connection[name] = text(value) // a number in YAML is text in Airflow
		default:
			connection[name] = value
		}
	}
	f.connection(id, connection, node.Line)
}

func elements(mapping *yaml.Node, key string) []*yaml.Node {
	if mapping.Kind == yaml.MappingNode {
		if list := child(mapping, key); list != nil && list.Kind == yaml.SequenceNode {
			return list.Content
		}
	}
	return nil
}

// fields decodes one entry; scalars keep the text that was written, so that a password 0123 stays one.
func (f *file) fields(node *yaml.Node) (map[string]any, bool) {
	if node.Kind != yaml.MappingNode {
		f.fail(node.Line, "an entry that is not a mapping")
		return nil, false
	}
	fields := map[string]any{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i].Value, node.Content[i+1]
		if value.Kind == yaml.ScalarNode && key != "conn_port" && key != "variable_value" {
			fields[key] = value.Value
			if value.Tag == "!!null" {
				fields[key] = nil
			}
			continue
		}
		var decoded any
		if err := value.Decode(&decoded); err != nil {
			f.fail(value.Line, "the value of %s is not understood", key)
			return nil, false
		}
		fields[key] = decoded
	}
	return fields, true
}

func text(value any) string {
	s, _ := value.(string)
	return s
}

func empty(value any) bool { return value == nil || value == "" }

func blank(fields map[string]any) bool {
	for _, value := range fields {
		if m, ok := value.(map[string]any); ok && blank(m) {
			continue
		}
		if !empty(value) {
			return false
		}
	}
	return true
}
