package agent

import (
	"context"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/fault"
)

const (
	stopTime  = 10 * time.Second // for what is in flight when the agent stops
	lookEvery = time.Second      // at the clock, at the socket and at the connections
)

func pid() int { return os.Getpid() }

func sortEntries(entries []agentapi.Entry) { slices.SortFunc(entries, compareEntries) }

// activity counts requests, so that it is seen when the agent was last of use. Every request passes here: there is no
// lock, and nobody asks for the time.
type activity struct {
	begun, active atomic.Int64

	// What the one who looks at it has seen.
	seen int64
	last time.Time
}

func (a *activity) begin() { a.begun.Add(1); a.active.Add(1) }

func (a *activity) end() { a.active.Add(-1) }

// idle is how long there has been no request, for one who looks every lookEvery; it is too little by so much at most.
func (a *activity) idle() time.Duration {
	active := a.active.Load() // before the other: a request that begins and ends in between is then seen there
	if begun := a.begun.Load(); active > 0 || begun != a.seen || a.last.IsZero() {
		a.seen, a.last = begun, time.Now()
	}
	return time.Since(a.last) - lookEvery
}

// Listener is the agent's socket. Present tells whether its path still leads to it, and Restore makes it again.
type Listener interface {
	net.Listener
	Present() bool
	Restore() error
}

// Serve answers on the socket, and on other listeners for callers by TCP, until ctx ends, the agent has been idle for too
// long, or its socket was removed and cannot be made again, and then lets what is in flight finish. It closes all listeners.
// A stop for any of these reasons is no error.
func (d *Daemon) Serve(ctx context.Context, l Listener, others ...net.Listener) error {
	var slow patience
	server := &http.Server{
		Handler: d,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, callerKey{}, admit(conn, d.plan.Load().Guard.Audit != nil))
		},
		ConnState:      slow.note,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       log.New(&warnings{d.log}, "", 0),
	}
	defer d.begin(ctx)()
	ended := make(chan error, 1+len(others))
	go func() { ended <- server.Serve(l) }()
	for _, each := range others {
		if _, unix := each.Addr().(*net.UnixAddr); !unix {
			each = remote{each, &slow}
		}
		go func() { ended <- server.Serve(each) }()
	}
	memory := thrift{Memory: d.config.Memory}
	look := func() {
		slow.look()
		memory.look(d.used.begun.Load(), d.vaultWork())
	}
	if reason := d.wait(ctx, l, look, ended); reason != nil {
		return reason
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		_ = server.Close()
	}
	d.log.Info("agent stopped", "lookups", d.lookups.Load(), "vault_requests", d.plan.Load().status().VaultRequests)
	return nil
}

// background starts what goes on beside the answering, and returns what ends it.
func (a *Agent) background(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	if a.config.List != nil && a.config.ListInterval > 0 {
		running.Go(func() { a.watch(ctx) })
	}
	if a.config.List != nil && a.config.Prefetch {
		running.Go(func() { a.prefetch(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
		if a.config.Rest != nil {
			a.config.Rest()
		}
	}
}

// wait returns nil when it is time to stop, or why the server ended by itself. It has somebody look from time to time.
func (d *Daemon) wait(ctx context.Context, l Listener, look func(), ended <-chan error) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return fault.Wrap(fault.Internal, err, "the agent's server ended")
		case <-ctx.Done():
			return nil
		case <-tick.C:
			look()
			idle := d.used.idle()
			switch {
			case !l.Present():
				if err := l.Restore(); err != nil {
					d.log.Warn("the socket was removed and cannot be made again; stopping", "reason", fault.Detail(err))
					return nil
				}
				d.log.Warn("the socket was removed by somebody; it is there again")
			case d.config.IdleExit > 0 && idle >= d.config.IdleExit:
				d.log.Info("nobody asked for a while; stopping", "idle", d.config.IdleExit)
				return nil
			}
		}
	}
}

// warnings passes the HTTP server's own complaints on to the log.
type warnings struct{ log *slog.Logger }

func (w *warnings) Write(p []byte) (int, error) {
	w.log.Debug("http", "complaint", string(p))
	return len(p), nil
}
