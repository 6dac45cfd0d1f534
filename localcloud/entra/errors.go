package entra

import (
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// Error is an answer of Entra ID that refuses. One constructor below makes each; codes and texts are those of
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes and of answers seen from the service.
type Error struct {
	Status      int
	Kind        string // the OAuth error code, RFC 6749, 5.2
	Code        int    // the number behind AADSTS
	Description string // without the AADSTS prefix and the trailing ids
}

func (e *Error) Error() string { return fmt.Sprintf("AADSTS%d: %s", e.Code, e.Description) }

func errWrongSecret(app string) *Error {
	return &Error{http.StatusUnauthorized, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret " +
		"being sent in the request is the client secret value, not the client secret ID, for a secret added to app '" + app + "'."}
}

func errExpiredSecret(app string) *Error {
	return &Error{http.StatusUnauthorized, "invalid_client", 7000222, "The provided client secret keys for app '" + app +
		"' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider " +
		"using certificate credentials for added security: https://aka.ms/certCreds."}
}

func errDisabled(app string) *Error {
	return &Error{http.StatusBadRequest, "unauthorized_client", 7000112, "Application '" + app + "' is disabled."}
}

func errUnknownApp(app, tenant string) *Error {
	return &Error{http.StatusBadRequest, "unauthorized_client", 700016, "Application with identifier '" + app + "' was not " +
		"found in the directory '" + tenant + "'. This can happen if the application has not been installed by the " +
		"administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication " +
		"request to the wrong tenant."}
}

// errUnknownTenant's kind differs between the token endpoint (invalid_request) and the metadata (invalid_tenant).
func errUnknownTenant(tenant, kind string) *Error {
	return &Error{http.StatusBadRequest, kind, 90002, "Tenant '" + tenant + "' not found. Check to make sure you have the " +
		"correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may " +
		"happen if there are no active subscriptions for the tenant."}
}

func errMissing(parameter string) *Error {
	return &Error{http.StatusBadRequest, "invalid_request", 900144,
		"The request body must contain the following parameter: '" + parameter + "'."}
}

func errNoCredential() *Error {
	return &Error{http.StatusUnauthorized, "invalid_client", 7000218, "The request body must contain the following " +
		"parameter: 'client_assertion' or 'client_secret'."}
}

func errGrantType(grant string) *Error {
	return &Error{http.StatusBadRequest, "unsupported_grant_type", 70003,
		"The app requested an unsupported grant type '" + grant + "'."}
}

func errScope(scope string) *Error {
	return &Error{http.StatusBadRequest, "invalid_scope", 1002012, "The provided value for scope " + scope + " is not " +
		"valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier " +
		"(application ID URI)."}
}

func errUnknownResource(resource, tenant string) *Error {
	return &Error{http.StatusBadRequest, "invalid_resource", 500011, "The resource principal named " + resource + " was not " +
		"found in the tenant named " + tenant + ". This can happen if the application has not been installed by the " +
		"administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication " +
		"request to the wrong tenant."}
}

func errTooLarge() *Error {
	return &Error{http.StatusRequestEntityTooLarge, "invalid_request", 90015, "The request is too long."}
}

func errMalformed() *Error {
	return &Error{http.StatusBadRequest, "invalid_request", 9000410, "Malformed JSON or form in the request body."}
}

func errTenantName(tenant string) *Error {
	return &Error{http.StatusBadRequest, "invalid_request", 900023, "Specified tenant identifier '" + tenant + "' is neither a " +
		"valid DNS name, nor a valid external domain."}
}

// An app has no home tenant that "common" could stand for.
func errNoTenant() *Error {
	return &Error{http.StatusBadRequest, "invalid_request", 50059, "No tenant-identifying information found in either the " +
		"request or implied by any provided credentials."}
}

const certificateHelp = "Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials ."

func invalidClient(code int, description string) *Error {
	return &Error{http.StatusUnauthorized, "invalid_client", code, description}
}

func errAssertion() *Error { return invalidClient(50027, "JWT token is invalid or malformed.") }

func errAssertionTimes(now, from, to time.Time) *Error {
	const layout = "2006-01-02T15:04:05.0000000Z"
	return invalidClient(700024, "Client assertion is not within its valid time range. Current time: "+now.UTC().Format(layout)+
		", assertion valid from "+from.UTC().Format(layout)+
		", expiry time of assertion "+to.UTC().Format(layout)+". "+certificateHelp)
}

func errAssertionAudience() *Error {
	return invalidClient(700023, "Client assertion audience claim does not match Realm issuer. "+certificateHelp)
}

func errAssertionSubject() *Error {
	return invalidClient(700021, "Client assertion application identifier doesn't match 'client_id' parameter. "+certificateHelp)
}

func errCertificateUnknown(app, thumbprint string) *Error {
	return invalidClient(700027, "The certificate with identifier used to sign the client assertion is not registered on "+
		"application. [Reason - The key was not found., Thumbprint of key used by client: '"+thumbprint+"', Please visit the "+
		"Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '"+app+"'.")
}

func errCertificateSignature(thumbprint, reason string) *Error {
	return invalidClient(700027, "Client assertion failed signature validation. [Reason - "+reason+", Thumbprint of key used "+
		"by client: '"+thumbprint+"'.")
}

// Refuse answers with an error that was asked for, in the shape of the service.
func (s *Service) Refuse(w http.ResponseWriter, r *http.Request, status int) {
	e := &Error{status, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again."}
	if status == http.StatusTooManyRequests {
		e.Code, e.Description = 90055, "The request was throttled because too many requests were received."
	}
	s.writeError(w, r, e)
}

// What of a federated token found no record: its issuer (700211), audience (700212) or subject (700213).
func errFederated(code int, what, found string) *Error {
	return invalidClient(code, "No matching federated identity record found for presented assertion "+what+" '"+found+"'. Check "+
		"your federated identity credential Subject, Audience and Issuer against the presented assertion. "+
		"https://learn.microsoft.com/entra/workload-id/workload-identity-federation")
}

// The service's own text names the key that was looked for.
func errFederatedSignature() *Error {
	return invalidClient(50013, "Assertion failed signature validation. [Reason - The key was not found.]")
}

// writeError answers with e in the shape of the service, with the ids by which its support would find the request.
func (s *Service) writeError(w http.ResponseWriter, r *http.Request, e *Error) {
	at := s.now().UTC().Format(time.DateTime) + "Z"
	trace, correlation := uuid.NewString(), correlationID(r)
	answers.Write(w, e.Status, struct {
		Error         string `json:"error"`
		Description   string `json:"error_description"`
		Codes         []int  `json:"error_codes"`
		Timestamp     string `json:"timestamp"`
		TraceID       string `json:"trace_id"`
		CorrelationID string `json:"correlation_id"`
		URI           string `json:"error_uri"`
	}{
		e.Kind,
		fmt.Sprintf("%s Trace ID: %s Correlation ID: %s Timestamp: %s", e.Error(), trace, correlation, at),
		[]int{e.Code}, at, trace, correlation,
		fmt.Sprintf("https://%s/error?code=%d", cloudOf(r).Login, e.Code),
	})
}

// correlationID is the caller's own if that is a GUID, else a new one.
func correlationID(r *http.Request) string {
	const name = "client-request-id"
	for _, id := range []string{r.Header.Get(name), r.URL.Query().Get(name), r.PostForm.Get(name)} {
		if parsed, err := uuid.Parse(id); err == nil {
			return parsed.String()
		}
	}
	return uuid.NewString()
}
