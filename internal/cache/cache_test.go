package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// source is a source whose answer a test changes. It counts how often it was asked.
type source struct {
	mu    sync.Mutex
	value string
	err   error
	takes time.Duration
	clock time.Duration // how far the source's clock is from ours
	moved time.Time     // when its answer was last changed, by its clock, in whole seconds
	asked int
}

func (s *source) fetch(ctx context.Context, _ string) (Answer, error) {
	s.mu.Lock()
	s.asked++
	value, err, takes := s.value, s.err, s.takes
	moved, asked := s.moved, s.now()
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return Answer{}, fault.Wrap(fault.Unavailable, ctx.Err(), "the vault is slow")
	}
	return Answer{Value: secret.FromString(value), Updated: moved, Asked: asked}, err
}

func (s *source) say(value string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value, s.err, s.moved = value, err, s.now()
}

func (s *source) now() time.Time { return time.Now().Add(s.clock).Truncate(time.Second) }

func (s *source) slow(takes time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes = takes
}

func (s *source) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

var (
	notFound    = fault.New(fault.NotFound, "no such secret")
	forbidden   = fault.New(fault.Forbidden, "no permission")
	unavailable = fault.New(fault.Unavailable, "the vault does not answer")
)

var options = Options{
	TTL: 5 * time.Minute, NegativeTTL: time.Minute, MaxStale: 12 * time.Hour, FetchTime: 30 * time.Second, MaxEntries: 3,
}

// expect gets "k" and compares: value or error, state, and how often the source was asked so far.
func expect(t *testing.T, c *Cache, s *source, value string, wantErr error, state State, asked int) {
	t.Helper()
	got, err := c.Get(t.Context(), "k")
	synctest.Wait() // for what goes on behind the answer
	if n := s.times(); !errors.Is(err, wantErr) || string(got.Value.Reveal()) != value || got.State != state || n != asked {
		t.Fatalf("Get = %q, state %d, %v, asked %d times; want %q, state %d, %v, %d times",
			got.Value.Reveal(), got.State, err, n, value, state, wantErr, asked)
	}
}

func TestFreshness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "one"}
		c := New(s.fetch, options)
		expect(t, c, s, "one", nil, Fetched, 1)
		s.say("two", nil)
		time.Sleep(options.TTL / 2)
		expect(t, c, s, "one", nil, Fresh, 1)
		time.Sleep(options.TTL / 2)
		expect(t, c, s, "two", nil, Fetched, 2)

		// The vault goes away: the old value is served, marked, until max_stale, though it is asked each time.
		s.say("", unavailable)
		time.Sleep(options.TTL)
		expect(t, c, s, "two", nil, Stale, 3)
		time.Sleep(options.MaxStale - options.TTL - time.Second)
		expect(t, c, s, "two", nil, Stale, 4)
		time.Sleep(time.Second)
		expect(t, c, s, "", unavailable, Fetched, 5)

		// It comes back.
		s.say("three", nil)
		expect(t, c, s, "three", nil, Fetched, 6)

		// Access is taken away: refused at once, and the old value does not return with a later outage.
		s.say("", forbidden)
		time.Sleep(options.TTL)
		expect(t, c, s, "", forbidden, Fetched, 7)
		s.say("", unavailable)
		expect(t, c, s, "", unavailable, Fetched, 8)
	})
}

func TestNegativeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{err: notFound}
		c := New(s.fetch, options)
		expect(t, c, s, "", notFound, Fetched, 1)
		expect(t, c, s, "", notFound, Fresh, 1)
		s.say("born", nil)
		time.Sleep(options.NegativeTTL)
		expect(t, c, s, "born", nil, Fetched, 2)

		// A deletion drops the value for good, and a remembered "not found" is not served during an outage.
		s.say("", notFound)
		time.Sleep(options.TTL)
		expect(t, c, s, "", notFound, Fetched, 3)
		s.say("", unavailable)
		time.Sleep(options.NegativeTTL)
		expect(t, c, s, "", unavailable, Fetched, 4)
	})
}

func TestOneFlightForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "v", takes: time.Second}
		c := New(s.fetch, options)
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { // the first, who leads the flight, leaves it
			if _, err := c.Get(impatient, "k"); !fault.Is(err, fault.Unavailable) {
				t.Errorf("the impatient caller got %v", err)
			}
		})
		synctest.Wait()
		for range 500 {
			wg.Go(func() {
				if got, err := c.Get(t.Context(), "k"); err != nil || string(got.Value.Reveal()) != "v" {
					t.Errorf("a waiter got %v", err)
				}
			})
		}
		wg.Wait()
		if s.asked != 1 {
			t.Errorf("the source was asked %d times", s.asked)
		}
	})
}

func TestFetchTimeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "v", takes: time.Hour}
		c := New(s.fetch, options)
		start := time.Now()
		if _, err := c.Get(t.Context(), "k"); !fault.Is(err, fault.Unavailable) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != options.FetchTime {
			t.Errorf("gave up after %v", took)
		}
	})
}

// TestDropDuringFlight: what a fetch brings that began before a drop may be the very thing that was to be forgotten.
func TestDropDuringFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "old", takes: time.Second}
		c := New(s.fetch, options)
		go func() { _, _ = c.Get(context.Background(), "k") }()
		synctest.Wait()
		s.say("new", nil)
		c.Drop("k")
		expect(t, c, s, "new", nil, Fetched, 2)
		time.Sleep(time.Second)
		expect(t, c, s, "new", nil, Fresh, 2)
	})
}

func TestDropAndRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "v"}
		c := New(s.fetch, options)
		for i := range 10 {
			if _, err := c.Get(t.Context(), fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if c.Len() != options.MaxEntries {
			t.Errorf("%d entries are held, the bound is %d", c.Len(), options.MaxEntries)
		}
		if n := c.Drop("9", "never"); n != 1 {
			t.Errorf("dropped %d", n)
		}
		if n := c.Drop(); n != 2 || c.Len() != 0 {
			t.Errorf("dropped %d, %d left", n, c.Len())
		}
	})
}
