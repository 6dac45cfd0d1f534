package agent

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/metrics"
)

// DaemonConfig is what does not change while a Daemon runs.
type DaemonConfig struct {
	Plan     Plan             // to begin with
	IdleExit time.Duration    // stop after so long without a request; 0 is never
	Log      *slog.Logger     // nil is silence
	Version  string           // what it says of itself
	Metrics  *metrics.Metrics // shared by the plan's agents; nil: the daemon makes its own
	Tracer   Tracer           // nil: nobody follows lookups
	Memory   Memory
}

// Tracer follows lookups. What begins one returns the context for what it needs, and done, which ends it.
type Tracer interface {
	Lookup(ctx context.Context, header http.Header, kind string) (_ context.Context, done func(source, outcome string))
}

// Daemon answers on a socket, for one or several vaults. Make one with NewDaemon.
type Daemon struct {
	config  DaemonConfig
	log     *slog.Logger
	plan    atomic.Pointer[Plan]
	started time.Time
	lookups atomic.Int64
	used    activity

	mu      sync.Mutex
	work    func(*Agent) (end func()) // starts what an agent does beside answering; nil while the daemon does not serve
	working map[*Agent]func()         // what ends it
}

// NewDaemon makes a daemon that does not answer yet: see Serve.
func NewDaemon(config DaemonConfig) *Daemon {
	d := &Daemon{config: config, log: config.Log, started: time.Now()}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.config.Metrics == nil {
		d.config.Metrics = metrics.New(config.Version)
	}
	d.config.Metrics.Add(d.gauges()...)
	d.Use(config.Plan)
	return d
}

// Use puts a new plan in the old one's place. A lookup under way ends by the plan that it began with.
func (d *Daemon) Use(plan Plan) {
	d.plan.Store(&plan)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.assign()
}

// assign sets the plan's agents to work and ends the work of those that are in it no more. The caller holds the lock.
func (d *Daemon) assign() {
	if d.work == nil {
		return
	}
	vaults := d.plan.Load().Vaults
	for a, end := range d.working {
		if !slices.Contains(vaults, a) {
			end()
			delete(d.working, a)
		}
	}
	for _, a := range vaults {
		if d.working[a] == nil {
			d.working[a] = d.work(a)
		}
	}
}

// begin sets the agents to work, and returns what ends it.
func (d *Daemon) begin(ctx context.Context) (end func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.working = map[*Agent]func(){}
	d.work = func(a *Agent) func() { return a.background(ctx) }
	d.assign()
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.work = nil
		for _, end := range d.working {
			end()
		}
	}
}

// lookup answers one question by the plan, if its guard lets it.
func (d *Daemon) lookup(ctx context.Context, q question) (found, error) {
	d.lookups.Add(1)
	begun := time.Now()
	plan := d.plan.Load()
	var done func(source, outcome string)
	if d.config.Tracer != nil {
		kind := "other" // callers may make one up
		if known, err := airflow.ParseKind(string(q.Kind)); err == nil {
			kind = string(known)
		}
		ctx, done = d.config.Tracer.Lookup(ctx, q.header, kind)
	}
	f, err := plan.Guard.answer(q, func() (found, error) { return plan.lookup(ctx, q.Lookup) })
	d.config.Metrics.Of(q.Kind).Done(metrics.Lookup{Source: f.source, Err: err, Age: f.age, Took: time.Since(begun)})
	if done != nil {
		done(string(f.source), outcome(err))
	}
	return f, err
}

// outcome says in one word how a lookup ended.
func outcome(err error) string {
	if err == nil {
		return "found"
	}
	return fault.KindOf(err).String()
}

// Status is what the daemon says of itself, with the entries in the order of kind and id.
func (d *Daemon) Status() agentapi.Status {
	s := d.plan.Load().status()
	s.Version, s.Started, s.Lookups = d.config.Version, d.started, d.lookups.Load()
	return s
}
