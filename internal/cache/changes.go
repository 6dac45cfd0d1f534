package cache

import "time"

// settleTime is how long after a value's last change it must have been fetched for its time to tell it from every later
// one. Key Vault's times have whole seconds: two versions of one second look the same. The rest allows for the clocks of
// the service's own machines.
const settleTime = 3 * time.Second

// Compare takes in what the source lists now: the keys that it would give a value for, each with the time of its last
// change. What it lists no more is dropped, and so is a "not found" of what it does list. A value that has changed, or that
// was fetched too soon after its last change to tell, is asked for by the next Get; it is still there for an outage. It says
// for how many keys something changed.
//
// The list may be older than an answer that is held, and lag behind the source. That costs a question and no more: times
// are compared with what came with the answer, for being the same, and a change that one list hides is in the next.
func (c *Cache) Compare(listed func(key string) (updated time.Time, found bool)) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := 0
	for key, s := range c.slots {
		if s.held == nil {
			continue
		}
		updated, found := listed(key)
		switch has := s.held.err == nil; {
		case has != found:
			s.held, s.failed = nil, failure{}
			changed++
		case !has:
		case !updated.Equal(s.held.Updated):
			s.expire()
			s.failed = failure{} // the source is there: it has just listed
			changed++
		case s.held.Asked.Sub(updated) < settleTime:
			s.expire()
		}
	}
	return changed
}

// Expire makes every answer old, so that the next Get for each key asks.
func (c *Cache) Expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.slots {
		s.expire()
	}
}

func (s *slot) expire() {
	if s.held != nil {
		old := *s.held
		old.due, old.until = time.Time{}, time.Time{}
		s.held = &old
	}
}
