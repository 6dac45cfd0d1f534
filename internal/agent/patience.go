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
