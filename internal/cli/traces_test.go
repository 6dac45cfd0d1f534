package cli

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/airlock-secrets/airlock/internal/agent"
	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/socket"
	"github.com/airlock-secrets/airlock/localcloud"
)

// TestTraces: from the environment to the collector, with the Azure SDK in between: the requests of login and vault lie
// below the lookup that needed them, and nothing that is sent names what was asked for.
func TestTraces(t *testing.T) {
	type sent struct{ Name, SpanID, ParentSpanID string }
	var mu sync.Mutex
	var spans []sent
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		var got struct {
			ResourceSpans []struct{ ScopeSpans []struct{ Spans []sent } }
		}
		if err != nil || json.Unmarshal(raw, &got) != nil || strings.Contains(string(raw), "canary") {
			t.Errorf("%v; sent: %s", err, raw)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, of := range got.ResourceSpans {
			spans = append(spans, of.ScopeSpans[0].Spans...)
		}
	}))
	defer collector.Close()
	cloud := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: localcloud.Provision{
		Apps:   []localcloud.App{{TenantID: troubleTenant, ClientID: troubleApp, ClientSecret: troubleSecret}},
		Vaults: []localcloud.Vault{{URL: troubleVault}},
	}})
	if err := cloud.SetSecrets(troubleVault, map[string]string{"airflow-variables-canary-id": "canary"}); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"HTTPS_PROXY": cloud.ProxyURL(), "SSL_CERT_FILE": cloud.CAFile(), "OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL,
	}
	getenv := func(key string) string { return env[key] }
	c, err := config.FromKwargs([]byte(`{"vault_url":"`+troubleVault+`","tenant_id":"`+troubleTenant+`","client_id":"`+troubleApp+
		`","client_secret":"`+troubleSecret+`","list_interval":0}`), getenv)
	if err != nil {
		t.Fatal(err)
	}
	tracer, err := (&app{getenv: getenv}).openTracer(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	made, err := newAgent(c, agent.Config{}, tracer)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "airlock") // short, for sun_path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := socket.Listen(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- agent.NewDaemon(agent.DaemonConfig{Plan: agent.Alone(made), Tracer: tracer}).Serve(ctx, l)
	}()
	asking := askAgent(l.Path())
	for range 2 {
		if _, err := asking.Get(t.Context(), agentapi.Lookup{Kind: airflow.Variable, ID: "canary_id"}); err != nil {
			t.Error(err)
		}
	}
	asking.Close()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}

	mu.Lock()
	defer mu.Unlock()
	lookups, below := map[string]bool{}, map[string]int{}
	for _, s := range spans {
		lookups[s.SpanID] = s.Name == "lookup"
	}
	for _, s := range spans {
		if lookups[s.ParentSpanID] {
			below[s.Name]++
		}
	}
	if below["vault get"] != 2 || below["vault login"] == 0 { // the challenge, and the answer
		t.Errorf("%v", spans)
	}
}
