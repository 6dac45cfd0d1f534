package cli

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestUnderAServiceManager: an agent as systemd starts it, on a socket that systemd made, with its reports to systemd.
func TestUnderAServiceManager(t *testing.T) {
	dir, err := os.MkdirTemp("", "airlock") // short, for sun_path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, path, notify := filepath.Join(dir, "airlock"), filepath.Join(dir, "s"), filepath.Join(dir, "n")
	if err := os.Symlink(self, binary); err != nil { // TestMain runs the program under this name
		t.Fatal(err)
	}
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	passed, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer passed.Close()
	file, err := passed.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	run := func() (*exec.Cmd, *bytes.Buffer) {
		var stderr bytes.Buffer
		child := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" agent`, binary)
		child.Dir, child.Stderr, child.ExtraFiles = dir, &stderr, []*os.File{file}
		child.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "NOTIFY_SOCKET=" + notify,
			`AIRFLOW__SECRETS__BACKEND_KWARGS={"vault_url": "https://v.vault.azure.net/"}`,
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		return child, &stderr
	}
	told := func(want string) {
		t.Helper()
		buffer := make([]byte, 1024)
		_ = manager.SetReadDeadline(time.Now().Add(patience))
		n, err := manager.Read(buffer)
		if got := string(buffer[:n]); err != nil || got != want {
			t.Fatalf("told %q, %v; want %q", got, err, want)
		}
	}

	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	child, stderr := run()
	if err := child.Wait(); err == nil || !strings.Contains(stderr.String(), "airlock: error: the service manager passes a socket that is open to other users") {
		t.Errorf("%v: %s", err, stderr)
	}

	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	child, stderr = run()
	told(fmt.Sprintf("READY=1\nSTATUS=answers at %s", path))
	agent := askAgent(path)
	status, err := agent.Status(t.Context())
	agent.Close()
	if err != nil || status.PID != child.Process.Pid {
		t.Errorf("%+v, %v", status, err)
	}
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	told("STOPPING=1")
	if err := child.Wait(); err != nil {
		t.Errorf("%v: %s", err, stderr)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the agent removed a socket that is not its own: %v", err)
	}
}
