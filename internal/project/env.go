package project

import (
	"bytes"
	"strings"

	"github.com/airlock-secrets/airlock/internal/dotenv"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Setting is one variable as .env shall have it.
type Setting struct {
	Key    string
	Value  secret.Value
	Remove bool // take its lines away; Value is not read
}

// SetEnv changes the lines of the settings and no others. A variable gets one line that all readers understand (see
// dotenv.Line): the last of its lines is changed where it stands, earlier ones go, and one that is new is added at the
// end. A comment behind a value, which docker would take for a part of it, moves to a line of its own. Errors are of
// kind Usage: a file that cannot be read, a value that no line can express.
func SetEnv(name string, data []byte, settings []Setting) ([]byte, error) {
	places, err := dotenv.Places(name, data)
	if err != nil {
		return nil, err
	}
	eol := lineEnd(data)
	var edits []edit
	var added []string
	for _, s := range settings {
		var own []dotenv.Place
		for _, p := range places {
			if p.Key == s.Key {
				own = append(own, p)
			}
		}
		if s.Remove {
			for _, p := range own {
				edits = append(edits, removeLine(data, p))
			}
			continue
		}
		line, err := dotenv.Line(s.Key, string(s.Value.Reveal()))
		if err != nil {
			return nil, err
		}
		if len(own) == 0 {
			added = append(added, line)
			continue
		}
		last := own[len(own)-1]
		for _, p := range own[:len(own)-1] {
			edits = append(edits, removeLine(data, p))
		}
		if comment := strings.TrimSpace(string(data[last.ValueEnd:last.End])); comment != "" {
			line = comment + eol + line
		}
		edits = append(edits, edit{start: last.Start, end: last.End, text: line})
	}
	out := apply(data, edits)
	for _, line := range added {
		out = appendLine(out, line)
	}
	return out, nil
}

// removeLine takes an entry away with the end of its line.
func removeLine(data []byte, p dotenv.Place) edit {
	end := p.End
	if i := bytes.IndexByte(data[end:], '\n'); i >= 0 {
		end += i + 1
	}
	return edit{start: p.Start, end: end}
}
