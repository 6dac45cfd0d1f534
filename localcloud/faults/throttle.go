package faults

import (
	"errors"
	"net/http"
	"strings"
	"time"
)

// Throttle is a limit of requests with a token, by a sliding window. Requests that it refuses do not count. The zero
// value has no limit.
type Throttle struct {
	Window       time.Duration // the limits are for any such span of time
	Requests     int           // of each vault, other than Creates; 0: no limit
	Creates      int           // that set a secret, of each vault; 0: no limit
	Subscription int           // of all vaults together; 0: no limit
}

// KeyVaultLimits are those of the real service for the secrets of a vault of the standard tier.
// Source: https://learn.microsoft.com/azure/key-vault/general/service-limits
var KeyVaultLimits = Throttle{Window: 10 * time.Second, Requests: 4000, Creates: 300, Subscription: 5 * 4000}

func (t Throttle) check() error {
	switch {
	case t == Throttle{}:
		return nil
	case t.Window <= 0, t.Requests < 0, t.Creates < 0, t.Subscription < 0:
		return errors.New("throttle: the window must be above 0, and no limit below")
	}
	return nil
}

// limiter counts. It belongs to an Injector, whose lock it needs.
type limiter struct {
	limits  Throttle
	windows map[windowKey]*window
}

type windowKey struct {
	host   string // "": the subscription
	create bool
}

// window holds the times of the requests that were let through, oldest first.
type window struct{ times []time.Time }

// full says whether limit requests came within the span before now.
func (w *window) full(now time.Time, span time.Duration, limit int) bool {
	for len(w.times) > 0 && now.Sub(w.times[0]) >= span {
		w.times = w.times[1:]
	}
	return limit > 0 && len(w.times) >= limit
}

// withinLimits says whether the limits let a request to a vault through, and counts it if so.
func (i *Injector) withinLimits(host string, r *http.Request) (allowed bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	l := &i.limiter
	if l.limits.Window == 0 || r.Header.Get("Authorization") == "" {
		return true
	}
	now := i.Now()
	create := r.Method == http.MethodPut && strings.HasPrefix(strings.TrimLeft(r.URL.Path, "/"), "secrets/")
	limit := l.limits.Requests
	if create {
		limit = l.limits.Creates
	}
	own, all := l.window(windowKey{host, create}), l.window(windowKey{})
	if own.full(now, l.limits.Window, limit) || all.full(now, l.limits.Window, l.limits.Subscription) {
		return false
	}
	own.times, all.times = append(own.times, now), append(all.times, now)
	return true
}

func (l *limiter) window(key windowKey) *window {
	if l.windows == nil {
		l.windows = map[windowKey]*window{}
	}
	if l.windows[key] == nil {
		l.windows[key] = &window{}
	}
	return l.windows[key]
}
