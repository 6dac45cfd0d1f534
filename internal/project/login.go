package project

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Auth is how a Deployment signs in to the vault.
type Auth string

const (
	// ClientSecret is an app registration with a secret.
	ClientSecret Auth = "client-secret"
	// ManagedIdentity is an identity that Azure hands to the workload; nothing secret is kept.
	ManagedIdentity Auth = "managed-identity"
)

// Login is what the kwargs say of vault, prefixes and sign-in.
type Login struct {
	VaultURL string
	Auth     Auth   // "" when the kwargs name no whole login, which is the default chain of credentials
	TenantID string // of the app or of the identity
	ClientID string // of the app or of the identity
	Secret   secret.Value

	ConnectionsPrefix, VariablesPrefix *string // nil: as they are, and else Airflow's default
}

// LoginOf reads a login out of kwargs.
func LoginOf(k Kwargs) Login {
	l := Login{VaultURL: k.public("vault_url")}
	for key, to := range map[string]**string{"connections_prefix": &l.ConnectionsPrefix, "variables_prefix": &l.VariablesPrefix} {
		if k.Has(key) {
			text := k.public(key)
			*to = &text
		}
	}
	switch {
	case k.public("client_id") != "" || k.Text("client_secret").Len() > 0:
		l.Auth, l.TenantID, l.ClientID, l.Secret = ClientSecret, k.public("tenant_id"), k.public("client_id"), k.Text("client_secret")
	case k.public("managed_identity_client_id") != "":
		l.Auth, l.TenantID, l.ClientID = ManagedIdentity, k.public("workload_identity_tenant_id"), k.public("managed_identity_client_id")
	}
	return l
}

func wrong(format string, args ...any) error {
	return fault.New(fault.Usage, fmt.Sprintf(format, args...))
}

// CheckVaultURL says what is wrong with the URL of a vault. As all checks here, its error is of kind Usage.
func CheckVaultURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return wrong("the vault's URL is missing")
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return fault.New(fault.Usage, "the vault's URL is not one of a vault", "the portal shows it as Vault URI: https://NAME.vault.azure.net/")
	}
	return nil
}

// CheckAuth says what is wrong with the name of a way to sign in.
func CheckAuth(name string) error {
	if a := Auth(name); a != ClientSecret && a != ManagedIdentity {
		return wrong("authentication is one of %s and %s", ClientSecret, ManagedIdentity)
	}
	return nil
}

// CheckTenantID says what is wrong with the id of a tenant, which may be named by its domain, too.
func CheckTenantID(id string) error {
	if strings.Contains(id, ".") && !strings.ContainsAny(id, " /:") {
		return nil
	}
	return checkID("tenant id", id)
}

// CheckClientID says what is wrong with the client id of an app or an identity.
func CheckClientID(id string) error { return checkID("client id", id) }

func checkID(what, id string) error {
	switch {
	case id == "":
		return wrong("the %s is missing", what)
	case uuid.Validate(id) != nil:
		return wrong("the %s is not a GUID such as 00000000-0000-0000-0000-000000000000", what)
	}
	return nil
}

// CheckClientSecret says what is wrong with the secret of an app.
func CheckClientSecret(value secret.Value) error {
	switch {
	case value.Len() == 0:
		return wrong("the client secret is missing")
	case !utf8.Valid(value.Reveal()):
		return wrong("the client secret is not UTF-8 text")
	case uuid.Validate(string(value.Reveal())) == nil:
		return fault.New(fault.Usage, "the client secret is a GUID, which is the secret's id and not its value",
			"the portal shows the value once, when the secret is made: add another one under Certificates & secrets")
	}
	return nil
}

// Check says what is missing or wrong first. The errors are of kind Usage and name the kwarg.
func (l Login) Check() error {
	checks := []error{CheckVaultURL(l.VaultURL), CheckAuth(string(l.Auth)), CheckTenantID(l.TenantID), CheckClientID(l.ClientID)}
	if l.Auth == ClientSecret {
		checks = append(checks, CheckClientSecret(l.Secret))
	}
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}

// Apply puts a login into kwargs: keys of the other way to sign in go, keys that it does not know stay.
func (k *Kwargs) Apply(l Login) {
	prefix := func(key, byDefault string, wanted *string) {
		switch {
		case wanted != nil && !(k.Has(key) && k.public(key) == *wanted):
			k.Set(key, []byte(*wanted))
		case !k.Has(key):
			k.Set(key, []byte(byDefault))
		}
	}
	prefix("connections_prefix", "airflow-connections", l.ConnectionsPrefix)
	prefix("variables_prefix", "airflow-variables", l.VariablesPrefix)
	k.Set("vault_url", []byte(l.VaultURL))
	if l.Auth == ManagedIdentity {
		k.Delete("tenant_id", "client_id", "client_secret")
		k.Set("managed_identity_client_id", []byte(l.ClientID))
		k.Set("workload_identity_tenant_id", []byte(l.TenantID))
		return
	}
	k.Delete("managed_identity_client_id", "workload_identity_tenant_id")
	k.Set("tenant_id", []byte(l.TenantID))
	k.Set("client_id", []byte(l.ClientID))
	k.Set("client_secret", l.Secret.Reveal())
}

// Clone is a copy that can be edited apart.
func (k Kwargs) Clone() Kwargs { return Kwargs{fields: append([]kwarg(nil), k.fields...)} }
