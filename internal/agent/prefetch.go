package agent

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/airlock-secrets/airlock/internal/fault"
)

const prefetchers = 4 // read side by side: few, so that a lookup need not wait behind many of them

// prefetch reads all that the vault has for Airflow. It stops where the cache is full or the vault does not answer: what it
// leaves out is read when somebody asks.
func (a *Agent) prefetch(ctx context.Context) {
	if !sleep(ctx, rand.N(a.config.PrefetchSpread+1)) {
		return
	}
	listed, _, err := a.list(ctx)
	if err != nil {
		a.log.Warn("nothing is read ahead: the vault's list cannot be seen",
			"kind", fault.KindOf(err).String(), "reason", fault.Detail(err), "hints", fault.HintsOf(err))
		return
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(listed)), func(name string) bool {
		_, _, ours := a.config.Naming.ID(name)
		return !ours
	})
	if most := a.config.Cache.MaxEntries; most > 0 && len(names) > most {
		names = names[:most]
	}
	begun := time.Now()
	var read atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(prefetchers)
	for _, name := range names {
		group.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			_, err := a.cache.Get(ctx, name)
			switch fault.KindOf(err) {
			case fault.NotFound, fault.Forbidden, fault.Usage: // of this one; the next may be readable
				return nil
			}
			if err == nil {
				read.Add(1)
			}
			return err
		})
	}
	err = group.Wait()
	a.log.Info("read ahead", "secrets", read.Load(), "of", len(names), "complete", err == nil,
		"took", time.Since(begun).Round(time.Millisecond))
}
