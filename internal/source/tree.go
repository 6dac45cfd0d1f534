package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// member is one key of a mapping, with its value as JSON text: what the YAML and the JSON reader hand over.
type member struct {
	key  string
	raw  string
	line int // of the key, from 1
}

// text is the value if it is a string.
func (m member) text() (s string, ok bool) {
	if len(m.raw) == 0 || m.raw[0] != '"' {
		return "", false
	}
	return s, json.Unmarshal([]byte(m.raw), &s) == nil
}

// torn tells whether the value is a string with an escape that stands for half a character.
func (m member) torn() bool {
	text, ok := m.text()
	return ok && strings.Count(text, "\ufffd") > strings.Count(m.raw, "\ufffd")+strings.Count(strings.ToLower(m.raw), `\ufffd`)
}

func (m member) isObject() bool { return m.raw != "" && m.raw[0] == '{' }

// members are the value's own, if it is an object. Their lines are counted from the object's first.
func (m member) members() []member {
	all, _, _ := membersOf([]byte(m.raw))
	return all
}

// membersOf takes a JSON object apart, in order. Where it is none, line is where.
func membersOf(data []byte) (all []member, line int, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	counted, lines := 0, 1
	here := func() int { // asked with growing offsets
		at := min(int(decoder.InputOffset()), len(data))
		lines += bytes.Count(data[counted:at], []byte("\n"))
		counted = at
		return lines
	}
	fail := func(err error) ([]member, int, error) {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n")), err
		}
		return nil, 1 + bytes.Count(bytes.TrimRight(data, "\n"), []byte("\n")), err // cut short
	}
	start, err := decoder.Token()
	if err != nil {
		return fail(err)
	}
	if start != json.Delim('{') {
		return nil, 1, errNotObject
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return fail(err)
		}
		m := member{line: here()}
		m.key, _ = key.(string)
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return fail(err)
		}
		m.raw = string(raw)
		all = append(all, m)
	}
	if _, err := decoder.Token(); err != nil {
		return fail(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, here(), errors.New("text after the closing brace")
	}
	return all, 0, nil
}

var errNotObject = errors.New("not an object")

// quote writes text as a JSON string.
func quote(text string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always can be
	return string(bytes.TrimSuffix(out.Bytes(), []byte("\n")))
}

// object writes members as a JSON object.
func object(all []member) string {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, m := range all {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(quote(m.key) + ":" + m.raw)
	}
	out.WriteByte('}')
	return out.String()
}
