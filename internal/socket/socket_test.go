package socket

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// private makes a private directory with a short path.
func private(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "airlock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestListenIsPrivateAndCleansUp(t *testing.T) {
	path := filepath.Join(private(t), "made", "s.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSocket == 0 || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
	}
	if dir, _ := os.Stat(filepath.Dir(path)); dir.Mode().Perm() != 0o700 {
		t.Errorf("the directory's mode is %v", dir.Mode())
	}
	if _, err := Listen(path); !errors.Is(err, ErrInUse) {
		t.Errorf("a second listener: %v", err)
	}
	conn, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if !l.Present() {
		t.Error("the socket is not seen")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := Dial(t.Context(), path); !fault.Is(err, fault.Unavailable) {
		t.Errorf("nobody there: %v", err)
	}
	again, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestListenReplacesTheDeadOnly(t *testing.T) {
	dir := private(t)
	path := filepath.Join(dir, "s.sock")

	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err := Listen(path)
	if err != nil {
		t.Fatalf("a dead socket is in the way: %v", err)
	}

	// Somebody removes the socket and puts another in its place: Close leaves that one alone.
	os.Remove(path)
	if l.Present() {
		t.Error("a removed socket is seen")
	}
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Error("Close removed a socket of somebody else")
	}
	if _, err := Listen(path); !errors.Is(err, ErrInUse) {
		t.Errorf("a socket that another process serves: %v", err)
	}

	file := filepath.Join(dir, "file.sock")
	os.WriteFile(file, []byte("precious"), 0o600)
	if _, err := Listen(file); !fault.Is(err, fault.Usage) {
		t.Errorf("a file in the way: %v", err)
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Error("the file is gone")
	}
}

func TestListenRefusesBadPlaces(t *testing.T) {
	dir := private(t)
	open := filepath.Join(dir, "open")
	os.Mkdir(open, 0o700)
	os.Chmod(open, 0o755)
	link := filepath.Join(dir, "link")
	real := filepath.Join(dir, "real")
	os.Mkdir(real, 0o700)
	os.Symlink(real, link)
	plain := filepath.Join(dir, "plain")
	os.WriteFile(plain, nil, 0o600)

	for _, row := range []struct{ path, want string }{
		{filepath.Join(open, "s"), "open to other users"},
		{filepath.Join(link, "s"), "symbolic link"},
		{filepath.Join(plain, "s"), "cannot make the socket's directory"},
		{filepath.Join(os.TempDir(), "s.sock"), ""}, // shared by all, or somebody else's
		{filepath.Join(dir, strings.Repeat("x", 110)), "bytes"},
		{"relative.sock", "not absolute"},
	} {
		l, err := Listen(row.path)
		if err == nil {
			l.Close()
			t.Errorf("Listen(%s) is accepted", row.path)
			continue
		}
		if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("Listen(%s): %v; want %q", row.path, err, row.want)
		}
	}
	if _, err := Dial(context.Background(), strings.Repeat("/x", 100)); !fault.Is(err, fault.Usage) {
		t.Errorf("Dial of a path too long: %v", err)
	}
}

func TestDir(t *testing.T) {
	xdg := private(t)
	env := map[string]string{"XDG_RUNTIME_DIR": xdg}
	getenv := func(k string) string { return env[k] }
	if got := Dir(getenv); got != filepath.Join(xdg, "airlock") {
		t.Errorf("with XDG_RUNTIME_DIR: %s", got)
	}
	env["XDG_RUNTIME_DIR"] = filepath.Join(xdg, "gone")
	if got := Dir(getenv); !strings.HasPrefix(got, "/tmp/airlock-") {
		t.Errorf("with a runtime directory that is not there: %s", got)
	}
	env["AIRLOCK_RUNTIME_DIR"] = "/mine"
	if got := Dir(getenv); got != "/mine" {
		t.Errorf("with AIRLOCK_RUNTIME_DIR: %s", got)
	}
}

// TestOneHolderAtATime: many take and leave the place in turn, and no two hold it together.
func TestOneHolderAtATime(t *testing.T) {
	path := filepath.Join(private(t), "s.sock")
	var holders, times atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				l, err := Listen(path)
				if errors.Is(err, ErrInUse) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold the socket together", n)
				}
				times.Add(1)
				holders.Add(-1)
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if times.Load() == 0 {
		t.Error("nobody got it")
	}
}
