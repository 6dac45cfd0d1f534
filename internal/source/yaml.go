package source

import (
	"bytes"
	"errors"
	"io"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/yamlnode"
)

// maxNodes bounds what the aliases of a file may swell to.
const maxNodes = 1 << 20

// yaml reads airflow_settings.yaml or a YAML export.
func (f *file) yaml(data []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return
	} else if err != nil {
		f.fail(yamlnode.ErrorLine(err), "not valid YAML")
		return
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		f.fail(second.Line, "more than one document")
		return
	}
	if len(doc.Content) == 0 {
		return
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return
	}
	if root.Kind != yaml.MappingNode {
		f.fail(root.Line, "not a mapping")
		return
	}
	if settings := yamlnode.Value(root, "airflow"); f.format == Settings || f.format == "" && isSettings(settings) {
		if settings == nil {
			f.fail(root.Line, "no mapping airflow, in which airflow_settings.yaml keeps all")
			return
		}
		f.settings(settings)
		return
	}
	r := yamlReader{left: maxNodes}
	var entries []member
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		id, err := r.key(key)
		var raw string
		if err == nil {
			raw, err = r.value(value)
		}
		if err != nil {
			f.fail(err.line, "%s", err.why)
			continue
		}
		entries = append(entries, member{id, raw, key.Line})
	}
	if len(f.problems) == 0 {
		f.export(entries)
	}
}

// isSettings tells airflow_settings.yaml from an export that has a variable called airflow.
func isSettings(airflow *yaml.Node) bool {
	return yamlnode.Value(airflow, "connections") != nil || yamlnode.Value(airflow, "variables") != nil || yamlnode.Value(airflow, "pools") != nil
}

// yamlReader turns YAML into JSON as Airflow's reader would see it, which is PyYAML's safe loader for YAML 1.1.
type yamlReader struct{ left int }

type yamlError struct {
	line int
	why  string
}

func (r *yamlReader) key(n *yaml.Node) (string, *yamlError) {
	raw, err := r.value(n)
	text, ok := member{raw: raw}.text()
	if err == nil && !ok {
		return "", &yamlError{n.Line, "a key that is not text: write quotes around it"}
	}
	return text, err
}

func (r *yamlReader) value(n *yaml.Node) (string, *yamlError) {
	if r.left--; r.left < 0 {
		return "", &yamlError{n.Line, "the aliases make this file too large"}
	}
	switch n.Kind {
	case yaml.AliasNode:
		return r.value(n.Alias)
	case yaml.SequenceNode:
		var items []string
		for _, item := range n.Content {
			raw, err := r.value(item)
			if err != nil {
				return "", err
			}
			items = append(items, raw)
		}
		return "[" + strings.Join(items, ",") + "]", nil
	case yaml.MappingNode:
		var all []member
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Tag == "!!merge" {
				return "", &yamlError{n.Content[i].Line, "a merge key (<<) is not read here: write out what it stands for"}
			}
			key, err := r.key(n.Content[i])
			if err == nil && seen[key] {
				err = &yamlError{n.Content[i].Line, "a key that stands twice"}
			}
			var raw string
			if err == nil {
				raw, err = r.value(n.Content[i+1])
			}
			if err != nil {
				return "", err
			}
			seen[key] = true
			all = append(all, member{key: key, raw: raw})
		}
		return object(all), nil
	}
	return scalar(n)
}

// The shapes of plain scalars in YAML 1.1, as PyYAML 6 tells them apart (yaml/resolver.py).
var (
	yamlBool  = regexp.MustCompile(`^(?:(yes|Yes|YES|true|True|TRUE|on|On|ON)|no|No|NO|false|False|FALSE|off|Off|OFF)$`)
	yamlNull  = regexp.MustCompile(`^(?:~|null|Null|NULL|)$`)
	yamlFloat = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?)$`)
	yamlInt   = regexp.MustCompile(`^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$`)
	yamlClock = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$`)
	yamlOdd   = regexp.MustCompile(`^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
	yamlDate  = regexp.MustCompile(`^\d{4}-\d\d?-\d\d?(?:[Tt \t].*)?$`)
)

func scalar(n *yaml.Node) (string, *yamlError) {
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!str" {
		return "", &yamlError{n.Line, "a value with a tag of YAML: write it without"}
	}
	text := n.Value
	if n.Style&quoted != 0 || n.Style&yaml.TaggedStyle != 0 {
		return quote(text), nil
	}
	switch truth := yamlBool.FindStringSubmatch(text); {
	case truth != nil:
		return strconv.FormatBool(truth[1] != ""), nil
	case yamlNull.MatchString(text):
		return "null", nil
	case yamlInt.MatchString(text):
		digits := strings.ReplaceAll(text, "_", "")
		if number, ok := new(big.Int).SetString(strings.TrimPrefix(digits, "+"), 0); ok {
			return number.String(), nil
		}
	case yamlFloat.MatchString(text):
		if number, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64); err == nil {
			return jsonFloat(number), nil
		}
	case yamlClock.MatchString(text), yamlOdd.MatchString(text), yamlDate.MatchString(text):
		return "", &yamlError{n.Line, "a date, a time or a number that JSON does not know: write quotes around it"}
	}
	return quote(text), nil
}

// jsonFloat writes a number so that its reader takes it for a float again.
func jsonFloat(number float64) string {
	text := strconv.FormatFloat(number, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}
