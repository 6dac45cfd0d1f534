package cache

import (
	"testing"
	"testing/synctest"
	"time"
)

// list compares with what the source would list for "k", and tells how many changes were found.
func (s *source) list(c *Cache) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.Compare(func(key string) (time.Time, bool) { return s.moved, key == "k" && s.err == nil })
}

func TestChanges(t *testing.T) {
	for _, clock := range []time.Duration{0, 7 * time.Minute, -7 * time.Minute} { // whose clock is right is all the same
		synctest.Test(t, func(t *testing.T) {
			s := &source{clock: clock}
			s.say("one", nil)
			c := steady(s, calm)
			compare := func(changes int) {
				t.Helper()
				time.Sleep(30 * time.Second)
				if n := s.list(c); n != changes {
					t.Fatalf("%d changes, want %d", n, changes)
				}
			}
			time.Sleep(time.Hour)
			expect(t, c, s, "one", nil, Fetched, 1)
			compare(0)
			expect(t, c, s, "one", nil, Fresh, 1)

			s.say("two", nil)
			compare(1)
			expect(t, c, s, "two", nil, Fetched, 2)
			compare(0)
			expect(t, c, s, "two", nil, Fresh, 2) // 30 s after the change, nothing is unclear

			// A change is no reason to fail in an outage.
			s.say("three", nil)
			compare(1)
			s.say("three", unavailable)
			expect(t, c, s, "two", nil, Stale, 3)
			s.say("three", nil)
			compare(1)
			expect(t, c, s, "three", nil, Fetched, 4)

			// Deleted, or disabled: not one more time.
			s.say("", notFound)
			compare(1)
			expect(t, c, s, "", notFound, Fetched, 5)
			compare(0)
			expect(t, c, s, "", notFound, Fresh, 5)

			// Appeared.
			s.say("four", nil)
			compare(1)
			expect(t, c, s, "four", nil, Fetched, 6)
		})
	}
}

// TestTwoVersionsOfOneSecond: the list shows the same time for both, and the first is held.
func TestTwoVersionsOfOneSecond(t *testing.T) {
	for _, late := range []time.Duration{0, time.Millisecond, 900 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			s := &source{}
			c := steady(s, calm)
			s.say("one", nil)
			expect(t, c, s, "one", nil, Fetched, 1)
			time.Sleep(late)
			s.say("two", nil)
			expect(t, c, s, "one", nil, Fresh, 1)
			time.Sleep(30 * time.Second)
			s.list(c)
			expect(t, c, s, "two", nil, Fetched, 2)
			for range 5 { // and now it is settled
				time.Sleep(30 * time.Second)
				s.list(c)
				expect(t, c, s, "two", nil, Fresh, 2)
			}
		})
	}
}

// TestLateList: a list that shows what was before the value that is held costs a question and hides nothing.
func TestLateList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		c := steady(s, calm)
		s.say("one", nil)
		before := s.moved
		time.Sleep(time.Minute)
		s.say("two", nil)
		time.Sleep(time.Minute)
		expect(t, c, s, "two", nil, Fetched, 1)
		if n := c.Compare(func(string) (time.Time, bool) { return before, true }); n != 1 {
			t.Errorf("%d changes", n)
		}
		expect(t, c, s, "two", nil, Fetched, 2)
		s.list(c)
		expect(t, c, s, "two", nil, Fresh, 2)

		// A new secret that is not in the list yet.
		if n := c.Compare(func(string) (time.Time, bool) { return time.Time{}, false }); n != 1 {
			t.Errorf("%d changes", n)
		}
		expect(t, c, s, "two", nil, Fetched, 3)
	})
}

// TestChangeEndsBackoff: a list shows that the source is there.
func TestChangeEndsBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		c := steady(s, calm)
		s.say("one", nil)
		expect(t, c, s, "one", nil, Fetched, 1)
		time.Sleep(calm.TTL)
		s.say("one", unavailable)
		expect(t, c, s, "one", nil, Stale, 2)
		s.say("two", nil)
		s.list(c)
		expect(t, c, s, "two", nil, Fetched, 3)
	})
}

func TestExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "v"}
		c := steady(s, calm)
		expect(t, c, s, "v", nil, Fetched, 1)
		c.Expire()
		expect(t, c, s, "v", nil, Fetched, 2)
		c.Expire()
		s.say("", unavailable)
		expect(t, c, s, "v", nil, Stale, 3)
	})
}
