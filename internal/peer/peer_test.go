package peer

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
)

func TestOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := Of(conn)
	want := Cred{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), PID: int32(os.Getpid())}
	if err != nil || got != want {
		t.Errorf("Of = %+v, %v; want %+v", got, err, want)
	}
	if !got.Own() {
		t.Error("we are strangers to ourselves")
	}
}

func TestStrangersAreRefused(t *testing.T) {
	if (Cred{UID: uint32(os.Geteuid()) + 1}).Own() || !(Cred{UID: 0}).Own() {
		t.Error("root alone is as good as we are")
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := Of(a); !fault.Is(err, fault.Forbidden) {
		t.Errorf("a pipe: %v", err)
	}
}
