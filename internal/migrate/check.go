package migrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
	"github.com/airlock-secrets/airlock/internal/source"
)

// Finding is something about a secret that its owner should know. It holds nothing of the value.
type Finding struct {
	Code    string   `json:"code"`   // stable, for scripts
	Broken  bool     `json:"broken"` // Airflow gets nothing, or nothing that it can use
	Message string   `json:"message"`
	Hints   []string `json:"hints,omitempty"`
}

// The codes of findings, besides those of airflow.Warning.
const (
	NotNameable  = "not-nameable"   // Key Vault cannot hold the id
	NotAskable   = "not-askable"    // Airflow never asks for this name
	Collision    = "collision"      // two ids are one name
	TagDiffers   = "tag-differs"    // the tag's id belongs to another name
	Disabled     = "disabled"       // and so Airflow is refused
	Expired      = "expired"        // by its own date; Key Vault serves it all the same
	ExpiresSoon  = "expires-soon"   // within expiryNotice
	NotYetValid  = "not-yet-valid"  // by its own date
	TooLarge     = "too-large"      // for Key Vault
	NotText      = "not-text"       // no UTF-8
	NotReadable  = "not-readable"   // the source does not give it
	Unparsable   = "unparsable"     // Airflow reads no connection from it
	BrokenJSON   = "broken-json"    // begins as JSON and is none
	NotAirflowID = "not-airflow-id" // Airflow's servers do not keep a connection of this id
	OuterSpace   = "outer-space"    // white space around the value
)

// expiryNotice is how long before its date a secret expires soon: two weeks and a rotation's usual month.
const expiryNotice = 30 * 24 * time.Hour

// CheckItem looks at an id and its value.
func CheckItem(naming airflow.Naming, item source.Item) []Finding {
	var all []Finding
	if _, err := naming.Name(item.Kind, item.ID); err != nil {
		all = append(all, broken(NotNameable, err))
	}
	if item.Problem != nil {
		return append(all, broken(NotReadable, item.Problem))
	}
	return append(all, CheckValue(item.Kind, item.ID, item.Value)...)
}

// CheckValue tells whether Airflow could use a value.
func CheckValue(kind airflow.Kind, id string, value secret.Value) []Finding {
	raw := value.Reveal()
	switch {
	case !utf8.Valid(raw):
		return []Finding{{Code: NotText, Broken: true, Message: "the value is not UTF-8 text", Hints: []string{"encode it, for example with base64"}}}
	case len(raw) > airflow.MaxValueBytes:
		return []Finding{{Code: TooLarge, Broken: true,
			Message: fmt.Sprintf("the value has %d bytes, and Key Vault keeps %d", len(raw), airflow.MaxValueBytes),
			Hints:   []string{"keep large values in a store for files, and their place in the secret"}}}
	}
	if kind == airflow.Connection {
		return checkConnection(id, value)
	}
	text := string(raw)
	trimmed := strings.TrimSpace(text)
	var all []Finding
	if trimmed != "" && strings.Contains("{[", trimmed[:1]) {
		if where, ok := brokenJSON(text); ok {
			all = append(all, Finding{Code: BrokenJSON, Message: "the value begins as JSON does, and is none: " + where,
				Hints: []string{"Variable.get(..., deserialize_json=True) fails on it"}})
		}
	}
	if trimmed != text {
		all = append(all, Finding{Code: OuterSpace, Message: "white space or a line break stands before or after the value, and is part of it"})
	}
	return all
}

// brokenJSON tells where text is not JSON.
func brokenJSON(text string) (where string, is bool) {
	var any json.RawMessage
	err := json.Unmarshal([]byte(text), &any)
	if err == nil {
		return "", false
	}
	at := len(text)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = min(max(int(syntax.Offset)-1, 0), len(text))
	}
	before := text[:at]
	return fmt.Sprintf("line %d, column %d", 1+strings.Count(before, "\n"), 1+utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])), true
}

func checkConnection(id string, value secret.Value) []Finding {
	var all []Finding
	if err := airflow.CheckConnectionID(id); err != nil {
		all = append(all, Finding{Code: NotAirflowID, Message: err.Error(), Hints: fault.HintsOf(err)})
	}
	c, err := airflow.ParseConnection(value)
	if err != nil {
		return append(all, broken(Unparsable, err))
	}
	for _, w := range c.Warnings() {
		// Text that is neither URI nor JSON is taken for a path: no hook comes of that.
		f := Finding{Code: string(w.Code), Message: w.Message, Broken: w.Code == airflow.NoConnectionType && w.Field == ""}
		if w.Hint != "" {
			f.Hints = []string{w.Hint}
		}
		all = append(all, f)
	}
	return all
}

// CheckHeld looks at what a vault's list tells of a secret.
func CheckHeld(naming airflow.Naming, h Held, now time.Time) []Finding {
	var all []Finding
	add := func(code string, broken bool, message string, hints ...string) {
		all = append(all, Finding{Code: code, Broken: broken, Message: message, Hints: hints})
	}
	if h.Contradicted {
		add(TagDiffers, false, fmt.Sprintf("its tag %s says %q, which would be another secret", TagID, h.Tags[TagID]),
			"write it anew with: airlock set")
	}
	if _, err := naming.Name(h.Kind, h.ID); err != nil {
		all = append(all, broken(NotAskable, err))
	}
	switch {
	case !h.Enabled:
		add(Disabled, true, "it is disabled, so that Airflow is refused")
	case h.Expires.IsZero():
	case h.Expires.Before(now):
		add(Expired, false, "it has expired on "+h.Expires.UTC().Format(time.DateOnly)+", by its own date; Key Vault serves it all the same")
	case h.Expires.Before(now.Add(expiryNotice)):
		add(ExpiresSoon, false, "it expires on "+h.Expires.UTC().Format(time.DateOnly))
	}
	if h.NotBefore.After(now) {
		add(NotYetValid, false, "by its own date it is valid from "+h.NotBefore.UTC().Format(time.DateOnly)+" on")
	}
	return all
}

// CheckOther tells whether a secret under no prefix looks as if it was meant for Airflow: it begins with a prefix, and not with
// what stands between prefix and id.
func CheckOther(naming airflow.Naming, name string) []Finding {
	for _, kind := range airflow.Kinds() {
		prefix := naming.Prefix(kind)
		if prefix.Null() {
			continue
		}
		any, err := naming.Name(kind, "x")
		if err != nil {
			continue
		}
		start := strings.TrimSuffix(any, "x")
		bare := strings.TrimRight(start, "-")
		if bare != "" && len(name) >= len(bare) && strings.EqualFold(name[:len(bare)], bare) {
			return []Finding{{Code: NotAskable, Broken: true,
				Message: fmt.Sprintf("Airflow never asks for this name: %s begin with %q and have an id behind it", kind.Plural(), start)}}
		}
	}
	return nil
}

// CheckCollisions finds the ids of one source that meet in one name: by the item's index, with whom it meets.
func CheckCollisions(naming airflow.Naming, items []source.Item) map[int]string {
	byName := map[string][]int{}
	for i, item := range items {
		if name, err := naming.Name(item.Kind, item.ID); err == nil {
			name = strings.ToLower(name) // Key Vault minds no case
			byName[name] = append(byName[name], i)
		}
	}
	met := map[int]string{}
	for name, all := range byName {
		for _, i := range all {
			for _, j := range all {
				if i != j && !(items[i].Kind == items[j].Kind && items[i].ID == items[j].ID && SameContent(items[i].Kind, items[i].Value, items[j].Value)) {
					met[i] = fmt.Sprintf("it and %s %q of %s are one secret, %s", items[j].Kind, items[j].ID, items[j].Where, name)
				}
			}
		}
	}
	return met
}

// CollisionHint says what to do about ids that meet.
const CollisionHint = `"_" and "-", capital and small letters are one in a secret's name; rename one of them`

// SameContent tells whether Airflow gets the same from two values: variables byte for byte, connections as Airflow reads them.
func SameContent(kind airflow.Kind, a, b secret.Value) bool {
	if string(a.Reveal()) == string(b.Reveal()) {
		return true
	}
	return kind == airflow.Connection && airflow.SameConnection(a, b)
}

// sameAs is SameContent for a value in a vault, by as much as the source tells.
func sameAs(item source.Item, held secret.Value) bool {
	switch {
	case SameContent(item.Kind, item.Value, held):
		return true
	case !item.Loose:
		return false
	case item.Kind == airflow.Connection:
		return airflow.SimilarConnection(item.Value, held)
	}
	a, errA := airflow.DumpJSON(string(item.Value.Reveal()))
	b, errB := airflow.DumpJSON(string(held.Reveal()))
	return errA == nil && errB == nil && a == b
}

func broken(code string, err error) Finding {
	return Finding{Code: code, Broken: true, Message: err.Error(), Hints: fault.HintsOf(err)}
}
