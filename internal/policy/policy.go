// Package policy says which caller may look up what. It is pure: who the caller is, others find out.
package policy

import (
	"fmt"
	"slices"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

// Caller is who asks.
type Caller struct {
	UID, GID uint32 // by the kernel's word; the group is the caller's first one
	Own      bool   // the user that runs the agent, or root, who could read its memory anyway
}

// Rule lets some callers look up a part of all there is. A caller must meet every list that is not empty.
type Rule struct {
	UIDs, GIDs []uint32
	Scope      airflow.Scope
}

func (r Rule) has(c Caller) bool {
	return (len(r.UIDs) == 0 || slices.Contains(r.UIDs, c.UID)) && (len(r.GIDs) == 0 || slices.Contains(r.GIDs, c.GID))
}

// Policy allows what one of its rules allows, and nothing else. The zero value, without rules, allows everything to the
// agent's own user and root.
type Policy struct{ Rules []Rule }

// Others tells whether there is a rule at all, so that callers other than the agent's own user may have something to ask.
func (p Policy) Others() bool { return len(p.Rules) > 0 }

// Admit says whether a caller may ask anything. The error is of kind Forbidden.
func (p Policy) Admit(c Caller) error {
	if c.Own || slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.has(c) }) {
		return nil
	}
	if len(p.Rules) == 0 {
		return fault.New(fault.Forbidden, fmt.Sprintf("user %d may not ask this agent: it is another user's", c.UID), "run an agent as your own user")
	}
	return fault.New(fault.Forbidden, fmt.Sprintf("the agent's policy has no rule for user %d, group %d", c.UID, c.GID))
}

// Allow says whether a caller may look something up. The error is of kind Forbidden.
func (p Policy) Allow(c Caller, l agentapi.Lookup) error {
	if len(p.Rules) == 0 {
		return p.Admit(c)
	}
	for i := range p.Rules {
		if r := &p.Rules[i]; r.has(c) && r.Scope.Has(l.Kind, l.ID, l.Team) {
			return nil
		}
	}
	return fault.New(fault.Forbidden, fmt.Sprintf("the agent's policy does not allow it to user %d, group %d", c.UID, c.GID),
		"whoever runs the agent can allow it: see policy in its configuration")
}

// Operate says whether a caller may see what the agent does, and make it forget. The error is of kind Forbidden.
func (p Policy) Operate(c Caller) error {
	if c.Own {
		return nil
	}
	return fault.New(fault.Forbidden, "only the agent's own user and root may ask for that")
}
