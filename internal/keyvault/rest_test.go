package keyvault

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// closing tells when it is closed.
type closing struct {
	net.Conn
	open   *atomic.Int64
	closed chan struct{}
	once   atomic.Bool
}

func (c *closing) Close() error {
	err := c.Conn.Close()
	if !c.once.Swap(true) {
		c.open.Add(-1)
		c.closed <- struct{}{}
	}
	return err
}

// TestRest: a client at rest keeps no connection, not even one that was in use when it went to rest.
func TestRest(t *testing.T) {
	asked, answers := make(chan struct{}), make(chan struct{})
	f := newFake(t, &cloudFake{vault: func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-answers
		answer(w, http.StatusOK, `{"value":"v","id":"https://`+vaultHost+`/secrets/a/1","attributes":{"enabled":true}}`)
	}})
	var open atomic.Int64
	closed := make(chan struct{}, 100)
	transport := f.transport()
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := f.dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		open.Add(1)
		return &closing{Conn: conn, open: &open, closed: closed}, nil
	}
	config := f.config()
	config.HTTPClient = &http.Client{Transport: transport}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		_, err := c.Get(t.Context(), "a")
		got <- err
	}()
	<-asked
	c.Rest()
	if open.Load() == 0 {
		t.Fatal("the call that is under way has no connection")
	}
	close(answers)
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	for late := time.After(30 * time.Second); open.Load() > 0; {
		select {
		case <-closed:
		case <-late:
			t.Fatalf("%d connections stay open", open.Load())
		}
	}
}
