package agent

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
)

// DaemonConfig is what does not change while a Daemon runs.
type DaemonConfig struct {
	Plan     Plan          // to begin with
	IdleExit time.Duration // stop after so long without a request; 0 is never
	Log      *slog.Logger  // nil is silence
	Version  string        // what it says of itself
}

// Daemon answers on a socket, for one or several vaults. Make one with NewDaemon.
type Daemon struct {
	config  DaemonConfig
	log     *slog.Logger
	plan    atomic.Pointer[Plan]
	started time.Time
	lookups atomic.Int64
	used    activity
}

// NewDaemon makes a daemon that does not answer yet: see Serve.
func NewDaemon(config DaemonConfig) *Daemon {
	d := &Daemon{config: config, log: config.Log, started: time.Now()}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.used.last.Store(d.started.UnixNano())
	d.Use(config.Plan)
	return d
}

// Use puts a new plan in the old one's place. A lookup under way ends by the plan that it began with.
func (d *Daemon) Use(plan Plan) { d.plan.Store(&plan) }

// Lookup answers one question by the plan.
func (d *Daemon) Lookup(ctx context.Context, l agentapi.Lookup) (agentapi.Answer, error) {
	d.lookups.Add(1)
	f, err := d.plan.Load().lookup(ctx, l)
	return f.Answer, err
}

// Status is what the daemon says of itself, with the entries in the order of kind and id.
func (d *Daemon) Status() agentapi.Status {
	s := d.plan.Load().status()
	s.Version, s.Started, s.Lookups = d.config.Version, d.started, d.lookups.Load()
	return s
}
