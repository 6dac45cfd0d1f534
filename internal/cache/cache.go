// Package cache keeps what a slow source said: fresh for a while, asked once for all who wait, remembered also when the
// answer was "there is none", and for a bounded time served old while the source does not answer. It knows nothing of
// vaults: a source is a func, and what its errors mean is told by fault kinds.
package cache

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Fetch asks the source for one key. A fault of kind NotFound is an answer, and kept; Forbidden and Usage are answers
// too, and drop what was held; any other error says that the source did not answer.
type Fetch func(ctx context.Context, key string) (secret.Value, error)

// Options of a Cache. Zero durations mean that nothing is kept of that sort.
type Options struct {
	TTL         time.Duration // how long a value is fresh
	NegativeTTL time.Duration // how long "not found" is remembered
	MaxStale    time.Duration // how long since it was fetched an old value may be served while the source does not answer
	FetchTime   time.Duration // the longest that one fetch may take; 0 is no limit
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
	flights singleflight.Group

	mu      sync.RWMutex
	entries map[string]entry
	epoch   uint64 // counts what was dropped, so that a flight that began before a drop leaves nothing behind
}

// entry is one answer of the source: a value, or the error that says there is none.
type entry struct {
	value   secret.Value
	err     error
	fetched time.Time
}

// New makes a Cache in front of fetch.
func New(fetch Fetch, options Options) *Cache {
	return &Cache{fetch: fetch, options: options, entries: map[string]entry{}}
}

// Get answers for a key. All who ask for one key at the same time share one fetch; a caller whose ctx ends stops
// waiting, and the fetch goes on for the others. An error is the source's own.
func (c *Cache) Get(ctx context.Context, key string) (Result, error) {
	held, ok := c.held(key)
	if ok && c.fresh(held) {
		return Result{Value: held.value, State: Fresh, Fetched: held.fetched}, held.err
	}
	flight := c.flights.DoChan(key, func() (any, error) {
		return c.load(context.WithoutCancel(ctx), key), nil
	})
	select {
	case <-ctx.Done():
		return Result{}, canceled(ctx)
	case done := <-flight:
		got := done.Val.(entry)
		if got.err == nil || answered(got.err) {
			return Result{Value: got.value, Fetched: got.fetched}, got.err
		}
		if ok && held.err == nil && time.Since(held.fetched) < c.options.MaxStale {
			return Result{Value: held.value, State: Stale, Fetched: held.fetched}, nil
		}
		return Result{}, got.err
	}
}

// load fetches one key and keeps the answer, unless something was dropped in the meantime: then it may be what was
// meant, and the next Get asks again.
func (c *Cache) load(ctx context.Context, key string) entry {
	c.mu.RLock()
	held, ok := c.entries[key]
	epoch := c.epoch
	c.mu.RUnlock()
	if ok && c.fresh(held) {
		return held // another flight landed between the caller's look and this one's start
	}
	if c.options.FetchTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.options.FetchTime)
		defer cancel()
	}
	value, err := c.fetch(ctx, key)
	got := entry{value: value, err: err, fetched: time.Now()}
	if err != nil && !answered(err) {
		return got
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life(got) <= 0 && err != nil {
		delete(c.entries, key) // refused: whoever took access away meant it
		return got
	}
	if c.epoch == epoch {
		c.makeRoom(key)
		c.entries[key] = got
	}
	return got
}

// answered tells whether an error is the source's answer rather than its absence.
func answered(err error) bool {
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Forbidden, fault.Usage:
		return true
	}
	return false
}

// life is how long an answer is served without asking again.
func (c *Cache) life(e entry) time.Duration {
	switch {
	case e.err == nil:
		return c.options.TTL
	case fault.Is(e.err, fault.NotFound):
		return c.options.NegativeTTL
	}
	return 0
}

func (c *Cache) fresh(e entry) bool { return time.Since(e.fetched) < c.life(e) }

func (c *Cache) held(key string) (entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.entries[key]
	return e, ok
}

// makeRoom drops the oldest answer when the cache is full and the key is new. The caller holds the lock. Key Vault
// teams hold some thousand names, and the bound is far above that, so a scan is cheap enough for what never happens.
func (c *Cache) makeRoom(key string) {
	if _, known := c.entries[key]; known || c.options.MaxEntries <= 0 || len(c.entries) < c.options.MaxEntries {
		return
	}
	oldest, at := "", time.Time{}
	for k, e := range c.entries {
		if oldest == "" || e.fetched.Before(at) {
			oldest, at = k, e.fetched
		}
	}
	delete(c.entries, oldest)
}

// Drop forgets keys, all of them when none is named, and says how many were held. A fetch under way does not bring
// its answer back.
func (c *Cache) Drop(keys ...string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	before := len(c.entries)
	if len(keys) == 0 {
		for key := range c.entries {
			c.flights.Forget(key)
		}
		clear(c.entries)
		return before
	}
	for _, key := range keys {
		c.flights.Forget(key)
		delete(c.entries, key)
	}
	return before - len(c.entries)
}

// Len is how many answers are held.
func (c *Cache) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.entries)
}

func canceled(ctx context.Context) error {
	kind := fault.Canceled
	if ctx.Err() == context.DeadlineExceeded {
		kind = fault.Unavailable
	}
	return fault.Wrap(kind, ctx.Err(), "gave up waiting for the vault")
}
