// Package identity is the local cloud's managed identity: the instance metadata service of a virtual machine (IMDS) and
// the endpoint of App Service, which both give out tokens without a credential.
package identity

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/airlock-secrets/airlock/localcloud/clouds"
	"github.com/airlock-secrets/airlock/localcloud/entra"
	"github.com/airlock-secrets/airlock/localcloud/internal/rest"
)

// IMDSHost is the address at which every Azure machine finds the instance metadata service, over plain HTTP.
const IMDSHost = "169.254.169.254"

// AppServicePath is the path of App Service's endpoint, on whatever listener serves it.
const AppServicePath = "/msi/token"

// Tokens of managed identities live about a day.
// Source: https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/managed-identity-best-practice-recommendations
const tokenLifetime = 24*time.Hour - time.Second

// ManagedIdentity is an identity that the machine has.
type ManagedIdentity struct {
	TenantID       string `yaml:"tenantId"`
	ClientID       string `yaml:"clientId"`
	SystemAssigned bool   `yaml:"systemAssigned"` // the machine's own, used by requests that name none; there can be one
	ObjectID       string `yaml:"objectId"`       // "": derived from tenant and client id
	ResourceID     string `yaml:"resourceId"`     // of the Azure resource; "": made up
	// Federated are tokens of others that are as good as being on the machine, as workloads in a cluster have them.
	Federated []entra.FederatedCredential `yaml:"-"`
}

// Tokens gives out the tokens.
type Tokens interface {
	Issue(clouds.Cloud, entra.Grant) (entra.Token, error)
}

// Config is what the service needs.
type Config struct {
	Tokens Tokens
	Header string // what App Service's clients must send as X-IDENTITY-HEADER
}

// Service answers for both protocols. Its methods are safe for concurrent use.
type Service struct {
	cfg        Config
	mu         sync.RWMutex
	identities []ManagedIdentity
}

// New returns a service without identities.
func New(cfg Config) *Service { return &Service{cfg: cfg} }

// Add gives the machine an identity.
func (s *Service) Add(id ManagedIdentity) error {
	var problems []error
	if err := entra.CheckID(id.ClientID); err != nil {
		problems = append(problems, fmt.Errorf("ClientID = %q: %w", id.ClientID, err))
	}
	if err := entra.CheckID(id.TenantID); err != nil {
		problems = append(problems, fmt.Errorf("TenantID = %q: %w", id.TenantID, err))
	}
	if id.ObjectID == "" {
		id.ObjectID = entra.ObjectID(id.TenantID, id.ClientID)
	}
	const group = "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/airlock/providers/"
	switch {
	case id.ResourceID != "":
	case id.SystemAssigned:
		id.ResourceID = group + "Microsoft.Compute/virtualMachines/airlock-dev"
	default:
		id.ResourceID = group + "Microsoft.ManagedIdentity/userAssignedIdentities/" + id.ClientID
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.identities {
		if id.SystemAssigned && other.SystemAssigned {
			problems = append(problems, errors.New("SystemAssigned = true: a machine has one identity of this kind, and there "+
				"is one already"))
		}
		if strings.EqualFold(id.ClientID, other.ClientID) {
			problems = append(problems, fmt.Errorf("ClientID = %q: given twice", id.ClientID))
		}
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	s.identities = append(s.identities, id)
	return nil
}

// Remove takes an identity from the machine. Tokens that were given out stay good until they expire, as in Azure.
func (s *Service) Remove(tenant, client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identities = slices.DeleteFunc(s.identities, func(id ManagedIdentity) bool {
		return strings.EqualFold(id.TenantID, tenant) && strings.EqualFold(id.ClientID, client)
	})
}

// refusal is an answer that gives no token.
type refusal struct {
	status      int
	Kind        string `json:"error"`
	Description string `json:"error_description"`
}

func (r *refusal) Error() string { return r.Kind + ": " + r.Description }

// The texts are those that IMDS answers with.
// Source: https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling
var (
	errNoMetadata = &refusal{http.StatusBadRequest, "invalid_request", "Required metadata header not specified"}
	errNoVersion  = &refusal{http.StatusBadRequest, "bad_request_102", "Required query variable 'api-version' is missing"}
	errNoResource = &refusal{http.StatusBadRequest, "invalid_request", "Required query variable 'resource' is missing"}
	errUnknown    = &refusal{http.StatusBadRequest, "invalid_request", "Identity not found"}
	errAmbiguous  = &refusal{http.StatusBadRequest, "invalid_request", "Multiple user assigned identities exist, please " +
		"specify the clientId / resourceId of the identity in the token request"}
	errHeader = &refusal{http.StatusUnauthorized, "unauthorized_client", "The header X-IDENTITY-HEADER is missing or wrong"}
	errPath   = &refusal{http.StatusNotFound, "not_found", "The local cloud answers only /metadata/identity/oauth2/token here"}
	errMethod = &refusal{http.StatusMethodNotAllowed, "invalid_request", "The HTTP method is not allowed"}
	errIssue  = &refusal{http.StatusInternalServerError, "unknown", "The local cloud could not issue a token"}
)

// find picks the identity that a request names, by any of the parameters that the protocols have for it.
func (s *Service) find(query func(string) string) (ManagedIdentity, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, by := range []struct {
		parameters []string
		of         func(ManagedIdentity) string
	}{
		{[]string{"client_id", "clientid"}, func(id ManagedIdentity) string { return id.ClientID }},
		{[]string{"object_id", "principal_id"}, func(id ManagedIdentity) string { return id.ObjectID }},
		{[]string{"msi_res_id", "mi_res_id"}, func(id ManagedIdentity) string { return id.ResourceID }},
	} {
		for _, parameter := range by.parameters {
			wanted := query(parameter)
			if wanted == "" {
				continue
			}
			for _, id := range s.identities {
				if strings.EqualFold(by.of(id), wanted) {
					return id, nil
				}
			}
			return ManagedIdentity{}, errUnknown
		}
	}
	for _, id := range s.identities {
		if id.SystemAssigned {
			return id, nil
		}
	}
	switch len(s.identities) {
	case 0:
		return ManagedIdentity{}, errUnknown
	case 1:
		return s.identities[0], nil
	}
	return ManagedIdentity{}, errAmbiguous
}

// token checks what both protocols share and gets the token.
func (s *Service) token(r *http.Request) (ManagedIdentity, entra.Token, error) {
	query := r.URL.Query()
	switch {
	case r.Method != http.MethodGet:
		return ManagedIdentity{}, entra.Token{}, errMethod
	case query.Get("api-version") == "":
		return ManagedIdentity{}, entra.Token{}, errNoVersion
	case query.Get("resource") == "":
		return ManagedIdentity{}, entra.Token{}, errNoResource
	}
	id, err := s.find(query.Get)
	if err != nil {
		return id, entra.Token{}, err
	}
	token, err := s.cfg.Tokens.Issue(cloudOf(query.Get("resource")), entra.Grant{
		Principal: entra.Principal{
			TenantID: id.TenantID, ClientID: id.ClientID, ObjectID: id.ObjectID, ResourceID: id.ResourceID,
		},
		Resource: query.Get("resource"),
		Lifetime: tokenLifetime,
	})
	return id, token, err
}

// cloudOf is the cloud that a resource belongs to. A machine is in one cloud; the local one is in whichever is asked for.
func cloudOf(resource string) clouds.Cloud {
	for _, c := range clouds.All {
		for _, host := range []string{c.VaultSuffix, c.Manager, c.Graph} {
			if strings.EqualFold(strings.TrimSuffix(resource, "/"), "https://"+host) {
				return c
			}
		}
	}
	return clouds.All[0]
}

// IMDS answers for the instance metadata service.
// Source: https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service
func (s *Service) IMDS(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Metadata"), "true") {
		answers.Write(w, errNoMetadata.status, errNoMetadata) // SDKs send this first, to see whether anybody answers
		return
	}
	if strings.TrimSuffix(r.URL.Path, "/") != "/metadata/identity/oauth2/token" {
		answers.Write(w, errPath.status, errPath)
		return
	}
	id, token, err := s.token(r)
	if err != nil {
		writeRefusal(w, err)
		return
	}
	left := strconv.FormatInt(int64(token.Lifetime/time.Second), 10)
	answers.Write(w, http.StatusOK, struct {
		Token     string `json:"access_token"`
		ClientID  string `json:"client_id"`
		Refresh   string `json:"refresh_token"`
		Expires   string `json:"expires_in"`
		Ext       string `json:"ext_expires_in"`
		ExpiresOn string `json:"expires_on"`
		NotBefore string `json:"not_before"`
		Resource  string `json:"resource"`
		Type      string `json:"token_type"`
	}{
		token.Raw, id.ClientID, "", left, left, unix(token.Expires), unix(token.NotBefore), r.URL.Query().Get("resource"), "Bearer",
	})
}

// AppService answers for the endpoint that App Service gives to its apps in IDENTITY_ENDPOINT.
// Source: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
func (s *Service) AppService(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Identity-Header")), []byte(s.cfg.Header)) != 1 {
		writeAppServiceRefusal(w, errHeader)
		return
	}
	id, token, err := s.token(r)
	if err != nil {
		writeAppServiceRefusal(w, err)
		return
	}
	answers.Write(w, http.StatusOK, struct {
		Token     string `json:"access_token"`
		ClientID  string `json:"client_id"`
		ExpiresOn string `json:"expires_on"`
		NotBefore string `json:"not_before"`
		Resource  string `json:"resource"`
		Type      string `json:"token_type"`
	}{token.Raw, id.ClientID, unix(token.Expires), unix(token.NotBefore), r.URL.Query().Get("resource"), "Bearer"})
}

// Refuse answers with an error that was asked for, in the shape of the service.
func (s *Service) Refuse(w http.ResponseWriter, r *http.Request, status int) {
	denied := &refusal{status, "unknown", "Failed to retrieve token, please try again."}
	if status == http.StatusTooManyRequests {
		denied = &refusal{status, "too_many_requests", "Too many requests, please try again later."}
	}
	if r.URL.Path == AppServicePath {
		writeAppServiceRefusal(w, denied)
		return
	}
	writeRefusal(w, denied)
}

// answers is how both protocols write JSON.
var answers rest.Format

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// writeRefusal answers as IMDS does.
func writeRefusal(w http.ResponseWriter, err error) {
	denied, byEntra := (*refusal)(nil), (*entra.Error)(nil)
	switch {
	case errors.As(err, &denied):
	case errors.As(err, &byEntra):
		denied = &refusal{byEntra.Status, byEntra.Kind, byEntra.Error()}
	default:
		denied = errIssue
	}
	answers.Write(w, denied.status, denied)
}

// writeAppServiceRefusal answers in App Service's own shape, which clients look into: they find nothing in that of IMDS.
// The texts about identities and Entra ID are the service's.
// Source: the tests of MSAL for .NET and Java that run on App Service; managed_identity.py of MSAL for Python 1.39.0
func writeAppServiceRefusal(w http.ResponseWriter, err error) {
	denied, byEntra := (*refusal)(nil), (*entra.Error)(nil)
	status, message := errIssue.status, errIssue.Description
	switch {
	case errors.Is(err, errUnknown), errors.Is(err, errAmbiguous):
		status = http.StatusBadRequest
		message = "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."
	case errors.As(err, &denied):
		status, message = denied.status, denied.Description
	case errors.As(err, &byEntra):
		message = "An unexpected error occured while fetching the AAD Token." // spelt so
	}
	answers.Write(w, status, struct {
		StatusCode int    `json:"statusCode"`
		Message    string `json:"message"`
	}{status, message})
}
