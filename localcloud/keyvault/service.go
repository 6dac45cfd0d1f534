// Package keyvault is the local cloud's Key Vault: the data plane of secrets, for any number of vaults, each by its host
// name. It checks the tokens that it gets and refuses in the words of the service.
//
// Source of requests and answers: https://learn.microsoft.com/rest/api/keyvault/secrets and the recorded exchanges in
// localcloud/testdata/wire.
package keyvault

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/airlock-secrets/airlock/localcloud/internal/rest"
	"github.com/airlock-secrets/airlock/localcloud/store"
)

// serviceVersion is what the header x-ms-keyvault-service-version says: the newest service that was recorded.
const serviceVersion = "1.9.3449.1"

const newestAPIVersion = "2026-04-01"

// apiVersion matches the versions of the data plane, previews too. All behave alike: what is new in 2025-07-01 and later
// concerns secrets that belong to certificates.
var apiVersion = regexp.MustCompile(`^(7\.[0-6](-preview(\.\d+)?)?|20\d\d-\d\d-\d\d(-preview)?)$`)

// Config is what the service needs.
type Config struct {
	Store store.Store
	// Keys gives the keys that sign the tokens of the vaults' tenants.
	Keys func() (jose.JSONWebKeySet, error)
	// BackupKey has 32 bytes. A backup can be restored where the key is the same.
	BackupKey []byte
	// NewVault describes the vault to make for a host that nobody provisioned, or says false. nil: none is made.
	NewVault func(host string) (Vault, bool)
	Now      func() time.Time
	Log      *slog.Logger
}

// Service answers for vaults. Its methods are safe for concurrent use.
type Service struct {
	cfg        Config
	mu         sync.RWMutex
	vaults     map[string]*vault // by host
	verified   verified
	visibility visibility
}

// New returns a service without vaults.
func New(cfg Config) *Service {
	return &Service{cfg: cfg, vaults: map[string]*vault{}, verified: verified{claims: map[[32]byte]tokenClaims{}}}
}

// call is one request on its way to an operation.
type call struct {
	*http.Request
	vault   *vault
	caller  Caller
	query   url.Values
	name    string // of the secret, checked; "" where the route has none
	version string // "" where the route has none, or the request left it empty
	at      time.Time
	now     int64 // at in Unix seconds
}

// ServeHTTP answers a request to the vault that its Host names.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := s.vaultOf(r)
	if v == nil {
		writeError(w, errUnknownVault(hostOf(r)))
		return
	}
	s.setHeaders(w.Header(), v, r)
	body, err := s.serve(v, w, r)
	if err != nil {
		refusal := s.refusal(err)
		if refusal.challenge {
			w.Header().Set("WWW-Authenticate", v.challenge())
		}
		writeError(w, refusal)
		return
	}
	if body == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answers.Write(w, http.StatusOK, body)
}

// setHeaders sets what each answer of a vault has.
func (s *Service) setHeaders(header http.Header, v *vault, r *http.Request) {
	header.Set("Cache-Control", "no-cache")
	header.Set("Pragma", "no-cache")
	header.Set("Expires", "-1")
	header.Set("Strict-Transport-Security", "max-age=31536000;includeSubDomains")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Ms-Keyvault-Region", v.Location)
	header.Set("X-Ms-Keyvault-Service-Version", serviceVersion)
	header.Set("X-Ms-Keyvault-Network-Info", networkInfo(r))
	header.Set("X-Ms-Request-Id", uuid.NewString())
	if id := r.Header.Get("X-Ms-Client-Request-Id"); id != "" {
		header.Set("X-Ms-Client-Request-Id", id)
	}
}

// challenge tells a client where to get a token for the vault.
func (v *vault) challenge() string {
	return fmt.Sprintf(`Bearer authorization="https://%s/%s", resource="%s"`, v.login, v.TenantID, v.resource)
}

// hostOf is the host that a request is for, lower-case and without a port.
func hostOf(r *http.Request) string {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(host)
}

// refusal is what an error becomes on the wire; the cause of one that is not a refusal stays in the log.
func (s *Service) refusal(err error) *Error {
	var refusal *Error
	if !errors.As(err, &refusal) {
		s.cfg.Log.Error("key vault request failed", "error", err)
		refusal = errInternal()
	}
	return refusal
}

// serve runs the checks in the service's order, the token before all others: SDKs send their first request without a
// token and without a body, and wait for the challenge.
func (s *Service) serve(v *vault, w http.ResponseWriter, r *http.Request) (any, error) {
	caller, err := s.authenticate(v, r.Header.Get("Authorization"))
	if err != nil {
		return nil, err
	}
	at := s.cfg.Now()
	c := &call{Request: r, vault: v, caller: caller, query: r.URL.Query(), at: at, now: at.Unix()}
	switch version := c.query.Get("api-version"); {
	case version == "":
		return nil, errNoAPIVersion()
	case !apiVersion.MatchString(version):
		return nil, errAPIVersion(version)
	}
	op, err := c.route()
	if err != nil {
		return nil, err
	}
	assignment, err := c.authorize(op)
	if err != nil {
		return nil, err
	}
	if assignment != "" {
		w.Header().Set("X-Ms-Keyvault-Rbac-Assignment-Id", assignment)
		w.Header().Set("X-Ms-Keyvault-Rbac-Cache", "ra_age=0;da_age=0;rd_age=0;brd_age=0;ra_notif_age=0;dec_lev=0;")
	}
	r.Body = http.MaxBytesReader(w, r.Body, op.maxBody)
	return op.run(s, c)
}

// address is the caller's.
func (c *call) address() string { return addressOf(c.Request) }

func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// networkInfo says who called, in the form of x-ms-keyvault-network-info.
func networkInfo(r *http.Request) string {
	address, kind, family := addressOf(r), "Ipv4", "InterNetwork"
	if strings.Contains(address, ":") {
		kind, family = "Ipv6", "InterNetworkV6"
	}
	return fmt.Sprintf("conn_type=%s;addr=%s;act_addr_fam=%s;", kind, address, family)
}

// The service writes <, > and & as they are.
var answers = rest.Format{PlainHTML: true}

func writeError(w http.ResponseWriter, e *Error) { answers.Write(w, e.Status, e.body()) }
