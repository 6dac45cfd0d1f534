package keyvault

import (
	"maps"
	"sync"
	"time"

	"github.com/airlock-secrets/airlock/localcloud/store"
)

// Visibility says how long changes take to be seen, which in Azure is some seconds. The zero value makes each visible
// at once.
type Visibility struct {
	Deleted   time.Duration // until a deleted secret is found among the deleted ones, and can be recovered or purged
	Recovered time.Duration // until a recovered secret can be read
	Purged    time.Duration // until a purged name can be set or restored

	Permissions time.Duration // until the changed permissions of a vault are in force
}

// SetVisibility says how long the changes from now on take to be seen.
func (s *Service) SetVisibility(v Visibility) { s.visibility.set(v) }

// Visibility is what SetVisibility set.
func (s *Service) Visibility() Visibility {
	s.visibility.mu.Lock()
	defer s.visibility.mu.Unlock()
	return s.visibility.delays
}

type change int

const (
	beingDeleted change = iota
	beingRecovered
	beingPurged
)

// visibility knows the changes that are not seen yet. It forgets them when the process ends, which shows them.
type visibility struct {
	mu      sync.Mutex
	delays  Visibility
	changes map[changeKey]pending
}

const maxPending = 1024 // above which changes that can be seen are forgotten

type changeKey struct{ vault, name string }

type pending struct {
	change change
	until  time.Time
}

func (v *visibility) set(delays Visibility) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.delays = delays
}

// begin notes that a change was made to the secret of a request.
func (v *visibility) begin(c *call, what change) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delay := map[change]time.Duration{
		beingDeleted: v.delays.Deleted, beingRecovered: v.delays.Recovered, beingPurged: v.delays.Purged,
	}[what]
	key := changeKey{c.vault.host, store.Fold(c.name)}
	if delay <= 0 {
		delete(v.changes, key)
		return
	}
	if len(v.changes) >= maxPending { // those that nobody asked about again
		maps.DeleteFunc(v.changes, func(_ changeKey, p pending) bool { return !c.at.Before(p.until) })
	}
	if v.changes == nil {
		v.changes = map[changeKey]pending{}
	}
	v.changes[key] = pending{what, c.at.Add(delay)}
}

// is says whether a name is in the middle of a change.
func (v *visibility) is(c *call, name string, what change) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	key := changeKey{c.vault.host, store.Fold(name)}
	p, found := v.changes[key]
	if found && !c.at.Before(p.until) {
		delete(v.changes, key)
		return false
	}
	return found && p.change == what
}
