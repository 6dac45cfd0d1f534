package agent

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// How long a connection may stay in each of its states. A caller is a process of our own user, so they guard against
// accidents.
var stays = map[http.ConnState]time.Duration{
	http.StateNew:    10 * time.Second, // until the head of its first request is there
	http.StateActive: 2 * time.Minute,  // then: a minute or so for the vault, the rest for a caller that is slow
	http.StateIdle:   10 * time.Minute, // from the answer to the head of the next request
}

// patience closes the connections of callers that take too long. The timeouts of http.Server would do the same by moving
// a timer four times for each request, which costs a seventh of what the agent can answer; this looks at all connections
// now and then, and a request costs it two numbers that are written. It is late by lookEvery at most.
type patience struct {
	looks atomic.Int64
	ends  sync.Map // net.Conn to *atomic.Int64: at which look it is closed
}

// note is for http.Server.ConnState.
func (p *patience) note(conn net.Conn, state http.ConnState) {
	if r, remote := conn.(*remoteConn); remote && state == http.StateIdle {
		r.waits.Store(true)
	}
	stay, bounded := stays[state]
	if !bounded {
		p.ends.Delete(conn)
		return
	}
	end, known := p.ends.Load(conn)
	if !known {
		end, _ = p.ends.LoadOrStore(conn, new(atomic.Int64))
	}
	end.(*atomic.Int64).Store(p.looks.Load() + int64(stay/lookEvery) + 1)
}

// remote is a listener for callers by TCP, of whom only so many can be connected. Of a kept connection net/http tells nothing
// between an answer and the whole head of the next request; here a head that has begun is waited for as long as the first one.
// Callers on the socket, the agent's own user as a rule, are spared what that costs.
type remote struct {
	net.Listener
	patience *patience
}

func (l remote) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &remoteConn{Conn: conn, patience: l.patience}, nil
}

type remoteConn struct {
	net.Conn
	patience *patience
	waits    atomic.Bool // for the next request, of which nothing has come
}

func (c *remoteConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.waits.CompareAndSwap(true, false) {
		c.patience.note(c, http.StateNew)
	}
	return n, err
}

// look closes what is overdue. It is called once every lookEvery.
func (p *patience) look() {
	now := p.looks.Add(1)
	p.ends.Range(func(conn, end any) bool {
		if now >= end.(*atomic.Int64).Load() {
			_ = conn.(net.Conn).Close()
		}
		return true
	})
}
