package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/yamlnode"
)

// decoder reads a document strictly, and collects every problem with file, line and field. It works on YAML's nodes,
// because the library's own errors repeat what they could not read, which may be a secret.
type decoder struct {
	file     string // as errors name it
	problems []error
}

// problem notes what is wrong at a line. The cause's hints are kept, its text must be safe to show.
func (d *decoder) problem(line int, field string, cause error) {
	msg := fmt.Sprintf("%s:%d: ", d.file, line)
	if field != "" && field != ":" {
		msg += field + " "
	}
	d.problems = append(d.problems, fault.New(fault.Usage, msg+cause.Error(), fault.HintsOf(cause)...))
}

func (d *decoder) err() error { return errors.Join(d.problems...) }

// document reads a whole document; what is not in it has its default.
func (d *decoder) document(data []byte) document {
	var doc document
	into := reflect.ValueOf(&doc).Elem()
	prepare(into)
	var root yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	err := decoder.Decode(&root)
	if errors.Is(err, io.EOF) { // nothing but comments
		return doc
	}
	if err == nil && errors.Is(decoder.Decode(&yaml.Node{}), io.EOF) {
		d.decode(root.Content[0], into, "")
		return doc
	}
	if err == nil {
		d.problems = append(d.problems, fault.New(fault.Usage, d.file+": must be one YAML document, and has more"))
		return doc
	}
	where := d.file
	if line := yamlnode.ErrorLine(err); line > 0 {
		where += ":" + strconv.Itoa(line)
	}
	d.problems = append(d.problems, fault.New(fault.Usage, where+": is not valid YAML", "a tab cannot indent, and text with \": \" or \" #\" in it wants quotes"))
	return doc
}

func (d *decoder) decode(n *yaml.Node, into reflect.Value, path string) {
	if n.Kind == yaml.AliasNode {
		d.problem(n.Line, path, errors.New("is an alias; write it out"))
		return
	}
	pointer := into.Addr().Interface()
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		if t, ok := pointer.(nullTaker); ok {
			t.takeNull()
		}
		return
	}
	switch t, ok := pointer.(taker); {
	case ok && n.Kind != yaml.ScalarNode:
		d.problem(n.Line, path, errors.New("must be a single value"))
	case ok:
		if err := t.take(n); err != nil {
			d.problem(n.Line, path, err)
		}
	case into.Kind() == reflect.Slice:
		d.sequence(n, into, path)
	default:
		d.mapping(n, into, path)
	}
}

func (d *decoder) sequence(n *yaml.Node, into reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.problem(n.Line, path, errors.New("must be a list"))
		return
	}
	for i, item := range n.Content {
		element := reflect.New(into.Type().Elem()).Elem()
		prepare(element)
		if at := atField(element); at.IsValid() {
			at.SetInt(int64(item.Line)) // also of one that is no mapping
		}
		d.decode(item, element, fmt.Sprintf("%s[%d]", path, i))
		into.Set(reflect.Append(into, element))
	}
}

// atField is where an entry keeps its line; invalid where it keeps none.
func atField(v reflect.Value) reflect.Value {
	if v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	return v.FieldByName("At")
}

func (d *decoder) mapping(n *yaml.Node, into reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		what := "must have keys and values"
		if path == "" {
			what = "the document must have keys and values, such as: vaults:"
		}
		d.problem(n.Line, path, errors.New(what))
		return
	}
	if at := atField(into); at.IsValid() {
		at.SetInt(int64(n.Line))
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		field, known := fieldOf(into, key.Value)
		below := key.Value
		if path != "" {
			below = path + "." + key.Value
		}
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge":
			d.problem(key.Line, path, errors.New("has a key that is not plain text"))
		case !known:
			d.problem(key.Line, path+":", unknownKey(key.Value, keysOf(into)))
		case seen[key.Value]:
			d.problem(key.Line, below, errors.New("is there twice"))
		default:
			seen[key.Value] = true
			d.decode(value, field, below)
		}
	}
}

// unknownKey is the error for a key that nobody knows, with the nearest that is known.
func unknownKey(key string, known []string) error {
	const most = 60
	if len(key) > most {
		key = key[:most] + "..."
	}
	err := fault.New(fault.Usage, fmt.Sprintf("unknown key %q", key))
	if near := nearest(key, slices.Sorted(slices.Values(known))); near != "" {
		err.Hints = append(err.Hints, fmt.Sprintf("did you mean %q?", near))
	}
	return err
}

func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	for field, value := range v.Fields() {
		if field.Anonymous {
			if inner, ok := fieldOf(value, key); ok {
				return inner, true
			}
		} else if tag := field.Tag.Get("yaml"); tag == key && tag != "-" {
			return value, true
		}
	}
	return reflect.Value{}, false
}

func keysOf(v reflect.Value) []string {
	var keys []string
	for field, value := range v.Fields() {
		if field.Anonymous {
			keys = append(keys, keysOf(value)...)
		} else if tag := field.Tag.Get("yaml"); tag != "-" {
			keys = append(keys, tag)
		}
	}
	return keys
}
