package project

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Kwargs is the JSON object of AIRFLOW__SECRETS__BACKEND_KWARGS with its keys in the order in which they were written, to
// be edited. The zero value has no keys. A value that it holds may be a credential: it does not print.
type Kwargs struct{ fields []kwarg }

type kwarg struct {
	key string
	raw secret.Value // JSON
}

// ParseKwargs reads an object; errors are those of airflow.ParseObject. Of a key that stands twice the last one counts.
func ParseKwargs(text []byte) (Kwargs, error) {
	raw, err := airflow.ParseObject(text)
	if err != nil {
		return Kwargs{}, err
	}
	var k Kwargs
	decoder := json.NewDecoder(bytes.NewReader(text))
	_, _ = decoder.Token()
	for decoder.More() {
		key, _ := decoder.Token()
		var skipped json.RawMessage
		if err := decoder.Decode(&skipped); err != nil {
			return Kwargs{}, err
		}
		if name, ok := key.(string); ok {
			k.set(name, raw[name])
		}
	}
	return k, nil
}

func (k *Kwargs) set(key string, raw []byte) {
	for i := range k.fields {
		if k.fields[i].key == key {
			k.fields[i].raw = secret.New(raw)
			return
		}
	}
	k.fields = append(k.fields, kwarg{key, secret.New(raw)})
}

// Set gives a key a text. A key that is new comes last.
func (k *Kwargs) Set(key string, text []byte) {
	raw, _ := json.Marshal(string(text)) // text always has a JSON form
	k.set(key, raw)
}

// Delete takes keys away.
func (k *Kwargs) Delete(keys ...string) {
	k.fields = slices.DeleteFunc(k.fields, func(f kwarg) bool { return slices.Contains(keys, f.key) })
}

// Has tells whether a key is there, be it null.
func (k Kwargs) Has(key string) bool {
	return slices.ContainsFunc(k.fields, func(f kwarg) bool { return f.key == key })
}

// Text is the text of a key; nothing when it is not there or is no text.
func (k Kwargs) Text(key string) secret.Value {
	for _, f := range k.fields {
		var text string
		if f.key == key && json.Unmarshal(f.raw.Reveal(), &text) == nil {
			return secret.FromString(text)
		}
	}
	return secret.Value{}
}

// public is the text of a key that is no credential.
func (k Kwargs) public(key string) string { return string(k.Text(key).Reveal()) }

// Line is the object on one line that every reader of .env takes the same way: what one of them would take for a comment
// or a variable is written as JSON writes any character, \u and its number.
func (k Kwargs) Line() secret.Value {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, f := range k.fields {
		if i > 0 {
			out.WriteString(", ")
		}
		key, _ := json.Marshal(f.key)
		out.Write(key)
		out.WriteString(": ")
		_ = json.Compact(&out, f.raw.Reveal())
	}
	out.WriteByte('}')
	var safe strings.Builder
	for _, r := range out.String() {
		// Outside of texts JSON has none of these.
		if r == '$' || r == '#' || unicode.IsControl(r) || r > unicode.MaxASCII && unicode.IsSpace(r) {
			fmt.Fprintf(&safe, `\u%04x`, r)
			continue
		}
		safe.WriteRune(r)
	}
	return secret.FromString(safe.String())
}

// Equal tells whether two objects mean the same, whatever the order of their keys.
func (k Kwargs) Equal(other Kwargs) bool { return reflect.DeepEqual(k.meaning(), other.meaning()) }

func (k Kwargs) meaning() map[string]any {
	m := map[string]any{}
	for _, f := range k.fields {
		decoder := json.NewDecoder(bytes.NewReader(f.raw.Reveal()))
		decoder.UseNumber()
		var value any
		_ = decoder.Decode(&value) // it was parsed before
		m[f.key] = value
	}
	return m
}
