// Package socket makes, finds and removes the agent's Unix socket. The socket lies in a directory that only its user can
// enter, or one group as well, and is never more open than that, from its first instant; one agent holds it, by a lock that the kernel drops with the process.
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
	"sync"
	"sync/atomic"
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

// Listener is a listening socket. One that this process made removes itself on Close, and can be made again when somebody
// removed it.
type Listener struct {
	path  string
	group int // its members may connect, too; 0: nobody but this user
	now   atomic.Pointer[net.UnixListener]

	mu     sync.Mutex
	made   os.FileInfo // the socket as this process made it; nil: it was passed to it
	lock   *os.File    // nil: as well
	closed bool
}

// Listen makes a socket at path, and its directory where it is missing. It takes the place of a socket that nobody
// serves any more; of anything else, or a directory that others can enter, it makes an error of kind Usage.
func Listen(path string) (*Listener, error) { return ListenFor(path, 0) }

// ListenFor is Listen with a socket to which the members of a group may connect, too, in a directory that they may enter;
// group 0 is nobody. Of such a directory the parent has to be there.
func ListenFor(path string, group int) (*Listener, error) {
	longest := path
	if group != 0 {
		longest += makingSuffix
	}
	if err := CheckPath(longest); err != nil {
		return nil, err
	}
	if err := MakeDir(filepath.Dir(path), group); err != nil {
		return nil, err
	}
	lock, err := takeLock(path + lockSuffix)
	if err != nil {
		return nil, err
	}
	l := &Listener{path: path, group: group, lock: lock}
	if err := l.open(); err != nil {
		return nil, errors.Join(err, letGo(lock))
	}
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

// CheckDir says whether a directory is private: a real one, ours, and closed to all others. The members of a group may enter
// it, but not write; group 0 is nobody.
func CheckDir(dir string, group int) error {
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
	case group == 0 && info.Mode().Perm()&0o077 != 0, info.Mode().Perm()&0o027 != 0:
		return refuse(fmt.Sprintf("is open to other users (mode %04o)", info.Mode().Perm()))
	case group != 0 && (int(stat.Gid) != group || info.Mode().Perm()&0o010 == 0):
		return fault.New(fault.Usage, fmt.Sprintf("the socket's directory %s cannot be entered by group %d (it has group %d, mode %04o)",
			dir, group, stat.Gid, info.Mode().Perm()),
			fmt.Sprintf("choose one that is not there yet, or: chgrp %d %s && chmod 0750 %s", group, dir, dir))
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
		if counts(f) {
			return f, nil
		}
		_ = f.Close() // its holder removed it between our opening and locking it
	}
}

// counts tells whether a lock's path still leads to its file.
func counts(lock *os.File) bool {
	held, err := lock.Stat()
	there, thereErr := os.Lstat(lock.Name())
	return err == nil && thereErr == nil && os.SameFile(held, there)
}

// lockSuffix makes the lock's path out of the socket's.
const lockSuffix = ".lock"

// open makes the socket. The caller holds the lock file, and the mutex if others know the listener.
func (l *Listener) open() error {
	if err := removeDead(l.path); err != nil {
		return err
	}
	// The mask belongs to the whole process. For the moment that it is set, other goroutines make their files more
	// private than they asked for, never less.
	old := unix.Umask(0o077)
	opened, err := l.bind()
	unix.Umask(old)
	if err != nil {
		return fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot make the socket %s", l.path))
	}
	opened.SetUnlinkOnClose(false) // Close looks first whether the file is still this one
	made, err := os.Lstat(l.path)
	if err != nil {
		_ = opened.Close()
		return fault.Wrap(fault.Internal, err, fmt.Sprintf("the socket %s vanished", l.path))
	}
	l.made = made
	if before := l.now.Swap(opened); before != nil {
		_ = before.Close() // wakes Accept, which goes on with the new one
	}
	return nil
}

// bind makes the socket, for this user alone unless there is a group. What a group may connect to is made ready under
// another name and then moved to its place, so that no member meets it half done.
func (l *Listener) bind() (*net.UnixListener, error) {
	if l.group == 0 {
		return net.ListenUnix("unix", &net.UnixAddr{Name: l.path, Net: "unix"})
	}
	making := l.path + makingSuffix
	_ = os.Remove(making) // whoever left it holds the lock no more
	opened, err := net.ListenUnix("unix", &net.UnixAddr{Name: making, Net: "unix"})
	if err != nil {
		return nil, err
	}
	opened.SetUnlinkOnClose(false)
	err = os.Chown(making, -1, l.group)
	if err == nil {
		err = os.Chmod(making, 0o660)
	}
	if err == nil {
		err = os.Rename(making, l.path)
	}
	if err != nil {
		return nil, errors.Join(err, opened.Close(), os.Remove(making))
	}
	return opened, nil
}

// makingSuffix makes that name out of the socket's.
const makingSuffix = ".new"

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

// Addr is the socket's address.
func (l *Listener) Addr() net.Addr { return l.now.Load().Addr() }

// Accept waits for a caller. It does not mind that the socket is made again meanwhile.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		current := l.now.Load()
		conn, err := current.Accept()
		if err == nil || l.now.Load() == current {
			return conn, err
		}
	}
}

// Present tells whether the path still leads to this socket; somebody may have cleaned the directory. Of a socket that was
// passed to this process it is always true: only who made it could make it again.
func (l *Listener) Present() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made == nil || l.present()
}

func (l *Listener) present() bool {
	now, err := os.Lstat(l.path)
	return err == nil && l.made != nil && os.SameFile(l.made, now)
}

// Restore makes the socket again after somebody removed it, with the directory and the lock if they went, too. Callers who
// are connected stay so. Another agent in its place is ErrInUse; that one may have come when the lock was gone.
func (l *Listener) Restore() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.made == nil || l.present() {
		return nil
	}
	if err := MakeDir(filepath.Dir(l.path), l.group); err != nil {
		return err
	}
	if err := l.keepLock(); err != nil {
		return err
	}
	return l.open()
}

// keepLock makes sure that the lock which is held is the one that others see.
func (l *Listener) keepLock() error {
	if counts(l.lock) {
		return nil
	}
	lock, err := takeLock(l.lock.Name())
	if err != nil {
		return err
	}
	_ = l.lock.Close()
	l.lock = lock
	return nil
}

// Close stops listening, removes the socket if this process made it and it is still this one, and lets go of the lock.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	l.closed = true
	present := l.present()
	err := l.now.Load().Close()
	if present {
		err = errors.Join(err, os.Remove(l.path))
	}
	if l.lock != nil {
		err = errors.Join(err, letGo(l.lock))
	}
	return err
}

// letGo removes a lock's file, if it is still the one that others see, and unlocks it.
func letGo(lock *os.File) error {
	var err error
	if counts(lock) {
		err = os.Remove(lock.Name())
	}
	return errors.Join(err, lock.Close())
}

// Dial connects to an agent's socket. No agent there is an error of kind Unavailable.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	conn, err := connect(ctx, path)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, fmt.Sprintf("no agent answers at %s", path),
			"start one with: airlock agent --socket "+path)
	}
	return conn, nil
}

// MakeDir makes the directory for a socket where it is missing, and checks that it is as private as CheckDir wants it.
func MakeDir(dir string, group int) error {
	err := makeDir(dir, group)
	if err != nil {
		return fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot make the socket's directory %s: %s", dir, fault.Detail(err)), chooseDir)
	}
	return CheckDir(dir, group)
}

func makeDir(dir string, group int) error {
	if group == 0 {
		return os.MkdirAll(dir, 0o700)
	}
	// Its parents are not made: whether the group may pass through them is for others to say.
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.Chown(dir, -1, group)
	}
	if err == nil {
		err = os.Chmod(dir, 0o750)
	}
	return err
}

// How a full queue is met: on Linux, a Unix socket whose queue is full refuses a caller that does not block, instead of
// letting it wait as TCP does (connect(2), EAGAIN).
const (
	queueTime  = 10 * time.Second // the longest to try
	queueEvery = 5 * time.Millisecond
)

func connect(ctx context.Context, path string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, queueTime)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if !errors.Is(err, syscall.EAGAIN) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(queueEvery):
		}
	}
}
