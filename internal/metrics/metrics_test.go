package metrics

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

// page is what Prometheus would read.
func page(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Fatalf("status %d, %s", w.Code, w.Header())
	}
	return w.Body.String()
}

// has fails for each line that the page does not have, and for those after "!" that it has.
func has(t *testing.T, m *Metrics, lines ...string) {
	t.Helper()
	text := "\n" + page(t, m)
	for _, line := range lines {
		line, not := strings.CutPrefix(line, "!")
		if strings.Contains(text, "\n"+line) == not {
			t.Errorf("%s (unwanted: %t) in\n%s", line, not, text)
		}
	}
}

func TestLookups(t *testing.T) {
	m := New("1.2")
	m.Add(Gauge{Name: "airlock_held", Help: "Held.", Value: func() float64 { return 3 }})
	done := func(kind airflow.Kind, l Lookup) { m.Of(kind).Done(l) }
	done(airflow.Variable, Lookup{Source: agentapi.FromCache, Took: 2 * time.Microsecond, Age: time.Minute})
	done(airflow.Variable, Lookup{Source: agentapi.FromCache, Took: 100 * time.Second, Age: 2 * time.Minute})
	done(airflow.Connection, Lookup{Source: agentapi.FromStale, Age: 48 * time.Hour})
	done(airflow.Connection, Lookup{Source: agentapi.FromVault, Err: fault.New(fault.NotFound, "no")})
	done(airflow.Config, Lookup{Err: fault.New(fault.Usage, "no")})
	done("made-up", Lookup{Err: errors.New("no")})
	done("made-up-too", Lookup{Source: "made-up", Err: errors.New("no")})
	m.Read(nil)
	m.Read(fault.New(fault.Forbidden, "no"))
	has(t, m,
		`airlock_lookups_total{kind="variable",outcome="found",source="cache"} 2`,
		`airlock_lookups_total{kind="connection",outcome="found",source="stale"} 1`,
		`airlock_lookups_total{kind="connection",outcome="not_found",source="vault"} 1`,
		`airlock_lookups_total{kind="config",outcome="usage",source="none"} 1`,
		`airlock_lookups_total{kind="other",outcome="internal",source="none"} 2`,
		`airlock_lookup_seconds_bucket{source="cache",le="1e-06"} 0`,
		`airlock_lookup_seconds_bucket{source="cache",le="1e-05"} 1`,
		`airlock_lookup_seconds_bucket{source="cache",le="60"} 1`,
		`airlock_lookup_seconds_bucket{source="cache",le="+Inf"} 2`,
		`airlock_lookup_seconds_sum{source="cache"} 100.000002`,
		`airlock_served_age_seconds_bucket{source="cache",le="60"} 1`,
		`airlock_served_age_seconds_bucket{source="cache",le="300"} 2`,
		`airlock_served_age_seconds_bucket{source="stale",le="86400"} 0`,
		`airlock_served_age_seconds_sum{source="stale"} 172800`,
		`airlock_vault_reads_total{outcome="found"} 1`,
		`airlock_vault_reads_total{outcome="forbidden"} 1`,
		`airlock_held 3`, `airlock_build_info{goversion="go`, `go_goroutines `, `!process_`,
	)
	if text := page(t, m); !strings.Contains(text, `version="1.2"} 1`) || strings.Contains(text, "made-up") {
		t.Errorf("no version, or a caller's word as a label:\n%s", text)
	}
}

// TestConcurrent: nothing is lost, and a page may be read meanwhile.
func TestConcurrent(t *testing.T) {
	m := New("")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 1000 {
				m.Of(airflow.Variable).Done(Lookup{Source: agentapi.FromCache, Took: time.Duration(i) * time.Microsecond})
			}
		})
	}
	page(t, m)
	all.Wait()
	has(t, m, `airlock_lookups_total{kind="variable",outcome="found",source="cache"} 8000`,
		`airlock_lookup_seconds_count{source="cache"} 8000`)
}

type answers map[string]int // status by method and URL

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if status := a[r.Method+" "+r.URL.String()]; status != 0 {
		return &http.Response{StatusCode: status, Body: http.NoBody}, nil
	}
	return nil, errors.New("no answer")
}

func TestTransport(t *testing.T) {
	m := New("")
	calls := answers{
		"GET https://v.vault.azure.net/secrets/a/?api-version=7.6": 200,
		"GET https://V.vault.azure.net:443/secrets/b":              429,
		"GET https://v.vault.azure.net/secrets?maxresults=25":      403,
		"GET https://v.vault.azure.net/keys/k":                     404,
		"PUT https://v.vault.azure.net/secrets/a":                  201,
		"GET https://v.vault.azure.net/secrets/lost":               0,
		"POST https://login.microsoftonline.com/t/token":           200,
	}
	through := m.Transport("v.vault.azure.net", calls)
	for call, status := range calls {
		method, address, _ := strings.Cut(call, " ")
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		response, err := through.RoundTrip(&http.Request{Method: method, URL: u})
		if (err != nil) != (status == 0) || err == nil && response.StatusCode != status {
			t.Errorf("%s: %v, %v", call, response, err)
		}
	}
	has(t, m,
		`airlock_vault_requests_total{operation="get",status="200"} 1`,
		`airlock_vault_requests_total{operation="get",status="429"} 1`,
		`airlock_vault_requests_total{operation="get",status="none"} 1`,
		`airlock_vault_requests_total{operation="list",status="403"} 1`,
		`airlock_vault_requests_total{operation="other",status="201"} 1`,
		`airlock_vault_requests_total{operation="other",status="404"} 1`,
		`airlock_vault_requests_total{operation="login",status="200"} 1`,
		`airlock_vault_request_seconds_count{operation="get"} 3`,
	)
}

func BenchmarkDone(b *testing.B) {
	l := New("").Of(airflow.Variable)
	for b.Loop() {
		l.Done(Lookup{Source: agentapi.FromCache, Took: 3 * time.Microsecond, Age: time.Minute})
	}
}
