package agent

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/audit"
	"github.com/airlock-secrets/airlock/internal/cache"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// shapes are the forms in which a text could be printed without anybody seeing it at first sight.
func shapes(text string) []string {
	all := []string{
		text, hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text))),
		fmt.Sprintf("% x", text), fmt.Sprintf("%#v", []byte(text)), strings.Trim(fmt.Sprint([]byte(text)), "[]"),
	}
	for shift := range 3 { // base64 looks different by the place in a group of three bytes
		whole := text[shift : shift+(len(text)-shift)/3*3]
		all = append(all, base64.StdEncoding.EncodeToString([]byte(whole)), base64.URLEncoding.EncodeToString([]byte(whole)))
	}
	return all
}

func TestShapes(t *testing.T) {
	for _, printed := range []string{
		canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("%d", []byte("a"+canary)),
		base64.StdEncoding.EncodeToString([]byte(canary)), base64.RawURLEncoding.EncodeToString([]byte(`{"x":"` + canary + `"}`)),
		base64.StdEncoding.EncodeToString([]byte("a" + canary)), base64.StdEncoding.EncodeToString([]byte("ab" + canary)),
	} {
		if !shows(printed) {
			t.Errorf("not found in %q", printed)
		}
	}
}

func shows(text string) bool {
	for _, shape := range shapes(canary) {
		if strings.Contains(text, shape) {
			return true
		}
	}
	return false
}

// TestNothingIsTold: an agent serves a secret in every way, also while things go wrong and its own parts panic with the
// secret in hand. Afterwards, nothing that it printed shows the secret.
func TestNothingIsTold(t *testing.T) {
	mode := make(chan string, 1)
	ask := func(ctx context.Context, name string) (cache.Answer, error) {
		now := <-mode
		mode <- now
		switch value := []byte(canary); {
		case now == "panic" && strings.HasSuffix(name, "text"):
			panic(canary)
		case now == "panic" && strings.HasSuffix(name, "error"):
			panic(errors.New(canary))
		case now == "panic":
			_ = value[len(value)+len(name)]
		case now == "away":
			return cache.Answer{}, fault.New(fault.Unavailable, "away")
		case now == "refused":
			return cache.Answer{}, fault.New(fault.Forbidden, "refused")
		}
		return cache.Answer{Value: secret.FromString(canary)}, nil
	}
	mode <- ""
	become := func(next string) { <-mode; mode <- next }
	var written syncBuffer
	r := startDaemon(t, &vault{}, func(c *Config) {
		c.Vault = ask
		c.Cache = cache.Options{TTL: time.Nanosecond, NegativeTTL: time.Nanosecond, MaxStale: time.Hour}
		c.List = func(context.Context) iter.Seq2[[]Listed, error] { panic(canary) }
		c.ListInterval = time.Millisecond
	}, func(c *DaemonConfig) { c.Plan.Guard.Audit = audit.New(&written) })
	var told strings.Builder // what callers are told, other than by a lookup that succeeds
	get := func(id, want string) {
		t.Helper()
		answer, err := r.Get(t.Context(), variable(id))
		got := string(answer.Value.Reveal())
		if want == canary && (err != nil || got != canary) || want != canary && fault.KindOf(err).String() != want {
			t.Errorf("%s: %v, want %s", id, err, want)
		}
		if err != nil {
			fmt.Fprintf(&told, "%+v %v\n", err, fault.HintsOf(err))
		}
	}
	post := func(path, body string) string {
		return raw(t, r.path, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body))
	}
	batch := `{"lookups":[{"kind":"variable","id":"a"},{"kind":"connection","id":"in-batch-text"}]}`

	get("a", canary)
	if got := post(agentapi.PathBatch, batch); !strings.Contains(got, canary) {
		t.Errorf("%.300s", got)
	}
	become("away")
	get("a", canary) // stale
	get("new", "unavailable")
	become("panic")
	get("a", canary) // stale: a mistake is no answer
	for _, id := range []string{"text", "error", "index"} {
		get(id, "internal")
	}
	told.WriteString(post(agentapi.PathBatch, `{"lookups":[{"kind":"variable","id":"error"}]}`))
	become("refused")
	get("a", "forbidden")
	told.WriteString(post(agentapi.PathRefresh, `{"lookups":[`+canary))
	become("")
	get("a", canary)

	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(r.log.String(), "list cannot be seen"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody looked at the list")
		}
	}
	status, err := r.Status(t.Context())
	if err != nil || status.Lookups < 10 {
		t.Errorf("%+v, %v", status, err)
	}
	fmt.Fprintf(&told, "%+v\n%s\n", status, metricsPage(t, r.path))
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	log := r.log.String()
	for _, want := range []string{"thrown=string", "thrown=*errors.errorString", "thrown=runtime.boundsError", "canary_test.go:", "vault did not give"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %s", want)
		}
	}
	told.WriteString(log)
	for _, outcome := range []string{"found", "unavailable", "internal", "forbidden"} {
		if !strings.Contains(written.String(), `"outcome":"`+outcome+`"`) {
			t.Errorf("the audit has no line with outcome %s", outcome)
		}
	}
	told.WriteString(written.String())
	for line := range strings.Lines(told.String()) {
		if shows(line) {
			t.Errorf("the secret is shown: %s", line)
		}
	}
}

// panicky is a caller's connection that makes the handler panic.
type panicky struct{ discard }

func (panicky) WriteHeader(status int) {
	if status == http.StatusOK {
		panic(canary)
	}
}

func TestPanicInTheHandler(t *testing.T) {
	var log syncBuffer
	d := alone(DaemonConfig{Log: logTo(&log)})
	request, err := http.NewRequestWithContext(context.WithValue(t.Context(), callerKey{}, ownUser()), http.MethodGet, agentapi.PathHealth, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.ServeHTTP(panicky{discard{header: http.Header{}}}, request)
	if text := log.String(); !strings.Contains(text, "made a mistake") || shows(text) {
		t.Errorf("%s", text)
	}
	if d.used.active.Load() != 0 {
		t.Error("the request counts as being answered for ever")
	}
}
