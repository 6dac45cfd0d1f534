package socket

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// TestFullQueue: who comes when the queue is full waits until there is room, or its time is over.
func TestFullQueue(t *testing.T) {
	path := filepath.Join(private(t), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	for {
		conn, err := net.Dial("unix", path)
		if errors.Is(err, syscall.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Dial(short, path); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a full queue: %v", err)
	}
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan error, 1)
	go func() {
		conn, err := Dial(t.Context(), path)
		if err == nil {
			conn.Close()
		}
		got <- err
	}()
	conn, err := l.Accept() // makes room
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := <-got; err != nil {
		t.Errorf("with room: %v", err)
	}
}
