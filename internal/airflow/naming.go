package airflow

import (
	"fmt"
	"strings"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// MaxNameLength is the most characters that a secret's name has in Key Vault.
// https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#object-identifiers
const MaxNameLength = 127

// MaxValueBytes is the size of the largest secret that Key Vault stores.
// https://learn.microsoft.com/azure/key-vault/secrets/about-secrets
const MaxValueBytes = 25 * 1024

// teamSep stands between team and id in the name of a team's secret.
const teamSep = "--"

// ValidName tells whether Key Vault can hold a secret of this name. It is asked at every lookup, hence no regexp.
func ValidName(name string) bool {
	if len(name) == 0 || len(name) > MaxNameLength {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-':
		default:
			return false
		}
	}
	return true
}

// Prefix is what stands before every id of a kind. The zero value is Airflow's null: the kind is never looked up. An
// empty prefix is another thing: ids stand alone, without separator.
type Prefix struct {
	text string
	on   bool
}

// NewPrefix makes a prefix that is not null.
func NewPrefix(text string) Prefix { return Prefix{text: text, on: true} }

// Null tells whether the kind is never looked up.
func (p Prefix) Null() bool { return !p.on }

// Text is the prefix as it was written; "" for null, too.
func (p Prefix) Text() string { return p.text }

// Naming is how ids become names of secrets. The zero value looks nothing up.
type Naming struct {
	ConnectionsPrefix, VariablesPrefix, ConfigPrefix Prefix

	Sep string // joins prefix and id, and replaces every "_"; "-" in all sane configurations
	// MultiTeam mirrors Airflow's [core] multi_team. Ids whose name would hold "--" are refused then, because such a
	// name could be read as another team's; without it they are ids like any other.
	MultiTeam bool
}

// Prefix is the kind's prefix without trailing separators, as the official constructor trims it: Python's
// rstrip(sep) removes every trailing character that occurs in sep.
func (n Naming) Prefix(kind Kind) Prefix {
	var p Prefix
	switch kind {
	case Connection:
		p = n.ConnectionsPrefix
	case Variable:
		p = n.VariablesPrefix
	case Config:
		p = n.ConfigPrefix
	}
	// rstrip("") removes nothing, and so does TrimRight(s, "").
	p.text = strings.TrimRight(p.text, n.Sep)
	return p
}

// Names gives the secrets to ask for an id, in order: the team's own, then everybody's. A kind whose prefix is null has
// none. The error, of kind Usage, says why an id has no name at all: Key Vault could not hold it, or it could name
// another team's secret.
func (n Naming) Names(kind Kind, id, team string) ([]string, error) {
	prefix := n.Prefix(kind)
	if prefix.Null() {
		return nil, nil
	}
	if n.MultiTeam && strings.Contains(n.normal(id), teamSep) {
		return nil, fault.New(fault.Usage,
			fmt.Sprintf("%s id %q could name a team's secret, because its name holds %q", kind, clip(id), teamSep),
			"with [core] multi_team on, choose an id without two adjoining _ or -")
	}
	var names []string
	if team != "" && kind != Config {
		names = append(names, n.path(prefix.text, n.normal(team)+teamSep+n.normal(id)))
	}
	names = append(names, n.path(prefix.text, id))

	valid := names[:0:len(names)]
	var refused string
	for _, name := range names {
		if ValidName(name) {
			valid = append(valid, name)
		} else {
			refused = name
		}
	}
	if len(valid) == 0 {
		return nil, invalidName(kind, id, refused)
	}
	return valid, nil
}

// Name is the secret that everybody's id of this kind is kept in: the last of Names without a team.
func (n Naming) Name(kind Kind, id string) (string, error) {
	names, err := n.Names(kind, id, "")
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", fault.New(fault.Usage, fmt.Sprintf("%s are never looked up here: their prefix is null", kind.Plural()),
			fmt.Sprintf(`set "%s_prefix" in the backend kwargs`, prefixWord(kind)))
	}
	return names[0], nil
}

// ID is the inverse of Name as far as there is one: the id that a secret's name stands for, written with "_" where the
// name has the separator (the two are one in a name). Key Vault ignores case, so the prefix is matched without it.
func (n Naming) ID(name string) (Kind, string, bool) {
	best, bestID, bestLen := Kind(""), "", -1
	for _, kind := range Kinds() {
		prefix := n.Prefix(kind)
		if prefix.Null() {
			continue
		}
		start := ""
		if prefix.text != "" {
			start = n.path(prefix.text, "")
		}
		if len(name) > len(start) && strings.EqualFold(name[:len(start)], start) && len(start) > bestLen {
			best, bestID, bestLen = kind, name[len(start):], len(start)
		}
	}
	if bestLen < 0 {
		return "", "", false
	}
	if n.Sep != "" {
		bestID = strings.ReplaceAll(bestID, n.Sep, "_")
	}
	return best, bestID, true
}

func (n Naming) normal(s string) string { return strings.ReplaceAll(s, "_", n.Sep) }

func (n Naming) path(prefix, id string) string {
	if prefix == "" {
		return n.normal(id)
	}
	return n.normal(prefix + n.Sep + id)
}

func invalidName(kind Kind, id, name string) error {
	var reason string
	switch {
	case name == "":
		reason = "it is empty"
	case len(name) > MaxNameLength && ValidName(name[:MaxNameLength]):
		reason = fmt.Sprintf("its name would have %d characters of the %d allowed", len(name), MaxNameLength)
	default:
		reason = fmt.Sprintf("its name would be %q, and a name has letters, digits and dashes only", clip(name))
	}
	return fault.New(fault.Usage, fmt.Sprintf("%s id %q cannot be kept in a Key Vault: %s", kind, clip(id), reason))
}

func prefixWord(kind Kind) string {
	if kind == Config {
		return "config"
	}
	return kind.Plural()
}

// clip keeps a message short whatever a stranger sends.
func clip(s string) string {
	const most = 160
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}
