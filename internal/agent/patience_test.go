package agent

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener without a socket, so that a test can move the time.
type pipes struct {
	*listener
	dialed chan net.Conn
	tcp    bool
}

func (p *pipes) Addr() net.Addr {
	if p.tcp {
		return &net.TCPAddr{}
	}
	return p.listener.Addr()
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.dialed:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// TestPatience: a connection is closed when it has been in one state for too long, and not before, however long it lives.
func TestPatience(t *testing.T) {
	const request = "GET /v1/variables/hello HTTP/1.1\r\nHost: a\r\n\r\n"
	ask := func(t *testing.T, conn net.Conn, reader *bufio.Reader) {
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
	}
	for name, row := range map[string]struct {
		act  func(t *testing.T, conn net.Conn, reader *bufio.Reader)
		stay time.Duration
		tcp  bool
	}{
		"says nothing": {func(*testing.T, net.Conn, *bufio.Reader) {}, stays[http.StateNew], false},
		"half a request": {func(t *testing.T, conn net.Conn, _ *bufio.Reader) {
			_, _ = io.WriteString(conn, request[:20])
		}, stays[http.StateNew], false},
		"reads no answer": {func(t *testing.T, conn net.Conn, _ *bufio.Reader) {
			_, _ = io.WriteString(conn, request)
		}, stays[http.StateActive], false},
		"between two requests": {func(t *testing.T, conn net.Conn, reader *bufio.Reader) {
			for range 5 {
				ask(t, conn, reader)
				time.Sleep(stays[http.StateIdle] - 2*lookEvery)
			}
			ask(t, conn, reader)
		}, stays[http.StateIdle], false},
		"half of a second request": {func(t *testing.T, conn net.Conn, reader *bufio.Reader) {
			ask(t, conn, reader)
			_, _ = io.WriteString(conn, request[:20])
		}, stays[http.StateIdle], false},
		"between two requests by TCP": {func(t *testing.T, conn net.Conn, reader *bufio.Reader) {
			ask(t, conn, reader)
			time.Sleep(stays[http.StateIdle] - 2*lookEvery)
			ask(t, conn, reader)
		}, stays[http.StateIdle], true},
		"half of a second request by TCP": {func(t *testing.T, conn net.Conn, reader *bufio.Reader) {
			for range 2 {
				ask(t, conn, reader)
				time.Sleep(stays[http.StateIdle] - 2*lookEvery)
			}
			_, _ = io.WriteString(conn, request[:20])
		}, stays[http.StateNew], true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := alone(DaemonConfig{})
				l := &pipes{listener: &listener{closed: make(chan struct{})}, dialed: make(chan net.Conn), tcp: row.tcp}
				ctx, stop := context.WithCancel(t.Context())
				var serving sync.WaitGroup
				unix, others := Listener(l), []net.Listener(nil)
				if row.tcp {
					unix, others = &listener{closed: make(chan struct{})}, []net.Listener{l}
				}
				serving.Go(func() { _ = d.Serve(ctx, unix, others...) })
				ours, theirs := net.Pipe()
				l.dialed <- theirs
				reader := bufio.NewReader(ours)
				row.act(t, ours, reader)
				begun := time.Now()
				synctest.Wait()
				time.Sleep(row.stay - lookEvery)
				synctest.Wait()
				if open := theirs.SetDeadline(time.Time{}) == nil; !open {
					t.Errorf("closed before %v", row.stay)
				}
				time.Sleep(4 * lookEvery)
				synctest.Wait()
				if open := theirs.SetDeadline(time.Time{}) == nil; open {
					t.Errorf("still open after %v", time.Since(begun))
				}
				stop()
				serving.Wait()
			})
		})
	}
}
