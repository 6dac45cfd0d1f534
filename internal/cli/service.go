package cli

import (
	"context"
	"log/slog"
	"net"
	"sync"

	"github.com/airlock-secrets/airlock/internal/agent"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/socket"
	"github.com/airlock-secrets/airlock/internal/systemd"
)

// listenAgent makes the agent's socket, unless a service manager passes one, and listens on loopback where it is told to.
func (a *app) listenAgent(listen config.Listen) (l *socket.Listener, others []net.Listener, err error) {
	if l, err = socket.Passed(a.getenv, listen.Group); l == nil && err == nil {
		l, err = socket.ListenFor(listen.Socket, listen.Group)
	}
	if err != nil || listen.TCP == "" {
		return l, nil, err
	}
	byTCP, err := agent.ListenTCP(listen.TCP)
	if err != nil {
		_ = l.Close()
		return nil, nil, err
	}
	return l, []net.Listener{byTCP}, nil
}

// serviceManager is told how the agent is, where there is one. The agent serves on whatever comes of that.
type serviceManager struct {
	systemd.Manager
	log  *slog.Logger
	path string
}

func (m serviceManager) ready()     { m.heard(m.Ready("answers at " + m.path)) }
func (m serviceManager) reloading() { m.heard(m.Reloading()) }
func (m serviceManager) stopping()  { m.heard(m.Stopping()) }

func (m serviceManager) heard(err error) {
	if err != nil {
		m.log.Warn("the service manager does not hear", "reason", err)
	}
}

// tellManager tells the service manager that the agent answers and, as soon as it shall stop, that it stops. The caller
// calls end when the agent has stopped, for whatever reason.
func (a *app) tellManager(log *slog.Logger, path string) (m serviceManager, end func()) {
	m = serviceManager{systemd.From(a.getenv), log, path}
	m.ready()
	stopping := sync.OnceFunc(m.stopping)
	context.AfterFunc(a.env.Context, stopping)
	return m, stopping // once, and whoever comes second waits: the process must not end before it is told
}
