package agent

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/audit"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/peer"
	"github.com/airlock-secrets/airlock/internal/policy"
)

// Guard decides who may ask, and has it written down. The zero value lets the agent's own user and root ask, and writes
// nothing.
type Guard struct {
	Policy policy.Policy
	Audit  Auditor // nil: nothing is written down
	Remote Remote
}

// Auditor takes a line, or says that it could not.
type Auditor interface{ Write(audit.Line) error }

// caller is the kernel's word on who connected, or why nobody may ask on this connection. Of one that came by TCP nothing
// is known; each of its requests has to show the token.
type caller struct {
	peer.Cred
	groups  []uint32
	program string
	tcp     bool
	err     error
}

type callerKey struct{}

// admit finds out who connected. The program is for the audit alone.
func admit(conn net.Conn, program bool) *caller {
	if _, tcp := conn.LocalAddr().(*net.TCPAddr); tcp {
		return &caller{tcp: true}
	}
	c := &caller{}
	if c.Cred, c.err = peer.Of(conn); c.err != nil {
		return c
	}
	c.groups = peer.Groups(conn)
	if program {
		c.program = peer.Program(conn, c.Cred)
	}
	return c
}

// callerOf says who sent a request. One that came over no socket of ours is refused.
func callerOf(ctx context.Context) (*caller, error) {
	c, ok := ctx.Value(callerKey{}).(*caller)
	if !ok {
		return nil, fault.New(fault.Forbidden, "the caller is unknown")
	}
	return c, c.err
}

func (c *caller) policy() policy.Caller {
	if c.tcp {
		return policy.Caller{TCP: true}
	}
	return policy.Caller{UID: c.UID, GID: c.GID, Groups: c.groups, Own: c.Own()}
}

// question is a lookup with who asks it.
type question struct {
	agentapi.Lookup
	from   *caller
	header http.Header // what the caller says of itself
}

// answer authorises a lookup, has it answered and writes it down, in one call: an answer that is not written down is not
// given.
func (g *Guard) answer(q question, look func() (found, error)) (found, error) {
	var f found
	err := g.Policy.Allow(q.from.policy(), q.Lookup)
	if err == nil {
		f, err = look()
	} else {
		err = about(q.Lookup, err)
	}
	if g.Audit == nil {
		return f, err
	}
	line := audit.Line{
		Time: time.Now(), Via: audit.TCP,
		Kind: string(q.Kind), ID: clip(q.ID), Team: clip(q.Team), Secret: f.secret, Vault: f.vault,
		Outcome: outcome(err), Source: string(f.source), Age: f.age.Seconds(),
		DAG: claim(q.header, agentapi.HeaderDAG), Task: claim(q.header, agentapi.HeaderTask),
	}
	if c := q.from; !c.tcp {
		line.Via, line.Peer = audit.Unix, &audit.Peer{UID: c.UID, GID: c.GID, PID: c.PID, Exe: c.program}
	}
	if lost := g.Audit.Write(line); lost != nil {
		return found{}, lost
	}
	return f, err
}

// claim is what a caller says of itself in a header, percent-encoded.
func claim(header http.Header, name string) string {
	values := header[name]
	if len(values) == 0 {
		return ""
	}
	text, err := url.PathUnescape(values[0])
	if err != nil {
		return ""
	}
	return clip(text)
}

// clip keeps a line short, whatever a caller sends: Airflow's ids have 250 characters at most.
func clip(text string) string {
	if len(text) > agentapi.MaxIDBytes {
		return text[:agentapi.MaxIDBytes]
	}
	return text
}
