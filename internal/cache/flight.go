package cache

import (
	"context"
	"time"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// A hit asks again ahead of time in the last part of an answer's life. Where in it is drawn for each answer, so that what
// was fetched together is not refreshed together.
const (
	refreshFrom   = 0.75 // of its life, at the earliest
	refreshSpread = 0.2  // later than that, at most
)

// longestWait bounds what a source may ask for with Retry-After: a gateway's odd answer must not silence us for a day.
const longestWait = 10 * time.Minute

// flight is one question to the source. Once done is closed, the rest does not change.
type flight struct {
	slot  *slot
	begun time.Time
	done  chan struct{}
	got   *entry // nil: it failed, or was refused
	err   error  // why
}

// failure is what came of the last questions for a key: the source did not answer, or refused.
type failure struct {
	err     error
	until   time.Time     // nobody asks again before
	backoff time.Duration // that until was drawn from
}

// join gives the flight for a key, which is the one under way or a new one. Without a flight the answer is there already:
// a fresh one, or, since the last question failed not long ago, an old one or that failure.
func (c *Cache) join(ctx context.Context, key string) (*flight, Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, now := c.slot(key), time.Now()
	if s.due(now) {
		s.flight = &flight{slot: s, begun: now, done: make(chan struct{})}
		go c.fly(context.WithoutCancel(ctx), key, s.flight)
	}
	switch {
	case s.held != nil && now.Before(s.held.until): // it landed since the caller looked
		return nil, s.held.result(Fresh), s.held.err
	case s.flight != nil:
		return s.flight, Result{}, nil
	}
	if c.servable(s.held) {
		return nil, s.held.result(Stale), nil
	}
	return nil, Result{}, s.failed.err
}

// fly asks the source and keeps its answer. If the key was dropped in the meantime, the slot is in the cache no more, and the
// answer, which may be the very thing that was to be forgotten, goes with it.
func (c *Cache) fly(ctx context.Context, key string, f *flight) {
	if c.options.FetchTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.options.FetchTime)
		defer cancel()
	}
	answer, err := c.fetch(ctx, key)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(f.done)
	if err == nil || fault.Is(err, fault.NotFound) {
		f.got = c.entry(answer, err)
	}
	f.err = err
	f.slot.flight = nil
	c.silent = f.got == nil && !refused(err)
	switch {
	case f.got != nil:
		f.slot.held, f.slot.failed = f.got, failure{}
		return
	case refused(err):
		f.slot.held = nil // whoever took access away meant it
	}
	f.slot.failed = c.failed(f.slot.failed, err)
}

// wait waits for a flight. Where there is an old value, it is for so long only as the patience lasts, which is a tenth
// while the source is silent: a task that reads ten values in an outage must not wait ten times.
func (c *Cache) wait(ctx context.Context, f *flight) (Result, error) {
	var slow <-chan time.Time
	if c.options.Patience > 0 {
		timer := time.NewTimer(time.Until(f.begun.Add(c.patience())))
		defer timer.Stop()
		slow = timer.C
	}
	for {
		select {
		case <-ctx.Done():
			return Result{}, canceled(ctx)
		case <-slow:
			if old, ok := c.impatient(f); ok {
				return old, nil
			}
			slow = nil
		case <-f.done:
			if f.got != nil {
				return f.got.result(Fetched), f.got.err
			}
			if old, ok := c.old(f.slot); ok {
				return old, nil
			}
			return Result{}, f.err
		}
	}
}

func (c *Cache) patience() time.Duration {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.silent {
		return c.options.Patience / 10
	}
	return c.options.Patience
}

// impatient is the old answer of a key whose flight takes too long.
func (c *Cache) impatient(f *flight) (Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.slot.flight != f || !c.servable(f.slot.held) {
		return Result{}, false // it has just landed, or there is nothing to fall back on
	}
	c.silent = true
	return f.slot.held.result(Stale), true
}

// old is the old answer of a key, if it may be served.
func (c *Cache) old(s *slot) (Result, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.servable(s.held) {
		return Result{}, false
	}
	return s.held.result(Stale), true
}

func (c *Cache) entry(answer Answer, err error) *entry {
	life, now := c.options.TTL, time.Now()
	if err != nil {
		life = c.options.NegativeTTL
	}
	ahead := time.Duration(float64(life) * (refreshFrom + refreshSpread*c.random()))
	return &entry{Answer: answer, err: err, fetched: now, due: now.Add(ahead), until: now.Add(life)}
}

// failed adds one more failure to the last one. The wait is drawn from between half and all of the back-off time, so that
// keys, and agents, that failed together do not return together. After a first refusal there is none: whoever puts the
// matter right and tries again is to see it.
func (c *Cache) failed(last failure, err error) failure {
	backoff := max(c.options.Backoff, min(2*last.backoff, c.options.MaxBackoff))
	if last.err == nil && refused(err) {
		backoff = 0
	}
	wait := time.Duration(float64(backoff) * (0.5 + c.random()/2))
	wait = max(wait, min(fault.RetryAfter(err), longestWait))
	return failure{err: err, until: time.Now().Add(wait), backoff: backoff}
}

// refused tells whether an error is an answer of the source that leaves nothing to be served.
func refused(err error) bool {
	kind := fault.KindOf(err)
	return kind == fault.Forbidden || kind == fault.Usage
}
