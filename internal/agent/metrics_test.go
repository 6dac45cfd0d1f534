package agent

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

// metricsPage reads an agent's metrics as a scraper does.
func metricsPage(t *testing.T, path string) string {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET "+agentapi.PathMetrics+" HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain") {
		t.Fatalf("%+v, %v", response, err)
	}
	page, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestMetricsOnTheSocket(t *testing.T) {
	v := &vault{secrets: map[string]string{"airflow-variables-hello": canary}}
	r := start(t, v, nil)
	for range 3 {
		if _, err := r.Get(t.Context(), variable("hello")); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []agentapi.Lookup{variable("absent"), variable("absent"), variable("bad id"), {Kind: airflow.Connection, ID: "x"}} {
		if _, err := r.Get(t.Context(), l); err == nil {
			t.Errorf("%+v was found", l)
		}
	}
	v.mu.Lock()
	v.err = fault.New(fault.Unavailable, "away")
	v.mu.Unlock()
	if _, err := r.Get(t.Context(), variable("later")); !fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
	page := metricsPage(t, r.path)
	for _, line := range []string{
		`airlock_lookups_total{kind="variable",outcome="found",source="vault"} 1`,
		`airlock_lookups_total{kind="variable",outcome="found",source="cache"} 2`,
		`airlock_lookups_total{kind="variable",outcome="not_found",source="vault"} 1`,
		`airlock_lookups_total{kind="variable",outcome="not_found",source="cache"} 1`,
		`airlock_lookups_total{kind="variable",outcome="usage",source="none"} 1`,
		`airlock_lookups_total{kind="variable",outcome="unavailable",source="vault"} 1`,
		`airlock_vault_reads_total{outcome="found"} 1`,
		`airlock_vault_reads_total{outcome="not_found"} 2`,
		`airlock_vault_reads_total{outcome="unavailable"} 1`,
		`airlock_cache_entries 3`,
		`airlock_vault_flights 0`,
		`airlock_requests_in_flight 1`,
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("the metrics have no line %s", line)
		}
	}
	for _, word := range []string{canary, "hello", "absent", "bad id", "later"} {
		if strings.Contains(page, word) {
			t.Errorf("the metrics tell of %q", word)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
	if got := raw(t, r.path, "POST /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"); !strings.Contains(got, "this path takes "+http.MethodGet) {
		t.Errorf("%.300s", got)
	}
}
