package entra

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
)

// App is an application with its service principal in one tenant.
type App struct {
	TenantID      string    `yaml:"tenantId"`
	ClientID      string    `yaml:"clientId"`
	ClientSecret  string    `yaml:"clientSecret"`  // "": the app has no secret, and every one is wrong
	SecretExpires time.Time `yaml:"secretExpires"` // zero: never
	ObjectID      string    `yaml:"objectId"`      // of the service principal; "": derived from tenant and client id
	Disabled      bool      // nobody can sign in as the app
	// Certificates are those that may sign the app's assertions.
	Certificates []*x509.Certificate `yaml:"-"`
	// Federated are the tokens of others that are as good as a credential of the app.
	Federated []FederatedCredential `yaml:"-"`
}

// FederatedCredential makes the tokens of another issuer, such as a Kubernetes cluster, a credential of an app.
// Source: https://learn.microsoft.com/entra/workload-id/workload-identity-federation
type FederatedCredential struct {
	Issuer   string // the claim iss; "" is LocalIssuer, for tokens that FederatedToken makes
	Subject  string // the claim sub, such as system:serviceaccount:airflow:worker
	Audience string // the claim aud; "": api://AzureADTokenExchange
	// Keys verify the tokens. The real Entra ID fetches them from the issuer; the local one asks nobody. For LocalIssuer
	// they are known.
	Keys jose.JSONWebKeySet `yaml:"-"`
}

// Principal is who a token speaks for.
type Principal struct {
	TenantID   string
	ClientID   string
	ObjectID   string
	ResourceID string // of a managed identity's Azure resource, for the claim xms_mirid; "" for an app
}

// directory holds what Entra ID knows. Tenants and client ids are compared without regard to case.
type directory struct {
	mu      sync.RWMutex
	tenants map[string]string // folded -> as given
	first   string            // tenant
	apps    map[appKey]App
}

type appKey struct{ tenant, client string }

func keyOf(tenant, client string) appKey {
	return appKey{strings.ToLower(tenant), strings.ToLower(client)}
}

// AddTenant makes a tenant known. A tenant is a GUID or a domain name; adding it again changes nothing.
func (s *Service) AddTenant(id string) error {
	if err := CheckID(id); err != nil {
		return fmt.Errorf("TenantID = %q: %w", id, err)
	}
	s.directory.mu.Lock()
	defer s.directory.mu.Unlock()
	if key := strings.ToLower(id); s.directory.tenants[key] == "" {
		s.directory.tenants[key] = id
		s.directory.first = cmp.Or(s.directory.first, id)
	}
	return nil
}

// AddApp makes an app and its tenant known, in place of the one with the same tenant and client id.
func (s *Service) AddApp(app App) error {
	var problems []error
	if err := CheckID(app.ClientID); err != nil {
		problems = append(problems, fmt.Errorf("ClientID = %q: %w", app.ClientID, err))
	}
	if err := s.AddTenant(app.TenantID); err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	if app.ObjectID == "" {
		app.ObjectID = ObjectID(app.TenantID, app.ClientID)
	}
	app.Federated = slices.Clone(app.Federated)
	for i := range app.Federated {
		f := &app.Federated[i]
		f.Issuer = cmp.Or(f.Issuer, LocalIssuer)
		f.Audience = cmp.Or(f.Audience, federatedAudience)
		switch {
		case f.Subject == "":
			return fmt.Errorf("app: Federated[%d].Subject must not be empty", i)
		case f.Issuer != LocalIssuer && len(f.Keys.Keys) == 0:
			return fmt.Errorf("app: Federated[%d].Keys: the keys of the issuer %q are needed to check its tokens", i, f.Issuer)
		}
	}
	s.directory.mu.Lock()
	defer s.directory.mu.Unlock()
	s.directory.apps[keyOf(app.TenantID, app.ClientID)] = app
	return nil
}

// RemoveApp forgets an app. Tokens that it has stay good until they expire, as in Azure.
func (s *Service) RemoveApp(tenant, client string) {
	s.directory.mu.Lock()
	defer s.directory.mu.Unlock()
	delete(s.directory.apps, keyOf(tenant, client))
}

// Tenants lists the known tenants, sorted.
func (s *Service) Tenants() []string {
	s.directory.mu.RLock()
	defer s.directory.mu.RUnlock()
	var all []string
	for _, id := range s.directory.tenants {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

// FirstTenant is the tenant that was added first, "" if none was.
func (s *Service) FirstTenant() string {
	s.directory.mu.RLock()
	defer s.directory.mu.RUnlock()
	return s.directory.first
}

// tenant gives a tenant's id as it was added, "" for an unknown one.
func (d *directory) tenant(id string) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.tenants[strings.ToLower(id)]
}

func (d *directory) app(tenant, client string) (App, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	app, found := d.apps[keyOf(tenant, client)]
	return app, found
}

// ObjectID derives the object id of a principal that was given none: always the same for the same ids.
func ObjectID(tenant, client string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(tenant) + "/" + strings.ToLower(client)))
	return uuid.NewSHA1(uuid.NameSpaceOID, sum[:]).String()
}

// CheckID refuses ids that could not stand in a path: those that are empty, too long, or hold a space, a slash or a
// control character. It does not insist on a GUID, because a tenant may be a domain name and a placeholder is enough
// for development.
func CheckID(id string) error {
	switch {
	case id == "":
		return errors.New("must not be empty")
	case len(id) > 256:
		return errors.New("is longer than 256 bytes")
	case strings.ContainsFunc(id, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`/\?#%"'`, r)
	}):
		return errors.New("holds a character that an id cannot have")
	}
	return nil
}
