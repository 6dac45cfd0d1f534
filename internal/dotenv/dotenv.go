// Package dotenv reads .env files as Docker Compose does, which is how `astro dev` hands them to Airflow: comments,
// export, quotes, values over several lines. "$" is kept as it is, since secrets hold it and nobody means a variable.
package dotenv

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// Entry is one variable of a file.
type Entry struct {
	Key, Value string
	Line       int // where its key stands, from 1
}

// Parse reads a file. The name is for errors, which are of kind Usage and hold file and line but never a value. A key
// that stands twice is given twice, in order; the last one counts.
func Parse(name string, data []byte) ([]Entry, error) {
	places, err := Places(name, data)
	var entries []Entry
	for _, p := range places {
		entries = append(entries, p.Entry)
	}
	return entries, err
}

// Place is an entry and where it stands, for those who edit a file: data[Start:End] are its lines, from the first one's
// begin to the last one's text, without the line's end, and data[ValueStart:ValueEnd] is its value with the quotes that it
// may have; what follows is blanks and a comment.
type Place struct {
	Entry
	Start, ValueStart, ValueEnd, End int
}

// Places reads a file as Parse does, and tells where each entry stands.
func Places(name string, data []byte) ([]Place, error) {
	p := parser{name: name, rest: strings.TrimPrefix(string(data), "\ufeff"), line: 1}
	at := func() int { return len(data) - len(p.rest) }
	var places []Place
	for {
		p.skipBlank()
		if p.rest == "" {
			return places, nil
		}
		start := bytes.LastIndexByte(data[:at()], '\n') + 1
		if start == 0 {
			start = at() - len(strings.TrimLeft(string(data[:at()]), "\ufeff"))
		}
		entry, err := p.entry()
		if err != nil {
			return nil, err
		}
		end := bytes.TrimSuffix(bytes.TrimSuffix(data[:at()], []byte("\n")), []byte("\r"))
		places = append(places, Place{
			Entry: entry, Start: start, ValueStart: len(data) - p.fromValue, ValueEnd: len(data) - p.afterValue, End: len(end),
		})
	}
}

// Map is the entries by key; the last of a key counts.
func Map(entries []Entry) map[string]string {
	m := make(map[string]string, len(entries))
	for _, e := range entries {
		m[e.Key] = e.Value
	}
	return m
}

type parser struct {
	name, rest string
	line       int
	// How much of the file is left where the last entry's value begins, and after it.
	fromValue, afterValue int
}

func (p *parser) fail(line int, why string, hints ...string) error {
	return fault.New(fault.Usage, fmt.Sprintf("%s:%d: %s", p.name, line, why), hints...)
}

// skip moves n bytes on.
func (p *parser) skip(n int) {
	p.line += strings.Count(p.rest[:n], "\n")
	p.rest = p.rest[n:]
}

// skipBlank moves to the next line that says something.
func (p *parser) skipBlank() {
	for p.rest != "" {
		line := p.currentLine()
		trimmed := strings.TrimSpace(line)
		if trimmed != "" && !strings.HasPrefix(trimmed, "#") {
			p.skip(len(line) - len(strings.TrimLeft(line, " \t\r")))
			return
		}
		p.skip(min(len(line)+1, len(p.rest)))
	}
}

func (p *parser) currentLine() string {
	line, _, _ := strings.Cut(p.rest, "\n")
	return line
}

func (p *parser) entry() (entry Entry, err error) {
	line := p.currentLine()
	key, _, found := strings.Cut(line, "=")
	if !found {
		return Entry{}, p.fail(p.line, "a line without =", "write KEY=VALUE, or # before a comment")
	}
	entry.Line = p.line
	p.skip(len(key) + 1)
	key = strings.TrimSpace(key)
	if rest, exported := strings.CutPrefix(key, "export "); exported {
		key = strings.TrimSpace(rest)
	}
	if !validKey(key) {
		return Entry{}, p.fail(entry.Line, "the text before = is not the name of a variable", "a name has letters, digits, _, - and dots")
	}
	entry.Key = key
	p.skip(len(p.currentLine()) - len(strings.TrimLeft(p.currentLine(), " \t")))
	p.fromValue = len(p.rest)
	switch {
	case strings.HasPrefix(p.rest, "'"), strings.HasPrefix(p.rest, `"`):
		entry.Value, err = p.quoted(entry)
	default:
		entry.Value = p.plain()
	}
	return entry, err
}

func validKey(key string) bool {
	if key == "" {
		return false
	}
	for _, r := range key {
		switch {
		case r == '_', r == '.', r == '-', '0' <= r && r <= '9', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z':
		default:
			return false
		}
	}
	return true
}

// plain reads to the end of the line or to a comment, which a blank announces.
func (p *parser) plain() string {
	line := p.currentLine()
	defer p.skip(min(len(line)+1, len(p.rest)))
	for i := range line {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			line = line[:i]
			break
		}
	}
	p.afterValue = len(p.rest) - len(strings.TrimRightFunc(line, unicode.IsSpace))
	return strings.TrimSpace(line)
}

// quoted reads to the closing quote, over lines if need be. Double quotes know escapes, single ones do not.
func (p *parser) quoted(entry Entry) (string, error) {
	quote := p.rest[0]
	var value strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == quote:
			p.skip(i + 1)
			p.afterValue = len(p.rest)
			tail := strings.TrimSpace(p.currentLine())
			if tail != "" && !strings.HasPrefix(tail, "#") {
				return "", p.fail(p.line, fmt.Sprintf("text after the closing quote of %s", entry.Key),
					"is the value JSON? then write it without quotes around it, on one line")
			}
			p.skip(min(len(p.currentLine())+1, len(p.rest)))
			return value.String(), nil
		case c == '\\' && quote == '"' && i+1 < len(p.rest):
			i++
			value.WriteString(unescape(p.rest[i]))
		case c == '\r' && strings.HasPrefix(p.rest[i:], "\r\n"): // a line's end, whoever wrote the file
		default:
			value.WriteByte(c)
		}
	}
	return "", p.fail(entry.Line, fmt.Sprintf("the quote that opens the value of %s is never closed", entry.Key))
}

func unescape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	case 't':
		return "\t"
	case '"', '\\', '$', '\'':
		return string(c)
	}
	return `\` + string(c)
}
