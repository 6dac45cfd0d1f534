package faults

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, row := range []struct {
		line string
		want Fault
		err  string
	}{
		{"status=503", Fault{Status: 503}, ""},
		{"  rate=0.05\tstatus=429 retry-after=2s service=keyvault ", Fault{Service: "keyvault", Rate: 0.05, Status: 429, RetryAfter: 2 * time.Second}, ""},
		{"host=a.vault.azure.net method=GET path=/secrets/ times=3 latency=250ms jitter=1s drop=true", Fault{Host: "a.vault.azure.net", Method: "GET",
			Path: "/secrets/", Times: 3, Latency: 250 * time.Millisecond, Jitter: time.Second, Drop: true}, ""},
		{"truncate=true", Fault{Truncate: true}, ""},
		{"", Fault{}, "nothing happens"},
		{"rate=0.5", Fault{}, "nothing happens"},
		{"slow=2s", Fault{}, `no key is called "slow"; there are service, host,`},
		{"status=200", Fault{}, `status="200": want a status from 400 to 599`},
		{"status=503 status=503", Fault{}, "status is given twice"},
		{"status=503 rate=2", Fault{}, `rate="2": want a share`},
		{"status=503 rate=NaN", Fault{}, "want a share"},
		{"status=503 times=0", Fault{}, "times"},
		{"latency=2", Fault{}, `latency="2": want a time such as 250ms`},
		{"latency=1h", Fault{}, "up to 4m0s"},
		{"service=vault drop=true", Fault{}, "one of keyvault, entra, identity"},
		{"drop=yes", Fault{}, `drop="yes": want true`},
		{"drop=true truncate=true", Fault{}, "only one of"},
		{"drop=true status=503", Fault{}, "only one of"},
		{"drop=true retry-after=2s", Fault{}, "retry-after needs a status"},
		{"status=429 retry-after=1500ms", Fault{}, "want whole seconds"},
		{"status", Fault{}, `status=""`},
	} {
		got, err := Parse(row.line)
		if row.err != "" {
			if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), row.err) {
				t.Errorf("%q: %v, want %s", row.line, err, row.err)
			}
			continue
		}
		if err != nil || got != row.want {
			t.Errorf("%q: %+v, %v", row.line, got, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%q: written as %q, read as %+v, %v", row.line, got, again, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("service=keyvault host=a method=GET path=/x rate=0.5 times=1 latency=1s jitter=1ms status=429 retry-after=2s")
	f.Add("drop=true rate=1e-9")
	f.Add("truncate=true path=/%00")
	f.Fuzz(func(t *testing.T, line string) {
		fault, err := Parse(line)
		if err != nil {
			return
		}
		if again, err := Parse(fault.String()); err != nil || again != fault {
			t.Errorf("%q is read as %+v, written as %q, and then read as %+v, %v", line, fault, fault, again, err)
		}
	})
}

// clock is a clock that stands still.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func injector(t *testing.T, at *clock, p Plan) http.Handler {
	t.Helper()
	i := &Injector{Now: at.Now, Refuse: func(_ string, w http.ResponseWriter, _ *http.Request, status int) { w.WriteHeader(status) }}
	if err := i.Set(p); err != nil {
		t.Fatal(err)
	}
	return i.Wrap("keyvault", "a.vault.azure.net", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("whole"))
	}))
}

// statuses sends n requests and writes the answers down; 0 stands for a connection that was closed.
func statuses(h http.Handler, n int, method, path string) string {
	var all []string
	for range n {
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Authorization", "Bearer x")
		w := httptest.NewRecorder()
		func() {
			defer func() {
				if recover() != nil {
					w.Code = 0
				}
			}()
			h.ServeHTTP(w, r)
		}()
		all = append(all, fmt.Sprint(w.Code))
	}
	return strings.Join(all, " ")
}

func TestSeedRepeats(t *testing.T) {
	plan := Plan{Seed: 7, Rules: []Fault{{Status: 503, Rate: 0.5}, {Drop: true, Rate: 0.2}}}
	first, second := injector(t, &clock{}, plan), injector(t, &clock{}, plan)
	once := statuses(first, 100, "GET", "/")
	if twice := statuses(second, 100, "GET", "/"); once != twice {
		t.Errorf("one seed, two runs:\n%s\n%s", once, twice)
	}
	for _, want := range []string{"200", "503", "0 "} {
		if !strings.Contains(once, want) {
			t.Errorf("no %s in %s", want, once)
		}
	}
	plan.Seed = 8
	if other := statuses(injector(t, &clock{}, plan), 100, "GET", "/"); other == once {
		t.Error("another seed makes the same run")
	}
	i := &Injector{}
	if err := i.Set(Plan{}); err != nil || i.Plan().Seed == 0 {
		t.Errorf("no seed was chosen: %v", err)
	}
}

func TestFaults(t *testing.T) {
	for _, row := range []struct{ fault, method, path, want string }{
		{"status=503 times=2", "GET", "/", "503 503 200"},
		{"status=503 method=PUT", "GET", "/", "200 200 200"},
		{"status=503 path=/secrets", "GET", "/secrets/a", "503 503 503"},
		{"status=503 path=/secrets", "GET", "/deleted", "200 200 200"},
		{"status=503 service=entra", "GET", "/", "200 200 200"},
		{"status=503 host=b.vault.azure.net", "GET", "/", "200 200 200"},
		{"drop=true times=1", "GET", "/", "0 200 200"},
		{"latency=1ms jitter=1ms", "GET", "/", "200 200 200"},
	} {
		fault, err := Parse(row.fault)
		if err != nil {
			t.Fatal(err)
		}
		if got := statuses(injector(t, &clock{}, Plan{Rules: []Fault{fault}}), 3, row.method, row.path); got != row.want {
			t.Errorf("%s: %s, want %s", row.fault, got, row.want)
		}
	}
}

func TestThrottle(t *testing.T) {
	at := &clock{now: time.Unix(1000, 0)}
	h := injector(t, at, Plan{Throttle: Throttle{Window: 10 * time.Second, Requests: 3, Creates: 2, Subscription: 6}})
	step := func(n int, method, path, want string) {
		t.Helper()
		if got := statuses(h, n, method, path); got != want {
			t.Errorf("%s %s: %s, want %s", method, path, got, want)
		}
	}
	step(4, "GET", "/secrets/a", "200 200 200 429")
	step(3, "PUT", "//secrets/a", "200 200 429") // counted apart
	at.now = at.now.Add(9 * time.Second)
	step(1, "GET", "/secrets", "429")
	at.now = at.now.Add(time.Second) // refused requests did not count, so the window is empty now
	step(3, "GET", "/secrets", "200 200 200")
	at.now = at.now.Add(5 * time.Second)
	step(2, "PUT", "/secrets/a", "200 200")
	at.now = at.now.Add(5 * time.Second)
	step(4, "GET", "/secrets", "200 200 200 429")
}

func TestThrottleOfTheSubscription(t *testing.T) {
	h := injector(t, &clock{}, Plan{Throttle: Throttle{Window: time.Second, Subscription: 2}})
	if got := statuses(h, 3, "GET", "/"); got != "200 200 429" {
		t.Errorf("got %s", got)
	}
	r := httptest.NewRequest("GET", "/", nil) // without a token: the challenge is free
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("status %d", w.Code)
	}
}

func TestBadPlanLeavesTheOneBefore(t *testing.T) {
	i := &Injector{}
	if err := i.Set(Plan{Seed: 3}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []Plan{{Rules: []Fault{{}}}, {Rules: []Fault{{Status: 200}}}, {Throttle: Throttle{Requests: 1}}} {
		if err := i.Set(p); err == nil {
			t.Errorf("%+v was taken", p)
		}
	}
	if i.Plan().Seed != 3 {
		t.Error("a bad plan replaced the one in force")
	}
}
