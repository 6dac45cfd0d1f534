// Package systemd tells a service manager how its service is. The protocol is a datagram to a Unix socket
// (https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html); systemd is not the only one to speak it.
package systemd

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Manager is the service manager. The zero value is none, and telling it anything does nothing.
type Manager struct{ socket string }

// From finds the manager in the environment.
func From(getenv func(string) string) Manager { return Manager{socket: getenv("NOTIFY_SOCKET")} }

// Ready says that the service answers, or does so again after Reloading; status is a line for people.
func (m Manager) Ready(status string) error { return m.tell("READY=1\nSTATUS=" + status) }

// Stopping says that the service ends: it lets finish what is in flight.
func (m Manager) Stopping() error { return m.tell("STOPPING=1") }

// Reloading says that the service reads its configuration anew; Ready ends it. systemd wants the time by the monotonic
// clock, so that it can tell this reload from one before.
func (m Manager) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("cannot read the monotonic clock: %w", err)
	}
	return m.tell(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
}

func (m Manager) tell(message string) error {
	if m.socket == "" {
		return nil
	}
	// A leading @ is Linux' abstract namespace, to net and to systemd alike.
	conn, err := net.Dial("unixgram", m.socket)
	if err != nil {
		return fmt.Errorf("cannot reach the service manager: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(message)); err != nil {
		return fmt.Errorf("cannot tell the service manager: %w", err)
	}
	return nil
}
