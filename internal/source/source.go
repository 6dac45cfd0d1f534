// Package source reads and writes connections and variables in the files in which teams have them: airflow_settings.yaml,
// what `airflow connections export` and `airflow variables export` write, and .env files.
package source

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Item is one connection, variable or config option, in the text that Airflow reads from a secret.
type Item struct {
	Kind  airflow.Kind
	ID    string
	Value secret.Value
	Where string // file and line, or the vault
	// Inferred tells that the source does not hold the id itself but something that several ids may stand for.
	Inferred bool
	// Loose tells that the format says less than a secret's text does, so that another text may have been meant. Airflow's
	// export of a variable that is JSON spells it in its own way; that of a connection to an ENV file makes None of an
	// empty text, and the other way round.
	Loose bool
	// Lost says what the source has of the item and a secret has no place for; empty: nothing.
	Lost string
	// Problem is why the item's value cannot be read; nil: it is in Value.
	Problem error
}

// Format is how a file is written. The zero value is for readers to find out.
type Format string

// The formats. Those of connections and variables are Airflow's own.
const (
	ConnectionsJSON Format = "connections-json"
	ConnectionsYAML Format = "connections-yaml"
	ConnectionsEnv  Format = "connections-env"
	VariablesJSON   Format = "variables-json"
	VariablesYAML   Format = "variables-yaml"
	VariablesEnv    Format = "variables-env"
	Settings        Format = "settings" // airflow_settings.yaml
	Dotenv          Format = "dotenv"   // AIRFLOW_CONN_* and AIRFLOW_VAR_*
)

// Formats lists the formats by their names.
func Formats() []Format {
	return []Format{
		ConnectionsJSON, ConnectionsYAML, ConnectionsEnv, VariablesJSON, VariablesYAML, VariablesEnv, Settings, Dotenv,
	}
}

// ParseFormat reads a format's name; "" is the format that is found out.
func ParseFormat(name string) (Format, error) {
	if name == "" || slices.Contains(Formats(), Format(name)) {
		return Format(name), nil
	}
	var names []string
	for _, f := range Formats() {
		names = append(names, string(f))
	}
	return "", fault.New(fault.Usage, fmt.Sprintf("unknown format %q", name), "a format is one of: "+strings.Join(names, ", "))
}

// kind is what a file of this format holds; "" for those that hold both.
func (f Format) kind() airflow.Kind {
	switch f {
	case ConnectionsJSON, ConnectionsYAML, ConnectionsEnv:
		return airflow.Connection
	case VariablesJSON, VariablesYAML, VariablesEnv:
		return airflow.Variable
	}
	return ""
}

// Parse reads a file, whose format it sees from the content and, where that leaves a choice, from the name. Errors are of
// kind Usage and tell file, line and field but never a value; all problems are reported at once. A file without any item is
// an error too: somebody expected something of it.
func Parse(name string, data []byte) ([]Item, error) { return ParseAs("", name, data) }

// ParseAs is Parse for a format that is known; the zero Format is to be found out. The name is for errors then.
func ParseAs(format Format, name string, data []byte) ([]Item, error) {
	f := file{name: name, format: format}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	switch f.grammar(data) {
	case ".json":
		f.json(data)
	case ".env":
		f.env(data)
	default:
		f.yaml(data)
	}
	if err := errors.Join(f.problems...); err != nil {
		return nil, err
	}
	if len(f.items) == 0 {
		return nil, fault.New(fault.Usage, fmt.Sprintf("%s: holds no connection and no variable", name), readable)
	}
	return f.items, nil
}

const readable = "readable are airflow_settings.yaml, the JSON, YAML and ENV files of `airflow connections export` and " +
	"`airflow variables export`, and .env files with AIRFLOW_CONN_* and AIRFLOW_VAR_*"

// file gathers what one file holds and what is wrong with it.
type file struct {
	name     string
	format   Format
	items    []Item
	problems []error
}

// grammar is ".json", ".yaml" or ".env".
func (f *file) grammar(data []byte) string {
	switch f.format {
	case ConnectionsJSON, VariablesJSON:
		return ".json"
	case ConnectionsYAML, VariablesYAML, Settings:
		return ".yaml"
	case ConnectionsEnv, VariablesEnv, Dotenv:
		return ".env"
	}
	base := filepath.Base(f.name)
	extension := filepath.Ext(base)
	switch {
	case extension == ".env" || strings.HasPrefix(base, ".env"):
		return ".env"
	case extension == ".yaml" || extension == ".yml":
		return ".yaml"
	case bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")):
		return ".json"
	case extension != ".json" && assigns(data):
		return ".env"
	}
	return ".yaml" // which JSON that does not begin with a brace is too
}

// assigns tells whether the first line that says something is KEY=VALUE.
func assigns(data []byte) bool {
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		at := bytes.IndexAny(line, "=: ")
		return at > 0 && (line[at] == '=' || bytes.HasPrefix(line, []byte("export ")))
	}
	return false
}

func (f *file) where(line int) string {
	if line > 0 {
		return fmt.Sprintf("%s:%d", f.name, line)
	}
	return f.name
}

func (f *file) fail(line int, format string, args ...any) {
	f.problems = append(f.problems, fault.New(fault.Usage, f.where(line)+": "+fmt.Sprintf(format, args...)))
}

// add takes an item in, and returns it for what else there is to say of it.
func (f *file) add(kind airflow.Kind, id, value string, line int) *Item {
	f.items = append(f.items, Item{Kind: kind, ID: id, Value: secret.FromString(value), Where: f.where(line)})
	return &f.items[len(f.items)-1]
}
