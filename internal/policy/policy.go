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
	UID, GID uint32   // by the kernel's word
	Groups   []uint32 // the caller's other groups, as far as the kernel tells
	Own      bool     // the user that runs the agent, or root, who could read its memory anyway
	TCP      bool     // it came by TCP with the token: nobody knows its user, and it is never the own one
}

func (c Caller) String() string {
	if c.TCP {
		return "callers by TCP"
	}
	return fmt.Sprintf("user %d, group %d", c.UID, c.GID)
}

// Rule lets some callers look up a part of all there is. A caller must meet every list that is not empty.
type Rule struct {
	UIDs, GIDs []uint32
	TCP        bool // for callers by TCP, and for them alone
	Operate    bool // lets its callers see what the agent does and make it forget, and look up nothing
	Scope      airflow.Scope
}

func (r Rule) has(c Caller) bool {
	if r.TCP || c.TCP {
		return r.TCP && c.TCP
	}
	return (len(r.UIDs) == 0 || slices.Contains(r.UIDs, c.UID)) && (len(r.GIDs) == 0 || c.in(r.GIDs))
}

func (c Caller) in(groups []uint32) bool {
	return slices.Contains(groups, c.GID) || slices.ContainsFunc(c.Groups, func(g uint32) bool { return slices.Contains(groups, g) })
}

// Policy allows what one of its rules allows, and nothing else. The zero value, without rules, allows everything to the
// agent's own user and root.
type Policy struct{ Rules []Rule }

// Admit says whether a caller may ask anything. The error is of kind Forbidden.
func (p Policy) Admit(c Caller) error {
	if c.Own || slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.has(c) }) {
		return nil
	}
	if len(p.Rules) == 0 && !c.TCP {
		return fault.New(fault.Forbidden, fmt.Sprintf("user %d may not ask this agent: it is another user's", c.UID), "run an agent as your own user")
	}
	return fault.New(fault.Forbidden, fmt.Sprintf("the agent's policy has no rule for %s", c))
}

// Allow says whether a caller may look something up. The error is of kind Forbidden.
func (p Policy) Allow(c Caller, l agentapi.Lookup) error {
	if len(p.Rules) == 0 {
		return p.Admit(c)
	}
	for i := range p.Rules {
		if r := &p.Rules[i]; !r.Operate && r.has(c) && r.Scope.Has(l.Kind, l.ID, l.Team) {
			return nil
		}
	}
	return fault.New(fault.Forbidden, fmt.Sprintf("the agent's policy does not allow it to %s", c),
		"whoever runs the agent can allow it: see policy in its configuration")
}

// Operate says whether a caller may see what the agent does, and make it forget. The error is of kind Forbidden.
func (p Policy) Operate(c Caller) error {
	if c.Own || slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Operate && r.has(c) }) {
		return nil
	}
	return fault.New(fault.Forbidden, "only the agent's own user and root may ask for that",
		"whoever runs the agent can allow it to others: a rule of its policy with operate: true")
}
