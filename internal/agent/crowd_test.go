package agent

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/socket"
)

// crowd is how many callers are connected at once; each end of a connection is a descriptor, so they have a process of their
// own.
const crowd = 10_000

// crowdAt tells a process of this test that it is the callers, and where their agent is.
const crowdAt = "AIRLOCK_TEST_CROWD"

// TestCrowd: ten thousand callers are connected at once, each has its answer, and one more is served as fast as before.
func TestCrowd(t *testing.T) {
	if path := os.Getenv(crowdAt); path != "" {
		callers(t, path)
		return
	}
	var limit syscall.Rlimit // Go has raised the soft one already
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < crowd+200 {
		t.Skipf("this machine allows %d open files, too few for %d callers (%v)", limit.Cur, crowd, err)
	}
	v := &vault{secrets: map[string]string{"airflow-variables-hello": canary}}
	r := start(t, v, nil)
	others := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrowd$")
	others.Env = append(os.Environ(), crowdAt+"="+r.path)
	others.Stderr = os.Stderr
	says, err := others.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	hears, err := others.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := others.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(says)
	if !lines.Scan() || lines.Text() != crowdReady {
		t.Fatalf("the crowd says %q", lines.Text())
	}
	if got, err := r.Get(t.Context(), variable("hello")); err != nil || string(got.Value.Reveal()) != canary {
		t.Errorf("one more: %v", err)
	}
	hears.Close()
	for lines.Scan() {
		if line := lines.Text(); line != "PASS" {
			t.Log(line)
		}
	}
	if err := others.Wait(); err != nil {
		t.Errorf("the crowd: %v", err)
	}
	if got := v.requests(); got != "airflow-variables-hello" {
		t.Errorf("the vault was asked for %s", got)
	}
	if s, err := r.Status(t.Context()); err != nil || s.Lookups != crowd+1 {
		t.Errorf("%d lookups, %v", s.Lookups, err)
	}
}

const crowdReady = "all have asked"

// callers connect and ask, say so, and read their answers when their standard input ends.
func callers(t *testing.T, path string) {
	conns := make([]net.Conn, 0, crowd)
	deadline := time.Now().Add(2 * time.Minute)
	for range crowd {
		conn, err := socket.Dial(t.Context(), path) // the queue is shorter than the crowd
		if err != nil {
			t.Fatalf("caller %d: %v", len(conns), err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(deadline)
		conns = append(conns, conn)
	}
	for i, conn := range conns {
		if _, err := io.WriteString(conn, "GET /v1/variables/hello HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatalf("caller %d: %v", i, err)
		}
	}
	fmt.Println(crowdReady)
	_, _ = io.Copy(io.Discard, os.Stdin)
	for i, conn := range conns {
		response, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("caller %d: %v, %v", i, response, err)
		}
		response.Body.Close()
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
