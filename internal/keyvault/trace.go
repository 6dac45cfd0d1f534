package keyvault

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// trace is what one call saw on its way. It travels in the call's context, because azidentity and MSAL hand on the text
// of an error and lose its type: whether a certificate was not trusted or a host not known is then beyond asking.
// One call works through its requests one after another, so nothing guards it.
type trace struct {
	attempts []attempt // credentials that gave no token; empty again once one did
	gave     string    // the credential that did
	host     string    // of the last exchange
	status   int       // of the last exchange, 0 when there was no answer
	err      error     // of the last exchange, when there was no answer
	date     time.Time // of the last answer, by the other side's clock; zero when it did not say
}

// attempt is one credential that gave no token.
type attempt struct {
	credential string
	err        error
}

type traceKey struct{}

func withTrace(ctx context.Context) (context.Context, *trace) {
	t := &trace{}
	return context.WithValue(ctx, traceKey{}, t), t
}

// traceOf finds the trace of a call; a throw-away one when there is none.
func traceOf(ctx context.Context) *trace {
	if t, ok := ctx.Value(traceKey{}).(*trace); ok {
		return t
	}
	return &trace{}
}

// watch notes every exchange, with the vault and with the login, in the call's trace.
type watch struct{}

func (watch) Do(req *policy.Request) (*http.Response, error) {
	resp, err := req.Next()
	t := traceOf(req.Raw().Context())
	t.host, t.status, t.err = req.Raw().URL.Host, 0, err
	if err == nil {
		t.status = resp.StatusCode
		t.date, _ = http.ParseTime(resp.Header.Get("Date"))
	}
	return resp, err
}

// errNotKeyVault is an answer that Key Vault does not give.
var errNotKeyVault error = notKeyVault{}

type notKeyVault struct{}

func (notKeyVault) Error() string { return "the answer is not one of Key Vault's" }

// NonRetriable tells the SDK's retry policy to give up.
func (notKeyVault) NonRetriable() {}

// challengeGuard ends a call that is challenged in a way that Key Vault never challenges. The SDK's own parser indexes
// into the authorization address without looking, and a gateway that sends one without a path would end the process
// (security/keyvault/internal, parseTenant).
type challengeGuard struct{}

var (
	challengeTenant   = regexp.MustCompile(`\bauthorization="?https://[^/"\s,]+/[^/"\s,]+`)
	challengeAudience = regexp.MustCompile(`\b(resource|scope)="?https://`)
)

func (challengeGuard) Do(req *policy.Request) (*http.Response, error) {
	resp, err := req.Next()
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	header := resp.Header.Get("WWW-Authenticate")
	switch {
	case strings.Contains(header, `error="insufficient_claims"`): // continuous access evaluation: azcore reads it
	case challengeTenant.MatchString(header) && challengeAudience.MatchString(header):
	default:
		return nil, errors.Join(errNotKeyVault, resp.Body.Close())
	}
	return resp, nil
}
