package agent

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/fault"
)

// List walks over the secrets that a vault would give, page by page; each page is a request. An error ends the walk.
type List func(ctx context.Context) iter.Seq2[[]Listed, error]

// Listed is a secret in the list.
type Listed struct {
	Name    string
	Updated time.Time // when it last changed
}

// What looking at the list may cost. Every page is a request to a vault that others need, too, and that Azure bills.
const (
	idleAfter = 10 * time.Minute       // without a lookup, nobody looks at the list
	pagePace  = 250 * time.Millisecond // for each page, on average: a large vault is looked at less often
	maxPages  = 400                    // of 25 names: as many as an agent holds
	rarely    = 30 * time.Minute       // between two tries where the list is refused, or too long
	listTime  = 5 * time.Minute        // for the whole list
)

// changes is what came of looking at the list.
type changes struct {
	mu      sync.Mutex
	listed  time.Time // the last look that showed everything
	seen    int64
	problem string // of the last look
}

func (c *changes) status(interval time.Duration) agentapi.Changes {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := agentapi.Changes{Interval: interval.Seconds(), Seen: c.seen, Problem: c.problem}
	if at := c.listed; !at.IsZero() {
		s.Listed = &at
	}
	return s
}

// watch looks at the vault's list from time to time and has the cache drop what it shows to be changed, until ctx ends.
// The times are drawn, so that agents that start together do not look together.
func (a *Agent) watch(ctx context.Context) {
	w := watcher{Agent: a, used: time.Now()}
	for wait := rand.N(a.config.ListInterval); sleep(ctx, wait); {
		wait = w.look(ctx)
		wait -= rand.N(wait/5 + 1)
	}
}

// watcher is an agent that watches.
type watcher struct {
	*Agent
	lookups int64     // at the last look
	used    time.Time // when they were last found to have grown
}

// look looks at the list once, if need be, and says how long to wait at most until the next time.
func (w *watcher) look(ctx context.Context) time.Duration {
	if n := w.Agent.lookups.Load(); n != w.lookups {
		w.lookups, w.used = n, time.Now()
	}
	if time.Since(w.used) >= idleAfter {
		w.cache.Expire() // nobody vouches for it any more: whoever comes back asks the vault
		return w.config.ListInterval
	}
	if w.cache.Len() == 0 {
		return w.config.ListInterval
	}
	listed, pages, err := w.list(ctx)
	if ctx.Err() != nil {
		return w.config.ListInterval
	}
	n := 0
	if err == nil {
		n = w.cache.Compare(func(key string) (time.Time, bool) {
			updated, found := listed[key]
			return updated, found
		})
		w.log.Debug("looked at the vault's list", "secrets", len(listed), "pages", pages, "changed", n)
	}
	w.tell(n, err)
	switch {
	case fault.Is(err, fault.Forbidden), fault.Is(err, fault.Usage):
		return max(rarely, w.config.ListInterval)
	case err != nil:
		return max(fault.RetryAfter(err), w.config.ListInterval)
	}
	return max(time.Duration(pages)*pagePace, w.config.ListInterval)
}

// list reads the whole list: what the vault has, by folded name.
func (a *Agent) list(ctx context.Context) (listed map[string]time.Time, pages int, err error) {
	defer func() { err = caught(a.log, recover(), err) }()
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	listed = map[string]time.Time{}
	for page, err := range a.config.List(ctx) {
		a.pages.Add(1)
		if err != nil {
			return nil, pages, err
		}
		if pages++; pages > maxPages {
			return nil, pages, fault.New(fault.Usage, fmt.Sprintf("the vault has more than %d pages of secrets", maxPages))
		}
		for _, l := range page {
			listed[fold(l.Name)] = l.Updated
		}
	}
	return listed, pages, nil
}

// tell keeps what came of a look, and writes it down when it is news.
func (a *Agent) tell(changed int, err error) {
	c := &a.changes
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.problem
	c.problem = ""
	if err == nil {
		c.listed = time.Now()
		c.seen += int64(changed)
	} else {
		c.problem = err.Error()
	}
	switch {
	case c.problem == before:
	case err != nil:
		a.log.Warn("the vault's list cannot be seen: until it can, changes are seen by cache_ttl alone",
			"kind", fault.KindOf(err).String(), "reason", fault.Detail(err), "hints", fault.HintsOf(err))
	default:
		a.log.Info("the vault's list can be seen again")
	}
}

// sleep waits, and tells whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
