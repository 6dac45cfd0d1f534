// Package socket makes, finds and removes the agent's Unix socket. The socket lies in a directory that only its user can
// enter and is private from its first instant; one agent holds it, by a lock that the kernel drops with the process.
package socket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// maxPath is the longest path that fits into sockaddr_un with its final NUL.
func maxPath() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103
}

// Dir is the private directory for the sockets of one user: AIRLOCK_RUNTIME_DIR, or "airlock" in XDG_RUNTIME_DIR, or
// airlock-UID in /tmp. It need not exist yet.
func Dir(getenv func(string) string) string {
	if dir := getenv("AIRLOCK_RUNTIME_DIR"); dir != "" {
		return dir
	}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" && unix.Access(dir, unix.W_OK) == nil {
		return filepath.Join(dir, "airlock")
	}
	return fmt.Sprintf("/tmp/airlock-%d", os.Getuid())
}

// ErrInUse is in the chain of Listen's error when another process serves the path.
var ErrInUse = errors.New("another agent holds the socket")

// Listener is a listening socket that removes itself on Close.
type Listener struct {
	*net.UnixListener
	path string
	lock *os.File
	made os.FileInfo // the socket as this process made it
}

// Listen makes a socket at path, and its directory where it is missing. It takes the place of a socket that nobody
// serves any more; of anything else, or a directory that others can enter, it makes an error of kind Usage.
func Listen(path string) (*Listener, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	if err := MakeDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	lock, err := takeLock(path + lockSuffix)
	if err != nil {
		return nil, err
	}
	l, err := listen(path)
	if err != nil {
		return nil, errors.Join(err, letGo(lock))
	}
	l.lock = lock
	return l, nil
}

const chooseDir = "choose a directory that only you can enter, for example with AIRLOCK_RUNTIME_DIR"

// CheckPath says whether the kernel can take a socket's path: an error of kind Usage when it is too long or relative.
func CheckPath(path string) error {
	if len(path) > maxPath() {
		return fault.New(fault.Usage,
			fmt.Sprintf("the socket's path has %d bytes, and %s allows %d: %s", len(path), runtime.GOOS, maxPath(), path),
			"set AIRLOCK_RUNTIME_DIR to a shorter directory")
	}
	if !filepath.IsAbs(path) {
		return fault.New(fault.Usage, fmt.Sprintf("the socket's path is not absolute: %s", path))
	}
	return nil
}

// CheckDir says whether a directory is private: a real one, ours, and closed to all others.
func CheckDir(dir string) error {
	refuse := func(why string) error {
		return fault.New(fault.Usage, fmt.Sprintf("the socket's directory %s %s", dir, why), chooseDir)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot look at the socket's directory %s", dir), chooseDir)
	}
	switch stat := info.Sys().(*syscall.Stat_t); {
	case info.Mode()&fs.ModeSymlink != 0:
		return refuse("is a symbolic link")
	case !info.IsDir():
		return refuse("is not a directory")
	case int(stat.Uid) != os.Geteuid():
		return refuse(fmt.Sprintf("belongs to user %d", stat.Uid))
	case info.Mode().Perm()&0o077 != 0:
		return refuse(fmt.Sprintf("is open to other users (mode %04o)", info.Mode().Perm()))
	}
	return nil
}

// takeLock holds the lock file for as long as the process lives. Whoever holds it removes it at the end, so a lock counts
// only on the file that the path still leads to.
func takeLock(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot open the agent's lock %s", path))
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			_ = f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fault.Wrap(fault.Usage, ErrInUse, fmt.Sprintf("an agent already serves %s", strings.TrimSuffix(path, lockSuffix)),
					"ask it with: airlock status")
			}
			return nil, fault.Wrap(fault.Internal, err, fmt.Sprintf("cannot lock %s", path))
		}
		locked, err := f.Stat()
		there, thereErr := os.Lstat(path)
		if err == nil && thereErr == nil && os.SameFile(locked, there) {
			return f, nil
		}
		_ = f.Close() // its holder removed it between our opening and locking it
	}
}

// lockSuffix makes the lock's path out of the socket's.
const lockSuffix = ".lock"

func listen(path string) (*Listener, error) {
	if err := removeDead(path); err != nil {
		return nil, err
	}
	// The mask belongs to the whole process. For the moment that it is set, other goroutines make their files more
	// private than they asked for, never less.
	old := unix.Umask(0o077)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	unix.Umask(old)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot make the socket %s", path))
	}
	l.SetUnlinkOnClose(false) // Close looks first whether the file is still this one
	made, err := os.Lstat(path)
	if err != nil {
		_ = l.Close()
		return nil, fault.Wrap(fault.Internal, err, fmt.Sprintf("the socket %s vanished", path))
	}
	return &Listener{UnixListener: l, path: path, made: made}, nil
}

// removeDead removes a socket that nobody serves, and nothing else.
func removeDead(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot look at %s", path))
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fault.New(fault.Usage, fmt.Sprintf("%s is in the way and is not a socket", path), "move it, or choose another socket with --socket")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return fault.Wrap(fault.Usage, ErrInUse, fmt.Sprintf("another process serves %s", path))
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot tell whether somebody serves %s", path))
	}
	return os.Remove(path)
}

// Path is where the socket lies.
func (l *Listener) Path() string { return l.path }

// Present tells whether the path still leads to this socket; somebody may have cleaned the directory.
func (l *Listener) Present() bool {
	now, err := os.Lstat(l.path)
	return err == nil && os.SameFile(l.made, now)
}

// Close stops listening, removes the socket if it is still this one, and lets go of the lock.
func (l *Listener) Close() error {
	present := l.Present()
	err := l.UnixListener.Close()
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	if present {
		err = errors.Join(err, os.Remove(l.path))
	}
	return errors.Join(err, letGo(l.lock))
}

// letGo removes a lock's file while it is still ours, and unlocks it.
func letGo(lock *os.File) error { return errors.Join(os.Remove(lock.Name()), lock.Close()) }

// Dial connects to an agent's socket. No agent there is an error of kind Unavailable.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, fmt.Sprintf("no agent answers at %s", path),
			"start one with: airlock agent --socket "+path)
	}
	return conn, nil
}

// MakeDir makes the directory for a socket where it is missing, and checks that it is private.
func MakeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot make the socket's directory %s", dir), chooseDir)
	}
	return CheckDir(dir)
}
