package project

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/dotenv"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Backend is what .env says of the secrets backend.
type Backend struct {
	Class  string // "" when .env does not name one
	Kwargs Kwargs // no keys when .env has none
	// Repaired says what was wrong with the kwargs, with its place, when they were no JSON and could be put right; "" when
	// they were as they should be.
	Repaired string
	// Warnings are other lines that change what the backend gets.
	Warnings []string

	name string
	data []byte // the file, with kwargs put right
	last *dotenv.Place
}

// ReadBackend reads .env. Kwargs that are not JSON are put right where there is one way to read them; where there is none,
// the error tells line and column.
func ReadBackend(name string, data []byte) (Backend, error) {
	b := Backend{name: name, data: data}
	places, err := dotenv.Places(name, data)
	if err != nil {
		// Lines that .env cannot have may be kwargs in quotes that JSON ends, or over several lines.
		start, end := findKwargs(data)
		if start < 0 || !b.repair(start, end) {
			return b, err
		}
		if places, err = dotenv.Places(name, b.data); err != nil {
			return b, err
		}
	}
	for i, p := range places {
		switch {
		case p.Key == airflow.EnvBackend:
			b.Class = p.Value
		case p.Key == airflow.EnvKwargs:
			b.last = &places[i]
		case strings.HasPrefix(p.Key, airflow.EnvKwargPrefix):
			b.Warnings = append(b.Warnings, fmt.Sprintf("%s:%d: %s stands above the kwargs in the JSON object", name, p.Line, p.Key))
		}
	}
	if b.last == nil {
		return b, nil
	}
	b.Kwargs, err = ParseKwargs([]byte(b.last.Value))
	if err == nil {
		return b, nil
	}
	if b.Repaired == "" && b.repair(b.last.Start, b.last.End) {
		again, err := ReadBackend(name, b.data)
		again.Repaired = b.Repaired
		return again, err
	}
	return b, fault.New(fault.Usage, notJSON(name, data, b.last.ValueStart, b.last.End),
		append(fault.HintsOf(err), "or delete the line, and airlock init writes a new one")...)
}

// With is the file with the class and the kwargs given; nothing changes where it says the same already.
func (b Backend) With(class string, kwargs Kwargs) ([]byte, error) {
	value := kwargs.Line()
	if b.last != nil && kwargs.Equal(b.Kwargs) {
		line, err := dotenv.Line(airflow.EnvKwargs, b.last.Value)
		if err == nil && line == string(b.data[b.last.Start:b.last.End]) {
			value = secret.FromString(b.last.Value)
		}
	}
	return SetEnv(b.name, b.data, []Setting{
		{Key: airflow.EnvBackend, Value: secret.FromString(class)},
		{Key: airflow.EnvKwargs, Value: value},
	})
}

// repair puts right the kwargs at data[start:end], and notes what was wrong.
func (b *Backend) repair(start, end int) bool {
	valueStart := start + strings.IndexByte(string(b.data[start:end]), '=') + 1
	k, ok := repairKwargs(string(b.data[valueStart:end]))
	if !ok {
		return false
	}
	line, err := dotenv.Line(airflow.EnvKwargs, string(k.Line().Reveal()))
	if err != nil {
		return false
	}
	b.Repaired = notJSON(b.name, b.data, valueStart, end)
	b.data = apply(b.data, []edit{{start: start, end: end, text: line}})
	return true
}

// notJSON says where the text at data[start:end] stops being JSON.
func notJSON(name string, data []byte, start, end int) string {
	text := string(data[start:end])
	at := start + len(text) - len(strings.TrimLeft(text, " \t"))
	var syntax *json.SyntaxError
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); errors.As(err, &syntax) {
		at = max(at, start+int(syntax.Offset)-1)
	}
	line := 1 + strings.Count(string(data[:at]), "\n")
	column := 1 + utf8.RuneCount(data[strings.LastIndexByte(string(data[:at]), '\n')+1:at])
	return fmt.Sprintf("%s:%d:%d: %s is not a JSON object from here on", name, line, column, airflow.EnvKwargs)
}

var (
	kwargsLine = regexp.MustCompile(`(?m)^[ \t]*(?:export[ \t]+)?` + airflow.EnvKwargs + `[ \t]*=`)
	nextEntry  = regexp.MustCompile(`(?m)^[ \t]*(?:#|(?:export[ \t]+)?[A-Za-z_][A-Za-z0-9_]*[ \t]*=)`)
)

// findKwargs finds the kwargs in a file that breaks the rules: from their last key to the next entry or comment. start is
// negative when there are none.
func findKwargs(data []byte) (start, end int) {
	all := kwargsLine.FindAllIndex(data, -1)
	if len(all) == 0 {
		return -1, -1
	}
	start, valueStart := all[len(all)-1][0], all[len(all)-1][1]
	end = len(data)
	if next := nextEntry.FindIndex(data[valueStart:]); next != nil {
		end = valueStart + next[0]
	}
	return start, valueStart + len(strings.TrimRight(string(data[valueStart:end]), " \t\r\n"))
}
