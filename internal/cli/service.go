package cli

import (
	"context"
	"log/slog"
	"sync"

	"github.com/airlock-secrets/airlock/internal/socket"
	"github.com/airlock-secrets/airlock/internal/systemd"
)

// listenAgent makes the agent's socket, unless a service manager passes one.
func (a *app) listenAgent(path string) (*socket.Listener, error) {
	if l, err := socket.Passed(a.getenv); l != nil || err != nil {
		return l, err
	}
	return socket.Listen(path)
}

// tellManager tells the service manager, where there is one, that the agent answers and, as soon as it shall stop, that it
// stops. The agent serves on whatever comes of that. The caller calls end when the agent has stopped, for whatever reason.
func (a *app) tellManager(log *slog.Logger, path string) (end func()) {
	manager := systemd.From(a.getenv)
	tell := func(err error) {
		if err != nil {
			log.Warn("the service manager does not hear", "reason", err)
		}
	}
	tell(manager.Ready("answers at " + path))
	stopping := sync.OnceFunc(func() { tell(manager.Stopping()) })
	context.AfterFunc(a.env.Context, stopping)
	return stopping // once, and whoever comes second waits: the process must not end before it is told
}
