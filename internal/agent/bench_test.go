package agent

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/cache"
	"github.com/airlock-secrets/airlock/internal/socket"
)

// BenchmarkLookup is a cached lookup over a kept connection. The ratio to a bare handler is in `make bench`.
func BenchmarkLookup(b *testing.B) {
	v := &vault{secrets: map[string]string{"airflow-variables-hello": "world"}}
	l, err := socket.Listen(filepath.Join(b.TempDir(), "private", "s"))
	if err != nil {
		b.Fatal(err)
	}
	d := NewDaemon(DaemonConfig{Plan: Alone(New(Config{Naming: airflow.DefaultKwargs().Naming, Vault: v.get, Cache: cache.Options{TTL: time.Hour}}))})
	go func() { _ = d.Serve(b.Context(), l) }()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("unix", l.Path())
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		reader := bufio.NewReader(conn)
		for pb.Next() {
			if _, err := io.WriteString(conn, "GET /v1/variables/hello HTTP/1.1\r\nHost: airlock\r\n\r\n"); err != nil {
				b.Error(err)
			}
			response, err := http.ReadResponse(reader, nil)
			if err != nil || response.StatusCode != http.StatusOK {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
		}
	})
}

// BenchmarkHandler is the agent's own part of it: no socket and no net/http around.
func BenchmarkHandler(b *testing.B) {
	v := &vault{secrets: map[string]string{"airflow-variables-hello": "world"}}
	d := NewDaemon(DaemonConfig{Plan: Alone(New(Config{Naming: airflow.DefaultKwargs().Naming, Vault: v.get, Cache: cache.Options{TTL: time.Hour}}))})
	request := httptest.NewRequest(http.MethodGet, "/v1/variables/hello", nil)
	request = request.WithContext(context.WithValue(b.Context(), callerKey{}, ownUser()))
	w := discard{header: http.Header{}}
	for b.Loop() {
		d.ServeHTTP(w, request)
	}
}

// discard is a caller that reads nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
