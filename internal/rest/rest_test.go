package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/rest"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// ask makes one request to a service that answers with the statuses in turn, the last of them for ever, and returns the
// waits between the attempts.
func ask(t *testing.T, r rest.Request, after string, statuses ...int) (waits []time.Duration, err error) {
	t.Helper()
	attempt := 0
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer canary" || r.Header.Get("Accept") != "text/x" || r.URL.Path != "/v1/a" {
			t.Errorf("%s: %v", r.URL, r.Header)
		}
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(statuses[min(attempt, len(statuses)-1)])
		attempt++
		_, _ = io.Copy(w, r.Body)
	}))
	defer service.Close()
	c := rest.New(rest.Config{
		Base: service.URL + "/v1", Token: secret.FromString("canary"), Header: http.Header{"Accept": {"text/x"}},
		HTTPClient: service.Client(), MaxBody: 100, Attempts: 4, Name: "the service", NotJSON: "no JSON",
		Wait: func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil },
		Refused: func(r rest.Refusal) *fault.Error {
			if r.Status == 429 || r.Status >= 500 {
				return fault.New(fault.Unavailable, string(r.Body))
			}
			return fault.New(fault.Forbidden, string(r.Body))
		},
	})
	r.Path = "/a"
	err = c.Do(t.Context(), r)
	if len(waits) != attempt-1 {
		t.Errorf("%d attempts, waits %v", attempt, waits)
	}
	return waits, err
}

func TestDo(t *testing.T) {
	var got map[string]string
	waits, err := ask(t, rest.Request{Method: "PUT", Body: map[string]string{"a": "b"}, Into: &got}, "", 503, 429, 200)
	if err != nil || got["a"] != "b" || len(waits) != 2 {
		t.Errorf("%v %v %v", got, waits, err)
	}
	for i, longest := range []time.Duration{750 * time.Millisecond, 1500 * time.Millisecond} {
		if waits[i] < longest/3 || waits[i] > longest {
			t.Errorf("wait %d is %v", i, waits[i])
		}
	}
}

func TestFailures(t *testing.T) {
	var into json.RawMessage
	for _, row := range []struct {
		about    string
		request  rest.Request
		after    string
		statuses []int
		waits    int
		kind     fault.Kind
		limited  bool
	}{
		{"it never passes", rest.Request{Method: "GET"}, "", []int{500}, 3, fault.Unavailable, false},
		{"it asks for time", rest.Request{Method: "GET"}, "7", []int{429}, 3, fault.Unavailable, true},
		{"it asks for very long", rest.Request{Method: "GET"}, "31", []int{429}, 0, fault.Unavailable, true},
		{"a refusal", rest.Request{Method: "GET"}, "", []int{403}, 0, fault.Forbidden, false},
		{"what may have been done", rest.Request{Method: "POST", Again: rest.Limited}, "", []int{500}, 0, fault.Unavailable, false},
		{"what was not done", rest.Request{Method: "POST", Again: rest.Limited}, "", []int{429, 429, 500}, 2, fault.Unavailable, false},
		{"no JSON", rest.Request{Method: "GET", Into: &into}, "", []int{200}, 0, fault.Internal, false},
		{"too long", rest.Request{Method: "PUT", Body: strings.Repeat("x", 100), Into: &into}, "", []int{200}, 0, fault.Internal, false},
	} {
		waits, err := ask(t, row.request, row.after, row.statuses...)
		if !fault.Is(err, row.kind) || len(waits) != row.waits || rest.Limited(err) != row.limited {
			t.Errorf("%s: %v, waits %v, limited %v", row.about, err, waits, rest.Limited(err))
		}
		if row.after == "7" && (waits[0] != 7*time.Second || waits[2] != 7*time.Second) {
			t.Errorf("%s: waits %v", row.about, waits)
		}
	}
}

func TestUnreachable(t *testing.T) {
	service := httptest.NewServer(http.NotFoundHandler())
	service.Close()
	waits := 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := rest.Config{Base: service.URL, Attempts: 3, Name: "the service", Wait: func(context.Context, time.Duration) error { waits++; return nil }}
	err := rest.New(cfg).Do(ctx, rest.Request{Method: "GET", Path: "/canary"})
	if !fault.Is(err, fault.Unavailable) || !strings.HasPrefix(err.Error(), "the service cannot be reached: ") ||
		strings.Contains(err.Error(), "canary") || waits != 2 {
		t.Errorf("%v after %d waits", err, waits)
	}
	cfg.Wait = func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() }
	if err := rest.New(cfg).Do(ctx, rest.Request{Method: "GET"}); !fault.Is(err, fault.Canceled) || !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted while it waits: %v", err)
	}
	if err := rest.New(cfg).Do(ctx, rest.Request{Method: "GET"}); !fault.Is(err, fault.Canceled) {
		t.Errorf("interrupted while it asks: %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0": 0, "-1": 0, "90": 90 * time.Second, "soon": 0, "Mon, 02 Jan 2006 15:04:05 GMT": 0,
		"99999999999999999999": 0, "999999999999": 1e9 * time.Second,
	} {
		if got := rest.RetryAfter(http.Header{"Retry-After": {header}}); got != want {
			t.Errorf("RetryAfter(%q) = %v, want %v", header, got, want)
		}
	}
	in := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	if got := rest.RetryAfter(http.Header{"Retry-After": {in}}); got < 59*time.Minute || got > time.Hour {
		t.Errorf("RetryAfter of a date in an hour = %v", got)
	}
}
