package airflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Kwargs are the official backend's keyword arguments. DefaultKwargs gives what the official constructor gives; the zero
// value is not useful.
type Kwargs struct {
	Naming
	VaultURL string // "" is what the official backend starts with; it fails at the first lookup there
	// TenantID, ClientID and ClientSecret make a client-secret credential when all three are set.
	TenantID, ClientID string
	ClientSecret       secret.Value
	// ManagedIdentityClientID and WorkloadIdentityTenantID narrow the default credential chain.
	ManagedIdentityClientID, WorkloadIdentityTenantID string
	// Extra are the keys that the official backend hands to SecretClient unread, as raw JSON. Whoever knows more
	// keys takes them out; what is left then is unknown.
	Extra map[string]json.RawMessage
}

// DefaultKwargs is AzureKeyVaultBackend() without arguments.
func DefaultKwargs() Kwargs {
	return Kwargs{
		Naming: Naming{
			ConnectionsPrefix: NewPrefix("airflow-connections"),
			VariablesPrefix:   NewPrefix("airflow-variables"),
			ConfigPrefix:      NewPrefix("airflow-config"),
			Sep:               "-",
		},
		Extra: map[string]json.RawMessage{},
	}
}

// OfficialKwargs are the names that the official constructor declares, in its order.
func OfficialKwargs() []string {
	return []string{
		"connections_prefix", "variables_prefix", "config_prefix", "vault_url", "sep",
		"tenant_id", "client_id", "client_secret", "managed_identity_client_id", "workload_identity_tenant_id",
	}
}

// KwargsFrom reads kwargs out of an object (see ParseObject). Every key of a wrong type is reported at once.
func KwargsFrom(raw map[string]json.RawMessage) (Kwargs, error) {
	k := DefaultKwargs()
	var problems []error
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		value := raw[key]
		target, prefix := k.field(key)
		switch {
		case prefix != nil:
			text, null, ok := stringOrNull(value)
			switch {
			case !ok:
				problems = append(problems, wrongType(key, "a string or null"))
			case null:
				*prefix = Prefix{}
			default:
				*prefix = NewPrefix(text)
			}
		case target != nil:
			text, _, ok := stringOrNull(value) // null is falsy for each of these, which is what "" means too
			if !ok {
				problems = append(problems, wrongType(key, "a string"))
				continue
			}
			target(text)
		default:
			k.Extra[key] = value
		}
	}
	if string(raw["sep"]) == "null" {
		problems = append(problems, wrongType("sep", "a string"))
	}
	return k, errors.Join(problems...)
}

// field finds where a key is kept: a prefix, or a setter of plain text; neither for a key that is not the official
// backend's.
func (k *Kwargs) field(key string) (set func(string), prefix *Prefix) {
	plain := func(p *string) func(string) { return func(s string) { *p = s } }
	switch key {
	case "connections_prefix":
		return nil, &k.ConnectionsPrefix
	case "variables_prefix":
		return nil, &k.VariablesPrefix
	case "config_prefix":
		return nil, &k.ConfigPrefix
	case "vault_url":
		return plain(&k.VaultURL), nil
	case "sep":
		return plain(&k.Sep), nil
	case "tenant_id":
		return plain(&k.TenantID), nil
	case "client_id":
		return plain(&k.ClientID), nil
	case "client_secret":
		return func(s string) { k.ClientSecret = secret.FromString(s) }, nil
	case "managed_identity_client_id":
		return plain(&k.ManagedIdentityClientID), nil
	case "workload_identity_tenant_id":
		return plain(&k.WorkloadIdentityTenantID), nil
	}
	return nil, nil
}

func stringOrNull(raw json.RawMessage) (text string, null, ok bool) {
	if string(raw) == "null" {
		return "", true, true
	}
	return text, false, json.Unmarshal(raw, &text) == nil
}

func wrongType(key, want string) error {
	return fault.New(fault.Usage, fmt.Sprintf("backend kwargs: %s must be %s", key, want))
}

// ParseObject reads the JSON object of AIRFLOW__SECRETS__BACKEND_KWARGS without looking into its values. Empty text is no
// kwargs, as in Airflow. Where Airflow goes on without any kwargs after a typing error, this is an error of kind Usage that
// names the position and not the content.
func ParseObject(data []byte) (map[string]json.RawMessage, error) {
	raw := map[string]json.RawMessage{}
	if len(bytes.TrimSpace(data)) == 0 {
		return raw, nil
	}
	notObject := fault.New(fault.Usage, "backend kwargs: not a JSON object")
	decoder := json.NewDecoder(bytes.NewReader(data))
	err := decoder.Decode(&raw)
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typed), err == nil && raw == nil: // null leaves no map
		return nil, notObject
	case errors.As(err, &syntax):
		return nil, brokenJSON(data, syntax.Offset, "not valid JSON")
	case err != nil: // cut short
		return nil, brokenJSON(data, int64(len(data)), "not valid JSON")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, brokenJSON(data, decoder.InputOffset(), "text after the closing brace")
	}
	return raw, nil
}

func brokenJSON(data []byte, offset int64, what string) error {
	at := min(max(offset-1, 0), int64(len(data)))
	before := data[:at]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := 1 + len([]rune(string(before[bytes.LastIndexByte(before, '\n')+1:])))
	err := fault.New(fault.Usage, fmt.Sprintf("backend kwargs: %s at line %d, column %d", what, line, column))
	if hint := jsonHint(strings.TrimSpace(string(data))); hint != "" {
		err.Hints = append(err.Hints, hint)
	}
	return err
}

// jsonHint recognises the ways in which JSON breaks between an editor, a shell and a .env file.
func jsonHint(text string) string {
	switch {
	case strings.HasPrefix(text, "'"), strings.HasPrefix(text, `"{`):
		return "quotes around the whole JSON object are part of the value here; remove them"
	case strings.HasPrefix(text, `{\"`):
		return `the quotes inside the JSON object are escaped (\"); write plain quotes`
	case strings.HasPrefix(text, `{'`):
		return "JSON wants double quotes, not single ones"
	case strings.ContainsAny(text, "\u201c\u201d"):
		return "the text has typographic quotes; write plain double quotes"
	case strings.Contains(text, "None") || strings.Contains(text, "True") || strings.Contains(text, "False"):
		return "JSON writes null, true and false where Python writes None, True and False"
	case strings.HasPrefix(text, "{") && !strings.HasSuffix(text, "}"):
		return "the closing brace is missing: was the value cut, or written over several lines?"
	case strings.Contains(strings.ReplaceAll(text, " ", ""), ",}"):
		return "a comma stands before the closing brace"
	}
	return ""
}
