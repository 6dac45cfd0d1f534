package systemd

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

func TestManagerIsTold(t *testing.T) {
	dir, err := os.MkdirTemp("", "airlock") // short, for sun_path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "n")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	m := From(func(key string) string { return map[string]string{"NOTIFY_SOCKET": path}[key] })
	for _, row := range []struct {
		tell func() error
		want string
	}{
		{func() error { return m.Ready("at /s") }, `^READY=1\nSTATUS=at /s$`},
		{m.Reloading, `^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]+$`},
		{m.Stopping, `^STOPPING=1$`},
	} {
		if err := row.tell(); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 1024)
		n, err := manager.Read(buffer)
		if got := string(buffer[:n]); err != nil || !regexp.MustCompile(row.want).MatchString(got) {
			t.Errorf("%q, %v; want %s", got, err, row.want)
		}
	}
	_ = manager.Close()
	if m.Stopping() == nil {
		t.Error("a manager that has gone is no error")
	}
	if err := (Manager{}).Ready(""); err != nil {
		t.Errorf("no manager: %v", err)
	}
}
