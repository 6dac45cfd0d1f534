// Package cache keeps what a slow source said: fresh for a while, asked once for all who wait, asked again ahead of time
// where it is in use, remembered also when the answer was "there is none", and for a bounded time served old while the
// source does not answer. It knows nothing of vaults: a source is a func, and what its errors mean is told by fault kinds.
//
// Times are compared by Go's monotonic clock, so that a wall clock that jumps changes nothing. That clock stands still
// while a machine is suspended.
package cache

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Fetch asks the source for one key. A fault of kind NotFound is an answer, and kept; Forbidden and Usage are answers
// too, and drop what was held; any other error says that the source did not answer.
type Fetch func(ctx context.Context, key string) (Answer, error)

// Answer is what a source has for a key.
type Answer struct {
	Value secret.Value
	// Updated is when the value last changed, and Asked when the source gave it, both by the source's own clock. Compare
	// needs them; without, it trusts no answer for longer than from one comparison to the next.
	Updated, Asked time.Time
}

// Options of a Cache. Zero durations mean that nothing is kept of that sort.
type Options struct {
	TTL         time.Duration // how long a value is fresh
	NegativeTTL time.Duration // how long "not found" is remembered
	MaxStale    time.Duration // how long since it was fetched an old value may be served while the source does not answer
	FetchTime   time.Duration // the longest that one fetch may take; 0 is no limit
	Patience    time.Duration // how long a fetch may take before callers get an old value that may be served; 0 is FetchTime
	Backoff     time.Duration // the longest that a key is not asked for after a failure; each further one doubles it
	MaxBackoff  time.Duration // the bound of the doubling
	MaxEntries  int           // the most keys that are held; 0 is no limit
}

// State says how a Get was answered.
type State int

// The states of an answer. Fetched is the zero value.
const (
	Fetched State = iota // the source was asked
	Fresh                // held, and young enough
	Stale                // held, and old: the source does not answer
)

// Result is an answer.
type Result struct {
	Value   secret.Value
	State   State
	Fetched time.Time // when the source said so
}

// Cache holds answers by key. Make one with New. It is safe for concurrent use.
type Cache struct {
	fetch   Fetch
	options Options
	random  func() float64 // at least 0, below 1

	mu     sync.RWMutex
	slots  map[string]*slot
	silent bool // the source did not answer when it was last asked, or not for long
}

// slot is what is known of one key. The cache's lock guards it.
type slot struct {
	held   *entry  // the last answer; nil: none
	failed failure // what came since then
	flight *flight // under way; nil: none
}

// entry is an answer of the source: a value, or the error that says there is none. It does not change.
type entry struct {
	Answer
	err     error
	fetched time.Time
	due     time.Time // from then on, a hit asks again ahead of time
	until   time.Time // from then on, it is old
}

func (e *entry) result(state State) Result {
	return Result{Value: e.Value, State: state, Fetched: e.fetched}
}

// New makes a Cache in front of fetch.
func New(fetch Fetch, options Options) *Cache {
	return &Cache{fetch: fetch, options: options, random: rand.Float64, slots: map[string]*slot{}}
}

// Get answers for a key. All who ask for one key at the same time share one fetch; a caller whose ctx ends stops
// waiting, and the fetch goes on for the others. An error is the source's own.
func (c *Cache) Get(ctx context.Context, key string) (Result, error) {
	now := time.Now()
	c.mu.RLock()
	s := c.slots[key]
	if s != nil && s.held != nil && now.Before(s.held.until) {
		held, due := s.held, s.due(now)
		c.mu.RUnlock()
		if due {
			c.join(ctx, key)
		}
		return held.result(Fresh), held.err
	}
	c.mu.RUnlock()
	f, result, err := c.join(ctx, key)
	if f == nil {
		return result, err
	}
	return c.wait(ctx, f)
}

// due tells whether a key should be asked for now, though what is held may still be fresh.
func (s *slot) due(now time.Time) bool {
	return s.flight == nil && !now.Before(s.failed.until) && (s.held == nil || !now.Before(s.held.due))
}

// servable tells whether an old answer may be given while the source does not answer.
func (c *Cache) servable(e *entry) bool {
	return e != nil && e.err == nil && time.Since(e.fetched) < c.options.MaxStale
}

// slot gives the place of a key, and makes it. The caller holds the lock.
func (c *Cache) slot(key string) *slot {
	s := c.slots[key]
	if s == nil {
		c.makeRoom()
		s = &slot{}
		c.slots[key] = s
	}
	return s
}

// makeRoom drops the oldest answer when the cache is full. The caller holds the lock. Key Vault teams hold some thousand
// names, and the bound is far above that, so a scan is cheap enough for what never happens.
func (c *Cache) makeRoom() {
	if c.options.MaxEntries <= 0 || len(c.slots) < c.options.MaxEntries {
		return
	}
	oldest, at, found := "", time.Time{}, false
	for key, s := range c.slots {
		if s.flight != nil {
			continue // somebody waits for it
		}
		var fetched time.Time // of a mere failure: it goes first
		if s.held != nil {
			fetched = s.held.fetched
		}
		if !found || fetched.Before(at) {
			oldest, at, found = key, fetched, true
		}
	}
	if found {
		delete(c.slots, oldest)
	}
}

// Drop forgets keys, all of them when none is named, and says how many answers were held. A fetch under way does not
// bring its answer back.
func (c *Cache) Drop(keys ...string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	dropped := 0
	forget := func(key string, s *slot) {
		if s.held != nil {
			dropped++
		}
		s.held = nil // for those who wait for a flight: if it fails, this is no answer any more
		delete(c.slots, key)
	}
	if len(keys) == 0 {
		for key, s := range c.slots {
			forget(key, s)
		}
	}
	for _, key := range keys {
		if s := c.slots[key]; s != nil {
			forget(key, s)
		}
	}
	return dropped
}

// Len is how many answers are held.
func (c *Cache) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	n := 0
	for _, s := range c.slots {
		if s.held != nil {
			n++
		}
	}
	return n
}

func canceled(ctx context.Context) error {
	kind := fault.Canceled
	if ctx.Err() == context.DeadlineExceeded {
		kind = fault.Unavailable
	}
	return fault.Wrap(kind, ctx.Err(), "gave up waiting for the vault")
}
