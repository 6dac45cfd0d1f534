package socket

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// firstPassed is the descriptor of the first socket that a service manager passes
// (https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html).
const firstPassed = 3

// Passed gives the socket that a service manager such as systemd made and handed to this process; nil when there is none.
// It has to be one Unix socket that only this user can connect to, and the members of a group if that is not 0; otherwise
// the error is of kind Usage.
func Passed(getenv func(string) string, group int) (*Listener, error) {
	if pid, err := strconv.Atoi(getenv("LISTEN_PID")); err != nil || pid != os.Getpid() {
		return nil, nil // nothing, or it was meant for another process
	}
	if n := getenv("LISTEN_FDS"); n != "1" {
		return nil, refusePassed(fmt.Sprintf("%q sockets instead of one", n))
	}
	syscall.CloseOnExec(firstPassed)
	file := os.NewFile(firstPassed, "passed")
	defer file.Close()
	return fromFile(file, group)
}

func fromFile(file *os.File, group int) (*Listener, error) {
	passed, err := net.FileListener(file)
	if err != nil {
		return nil, refusePassed("something that does not listen")
	}
	l, ok := passed.(*net.UnixListener)
	if !ok {
		_ = passed.Close()
		return nil, refusePassed("a socket that is no Unix socket: " + passed.Addr().String())
	}
	path := l.Addr().String()
	if err := checkPassed(path, group); err != nil {
		_ = l.Close()
		return nil, err
	}
	l.SetUnlinkOnClose(false) // whoever made it still has it
	made := &Listener{path: path}
	made.now.Store(l)
	return made, nil
}

// checkPassed wants a socket that only this user and the group can connect to, in a directory where nobody but this user and root can
// put another one. Unlike our own directory, it may be one that others can look into: on Linux the socket's own mode
// decides who may connect (unix(7)).
func checkPassed(path string, group int) error {
	if !filepath.IsAbs(path) {
		return refusePassed("a socket that has no path, so that nothing keeps others out")
	}
	own, err := os.Lstat(path)
	if err != nil || own.Mode()&fs.ModeSocket == 0 {
		return refusePassed("a socket that is not at its path: " + path)
	}
	dir, err := os.Lstat(filepath.Dir(path))
	if err != nil {
		return fault.Wrap(fault.Usage, err, "cannot look at the directory of the socket "+path)
	}
	owner := func(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
	allowed := fs.FileMode(0o700)
	if group != 0 && int(own.Sys().(*syscall.Stat_t).Gid) == group {
		allowed = 0o770
	}
	switch uid := os.Geteuid(); {
	case owner(own) != uid:
		return refusePassed(fmt.Sprintf("a socket of user %d: %s", owner(own), path))
	case own.Mode().Perm()&^allowed != 0:
		return refusePassed(fmt.Sprintf("a socket that is open to other users (mode %04o): %s", own.Mode().Perm(), path))
	case !dir.IsDir() || dir.Mode().Perm()&0o022 != 0 || owner(dir) != uid && owner(dir) != 0:
		return refusePassed("a socket in a directory where others can write: " + path)
	}
	return nil
}

func refusePassed(what string) error {
	return fault.New(fault.Usage, "the service manager passes "+what,
		"pass one Unix socket with SocketMode=0600 and SocketUser= the agent's user, as packaging/systemd does",
		"for listen.group, with SocketMode=0660 and SocketGroup= that group")
}
