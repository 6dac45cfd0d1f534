package tracing

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// collector takes OTLP in JSON as strictly as a decoder can: no unknown field, no other type.
type collector struct {
	mu     sync.Mutex
	spans  map[string]received
	about  map[string]string
	wrong  []error
	header http.Header
}

type received struct {
	TraceID, SpanID, ParentSpanID, TraceState, Name string
	Flags                                           uint32
	Kind                                            int
	StartTimeUnixNano, EndTimeUnixNano              string
	Attributes                                      []attributeReceived
	Status                                          struct {
		Message string
		Code    int
	}
}

type attributeReceived struct {
	Key   string
	Value struct{ StringValue, IntValue *string }
}

func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var got struct {
		ResourceSpans []struct {
			Resource   struct{ Attributes []attributeReceived }
			ScopeSpans []struct {
				Scope struct{ Name string }
				Spans []received
			}
		}
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&got)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = r.Header
	if r.URL.Path != "/v1/traces" || r.Method != http.MethodPost {
		err = errors.Join(err, errors.New(r.Method+" "+r.URL.Path))
	}
	for _, rs := range got.ResourceSpans {
		for _, a := range rs.Resource.Attributes {
			c.about[a.Key] = *a.Value.StringValue
		}
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				err = errors.Join(err, s.check())
				c.spans[s.Name] = s
			}
		}
	}
	if err != nil {
		c.wrong = append(c.wrong, err)
	}
}

func (s received) check() error {
	trace, err := hex.DecodeString(s.TraceID)
	id, err2 := hex.DecodeString(s.SpanID)
	begin, err3 := strconv.ParseUint(s.StartTimeUnixNano, 10, 64)
	end, err4 := strconv.ParseUint(s.EndTimeUnixNano, 10, 64)
	if err := errors.Join(err, err2, err3, err4); err != nil {
		return err
	}
	if len(trace) != 16 || len(id) != 8 || begin == 0 || end < begin {
		return errors.New("a span that no collector takes: " + s.Name)
	}
	return nil
}

func (s received) attributes() string {
	var all []string
	for _, a := range s.Attributes {
		switch {
		case a.Value.IntValue != nil:
			all = append(all, a.Key+"="+*a.Value.IntValue)
		case a.Value.StringValue != nil:
			all = append(all, a.Key+"="+*a.Value.StringValue)
		}
	}
	return strings.Join(all, " ")
}

// TestSpansReachTheCollector: a lookup below its caller's span, and the vault's request below the lookup, without a name.
func TestSpansReachTheCollector(t *testing.T) {
	c := &collector{spans: map[string]received{}, about: map[string]string{}}
	server := httptest.NewServer(c)
	defer server.Close()
	config, err := FromEnvironment(env(map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20canary, x=y",
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	tracer, err := New(config, "1.2.3", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	vault := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }))
	defer vault.Close()
	client := &http.Client{Transport: tracer.Transport(func(*http.Request) string { return "get" }, http.DefaultTransport)}

	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx, done := tracer.Lookup(t.Context(), http.Header{"Traceparent": {parent}}, "variable")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, vault.URL+"/secrets/canary-name", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	done("stale", "found")
	vault.Close()
	if _, err := client.Get(vault.URL + "/secrets/canary-name"); err == nil {
		t.Fatal("nobody listens there")
	}
	_, done = tracer.Lookup(context.Background(), nil, "connection")
	done("", "unavailable")
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if err := errors.Join(c.wrong...); err != nil {
		t.Fatal(err)
	}
	if c.about["service.name"] != "airlock" || c.about["service.version"] != "1.2.3" || c.about["deployment.environment"] != "test" {
		t.Errorf("resource: %v", c.about)
	}
	if c.header.Get("Authorization") != "Bearer canary" || c.header.Get("X") != "y" || c.header.Get("Content-Type") != "application/json" {
		t.Errorf("header: %v", c.header)
	}
	// The last of each name: the failed lookup, and the request without an answer, each a trace of its own.
	lookup, read := c.spans["lookup"], c.spans["vault get"]
	if lookup.Kind != 2 || lookup.Status.Code != 2 || lookup.ParentSpanID != "" || lookup.attributes() != "airlock.kind=connection airlock.outcome=unavailable" {
		t.Errorf("lookup: %+v %s", lookup, lookup.attributes())
	}
	if read.Kind != 3 || read.Status.Message != "no answer" || strings.Contains(read.attributes(), "canary") {
		t.Errorf("request: %+v %s", read, read.attributes())
	}
}

func TestParents(t *testing.T) {
	var mu sync.Mutex
	var all []received
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		if bytes.Contains(raw, []byte("canary")) {
			t.Error("a name has left the agent")
		}
		var got message
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, s := range got.ResourceSpans[0].ScopeSpans[0].Spans {
			all = append(all, received{TraceID: s.TraceID, SpanID: s.SpanID, ParentSpanID: s.ParentSpanID, Name: s.Name})
		}
	}))
	defer server.Close()
	tracer, err := New(Config{Endpoint: server.URL}, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, done := tracer.Lookup(t.Context(), http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}, "variable")
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://v.example/secrets/canary", nil)
	next := roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	})
	if _, err := tracer.Transport(func(*http.Request) string { return "get" }, next).RoundTrip(request); err != nil {
		t.Fatal(err)
	}
	done("vault", "found")
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(all) != 2 || all[1].ParentSpanID != "b7ad6b7169203331" || all[0].ParentSpanID != all[1].SpanID ||
		all[0].TraceID != "0af7651916cd43dd8448eb211c80319c" || all[1].TraceID != all[0].TraceID {
		t.Errorf("%+v", all)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestDeadCollector: it costs one line in the log, and nobody waits.
func TestDeadCollector(t *testing.T) {
	var log bytes.Buffer
	tracer, err := New(Config{Endpoint: "http://127.0.0.1:1/v1/traces"}, "", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, done := tracer.Lookup(t.Context(), nil, "variable")
		done("cache", "found")
		if err := tracer.provider.ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "traces are lost"); n != 1 {
		t.Errorf("%d lines: %s", n, log.String())
	}
}

func env(of map[string]string) func(string) string {
	return func(name string) string { return of[name] }
}

func TestFromEnvironment(t *testing.T) {
	const base, traces = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	for name, row := range map[string]struct {
		env  map[string]string
		want string // the endpoint
		err  string // a part of it
	}{
		"nothing":            {nil, "", ""},
		"base":               {map[string]string{base: "https://c:4318/"}, "https://c:4318/v1/traces", ""},
		"own":                {map[string]string{base: "https://c", traces: "http://d/x"}, "http://d/x", ""},
		"exporter alone":     {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces", ""},
		"none":               {map[string]string{base: "https://c", "OTEL_TRACES_EXPORTER": "none"}, "", ""},
		"disabled":           {map[string]string{base: "https://c", "OTEL_SDK_DISABLED": "TRUE"}, "", ""},
		"unknown exporter":   {map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, "", "zipkin"},
		"gRPC":               {map[string]string{base: "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "", "grpc"},
		"protobuf over HTTP": {map[string]string{base: "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http://c/v1/traces", ""},
		"no URL":             {map[string]string{base: "c:4318"}, "", "endpoint"},
		"timeout":            {map[string]string{base: "http://c", "OTEL_EXPORTER_OTLP_TIMEOUT": "10s"}, "", "TIMEOUT"},
		"headers":            {map[string]string{base: "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "canary"}, "", "HEADERS"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := FromEnvironment(env(row.env))
			switch {
			case row.err == "" && (err != nil || got.Endpoint != row.want):
				t.Errorf("%q, %v", got.Endpoint, err)
			case row.err != "" && (!fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.err) || strings.Contains(err.Error(), "canary")):
				t.Errorf("%q, %v", got.Endpoint, err)
			}
		})
	}
}
