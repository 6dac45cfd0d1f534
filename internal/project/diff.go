package project

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/dotenv"
)

// Mask hides the values in a text that is to be shown. The texts of a file before and after are masked together, so that
// a value that changes can be seen to change.
type Mask func(before, after []byte) (shownBefore, shownAfter []byte)

// Diff shows what Write would change in a file, as a unified diff; nothing when it stays. A nil mask shows everything.
func Diff(f *File, mask Mask) string {
	if !f.Changed() {
		return ""
	}
	before, after := f.Old, f.New
	if mask != nil {
		before, after = mask(before, after)
	}
	text := string(diff.Diff("a/"+f.Name, before, "b/"+f.Name, after))
	// The first line repeats the names.
	_, text, _ = strings.Cut(text, "\n")
	return text
}

// userinfo is what stands before the host of a package index that asks for a password.
var userinfo = regexp.MustCompile(`://[^/@\s]+@`)

// MaskRequirements hides the passwords of package indexes in requirements.txt.
func MaskRequirements(before, after []byte) ([]byte, []byte) {
	mask := func(data []byte) []byte { return userinfo.ReplaceAll(data, []byte("://"+hidden(false)+"@")) }
	return mask(before), mask(after)
}

// MaskEnv hides every value of a .env except the backend's class and the kwargs that are no credentials.
func MaskEnv(before, after []byte) ([]byte, []byte) {
	was := map[string]string{}
	places, _ := dotenv.Places("", before)
	for _, p := range places {
		was[p.Key] = p.Value
	}
	old, _ := ParseKwargs([]byte(was[airflow.EnvKwargs]))
	hide := func(key, value string, isNew bool) string {
		switch {
		case key == airflow.EnvBackend, value == "":
			return value
		case key == airflow.EnvKwargs:
			k, err := ParseKwargs([]byte(value))
			if err != nil {
				return "[not shown: not JSON]"
			}
			masked := k.masked(func(key string) string {
				return hidden(isNew && old.Has(key) && !bytes.Equal(old.Text(key).Reveal(), k.Text(key).Reveal()))
			})
			return string(masked.Line().Reveal())
		}
		return hidden(isNew && was[key] != "" && was[key] != value)
	}
	return maskEnv(before, func(key, value string) string { return hide(key, value, false) }),
		maskEnv(after, func(key, value string) string { return hide(key, value, true) })
}

func hidden(changed bool) string {
	if changed {
		return "[secret, a new one]"
	}
	return "[secret]"
}

// publicKwargs are known to hold nothing secret.
var publicKwargs = func() map[string]bool {
	public := map[string]bool{}
	for _, key := range append(airflow.OfficialKwargs(), "cache_ttl", "max_stale", "negative_ttl", "list_interval", "on_error",
		"agent_socket", "agent_binary", "prefetch", "vault_share", "multi_team") {
		public[key] = key != "client_secret"
	}
	return public
}()

// masked is a copy to be shown: what is not known to be public is what hide says.
func (k Kwargs) masked(hide func(key string) string) Kwargs {
	masked := k.Clone()
	for _, f := range k.fields {
		if !publicKwargs[f.key] {
			masked.Set(f.key, []byte(hide(f.key)))
		}
	}
	return masked
}

func maskEnv(data []byte, hide func(key, value string) string) []byte {
	places, err := dotenv.Places("", data)
	if err != nil {
		return maskLines(data, hide)
	}
	var edits []edit
	at := 0
	for _, p := range places {
		edits = append(edits, maskComments(data, at, p.Start)...)
		edits = append(edits, edit{start: p.ValueStart, end: p.ValueEnd, text: hide(p.Key, p.Value)})
		edits = append(edits, maskComments(data, p.ValueEnd, p.End)...)
		at = p.End
	}
	return apply(data, append(edits, maskComments(data, at, len(data))...))
}

// maskComments hides what follows = in comments: variables that somebody put aside.
func maskComments(data []byte, from, to int) []edit {
	var edits []edit
	for from < to {
		end := to
		if i := bytes.IndexByte(data[from:to], '\n'); i >= 0 {
			end = from + i
		}
		if i := bytes.IndexByte(data[from:end], '='); i >= 0 {
			text := bytes.TrimRight(data[from+i+1:end], "\r")
			if len(bytes.TrimSpace(text)) > 0 {
				edits = append(edits, edit{start: from + i + 1, end: from + i + 1 + len(text), text: hidden(false)})
			}
		}
		from = end + 1
	}
	return edits
}

// maskLines hides the values of a file that is not well-formed, line by line.
func maskLines(data []byte, hide func(key, value string) string) []byte {
	var out []byte
	for line := range bytes.Lines(data) {
		text := bytes.TrimRight(line, "\r\n")
		end := line[len(text):]
		key, value, found := strings.Cut(string(text), "=")
		name := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(key), "export "))
		switch {
		case len(bytes.TrimSpace(text)) == 0 || strings.HasPrefix(name, "#") && !found:
			out = append(out, text...)
		case found && !strings.ContainsAny(name, ` {"'`):
			out = append(out, key+"="+hide(name, value)...)
		default:
			out = append(out, hidden(false)...)
		}
		out = append(out, end...)
	}
	return out
}
