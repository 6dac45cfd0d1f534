package source

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Write writes items, all of the format's kind, as Airflow's export commands do; Settings and Dotenv are for reading only.
// What is written has been read again: it gives the same items, each id exactly, each variable byte for byte, and each
// connection as Airflow reads it, but that an ENV file does not tell None from an empty text. Items that the format cannot hold so are an error of kind Usage that names each of them.
func Write(format Format, items []Item) ([]byte, error) {
	kind := format.kind()
	if kind == "" {
		return nil, fault.New(fault.Usage, fmt.Sprintf("format %q is for reading only", format))
	}
	items = slices.Clone(items)
	slices.SortFunc(items, func(a, b Item) int { return cmp.Compare(a.ID, b.ID) })
	var entries []member
	var problems []error
	for i, item := range items {
		switch {
		case item.Kind != kind:
			problems = append(problems, fault.New(fault.Usage, fmt.Sprintf("%s %q is no %s", item.Kind, item.ID, kind)))
		case i > 0 && items[i-1].ID == item.ID:
			problems = append(problems, fault.New(fault.Usage, fmt.Sprintf("%s %q is there twice", item.Kind, item.ID)))
		}
		raw, err := written(format, item)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		entries = append(entries, member{key: item.ID, raw: raw})
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	switch format {
	case ConnectionsEnv, VariablesEnv:
		var out bytes.Buffer
		for _, e := range entries {
			out.WriteString(e.key + "=" + e.raw + "\n")
		}
		return out.Bytes(), nil
	case ConnectionsYAML, VariablesYAML:
		return writeYAML(entries)
	}
	indent := "  " // as `airflow connections export` has it
	if format == VariablesJSON {
		indent = "    "
	}
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(object(entries)), "", indent); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "cannot write JSON")
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// written is how an item's value stands in a file of the format: the first of the ways that is read back as the same.
func written(format Format, item Item) (string, error) {
	for _, raw := range ways(format, item) {
		file, err := single(format, member{key: item.ID, raw: raw})
		if err != nil {
			continue
		}
		back, err := ParseAs(format, "", file)
		if err != nil || len(back) != 1 || back[0].ID != item.ID {
			continue
		}
		if got := back[0].Value; string(got.Reveal()) == string(item.Value.Reveal()) || item.Kind == airflow.Connection &&
			(airflow.SameConnection(got, item.Value) || format == ConnectionsEnv && airflow.SimilarConnection(got, item.Value)) {
			return raw, nil
		}
	}
	err := fault.New(fault.Usage, fmt.Sprintf("%s %q cannot be written as %s so that it is read back the same", item.Kind, item.ID, format))
	if item.Kind == airflow.Connection {
		if _, unread := airflow.ParseConnection(item.Value); unread != nil {
			err = fault.Wrap(fault.Usage, unread, fmt.Sprintf("connection %q is none to Airflow: %v", item.ID, unread), fault.HintsOf(unread)...)
			return "", err
		}
	}
	if format == ConnectionsEnv || format == VariablesEnv {
		err.Hints = append(err.Hints, "an ENV file has no line breaks, no empty values and no descriptions; json and yaml hold everything")
	}
	return "", err
}

func single(format Format, entry member) ([]byte, error) {
	switch format {
	case ConnectionsEnv, VariablesEnv:
		return []byte(entry.key + "=" + entry.raw + "\n"), nil
	case ConnectionsYAML, VariablesYAML:
		return writeYAML([]member{entry})
	}
	return []byte(object([]member{entry})), nil
}

// ways are the texts in which a value may be written, the one that Airflow's own export has first.
func ways(format Format, item Item) []string {
	text := string(item.Value.Reveal())
	switch format {
	case VariablesEnv:
		return []string{text}
	case VariablesJSON, VariablesYAML:
		// A value that is JSON stands as such, unless it would come back in other words.
		if same, err := airflow.DumpJSON(text); err == nil && same == text {
			return []string{text, quote(text)}
		}
		return []string{quote(text)}
	}
	c, err := airflow.ParseConnection(item.Value)
	if err != nil {
		return nil
	}
	isURI := !strings.HasPrefix(strings.TrimSpace(text), "{")
	if format == ConnectionsEnv {
		var all []string
		if isURI { // Airflow takes each line of an ENV file for a URI
			all = append(all, text)
		}
		if uri, err := c.URI(); err == nil {
			all = append(all, string(uri.Reveal()))
		}
		return all
	}
	all := []string{fieldsOf(c)}
	if isURI {
		all = append(all, quote(text))
	} else {
		all = append(all, text)
	}
	return all
}

// fieldsOf is a connection as `airflow connections export` writes it: every field, the extra as text.
func fieldsOf(c airflow.Conn) string {
	text := func(s *string) string {
		if s == nil {
			return "null"
		}
		return quote(*s)
	}
	hidden := func(v secret.Value) string {
		if v.IsZero() {
			return "null"
		}
		return quote(string(v.Reveal()))
	}
	port := "null"
	if c.Port != nil {
		port = strconv.Itoa(*c.Port)
	}
	return object([]member{
		{key: "conn_type", raw: text(c.Type)}, {key: "description", raw: text(c.Description)}, {key: "login", raw: text(c.Login)},
		{key: "password", raw: hidden(c.Password)}, {key: "host", raw: text(c.Host)}, {key: "port", raw: port},
		{key: "schema", raw: text(c.Schema)}, {key: "extra", raw: hidden(c.Extra)},
	})
}

func writeYAML(entries []member) ([]byte, error) {
	if len(entries) == 0 {
		return []byte("{}\n"), nil
	}
	root, err := yamlNode(object(entries))
	if err != nil {
		return nil, err
	}
	return yaml.Marshal(root)
}

// yamlNode turns JSON into YAML that is read the same under the rules of YAML 1.1 and 1.2: all text stands in double quotes.
func yamlNode(raw string) (*yaml.Node, error) {
	switch raw = strings.TrimSpace(raw); {
	case strings.HasPrefix(raw, `"`):
		text, ok := member{raw: raw}.text()
		if !ok {
			return nil, errors.New("not a string")
		}
		return textNode(text), nil
	case strings.HasPrefix(raw, "{"):
		fields, _, err := membersOf([]byte(raw))
		if err != nil {
			return nil, err
		}
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, field := range fields {
			value, err := yamlNode(field.raw)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, textNode(field.key), value)
		}
		return n, nil
	case strings.HasPrefix(raw, "["):
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(raw), &list); err != nil {
			return nil, err
		}
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range list {
			value, err := yamlNode(string(item))
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, value)
		}
		return n, nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: raw}, nil
}

func textNode(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: text}
}
