package policy

import (
	"testing"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

func TestPolicy(t *testing.T) {
	pattern, err := airflow.NewPattern("team_a_*")
	if err != nil {
		t.Fatal(err)
	}
	teamA := airflow.Scope{Kinds: []airflow.Kind{airflow.Variable}, IDs: []airflow.Pattern{pattern}}
	rules := Policy{[]Rule{
		{UIDs: []uint32{1000}, Scope: teamA},
		{GIDs: []uint32{50}},
		{UIDs: []uint32{7}, GIDs: []uint32{70}},
	}}
	remote := Policy{[]Rule{{UIDs: []uint32{0}}, {TCP: true, Scope: teamA}}}
	own, alice, stranger := Caller{UID: 5, Own: true}, Caller{UID: 1000, GID: 1}, Caller{UID: 1001, GID: 1}
	variable := func(id string) agentapi.Lookup { return agentapi.Lookup{Kind: airflow.Variable, ID: id} }
	for _, row := range []struct {
		name              string
		policy            Policy
		caller            Caller
		lookup            agentapi.Lookup
		admitted, allowed bool
	}{
		{"own, no rules", Policy{}, own, variable("x"), true, true},
		{"stranger, no rules", Policy{}, stranger, variable("x"), false, false},
		{"own, and rules for others", rules, own, variable("x"), true, false},
		{"alice, hers", rules, alice, variable("Team-A-x"), true, true},
		{"alice, another", rules, alice, variable("team_b_x"), true, false},
		{"alice, another kind", rules, alice, agentapi.Lookup{Kind: airflow.Connection, ID: "team_a_x"}, true, false},
		{"by group", rules, Caller{UID: 9, GID: 50}, variable("x"), true, true},
		{"user without the group", rules, Caller{UID: 7, GID: 1}, variable("x"), false, false},
		{"user with the group", rules, Caller{UID: 7, GID: 70}, variable("x"), true, true},
		{"by another group", rules, Caller{UID: 9, GID: 9, Groups: []uint32{8, 50}}, variable("x"), true, true},
		{"stranger", rules, stranger, variable("team_a_x"), false, false},
		{"by TCP, no rules", Policy{}, Caller{TCP: true}, variable("x"), false, false},
		{"by TCP, rules for users", rules, Caller{TCP: true}, variable("team_a_x"), false, false},
		{"by TCP, rules for the user that its zero looks like", Policy{[]Rule{{UIDs: []uint32{0}, GIDs: []uint32{0}}}}, Caller{TCP: true}, variable("x"), false, false},
		{"by TCP, its own", remote, Caller{TCP: true}, variable("team_a_x"), true, true},
		{"by TCP, another", remote, Caller{TCP: true}, variable("x"), true, false},
		{"a user, a rule for TCP", remote, alice, variable("team_a_x"), false, false},
	} {
		for what, got := range map[string]struct {
			err  error
			want bool
		}{
			"admit":   {row.policy.Admit(row.caller), row.admitted},
			"allow":   {row.policy.Allow(row.caller, row.lookup), row.allowed},
			"operate": {row.policy.Operate(row.caller), row.caller.Own},
		} {
			if (got.err == nil) != got.want || got.err != nil && !fault.Is(got.err, fault.Forbidden) {
				t.Errorf("%s: %s: %v", row.name, what, got.err)
			}
		}
	}
}

// TestOperate: a rule that lets others see what the agent does lets them look up nothing.
func TestOperate(t *testing.T) {
	p := Policy{[]Rule{{UIDs: []uint32{7}, Operate: true}, {TCP: true, Operate: true}, {UIDs: []uint32{8}}}}
	lookup := agentapi.Lookup{Kind: airflow.Variable, ID: "x"}
	for _, row := range []struct {
		caller          Caller
		operates, looks bool
	}{
		{Caller{UID: 7}, true, false},
		{Caller{TCP: true}, true, false},
		{Caller{UID: 8}, false, true},
		{Caller{UID: 5, Own: true}, true, false},
	} {
		if err := p.Admit(row.caller); err != nil {
			t.Errorf("%s is not admitted: %v", row.caller, err)
		}
		if err := p.Operate(row.caller); (err == nil) != row.operates {
			t.Errorf("%s: operate: %v", row.caller, err)
		}
		if err := p.Allow(row.caller, lookup); (err == nil) != row.looks {
			t.Errorf("%s: look up: %v", row.caller, err)
		}
	}
}
