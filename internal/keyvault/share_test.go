package keyvault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// TestShareHoldsInEveryWindow: whatever is asked, no ten seconds see more than the share of the vault's 4000 requests.
func TestShareHoldsInEveryWindow(t *testing.T) {
	for _, part := range []float64{1, 0.25, 0.01} {
		synctest.Test(t, func(t *testing.T) {
			s := newShare(part, 0)
			var mu sync.Mutex
			var let []time.Time
			var wg sync.WaitGroup
			ask := func() {
				if s.turn(t.Context(), s.requests) == nil {
					mu.Lock()
					defer mu.Unlock()
					let = append(let, time.Now())
				}
			}
			for range 25 { // seconds, in each of which five times what may flow in
				for range int(part * limitRequests / 4) {
					wg.Go(ask)
				}
				time.Sleep(time.Second)
			}
			wg.Wait()
			slices.SortFunc(let, time.Time.Compare)
			most, from := 0, 0
			for i, at := range let {
				for at.Sub(let[from]) >= limitWindow {
					from++
				}
				most = max(most, i-from+1)
			}
			limit := int(part * limitRequests)
			if most > limit || most < limit*9/10 {
				t.Errorf("share %v: %d requests in ten seconds, want nearly %d", part, most, limit)
			}
		})
	}
}

// TestCreatesHoldInEveryWindow: a long row of secrets stays below the 300 that a vault lets be set in ten seconds, and close.
func TestCreatesHoldInEveryWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(1, 0)
		var let []time.Time
		for range 2000 {
			if err := s.turn(t.Context(), s.creates); err != nil {
				t.Fatal(err)
			}
			let = append(let, time.Now())
		}
		most, from := 0, 0
		for i, at := range let {
			for at.Sub(let[from]) >= limitWindow {
				from++
			}
			most = max(most, i-from+1)
		}
		if most > limitCreates || most < limitCreates*9/10 {
			t.Errorf("%d secrets set in ten seconds, want nearly %d", most, limitCreates)
		}
	})
}

// instantly is a vault that answers at once.
type instantly struct{}

func (instantly) Do(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
}

// TestSharesByMethod: what sets a secret waits for the creates, and the rest does not.
func TestSharesByMethod(t *testing.T) {
	for method, want := range map[string]time.Duration{
		http.MethodPut:  (270 - createsAtOnce) * time.Second / DefaultCreates,
		http.MethodGet:  0,
		http.MethodPost: 0,
	} {
		synctest.Test(t, func(t *testing.T) {
			pipeline := runtime.NewPipeline("test", "0", runtime.PipelineOptions{PerRetry: []policy.Policy{newShare(0, 0)}},
				&policy.ClientOptions{Transport: instantly{}})
			begun := time.Now()
			for range 270 {
				req, err := runtime.NewRequest(t.Context(), method, "https://"+vaultHost+"/secrets/a")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := pipeline.Do(req); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(begun); (took - want).Abs() > time.Second {
				t.Errorf("270 times %s took %v, want %v", method, took, want)
			}
		})
	}
}

// TestTurnsAreFair: an id that is asked for all the time does not keep the others waiting.
func TestTurnsAreFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(0.01, 0) // 20 at once, then 2 in a second
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var greedy int
		var wg sync.WaitGroup
		wg.Go(func() {
			for s.turn(ctx, s.requests) == nil {
				greedy++
			}
		})
		synctest.Wait()
		for i := range 10 {
			wg.Go(func() {
				begun := time.Now()
				if err := s.turn(ctx, s.requests); err != nil || time.Since(begun) > 6*time.Second {
					t.Errorf("modest %d waited %v, %v", i, time.Since(begun), err)
				}
			})
		}
		time.Sleep(7 * time.Second)
		cancel()
		wg.Wait()
		if greedy < 20 || greedy > 26 {
			t.Errorf("the greedy one got %d turns", greedy)
		}
	})
}

func TestTurnTooFarOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(0.01, 0)
		refused := 0
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range 100 {
			wg.Go(func() {
				begun := time.Now()
				err := s.turn(t.Context(), s.requests)
				var held *heldBack
				if errors.As(err, &held) {
					if time.Since(begun) > 0 || held.wait < maxRetryDelay {
						t.Errorf("refused after %v for %v", time.Since(begun), held.wait)
					}
					mu.Lock()
					defer mu.Unlock()
					refused++
				}
			})
		}
		wg.Wait()
		if refused != 60 { // 20 at once and 20 in the ten seconds that are waited
			t.Errorf("%d refused", refused)
		}
		// A caller who goes away gives its turn back.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 50 {
			if err := s.turn(ctx, s.requests); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
	})
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(0, 0)
		s.pause(5 * time.Second)
		s.pause(time.Second) // a shorter one does not end it
		spread := map[time.Duration]bool{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		begun := time.Now()
		for range 50 {
			wg.Go(func() {
				if err := s.turn(t.Context(), s.requests); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				spread[time.Since(begun)] = true
			})
		}
		wg.Wait()
		for took := range spread {
			if took < 5*time.Second || took > 5*time.Second+pauseSpread {
				t.Errorf("waited %v", took)
			}
		}
		if len(spread) < 25 {
			t.Errorf("all return at the same time: %d times for 50", len(spread))
		}
	})
}

// TestPauseIsForAll: a vault that sends one caller away is not asked by the others either, and what the SDK sends by itself
// counts against the share.
func TestPauseIsForAll(t *testing.T) {
	f := newFake(t, &cloudFake{vault: func(w http.ResponseWriter, r *http.Request) {
		status, header := http.StatusServiceUnavailable, []string{}
		if strings.Contains(r.URL.Path, "/b") {
			status, header = http.StatusTooManyRequests, []string{"Retry-After", "30"}
		}
		refuse(status, "", header...)(w, r)
	}})
	c := open(t, f.config())
	get := func(name string) error {
		_, err := c.Get(t.Context(), name)
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
		return err
	}
	if err := get("a"); fault.RetryAfter(err) != 0 {
		t.Errorf("a wait that nobody asked for: %v", err)
	}
	if err := get("b"); fault.RetryAfter(err) != 30*time.Second {
		t.Errorf("asks to wait %v", fault.RetryAfter(err))
	}
	asked := f.count("!" + vaultHost)
	for i := range 20 {
		if wait := fault.RetryAfter(get(fmt.Sprint("c", i))); wait < 20*time.Second || wait > 30*time.Second {
			t.Errorf("asks to wait %v", wait)
		}
	}
	if n := f.count("!" + vaultHost); n != asked {
		t.Errorf("%d requests to a vault that asked to be left alone", n-asked)
	}
}

// TestSecretKnowsWhenItWasAsked: the time is the vault's, for times of the vault to be compared with.
func TestSecretKnowsWhenItWasAsked(t *testing.T) {
	date := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	keep := memory(map[string]string{"a": "value"})
	f := newFake(t, &cloudFake{vault: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", date.Format(http.TimeFormat))
		keep(w, r)
	}})
	got, err := open(t, f.config()).Get(t.Context(), "a")
	if err != nil || !got.Asked.Equal(date) || got.Updated.IsZero() {
		t.Errorf("asked %v, updated %v, %v", got.Asked, got.Updated, err)
	}
}
