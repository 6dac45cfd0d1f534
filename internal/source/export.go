package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// json reads what Airflow's export commands write.
func (f *file) json(data []byte) {
	if at := invalidUTF8(data); at >= 0 { // of which the reader of JSON would make question marks without a word
		f.fail(1+bytes.Count(data[:at], []byte("\n")), "not UTF-8 text")
		return
	}
	entries, line, err := membersOf(data)
	if errors.Is(err, errNotObject) {
		f.fail(line, "not a JSON object")
	} else if err != nil {
		f.fail(line, "not valid JSON")
	} else {
		f.export(entries)
	}
}

// invalidUTF8 is where data is not UTF-8; -1 when all of it is.
func invalidUTF8(data []byte) int {
	for at := 0; at < len(data); {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size <= 1 {
			return at
		}
		at += size
	}
	return -1
}

// export reads {id: value}.
func (f *file) export(entries []member) {
	seen := map[string]int{}
	for _, e := range entries {
		if before := seen[e.key]; before > 0 {
			f.fail(e.line, "%q stands in line %d already", e.key, before)
		}
		seen[e.key] = e.line
		if e.torn() {
			f.fail(e.line, "the value of %q holds half of a surrogate pair, which is no text", e.key)
		}
	}
	kind := f.format.kind()
	if kind == "" {
		kind = f.kindOf(entries)
	}
	for _, e := range entries {
		switch kind {
		case airflow.Connection:
			f.connection(e)
		case airflow.Variable:
			f.variable(e)
		}
	}
}

// kindOf sees from the values what an export holds: an object with a conn_type is a connection, and a value that could not be
// one is a variable. What could be both is decided by the file's name.
func (f *file) kindOf(entries []member) airflow.Kind {
	either := true
	for _, e := range entries {
		text, isText := e.text()
		if isText {
			either = either && looksLikeConnection(text)
			continue
		}
		either = either && e.isObject()
		for _, field := range e.members() {
			if field.key == "conn_type" {
				return airflow.Connection
			}
			either = either && isConnectionField(field.key)
		}
	}
	base := strings.ToLower(filepath.Base(f.name))
	switch {
	case !either || strings.Contains(base, "var"):
		return airflow.Variable
	case strings.Contains(base, "conn"):
		return airflow.Connection
	case len(entries) > 0:
		f.problems = append(f.problems, fault.New(fault.Usage, f.name+": these could be connections or variables",
			"say which with --format, or call the file connections.json or variables.json"))
	}
	return ""
}

// variable takes a value as `airflow variables import` does: text as it is, anything else as JSON; {"value": ...} carries a
// description beside it.
func (f *file) variable(e member) {
	described := false
	for _, field := range e.members() {
		if field.key == "value" {
			for _, other := range e.members() {
				described = described || other.key == "description" && !empty(other)
			}
			e.raw = field.raw
			break
		}
	}
	text, isText := e.text()
	if !isText {
		text = pythonJSON(e.raw)
	}
	item := f.add(airflow.Variable, e.key, text, e.line)
	item.Loose = !isText
	if described {
		item.Lost = "the description"
	}
}

// connectionFields are the keys of a connection in Airflow's files, besides its id.
var connectionFields = []string{
	"conn_type", "description", "host", "login", "password", "schema", "port", "extra", "extra_dejson", "uri",
}

func isConnectionField(name string) bool {
	return name == "conn_id" || slices.Contains(connectionFields, name)
}

// connection takes a value as `airflow connections import` does: text is a URI, an object has a connection's fields.
func (f *file) connection(e member) {
	if strings.HasPrefix(e.raw, "[") { // as some readers of Airflow take a list of one
		var list []json.RawMessage
		if json.Unmarshal([]byte(e.raw), &list) != nil || len(list) != 1 {
			f.fail(e.line, "connection %q is a list, and not of one", e.key)
			return
		}
		e.raw = string(list[0])
	}
	if text, ok := e.text(); ok {
		f.add(airflow.Connection, e.key, text, e.line)
		return
	}
	if !e.isObject() {
		f.fail(e.line, "connection %q is neither text nor an object", e.key)
		return
	}
	var fields []member
	seen := map[string]bool{}
	for _, field := range e.members() {
		switch {
		case !isConnectionField(field.key):
			f.fail(e.line, "connection %q: Airflow knows no field %q", e.key, field.key)
			return
		case seen[field.key]:
			f.fail(e.line, "connection %q: the field %q stands twice", e.key, field.key)
			return
		}
		seen[field.key] = true
		text, isText := field.text()
		switch {
		case field.raw == "null":
		case field.key == "conn_id":
			if !isText || text != e.key {
				f.fail(e.line, "connection %q: its conn_id is another one", e.key)
				return
			}
		case field.key == "extra_dejson":
			fields = append(fields, member{key: "extra", raw: field.raw})
		default:
			fields = append(fields, field)
		}
	}
	if seen["extra"] && seen["extra_dejson"] {
		f.fail(e.line, "connection %q: extra and extra_dejson exclude one another", e.key)
		return
	}
	f.add(airflow.Connection, e.key, settle(pythonJSON(object(fields))), e.line)
}

// settle writes a connection's JSON as Airflow itself writes it, where that says the same.
func settle(text string) string {
	value := secret.FromString(text)
	parsed, err := airflow.ParseConnectionJSON(value)
	if err != nil {
		return text // whoever looks into the item will say what is wrong
	}
	canonical, err := parsed.JSON()
	if err != nil || !airflow.SameConnection(canonical, value) {
		return text
	}
	return string(canonical.Reveal())
}

// pythonJSON writes JSON as Airflow writes the values that are not text: with Python's json.dumps.
func pythonJSON(raw string) string {
	text, err := airflow.DumpJSON(raw)
	if err != nil {
		return raw // was read before, and is JSON at any rate
	}
	return text
}
