package agent

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/policy"
	"github.com/airlock-secrets/airlock/internal/socket"
)

// somebody is a user with a first group and another one.
type somebody struct{ uid, gid, group uint32 }

// ask looks a variable up as somebody else: on Linux a thread has a user of its own, and the kernel tells the agent that of
// the thread that connected. The thread ends with it.
func (s somebody) ask(path, id string) (string, error) {
	var answer string
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		groups := [1]uint32{s.group}
		for _, call := range [][4]uintptr{
			{unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&groups))},
			{unix.SYS_SETRESGID, uintptr(s.gid), uintptr(s.gid), uintptr(s.gid)},
			{unix.SYS_SETRESUID, uintptr(s.uid), uintptr(s.uid), uintptr(s.uid)},
		} {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				failed = errno
				return
			}
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			failed = err
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		_, err = io.WriteString(conn, "GET /v1/variables/"+id+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		all, readErr := io.ReadAll(conn)
		answer, failed = string(all), errors.Join(err, readErr)
	}()
	<-done
	return answer, failed
}

// TestSharedSocket: real users of the machine, some of them in the group that the socket is for.
func TestSharedSocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can ask as somebody else")
	}
	const group, alice, bob = 54321, 61001, 61002
	parent, err := os.MkdirTemp("", "airlock")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(parent)
	if err := os.Chmod(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := socket.ListenFor(filepath.Join(parent, "shared", "s"), group)
	if err != nil {
		t.Fatal(err)
	}
	v := &vault{secrets: map[string]string{"airflow-variables-for-alice": canary, "airflow-variables-for-group": canary}}
	startDaemon(t, v, nil, func(c *DaemonConfig) {
		c.Plan.Guard.Policy.Rules = []policy.Rule{
			{UIDs: []uint32{alice}, Scope: airflow.Scope{IDs: patterns(t, "for_alice")}},
			{GIDs: []uint32{group}, Scope: airflow.Scope{IDs: patterns(t, "for_group")}},
		}
	}, l)
	for _, row := range []struct {
		who  somebody
		id   string
		want string // in the answer; "": the kernel lets nobody in
	}{
		{somebody{alice, alice, group}, "for_alice", canary},
		{somebody{alice, alice, group}, "for_group", canary},
		{somebody{bob, bob, group}, "for_group", canary}, // by a group that is not his first one
		{somebody{bob, group, bob}, "for_group", canary},
		{somebody{bob, bob, group}, "for_alice", "policy does not allow it to user 61002"},
		{somebody{alice, alice, alice}, "for_alice", ""},
		{somebody{bob, bob, bob}, "for_group", ""},
	} {
		answer, err := row.who.ask(l.Path(), row.id)
		if row.want == "" {
			if !errors.Is(err, syscall.EACCES) {
				t.Errorf("%+v: %q, %v", row.who, answer, err)
			}
			continue
		}
		if err != nil || !strings.Contains(answer, row.want) {
			t.Errorf("%+v asks for %s: %q, %v", row.who, row.id, answer, err)
		}
	}
	if uid := os.Geteuid(); uid != 0 {
		t.Errorf("this process is user %d now", uid)
	}
}
