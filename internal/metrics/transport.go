package metrics

import (
	"net/http"
	"strings"
	"time"
)

// Transport counts every request that passes through it: those that the SDK repeats and those of the login, too. vaultHost
// tells which host is a vault's; next makes the requests.
func (m *Metrics) Transport(vaultHost string, next http.RoundTripper) http.RoundTripper {
	return &transport{metrics: m, vault: vaultHost, next: next}
}

type transport struct {
	metrics *Metrics
	vault   string
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	begun, status := time.Now(), 0
	response, err := t.next.RoundTrip(r)
	if err == nil {
		status = response.StatusCode
	}
	t.metrics.request(Operation(t.vault, r), status, time.Since(begun))
	return response, err
}

// CloseIdleConnections is what http.Client looks for.
func (t *transport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// Operation names a request after Key Vault's operations
// (https://learn.microsoft.com/rest/api/keyvault/secrets/operation-groups). What does not go to the
// vault's host is the login.
func Operation(vaultHost string, r *http.Request) string {
	if !strings.EqualFold(r.URL.Hostname(), vaultHost) {
		return "login"
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/secrets")
	switch {
	case !ok || r.Method != http.MethodGet:
		return "other"
	case strings.Trim(path, "/") == "":
		return "list"
	}
	return "get"
}
