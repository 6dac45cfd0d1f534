package source

import (
	"regexp"
	"strings"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/dotenv"
)

// Airflow looks for these variables of the environment, with the id in upper case
// (https://airflow.apache.org/docs/apache-airflow/stable/howto/connection.html#storing-connections-in-environment-variables).
const (
	envConnection = "AIRFLOW_CONN_"
	envVariable   = "AIRFLOW_VAR_"
)

// env reads a project's .env, where AIRFLOW_CONN_* and AIRFLOW_VAR_* count and the rest is other people's; or else the
// ENV file of `airflow connections export`, in which every line is a connection.
func (f *file) env(data []byte) {
	if kind := f.format.kind(); kind != "" {
		f.exported(kind, data)
		return
	}
	entries, err := dotenv.Parse(f.name, data)
	if err != nil {
		// The export quotes nothing and escapes nothing, so that its lines may break dotenv's rules.
		if f.format == "" && onlyConnections(data) {
			f.exported(airflow.Connection, data)
		} else {
			f.problems = append(f.problems, err)
		}
		return
	}
	last := map[string]int{} // of a key that stands twice, the last one counts
	for _, e := range entries {
		last[e.Key] = e.Line
	}
	found := false
	for _, e := range entries {
		kind, id := airflow.Connection, ""
		if rest, ok := strings.CutPrefix(e.Key, envConnection); ok {
			id = rest
		} else if rest, ok := strings.CutPrefix(e.Key, envVariable); ok {
			kind, id = airflow.Variable, rest
		}
		if id == "" || last[e.Key] != e.Line {
			continue
		}
		found = true
		// Airflow asks for the id in upper case, whatever its own case is.
		f.add(kind, strings.ToLower(id), e.Value, e.Line).Inferred = true
	}
	if !found && f.format == "" && onlyConnections(data) {
		f.exported(airflow.Connection, data)
	}
}

// envComment is COMMENT_PATTERN of airflow.utils.file: what Airflow takes for a comment in its ENV files.
var envComment = regexp.MustCompile(`^\s*#`)

// exportLine is one line of Airflow's ENV files, which know no quotes: all after the first "=" is the value.
type exportLine struct {
	id, value string
	line      int
	ok        bool
}

// exportLines splits as Python's str.splitlines does, for that is how Airflow reads these files.
func exportLines(data []byte) []exportLine {
	var lines []exportLine
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	isBreak := func(r rune) bool {
		return '\n' <= r && r <= '\r' || 0x1c <= r && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029
	}
	for number := 1; text != ""; number++ {
		line, rest := text, ""
		if at := strings.IndexFunc(text, isBreak); at >= 0 {
			line = text[:at]
			_, rest, _ = cutRune(text[at:])
		}
		text = rest
		if line == "" || envComment.MatchString(line) {
			continue
		}
		id, value, found := strings.Cut(line, "=")
		lines = append(lines, exportLine{id, value, number, found && id != "" && value != ""})
	}
	return lines
}

func cutRune(s string) (first rune, rest string, ok bool) {
	for i, r := range s {
		if i > 0 {
			return first, s[i:], true
		}
		first = r
	}
	return first, "", s != ""
}

// exported reads an ENV file as Airflow does.
func (f *file) exported(kind airflow.Kind, data []byte) {
	seen := map[string]int{}
	for _, l := range exportLines(data) {
		switch before := seen[l.id]; {
		case !l.ok:
			f.fail(l.line, "not a line of ID=VALUE")
		case before > 0:
			f.fail(l.line, "%s %q stands in line %d already", kind, l.id, before)
		default:
			seen[l.id] = l.line
			f.add(kind, l.id, l.value, l.line).Loose = kind == airflow.Connection
		}
	}
}

// onlyConnections tells whether each line is ID=URI or ID=JSON.
func onlyConnections(data []byte) bool {
	for _, l := range exportLines(data) {
		if !l.ok || !looksLikeConnection(l.value) {
			return false
		}
	}
	return true
}

// looksLikeConnection sees a URI, or the object that Airflow's export writes.
func looksLikeConnection(value string) bool {
	if strings.HasPrefix(strings.TrimSpace(value), "{") {
		return strings.Contains(value, `"conn_type"`)
	}
	return strings.Contains(value, "://")
}
