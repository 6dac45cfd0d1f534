package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/cache"
	"github.com/airlock-secrets/airlock/internal/client"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/metrics"
	"github.com/airlock-secrets/airlock/internal/secret"
	"github.com/airlock-secrets/airlock/internal/socket"
)

const canary = "canary-value-51c0"

// vault is a vault in a map, which remembers what it was asked.
type vault struct {
	mu      sync.Mutex
	secrets map[string]string
	asked   []string
	err     error
}

func (v *vault) get(_ context.Context, name string) (cache.Answer, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, name)
	if v.err != nil {
		return cache.Answer{}, v.err
	}
	if value, ok := v.secrets[name]; ok {
		return cache.Answer{Value: secret.FromString(value)}, nil
	}
	return cache.Answer{}, fault.New(fault.NotFound, "the vault has no secret "+name)
}

func (v *vault) requests() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return strings.Join(v.asked, " ")
}

// running is an agent on a real socket, its log, and a client of it.
type running struct {
	*client.Client
	daemon *Daemon
	path   string
	log    *syncBuffer
	stop   func() error
}

func start(t testing.TB, v *vault, change func(*Config)) *running {
	t.Helper()
	return startDaemon(t, v, change, nil)
}

func startDaemon(t testing.TB, v *vault, change func(*Config), more func(*DaemonConfig), others ...net.Listener) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "airlock") // short, for sun_path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var log syncBuffer
	config := Config{
		Name:   "v",
		Naming: airflow.DefaultKwargs().Naming,
		Vault:  v.get,
		Cache:  cache.Options{TTL: time.Minute, NegativeTTL: time.Minute, MaxStale: time.Hour},
		Log:    textLog(&log),
	}
	if change != nil {
		change(&config)
	}
	l, err := socket.Listen(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	config.Metrics = metrics.New("0.1")
	whole := DaemonConfig{Plan: Alone(New(config)), Log: config.Log, Version: "0.1", Metrics: config.Metrics}
	if more != nil {
		more(&whole)
	}
	daemon := NewDaemon(whole)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- daemon.Serve(ctx, l, others...) }()
	r := &running{daemon: daemon, path: l.Path(), log: &log}
	r.Client = client.New(func(ctx context.Context) (net.Conn, error) { return socket.Dial(ctx, r.path) })
	r.stop = sync.OnceValue(func() error {
		cancel()
		r.Close()
		return <-done
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	})
	return r
}

// alone is a daemon in front of an empty vault.
func alone(config DaemonConfig) *Daemon {
	config.Plan = Alone(New(Config{Naming: airflow.DefaultKwargs().Naming, Vault: (&vault{}).get}))
	return NewDaemon(config)
}

// syncBuffer is a buffer that several goroutines write to.
type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func textLog(to io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func logTo(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func variable(id string) agentapi.Lookup { return agentapi.Lookup{Kind: airflow.Variable, ID: id} }

func TestLookup(t *testing.T) {
	v := &vault{secrets: map[string]string{
		"airflow-variables-hello":           "world <&> ü",
		"airflow-variables-empty":           "",
		"airflow-connections-team-a--my-db": "team://h",
		"airflow-connections-my-db":         "global://h",
		"airflow-config-sql-alchemy-conn":   "sqlite://",
	}}
	r := start(t, v, nil)
	for _, row := range []struct {
		lookup agentapi.Lookup
		value  string
		source agentapi.Source
	}{
		{variable("hello"), "world <&> ü", agentapi.FromVault},
		{variable("hello"), "world <&> ü", agentapi.FromCache},
		{variable("empty"), "", agentapi.FromVault},
		{agentapi.Lookup{Kind: airflow.Connection, ID: "my_db", Team: "team_a"}, "team://h", agentapi.FromVault},
		{agentapi.Lookup{Kind: airflow.Connection, ID: "my_db", Team: "team_b"}, "global://h", agentapi.FromVault},
		{agentapi.Lookup{Kind: airflow.Connection, ID: "my_db", Team: "team_b"}, "global://h", agentapi.FromCache},
		{agentapi.Lookup{Kind: airflow.Config, ID: "sql_alchemy_conn"}, "sqlite://", agentapi.FromVault},
	} {
		got, err := r.Get(t.Context(), row.lookup)
		if err != nil || string(got.Value.Reveal()) != row.value || got.Source != row.source || got.Age < 0 || got.Age > 60 {
			t.Errorf("%+v: %q from %s, age %v, %v", row.lookup, got.Value.Reveal(), got.Source, got.Age, err)
		}
	}
	want := "airflow-variables-hello airflow-variables-empty airflow-connections-team-a--my-db " +
		"airflow-connections-team-b--my-db airflow-connections-my-db airflow-config-sql-alchemy-conn"
	if got := v.requests(); got != want {
		t.Errorf("the vault was asked for %s\nwant %s", got, want)
	}
}

func TestErrorsReachTheCaller(t *testing.T) {
	v := &vault{}
	r := start(t, v, func(c *Config) { c.Naming.ConnectionsPrefix = airflow.Prefix{} })
	check := func(l agentapi.Lookup, kind fault.Kind, message string) {
		t.Helper()
		_, err := r.Get(t.Context(), l)
		if !fault.Is(err, kind) || !strings.Contains(err.Error(), message) {
			t.Errorf("%.50q: %v (%v), want %v: %s", l.ID, err, fault.KindOf(err), kind, message)
		}
	}
	check(variable("absent"), fault.NotFound, `variable "absent": the vault has no secret airflow-variables-absent`)
	check(variable("absent"), fault.NotFound, "absent")
	check(variable("my.app"), fault.Usage, "letters, digits and dashes")
	check(variable("../../etc/passwd"), fault.Usage, "letters, digits and dashes")
	check(variable(""), fault.NotFound, "")
	check(variable("a\x00b"), fault.Usage, "")
	check(variable(strings.Repeat("ü", 600)), fault.Usage, "longer than 1024 bytes")
	check(agentapi.Lookup{Kind: airflow.Connection, ID: "x"}, fault.NotFound, "prefix is null")
	if got := v.requests(); got != "airflow-variables-absent airflow-variables-" {
		t.Errorf("the vault was asked for %q", got)
	}

	v.mu.Lock()
	v.err = fault.New(fault.Forbidden, "no permission", "ask for it")
	v.mu.Unlock()
	_, err := r.Get(t.Context(), variable("x"))
	if !fault.Is(err, fault.Forbidden) || fault.HintsOf(err)[0] != "ask for it" {
		t.Errorf("%v, hints %q", err, fault.HintsOf(err))
	}
}

func TestRefreshAndStatus(t *testing.T) {
	v := &vault{secrets: map[string]string{"airflow-variables-hello": canary, "airflow-variables-b": canary}}
	r := start(t, v, func(c *Config) { c.VaultURL = "https://v" })
	for _, id := range []string{"hello", "hello", "b", "no", "bad id"} {
		_, _ = r.Get(t.Context(), variable(id))
	}
	if err := r.Refresh(t.Context(), agentapi.Lookup{Kind: airflow.Variable, ID: "hello"}); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Get(t.Context(), variable("hello")); err != nil || got.Source != agentapi.FromVault {
		t.Errorf("after a refresh: %s, %v", got.Source, err)
	}
	if err := r.Refresh(t.Context(), agentapi.Lookup{Kind: airflow.Variable, ID: "bad id"}); !fault.Is(err, fault.Usage) {
		t.Errorf("refresh of a bad id: %v", err)
	}
	s, err := r.Status(t.Context())
	if err != nil || s.PID != os.Getpid() || s.VaultURL != "https://v" || s.Lookups != 6 || s.VaultRequests != 4 || len(s.Entries) != 4 {
		t.Fatalf("%+v, %v", s, err)
	}
	want := agentapi.Entry{Kind: "variable", ID: "hello", Secret: "airflow-variables-hello", Vault: "v", Outcome: "found", Source: "vault", Lookups: 3, VaultRequests: 2}
	got := s.Entries[2]
	got.Age = 0
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if s.Entries[1].Outcome != "usage" || s.Entries[3].Outcome != "not_found" {
		t.Errorf("%+v", s.Entries)
	}
	r.stop()
	if all := fmt.Sprintf("%+v %s", s, r.log); strings.Contains(all, canary) || !strings.Contains(all, "asked the vault") {
		t.Errorf("status or log shows a value, or nothing: %s", all)
	}
}

// raw sends bytes as they are and returns the first line of the answer.
func raw(t *testing.T, path, bytes string) string {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, bytes); err != nil {
		return err.Error()
	}
	all, _ := io.ReadAll(conn)
	return string(all)
}

func TestBadRequests(t *testing.T) {
	r := start(t, &vault{}, nil)
	post := func(path, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	}
	for _, row := range []struct{ request, want string }{
		{"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "400 Bad Request"},
		{"GET /v1/pools/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "no such path"},
		{post("/v1/variables/x", ""), "this path takes GET"},
		{"GET /v1/lookup HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "this path takes POST"},
		{post("/v1/lookup", "{"), "not the JSON"},
		{post("/v1/lookup", `{"lookups": [], "more": 1}`), "not the JSON"},
		{post("/v1/lookup", `{"lookups": []} {}`), "not the JSON"},
		{post("/v1/lookup", `{"lookups": []}`), `{"results":[]}`},
		{post("/v1/lookup", `{"lookups": [`+strings.Repeat(`{},`, 300)+`{}]}`), "more than 256 lookups"},
		{post("/v1/lookup", `{"lookups": [`+strings.Repeat(" ", 70_000)), "more than 65536 bytes"},
		{post("/v1/refresh", `{"lookups": [{"kind": "pool", "id": "x"}]}`), "prefix is null"},
		{"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 40_000) + "\r\n\r\n", "431"},
		{"\x16\x03\x01 TLS?\r\n\r\n", "400"},
	} {
		if got := raw(t, r.path, row.request); !strings.Contains(got, row.want) {
			t.Errorf("%.60q is answered with %.300q, want %q", row.request, got, row.want)
		}
	}
	if err := r.Health(t.Context()); err != nil {
		t.Errorf("the agent is not well afterwards: %v", err)
	}
}

func TestBatch(t *testing.T) {
	r := start(t, &vault{secrets: map[string]string{"airflow-variables-a": "1"}}, nil)
	body := `{"lookups": [{"kind": "variable", "id": "a"}, {"kind": "variable", "id": "b"}]}`
	got := raw(t, r.path, fmt.Sprintf("POST /v1/lookup HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	if !strings.Contains(got, `{"results":[{"value":"1","source":"vault","age":`) || !strings.Contains(got, `{"error":{"kind":"not_found"`) {
		t.Errorf("batch: %s", got)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	a := alone(DaemonConfig{})
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/variables/x", nil)) // over no socket of ours
	if w.Code != http.StatusForbidden {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// listener is a socket that never sees a caller, for tests of the clock.
type listener struct {
	closed chan struct{}
	once   sync.Once
	gone   bool
}

func (l *listener) Accept() (net.Conn, error) { <-l.closed; return nil, net.ErrClosed }
func (l *listener) Close() error              { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr            { return &net.UnixAddr{} }
func (l *listener) Present() bool             { return !l.gone }
func (l *listener) Restore() error            { return errors.New("there is another one") }

func TestIdleExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		a := alone(DaemonConfig{IdleExit: 15 * time.Minute})
		go func() {
			time.Sleep(10 * time.Minute)
			a.used.begin()
			time.Sleep(20 * time.Minute) // a request in flight keeps the agent alive
			a.used.end()
		}()
		if err := a.Serve(t.Context(), &listener{closed: make(chan struct{})}); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took < 45*time.Minute || took > 45*time.Minute+2*lookEvery {
			t.Errorf("stopped after %v", took)
		}
	})
}

func TestStopsWithoutItsSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := alone(DaemonConfig{})
		if err := a.Serve(t.Context(), &listener{closed: make(chan struct{}), gone: true}); err != nil {
			t.Error(err)
		}
	})
}

// TestStopAnswersWhatIsInFlight: a stop lets a lookup that waits for the vault finish.
func TestStopAnswersWhatIsInFlight(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	r := start(t, &vault{}, func(c *Config) {
		c.Vault = func(context.Context, string) (cache.Answer, error) {
			close(asked)
			<-release
			return cache.Answer{Value: secret.FromString("late")}, nil
		}
	})
	got := make(chan error, 1)
	go func() {
		answer, err := r.Get(context.Background(), variable("x"))
		if err == nil && string(answer.Value.Reveal()) != "late" {
			err = fmt.Errorf("got %q", answer.Value.Reveal())
		}
		got <- err
	}()
	<-asked
	go func() { _ = r.stop() }()
	// The socket disappears first; then the answer may come.
	for {
		if _, err := os.Lstat(r.path); err != nil {
			break
		}
	}
	close(release)
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func FuzzServeHTTP(f *testing.F) {
	f.Add("GET", "/v1/variables/x?team=t", "")
	f.Add("POST", "/v1/lookup", `{"lookups":[{"kind":"variable","id":"x"}]}`)
	f.Fuzz(func(t *testing.T, method, target, body string) {
		request, err := http.NewRequest(method, "http://a", strings.NewReader(body))
		if err != nil {
			return
		}
		u, err := request.URL.Parse(target)
		if err != nil {
			return
		}
		request.URL = u
		request = request.WithContext(context.WithValue(request.Context(), callerKey{}, &caller{}))
		w := httptest.NewRecorder()
		alone(DaemonConfig{}).ServeHTTP(w, request)
		if w.Code < 200 || w.Code >= 500 {
			t.Errorf("%s %q: status %d", method, target, w.Code)
		}
	})
}

func FuzzAppendAnswer(f *testing.F) {
	for _, value := range []string{"", "world", `"\`, "<&>", "ü\u2028", "\x00\x7f", "\xff"} {
		f.Add(value, 1.25)
	}
	f.Fuzz(func(t *testing.T, value string, age float64) {
		var got, want agentapi.Answer
		if age < 0 || age > 1e9 || age != age {
			return
		}
		answer := found{value: secret.FromString(value), source: agentapi.FromCache, age: time.Duration(age * float64(time.Second))}
		raw, err := json.Marshal(answer.answer())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(json.Unmarshal(appendAnswer(nil, answer), &got), json.Unmarshal(raw, &want)); err != nil {
			t.Fatal(err)
		}
		if got.Value != want.Value || got.Source != want.Source || got.Age-want.Age > 0.001 || want.Age-got.Age > 0.001 {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// kept is a caller that keeps what it was given to write, and not a copy.
type kept struct {
	discard
	given *[]byte
	shown *string
}

func (k kept) Write(p []byte) (int, error) {
	*k.given, *k.shown = p, string(p)
	return len(p), nil
}

// TestAnswersAreCleared: the memory that an answer was written in holds nothing of it afterwards.
func TestAnswersAreCleared(t *testing.T) {
	for _, value := range []string{canary, canary + "\n", strings.Repeat(canary, 10_000), strings.Repeat("\n"+canary, 100)} {
		w := kept{discard{http.Header{}}, new([]byte), new(string)}
		give(w, found{value: secret.FromString(value), source: agentapi.FromCache})
		var answer agentapi.Answer
		if err := json.Unmarshal([]byte(*w.shown), &answer); err != nil || answer.Value != value {
			t.Fatalf("%v, or another value", err)
		}
		if len(bytes.Trim(*w.given, "\x00")) > 0 {
			t.Errorf("%d bytes: still there after the answer", len(value))
		}
	}
}

// TestMakesItsSocketAgain: who is connected goes on, and who comes finds it again.
func TestMakesItsSocketAgain(t *testing.T) {
	v := &vault{secrets: map[string]string{"airflow-variables-hello": canary}}
	r := start(t, v, nil)
	if _, err := r.Get(t.Context(), variable("hello")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(r.path)); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Get(t.Context(), variable("hello")); err != nil || got.Source != agentapi.FromCache {
		t.Errorf("over the kept connection: %s, %v", got.Source, err)
	}
	newcomer := client.New(func(ctx context.Context) (net.Conn, error) { return socket.Dial(ctx, r.path) })
	defer newcomer.Close()
	for deadline := time.Now().Add(30 * time.Second); newcomer.Health(t.Context()) != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the socket does not come back")
		}
	}
	if got, err := newcomer.Get(t.Context(), variable("hello")); err != nil || got.Source != agentapi.FromCache {
		t.Errorf("over the new socket: %s, %v", got.Source, err)
	}
	_ = r.stop()
	if _, err := os.Lstat(r.path); err == nil {
		t.Error("the new socket is left behind")
	}
}
