package peer

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestMain is, in a child, the process that connects and waits to be ended.
func TestMain(m *testing.M) {
	if path := os.Getenv("AIRLOCK_TEST_CONNECT"); path != "" {
		conn, err := net.Dial("unix", path)
		if err != nil {
			os.Exit(1)
		}
		_, _ = conn.Read(make([]byte, 1))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), "AIRLOCK_TEST_CONNECT="+path)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	cred, err := Of(conn)
	if err != nil || int(cred.PID) != child.Process.Pid {
		t.Errorf("%+v, %v; want process %d", cred, err, child.Process.Pid)
	}
	if got := Program(conn, cred); got != self {
		t.Errorf("the program is %q, want %q", got, self)
	}
	// Another process of that id: the one that connected is held, and its end is noticed.
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if got := Program(conn, cred); got != "" {
		t.Errorf("a process that has ended runs %q", got)
	}
	if got := Program(conn, Cred{PID: int32(os.Getpid())}); got != "" {
		t.Errorf("whoever has the id now counts as the caller: %q", got)
	}
}

func TestReusedID(t *testing.T) {
	own := int32(os.Getpid())
	first, err := startOf(own)
	if err != nil || first == 0 {
		t.Fatal(first, err)
	}
	if again, err := startOf(own); err != nil || again != first {
		t.Errorf("began at %d and at %d, %v", first, again, err)
	}
	if got := whileAlive(own, func() bool { return false }); got != "" {
		t.Errorf("another process's program: %q", got)
	}
	if _, err := startOf(1 << 30); err == nil {
		t.Error("a process that is not there has a beginning")
	}
}
