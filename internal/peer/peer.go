// Package peer says who is at the other end of a Unix socket, on the kernel's word.
package peer

import (
	"fmt"
	"net"
	"os"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// Cred is the process that connected, as it was at that moment.
type Cred struct {
	UID, GID uint32
	PID      int32 // 0 where the kernel does not tell
}

// Of asks the kernel about the other end of a connection.
func Of(conn net.Conn) (Cred, error) {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return Cred{}, fault.New(fault.Forbidden, "the caller is not on a Unix socket, so nobody vouches for it")
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return Cred{}, fault.Wrap(fault.Forbidden, err, "cannot tell who is calling")
	}
	var cred Cred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = ofFD(int(fd)) }); err != nil {
		credErr = err
	}
	if credErr != nil {
		return Cred{}, fault.Wrap(fault.Forbidden, credErr, "cannot tell who is calling")
	}
	return cred, nil
}

// SameUserOrRoot refuses every user but the one that runs this process, and root, who could read its memory anyway.
func SameUserOrRoot(c Cred) error {
	if own := os.Geteuid(); c.UID != 0 && int(c.UID) != own {
		return fault.New(fault.Forbidden, fmt.Sprintf("user %d may not ask the agent of user %d", c.UID, own),
			"run an agent as your own user")
	}
	return nil
}
