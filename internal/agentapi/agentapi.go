// Package agentapi is what agent and client say to one another over the socket: HTTP/1.1 with JSON bodies.
package agentapi

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

// Paths of the API. A lookup is LookupPath(kind, id).
const (
	PathBatch   = "/v1/lookup"
	PathRefresh = "/v1/refresh"
	PathStatus  = "/v1/status"
	PathHealth  = "/v1/health"
	PathMetrics = "/metrics" // in Prometheus' text format
)

// Headers of a lookup, percent-encoded: which task of Airflow asks, in its own words. They go to the audit alone.
const (
	HeaderDAG  = "Airlock-Dag"
	HeaderTask = "Airlock-Task"
)

// Bounds that both sides hold.
const (
	MaxRequestBytes = 64 << 10 // a request's body
	MaxBatch        = 256      // lookups in one batch
	MaxIDBytes      = 1024     // an id; Airflow's longest is 250 characters
)

// LookupPath is the path of one lookup; the id is escaped, so it may hold anything.
func LookupPath(kind airflow.Kind, id, team string) string {
	path := "/v1/" + kind.Plural() + "/" + url.PathEscape(id)
	if team != "" {
		path += "?team=" + url.QueryEscape(team)
	}
	return path
}

// ParseLookupPath is the inverse of LookupPath, given an escaped path without its query.
func ParseLookupPath(escaped string) (kind airflow.Kind, id string, ok bool) {
	rest, ok := strings.CutPrefix(escaped, "/v1/")
	if !ok {
		return "", "", false
	}
	plural, escapedID, ok := strings.Cut(rest, "/")
	if !ok {
		return "", "", false
	}
	for _, kind := range airflow.Kinds() {
		if kind.Plural() == plural {
			id, err := url.PathUnescape(escapedID)
			return kind, id, err == nil
		}
	}
	return "", "", false
}

// Source says where an answer came from.
type Source string

// The sources of an answer.
const (
	FromVault Source = "vault" // asked for this lookup
	FromCache Source = "cache" // held and fresh
	FromStale Source = "stale" // held and old, while the vault does not answer
)

// Answer is the body of a lookup that found something.
type Answer struct {
	Value  string  `json:"value"`
	Source Source  `json:"source"`
	Age    float64 `json:"age"` // seconds since the vault said so
}

// Error is the body of every answer that is not 2xx.
type Error struct {
	Error ErrorBody `json:"error"`
}

// ErrorBody is a fault on the wire, without its cause.
type ErrorBody struct {
	Kind    string   `json:"kind"`
	Message string   `json:"message"`
	Hints   []string `json:"hints,omitempty"`
}

// Lookup is one question of a batch.
type Lookup struct {
	Kind airflow.Kind `json:"kind"`
	ID   string       `json:"id"`
	Team string       `json:"team,omitempty"`
}

// BatchRequest asks several things at once.
type BatchRequest struct {
	Lookups []Lookup `json:"lookups"`
}

// BatchAnswer holds one result for each lookup, in order.
type BatchAnswer struct {
	Results []BatchResult `json:"results"`
}

// BatchResult is an answer or an error.
type BatchResult struct {
	*Answer
	Error *ErrorBody `json:"error,omitempty"`
}

// RefreshRequest names what to forget; without ids, everything.
type RefreshRequest struct {
	Lookups []Lookup `json:"lookups,omitempty"`
}

// RefreshAnswer says how many held answers were dropped.
type RefreshAnswer struct {
	Dropped int `json:"dropped"`
}

// Status is what an agent says of itself. It holds no value of any secret.
type Status struct {
	PID           int       `json:"pid"`
	Version       string    `json:"version"`
	Started       time.Time `json:"started"`
	VaultURL      string    `json:"vault_url"`
	Credential    string    `json:"credential"` // how it logs in, in words
	CacheTTL      float64   `json:"cache_ttl"`  // seconds
	MaxStale      float64   `json:"max_stale"`  // seconds
	Lookups       int64     `json:"lookups"`
	VaultRequests int64     `json:"vault_requests"` // secrets asked of the vault
	Changes       Changes   `json:"changes"`
	Entries       []Entry   `json:"entries"`

	Vaults []VaultStatus `json:"vaults"` // the first is the one above
}

// VaultStatus is one of the vaults that an agent asks.
type VaultStatus struct {
	Name       string `json:"name"`
	URL        string `json:"url"`
	Credential string `json:"credential"`
	Requests   int64  `json:"requests"` // secrets asked of it

	Changes Changes `json:"changes"`
}

// Changes is how an agent learns that a secret was rotated, made or deleted before its own times run out.
type Changes struct {
	Interval float64    `json:"interval"`          // seconds, the longest between two looks at the vault's list; 0: none
	Listed   *time.Time `json:"listed,omitempty"`  // the last look that showed everything
	Seen     int64      `json:"seen"`              // secrets held that were found changed, so far
	Problem  string     `json:"problem,omitempty"` // why the last look showed nothing
}

// Entry is one secret that somebody asked for.
type Entry struct {
	Kind          airflow.Kind `json:"kind"`
	ID            string       `json:"id"`
	Vault         string       `json:"vault,omitempty"`
	Secret        string       `json:"secret"` // its name in the vault; "" when it has none there
	Outcome       string       `json:"outcome"`
	Source        Source       `json:"source,omitempty"` // of the last answer
	Age           float64      `json:"age"`              // seconds
	Lookups       int64        `json:"lookups"`
	VaultRequests int64        `json:"vault_requests"`
}

// status gives each kind of fault its HTTP status, and back.
var status = map[fault.Kind]int{
	fault.Internal:    http.StatusInternalServerError,
	fault.Usage:       http.StatusBadRequest,
	fault.NotFound:    http.StatusNotFound,
	fault.Forbidden:   http.StatusForbidden,
	fault.Unavailable: http.StatusServiceUnavailable,
	fault.Canceled:    499, // nobody reads it: the caller has gone
}

// StatusOf is the HTTP status of a fault's kind.
func StatusOf(kind fault.Kind) int { return status[kind] }

// BodyOf is what may be told of an error.
func BodyOf(err error) ErrorBody {
	return ErrorBody{Kind: fault.KindOf(err).String(), Message: err.Error(), Hints: fault.HintsOf(err)}
}

// Fault turns an error body back into the error that it was.
func (b ErrorBody) Fault() error {
	return fault.New(fault.ParseKind(b.Kind), b.Message, b.Hints...)
}
