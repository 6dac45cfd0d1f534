package cache

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// calm are options as an agent has them.
var calm = Options{
	TTL: 5 * time.Minute, NegativeTTL: time.Minute, MaxStale: 12 * time.Hour, FetchTime: time.Minute,
	Patience: 2 * time.Second, Backoff: time.Second, MaxBackoff: 30 * time.Second,
}

// steady makes a cache that draws the middle of all that is left to chance: refreshes are due at 85 % of an answer's life,
// and three quarters of a back-off time are waited.
func steady(s *source, o Options) *Cache {
	c := New(s.fetch, o)
	c.random = func() float64 { return 0.5 }
	return c
}

const due = 255 * time.Second // 85 % of calm.TTL

func TestRefreshAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "one"}
		c := steady(s, calm)
		expect(t, c, s, "one", nil, Fetched, 1)
		s.say("two", nil)
		time.Sleep(due - time.Second)
		expect(t, c, s, "one", nil, Fresh, 1)
		time.Sleep(time.Second)
		expect(t, c, s, "one", nil, Fresh, 2) // answered at once, and asked behind it
		expect(t, c, s, "two", nil, Fresh, 2)

		// It goes on so, and nobody ever waits.
		for i := range 10 {
			time.Sleep(due)
			expect(t, c, s, "two", nil, Fresh, 3+i)
		}

		// A "not found" is asked for ahead of time as well.
		s.say("", notFound)
		time.Sleep(due)
		expect(t, c, s, "two", nil, Fresh, 13)
		s.say("born", nil)
		time.Sleep(51 * time.Second)
		expect(t, c, s, "", notFound, Fresh, 14)
		expect(t, c, s, "born", nil, Fresh, 14)
	})
}

func TestOneRefreshForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "v"}
		c := steady(s, calm)
		expect(t, c, s, "v", nil, Fetched, 1)
		s.slow(20 * time.Second)
		time.Sleep(due)
		for range 1000 {
			expect(t, c, s, "v", nil, Fresh, 2)
		}
		time.Sleep(20 * time.Second)
		expect(t, c, s, "v", nil, Fresh, 2)
	})
}

// TestRefreshesSpread: what was fetched together is refreshed at different times, all of them in the last quarter.
func TestRefreshesSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "v"}
		c := New(s.fetch, calm)
		const keys = 300
		get := func() {
			for i := range keys {
				if _, err := c.Get(t.Context(), fmt.Sprint(i)); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		get()
		time.Sleep(calm.TTL*3/4 - time.Nanosecond)
		get()
		if n := s.times(); n != keys {
			t.Errorf("%d questions before the last quarter", n-keys)
		}
		most := 0
		for before := keys; s.times() < 2*keys; before = s.times() {
			time.Sleep(calm.TTL / 100)
			get()
			most = max(most, s.times()-before)
		}
		if most > keys/5 {
			t.Errorf("%d of %d refreshes in a hundredth of the ttl", most, keys)
		}
	})
}

func TestFailedRefreshKeepsTheValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "v"}
		c := steady(s, calm)
		expect(t, c, s, "v", nil, Fetched, 1)
		s.say("", unavailable)
		time.Sleep(due)
		expect(t, c, s, "v", nil, Fresh, 2)
		expect(t, c, s, "v", nil, Fresh, 2) // it backs off
		time.Sleep(750 * time.Millisecond)
		expect(t, c, s, "v", nil, Fresh, 3)
		time.Sleep(1499 * time.Millisecond)
		expect(t, c, s, "v", nil, Fresh, 3) // for longer
		time.Sleep(time.Millisecond)
		expect(t, c, s, "v", nil, Fresh, 4)

		// A refusal behind an answer takes the value away.
		s.say("", forbidden)
		time.Sleep(3 * time.Second)
		expect(t, c, s, "v", nil, Fresh, 5)
		expect(t, c, s, "", forbidden, Fetched, 5)
	})
}

// TestFailureIsShared: a failed flight does not send everybody to the source, neither those who waited for it nor those
// who come soon after.
func TestFailureIsShared(t *testing.T) {
	for _, row := range []struct {
		name  string
		err   error
		waits []time.Duration // between questions
	}{
		{"no answer", unavailable, []time.Duration{750 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second, 6 * time.Second,
			12 * time.Second, 22500 * time.Millisecond, 22500 * time.Millisecond}},
		{"refusal", forbidden, []time.Duration{0, 750 * time.Millisecond, 1500 * time.Millisecond}},
		{"asks to wait", &fault.Error{Kind: fault.Unavailable, Msg: "throttled", RetryAfter: 40 * time.Second},
			[]time.Duration{40 * time.Second, 40 * time.Second}},
		{"asks for less than the back-off", &fault.Error{Kind: fault.Unavailable, RetryAfter: time.Millisecond},
			[]time.Duration{750 * time.Millisecond, 1500 * time.Millisecond}},
		{"asks for too much", &fault.Error{Kind: fault.Unavailable, RetryAfter: 24 * time.Hour},
			[]time.Duration{longestWait, longestWait}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &source{err: row.err, takes: time.Second}
				c := steady(s, calm)
				storm := func(asked int) {
					t.Helper()
					var wg sync.WaitGroup
					for range 100 {
						wg.Go(func() {
							if _, err := c.Get(t.Context(), "k"); err != row.err {
								t.Errorf("got %v", err)
							}
						})
					}
					wg.Wait()
					if n := s.times(); n != asked {
						t.Fatalf("asked %d times, want %d", n, asked)
					}
				}
				storm(1)
				for i, wait := range row.waits {
					if wait > 0 {
						time.Sleep(wait - time.Nanosecond)
						storm(1 + i)
						time.Sleep(time.Nanosecond)
					}
					storm(2 + i)
				}
				// What comes back to life is seen, and the next failure begins anew.
				s.say("v", nil)
				s.slow(0)
				time.Sleep(longestWait)
				expect(t, c, s, "v", nil, Fetched, 2+len(row.waits))
				s.say("", unavailable)
				time.Sleep(calm.TTL)
				expect(t, c, s, "v", nil, Stale, 3+len(row.waits))
				time.Sleep(750 * time.Millisecond)
				expect(t, c, s, "v", nil, Stale, 4+len(row.waits))
			})
		})
	}
}

func TestStaleWithoutAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "v"}
		c := steady(s, calm)
		expect(t, c, s, "v", nil, Fetched, 1)
		time.Sleep(calm.TTL)
		s.say("", unavailable)
		expect(t, c, s, "v", nil, Stale, 2)
		expect(t, c, s, "v", nil, Stale, 2)
		time.Sleep(750 * time.Millisecond)
		expect(t, c, s, "v", nil, Stale, 3)

		// A back-off does not prolong max_stale.
		time.Sleep(calm.MaxStale - calm.TTL - 2*time.Second)
		expect(t, c, s, "v", nil, Stale, 4)
		time.Sleep(1250 * time.Millisecond)
		expect(t, c, s, "", unavailable, Fetched, 4)
	})
}

// TestPatience: an old value is not held back while the source takes its time.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "one"}
		c := steady(s, calm)
		expect(t, c, s, "one", nil, Fetched, 1)
		if _, err := c.Get(t.Context(), "other"); err != nil {
			t.Fatal(err)
		}
		s.say("two", nil)
		s.slow(30 * time.Second)
		time.Sleep(calm.TTL)
		begun := time.Now()
		expect(t, c, s, "one", nil, Stale, 3)
		if took := time.Since(begun); took != calm.Patience {
			t.Errorf("it took %v", took)
		}
		// The others of this flight need not wait again, and those of another key hardly.
		begun = time.Now()
		expect(t, c, s, "one", nil, Stale, 3)
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v", took)
		}
		if other, err := c.Get(t.Context(), "other"); err != nil || other.State != Stale || time.Since(begun) != calm.Patience/10 {
			t.Errorf("state %d, %v after %v", other.State, err, time.Since(begun))
		}
		time.Sleep(30 * time.Second)
		expect(t, c, s, "two", nil, Fresh, 4)

		// The source is quick again, and so nobody gets an old value.
		s.slow(time.Second)
		time.Sleep(calm.TTL)
		expect(t, c, s, "two", nil, Fetched, 5)

		// Who has nothing to fall back on waits.
		begun = time.Now()
		s.slow(30 * time.Second)
		c.Drop()
		expect(t, c, s, "two", nil, Fetched, 6)
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestDropDuringRefresh: what was dropped is not served because the flight that was under way fails.
func TestDropDuringRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "v"}
		c := steady(s, calm)
		expect(t, c, s, "v", nil, Fetched, 1)
		time.Sleep(calm.TTL)
		s.say("", unavailable)
		s.slow(time.Second)
		got := make(chan error, 1)
		go func() {
			_, err := c.Get(context.Background(), "k")
			got <- err
		}()
		synctest.Wait()
		c.Drop("k")
		if err := <-got; err != unavailable {
			t.Errorf("got %v", err)
		}
	})
}

func TestRoomIsNotTakenFromFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "v", takes: time.Second}
		o := calm
		o.MaxEntries = 2
		c := New(s.fetch, o)
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() { _, _ = c.Get(t.Context(), fmt.Sprint(i%5)) })
		}
		wg.Wait()
		if n := s.times(); n != 5 {
			t.Errorf("asked %d times for 5 keys", n)
		}
		_, _ = c.Get(t.Context(), "one more")
		if n := c.Len(); n > 5 {
			t.Errorf("%d entries", n)
		}
	})
}
