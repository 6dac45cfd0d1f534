package cli

import (
	"context"
	"log/slog"

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

// tellManager tells the service manager, where there is one, that the agent answers and, later, that it stops. The agent
// serves on whatever comes of that. The caller ends the telling.
func (a *app) tellManager(log *slog.Logger, path string) (end func() bool) {
	manager := systemd.From(a.getenv)
	tell := func(err error) {
		if err != nil {
			log.Warn("the service manager does not hear", "reason", err)
		}
	}
	tell(manager.Ready("answers at " + path))
	return context.AfterFunc(a.env.Context, func() { tell(manager.Stopping()) })
}
