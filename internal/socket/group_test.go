package socket

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// ownGroup is a group that this process may give a file to, and not root's.
func ownGroup(t *testing.T) int {
	t.Helper()
	if os.Geteuid() == 0 {
		return 54321
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range append(groups, os.Getegid()) {
		if g != 0 {
			return g
		}
	}
	t.Skip("this user is in no group but root's")
	return 0
}

// state is what others see of a file.
func state(path string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return "absent"
	}
	return fmt.Sprintf("%04o %d", info.Mode().Perm(), info.Sys().(*syscall.Stat_t).Gid)
}

// TestGroup: members of the group can connect, and at no moment is anything more open than that: somebody watches while the
// socket is made again and again.
func TestGroup(t *testing.T) {
	group := ownGroup(t)
	dir := filepath.Join(private(t), "shared")
	path := filepath.Join(dir, "s")
	ready := fmt.Sprintf("0660 %d", group)

	seen := map[string]bool{}
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			if info, err := os.Lstat(dir); err == nil && info.Mode().Perm()&^0o750 != 0 {
				t.Errorf("the directory has mode %04o", info.Mode().Perm())
				return
			}
			if info, err := os.Lstat(path + makingSuffix); err == nil && info.Mode().Perm()&0o077&^0o060 != 0 {
				t.Errorf("on its way the socket has mode %04o", info.Mode().Perm())
				return
			}
			seen[state(path)] = true
		}
	})
	for range 100 {
		l, err := ListenFor(path, group)
		if err != nil {
			t.Fatal(err)
		}
		if got := state(path); got != ready {
			t.Errorf("the socket is %s, want %s", got, ready)
		}
		_ = os.Remove(path)
		if err := l.Restore(); err != nil || state(path) != ready {
			t.Errorf("made again: %s, %v", state(path), err)
		}
		conn, err := Dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	cancel()
	watching.Wait()
	delete(seen, "absent")
	delete(seen, ready)
	if len(seen) > 0 {
		t.Errorf("the socket was seen as %v, want %s or nothing", seen, ready)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if got, want := state(dir), fmt.Sprintf("0750 %d", group); got != want {
		t.Errorf("the directory is %s, want %s", got, want)
	}
}

func TestGroupRefusesBadPlaces(t *testing.T) {
	group := ownGroup(t)
	made := func(mode os.FileMode, gid int) string {
		dir := filepath.Join(private(t), "d")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if gid != 0 {
			if err := os.Chown(dir, -1, gid); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, row := range []struct{ dir, want string }{
		{made(0o770, group), "open to other users (mode 0770)"},
		{made(0o755, group), "open to other users (mode 0755)"},
		{made(0o700, group), fmt.Sprintf("cannot be entered by group %d", group)},
		{filepath.Join(private(t), "parent", "is", "missing"), "cannot make the socket's directory"},
		{filepath.Join(private(t), strings.Repeat("x", 80)), "bytes"}, // with the name under which it is made
	} {
		l, err := ListenFor(filepath.Join(row.dir, "socket"), group)
		if err == nil {
			_ = l.Close()
		}
		if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %s", row.dir, err, row.want)
		}
	}
	// A folder that a service manager made just so.
	l, err := ListenFor(filepath.Join(made(0o750, group), "socket"), group)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

// TestPassedForGroup: a socket for a group is taken exactly when the configuration names that group.
func TestPassedForGroup(t *testing.T) {
	group := ownGroup(t)
	path := filepath.Join(private(t), "s")
	file := pass(t, path)
	if err := os.Chown(path, -1, group); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		mode  os.FileMode
		group int
		good  bool
	}{
		{0o660, group, true}, {0o600, group, true}, {0o660, 0, false}, {0o660, group + 1, false}, {0o666, group, false}, {0o662, group, false},
	} {
		if err := os.Chmod(path, row.mode); err != nil {
			t.Fatal(err)
		}
		l, err := fromFile(file, row.group)
		if (err == nil) != row.good || err != nil && !fault.Is(err, fault.Usage) {
			t.Errorf("mode %04o for group %d: %v", row.mode, row.group, err)
		}
		if l != nil {
			_ = l.Close()
		}
	}
}
