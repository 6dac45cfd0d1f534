// Package airflow holds what Airflow means: the kwargs of its Key Vault backend, how an id becomes the name of a secret, and
// what a secret says as a connection. It follows apache-airflow-providers-microsoft-azure 15.2.1,
// airflow.providers.microsoft.azure.secrets.key_vault.AzureKeyVaultBackend, and Airflow 3.3.2, and says where it differs on
// purpose (docs/parity.md).
package airflow

import (
	"fmt"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// Kind is what sort of thing an id names. The zero value is no kind.
type Kind string

// The three kinds that Airflow asks a secrets backend for.
const (
	Connection Kind = "connection"
	Variable   Kind = "variable"
	Config     Kind = "config"
)

// Kinds lists the kinds in the order in which people are shown them.
func Kinds() []Kind { return []Kind{Connection, Variable, Config} }

// Plural is the kind's name in the agent's paths and in prose: "connections", "variables", "config".
func (k Kind) Plural() string {
	switch k { // every lookup passes here
	case Connection:
		return "connections"
	case Variable:
		return "variables"
	case Config:
		return "config"
	}
	return string(k) + "s"
}

// ParseKind reads a kind as people type it, singular or plural.
func ParseKind(s string) (Kind, error) {
	for _, k := range Kinds() {
		if s == string(k) || s == k.Plural() {
			return k, nil
		}
	}
	return "", fault.New(fault.Usage, fmt.Sprintf("unknown kind %q", s), "a kind is one of: variable, connection, config")
}
