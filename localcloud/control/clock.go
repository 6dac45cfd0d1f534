package control

import (
	"sync"
	"time"
)

// Clock is the local cloud's clock: another clock, moved. Its methods are safe for concurrent use.
type Clock struct {
	base func() time.Time

	mu    sync.Mutex
	moved time.Duration
}

// NewClock returns a clock that goes with base.
func NewClock(base func() time.Time) *Clock { return &Clock{base: base} }

// Now is the time that the cloud goes by.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base().Add(c.moved)
}

// Set moves the clock to t, from where it goes on.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved = t.Sub(c.base())
}

// Advance moves the clock on by d, or back if d is negative.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved += d
}

// Reset puts the clock back to the one that it goes with.
func (c *Clock) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved = 0
}

// Moved is how far the clock was moved.
func (c *Clock) Moved() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moved
}
