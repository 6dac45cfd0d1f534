// Package peer says who is at the other end of a Unix socket, on the kernel's word.
package peer

import (
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
	var cred Cred
	var credErr error
	if err := control(conn, func(fd int) { cred, credErr = ofFD(fd) }); err != nil {
		return Cred{}, err
	}
	if credErr != nil {
		return Cred{}, fault.Wrap(fault.Forbidden, credErr, "cannot tell who is calling")
	}
	return cred, nil
}

// Groups are the groups that the process at the other end was in beside its first one, when it connected. There are none
// where the kernel does not tell: before Linux 4.13, and on other systems.
func Groups(conn net.Conn) []uint32 {
	var groups []uint32
	if control(conn, func(fd int) { groups = groupsOf(fd) }) != nil {
		return nil
	}
	return groups
}

// Program is the path of the program that the process at the other end runs, for the record and not for decisions: a
// process may run another one a moment later. It is "" where it cannot be told: the process has ended, this one may not
// look at it, or the system is not Linux.
func Program(conn net.Conn, c Cred) string {
	var exe string
	if control(conn, func(fd int) { exe = programOf(fd, c.PID) }) != nil {
		return ""
	}
	return exe
}

func control(conn net.Conn, act func(fd int)) error {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return fault.New(fault.Forbidden, "the caller is not on a Unix socket, so nobody vouches for it")
	}
	raw, err := unixConn.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { act(int(fd)) })
	}
	if err != nil {
		return fault.Wrap(fault.Forbidden, err, "cannot tell who is calling")
	}
	return nil
}

// Own tells whether a caller is the user that runs this process, or root, who could read its memory anyway.
func (c Cred) Own() bool { return c.UID == 0 || int(c.UID) == os.Geteuid() }
