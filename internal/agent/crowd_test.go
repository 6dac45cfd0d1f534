package agent

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/socket"
)

// TestCrowd: ten thousand callers are connected at once, each has its answer, and one more is served as fast as before.
func TestCrowd(t *testing.T) {
	crowd := 10_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if most := (int(limit.Cur) - 200) / 2; crowd > most { // both ends are in this process; Go has raised the soft limit already
		t.Logf("this machine allows %d open files: %d callers instead of %d", limit.Cur, most, crowd)
		crowd = most
	}
	v := &vault{secrets: map[string]string{"airflow-variables-hello": canary}}
	r := start(t, v, nil)
	conns := make([]net.Conn, 0, crowd)
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	deadline := time.Now().Add(2 * time.Minute)
	for range crowd {
		conn, err := socket.Dial(t.Context(), r.path) // the queue is shorter than the crowd
		if err != nil {
			t.Fatalf("caller %d: %v", len(conns), err)
		}
		_ = conn.SetDeadline(deadline)
		conns = append(conns, conn)
	}
	for i, conn := range conns {
		if _, err := io.WriteString(conn, "GET /v1/variables/hello HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatalf("caller %d: %v", i, err)
		}
	}
	if got, err := r.Get(t.Context(), variable("hello")); err != nil || string(got.Value.Reveal()) != canary {
		t.Errorf("one more: %v", err)
	}
	for i, conn := range conns {
		response, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("caller %d: %v, %v", i, response, err)
		}
		response.Body.Close()
	}
	if got := v.requests(); got != "airflow-variables-hello" {
		t.Errorf("the vault was asked for %s", got)
	}
	if s, err := r.Status(t.Context()); err != nil || s.Lookups != int64(crowd)+1 {
		t.Errorf("%d lookups, %v", s.Lookups, err)
	}
}

// TestSlowReader: a caller that reads its answers byte by byte, far slower than they come, keeps nobody else waiting.
func TestSlowReader(t *testing.T) {
	v := &vault{secrets: map[string]string{"airflow-variables-large": string(make([]byte, 25_000)), "airflow-variables-b": "1"}}
	r := start(t, v, nil)
	slow, err := net.Dial("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	// More answers than the kernel keeps for it, so that the agent has to wait for it to read on.
	_ = slow.SetWriteDeadline(time.Now().Add(30 * time.Second))
	go func() {
		for range 100 {
			if _, err := io.WriteString(slow, "GET /v1/variables/large HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				return
			}
		}
	}()
	one := make([]byte, 1)
	for range 20 {
		if _, err := slow.Read(one); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := r.Get(t.Context(), variable("b")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("others wait for %v", took)
		}
	}
	stuck := func() bool { return r.daemon.used.active.Load() > 0 }
	for deadline := time.Now().Add(30 * time.Second); !stuck(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the agent does not wait for the slow caller: the test tests nothing")
		}
	}
}
