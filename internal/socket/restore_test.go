package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// answering accepts callers, and tells each who answers, until the listener ends.
func answering(t *testing.T, l net.Listener) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
}

func answers(t *testing.T, path string) error {
	conn, err := Dial(t.Context(), path)
	if err != nil {
		return err
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
		return errors.Join(err, errors.New("answered: "+string(got)))
	}
	return nil
}

func TestRestore(t *testing.T) {
	for _, row := range []struct {
		name   string
		remove func(path string) error
	}{
		{"the socket is removed", os.Remove},
		{"its lock is removed, too", func(path string) error { return errors.Join(os.Remove(path), os.Remove(path+".lock")) }},
		{"its directory is removed", func(path string) error { return os.RemoveAll(filepath.Dir(path)) }},
		{"a dead socket is in its place", func(path string) error {
			other, err := net.ListenUnix("unix", &net.UnixAddr{Name: path + "2", Net: "unix"})
			if err != nil {
				return err
			}
			other.SetUnlinkOnClose(false)
			return errors.Join(other.Close(), os.Rename(path+"2", path))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(private(t), "d", "s")
			l, err := Listen(path)
			if err != nil {
				t.Fatal(err)
			}
			answering(t, l)
			for range 2 { // a second time, it has been made again already
				if err := row.remove(path); err != nil {
					t.Fatal(err)
				}
				if l.Present() {
					t.Error("it is still seen")
				}
				if err := errors.Join(l.Restore(), answers(t, path)); err != nil || !l.Present() {
					t.Fatalf("%v, present %t", err, l.Present())
				}
				if info, err := os.Lstat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
					t.Errorf("%v, %v", info, err)
				}
				if _, err := Listen(path); !errors.Is(err, ErrInUse) {
					t.Errorf("a second listener: %v", err)
				}
			}
			if err := l.Close(); err != nil || l.Restore() != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); err == nil {
				t.Error("a closed socket is left behind, or made again")
			}
		})
	}
}

// TestRestoreLeavesOthersAlone: what took the place keeps it.
func TestRestoreLeavesOthersAlone(t *testing.T) {
	path := filepath.Join(private(t), "d", "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	other, err := Listen(path) // with the directory, the lock has gone
	if err != nil {
		t.Fatal(err)
	}
	answering(t, other)
	if err := l.Restore(); !errors.Is(err, ErrInUse) {
		t.Errorf("%v", err)
	}
	if err := answers(t, path); err != nil || !other.Present() {
		t.Errorf("the other one: %v", err)
	}

	file := filepath.Join(private(t), "s")
	l, err = Listen(file)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := errors.Join(os.Remove(file), os.WriteFile(file, []byte("mine"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := l.Restore(); !fault.Is(err, fault.Usage) {
		t.Errorf("%v", err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "mine" {
		t.Errorf("%q, %v", got, err)
	}
}

// pass makes a socket as a service manager does, and the descriptor that it hands on.
func pass(t *testing.T, path string) *os.File {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func TestPassed(t *testing.T) {
	path := filepath.Join(private(t), "s")
	file := pass(t, path)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := fromFile(file, 0)
	if err != nil {
		t.Fatal(err)
	}
	answering(t, l)
	if err := answers(t, path); err != nil || l.Path() != path || !l.Present() || l.Restore() != nil {
		t.Errorf("%v, %s, present %t", err, l.Path(), l.Present())
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("a socket that belongs to the service manager was removed: %v", err)
	}
	// Others may look into the directory, as into /run/airlock.
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if l, err = fromFile(file, 0); err != nil {
		t.Error(err)
	} else {
		_ = l.Close()
	}
}

func TestPassedIsRefused(t *testing.T) {
	at := func(socketMode, dirMode os.FileMode) *os.File {
		path := filepath.Join(private(t), "s")
		file := pass(t, path)
		if err := errors.Join(os.Chmod(path, socketMode), os.Chmod(filepath.Dir(path), dirMode)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	moved := pass(t, filepath.Join(private(t), "s"))
	if l, err := net.FileListener(moved); err != nil || os.Remove(l.Addr().String()) != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	tcpFile, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer tcpFile.Close()
	plain, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for _, row := range []struct {
		file *os.File
		want string
	}{
		{at(0o666, 0o700), "open to other users (mode 0666)"},
		{at(0o660, 0o755), "open to other users (mode 0660)"},
		{at(0o670, 0o755), "open to other users (mode 0670)"},
		{at(0o600, 0o777), "others can write"},
		{moved, "not at its path"},
		{tcpFile, "no Unix socket"},
		{plain, "does not listen"},
	} {
		l, err := fromFile(row.file, 0)
		if l != nil || !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v, want %s", err, row.want)
		}
	}
}

func TestPassedToAnother(t *testing.T) {
	for _, pid := range []string{"", "1", "x"} {
		l, err := Passed(func(key string) string { return map[string]string{"LISTEN_PID": pid, "LISTEN_FDS": "1"}[key] }, 0)
		if l != nil || err != nil {
			t.Errorf("%q: %v, %v", pid, l, err)
		}
	}
}
