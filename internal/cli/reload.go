package cli

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/airlock-secrets/airlock/internal/agent"
	"github.com/airlock-secrets/airlock/internal/audit"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/metrics"
	"github.com/airlock-secrets/airlock/internal/tracing"
)

// settled is how long a folder must be quiet before a changed file in it is read: an editor may still be writing.
const settled = 100 * time.Millisecond

// live is an agent whose configuration may change while it runs.
type live struct {
	load      func() (config.Agent, error)
	openAudit func(config.Agent, *audit.Log) (*audit.Log, error)
	daemon    *agent.Daemon
	manager   serviceManager
	log       *slog.Logger
	metrics   *metrics.Metrics
	tracer    *tracing.Tracer

	vaults opened       // in force
	audit  *audit.Log   // in force; nil where nothing is written down
	now    config.Agent // in force
	seen   config.Agent // as it was last read, right or wrong
}

// follow takes a new configuration when the kernel says that a file of it changed, or somebody asks for it, until ctx
// ends.
func (l *live) follow(ctx context.Context, asked <-chan struct{}) {
	// Folders are watched and not files: editors and Kubernetes put a new file, or a new link, in the old one's place.
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		l.log.Warn("changed configuration files are not noticed; send SIGHUP", "reason", err)
		watcher = &fsnotify.Watcher{}
	} else {
		defer watcher.Close()
	}
	watched := map[string]bool{}
	watch := func() {
		for _, dir := range l.seen.Folders() {
			if err == nil && !watched[dir] && watcher.Add(dir) == nil {
				watched[dir] = true
			}
		}
	}
	watch()
	// What changed between the start and the first look.
	quiet := time.NewTimer(settled)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
			l.take("SIGHUP")
			watch()
		case event, ok := <-watcher.Events:
			if ok && event.Has(fsnotify.Remove) {
				delete(watched, event.Name) // a folder that is made anew is another one
			}
			quiet.Reset(settled)
		case <-watcher.Errors: // events were lost, so anything may have changed
			quiet.Reset(settled)
		case <-quiet.C:
			if l.seen.Changed() {
				l.take("changed file")
			}
			watch()
		}
	}
}

// take reads the configuration again and puts it in the old one's place, if it is right.
func (l *live) take(why string) {
	l.manager.reloading()
	defer l.manager.ready()
	c, err := l.load()
	l.seen = c
	var vaults opened
	if err == nil {
		vaults, err = l.vaults.open(c, agent.Config{Log: l.log, Metrics: l.metrics}, l.tracer)
	}
	written := l.audit
	if err == nil {
		written, err = l.openAudit(c, l.audit)
	}
	if err == nil {
		err = c.MakeToken()
	}
	if err != nil {
		for _, one := range flatten(err) {
			l.log.Error("the new configuration is wrong, the old one stays in force", "because of", why,
				"reason", fault.Detail(one), "hints", fault.HintsOf(one))
		}
		return
	}
	for _, w := range c.Warnings {
		l.log.Warn(w)
	}
	if c.Listen != l.now.Listen {
		l.log.Warn("a changed socket, group, address or idle_exit takes effect when the agent is started anew")
	}
	if old := l.now.Remote.Token; old.Len() > 0 && !bytes.Equal(old.Reveal(), c.Remote.Token.Reveal()) {
		l.log.Info("callers by TCP have to show the new token")
	}
	kept := 0
	for _, v := range vaults {
		if l.vaults.find(v.vault) == v.agent {
			kept++
		}
	}
	l.daemon.Use(vaults.plan(c, written))
	l.vaults, l.audit, l.now, l.seen = vaults, written, c, c
	l.log.Info("the new configuration is in force", "because of", why, "vaults", len(vaults), "unchanged", kept)
}
