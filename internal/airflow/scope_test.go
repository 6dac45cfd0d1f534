package airflow

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func pattern(t testing.TB, text string) Pattern {
	t.Helper()
	p, err := NewPattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPattern(t *testing.T) {
	for _, row := range []struct {
		pattern, id string
		want        bool
	}{
		{"*", "", true}, {"*", "a/b", true}, {"", "", true}, {"", "a", false},
		{"team_a_*", "team_a_db", true}, {"team_a_*", "Team-A-DB", true}, {"team_a_*", "team_b_db", false}, {"team_a_*", "team_a", false},
		{"*_prod", "db_prod", true}, {"*_prod", "db_prod_x", false}, {"*a*b", "xxaxbxxb", true}, {"*a*b", "xxaxbxxbc", false},
		{"d?", "db", true}, {"d?", "d", false}, {"d?", "dbx", false}, {"*.*", "a.b", true}, {"*.*", "ab", false},
		{"**a**", "bab", true}, {"a*", "A", true},
	} {
		if got := pattern(t, row.pattern).Match(row.id); got != row.want {
			t.Errorf("%q matches %q: %v", row.pattern, row.id, got)
		}
	}
	if _, err := NewPattern(strings.Repeat("x", 257)); err == nil {
		t.Error("a pattern without end is taken")
	}
}

func TestCovers(t *testing.T) {
	for _, row := range []struct {
		p, other string
		want     bool
	}{
		{"*", "a*b?", true}, {"a*", "a_b*", true}, {"a*", "*", false}, {"a?", "ab", true}, {"a?", "a*", false}, {"ab", "a?", false},
		{"?", "?", true}, {"a*c", "a*b*c", true}, {"a*b*c", "a*c", false}, {"*", "", true},
	} {
		if got := pattern(t, row.p).Covers(pattern(t, row.other)); got != row.want {
			t.Errorf("%q covers %q: %v", row.p, row.other, got)
		}
	}
	// Whatever a covered pattern matches, the covering one matches.
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune("ab*?")), 0, 6, -1)
		p, other := pattern(t, text.Draw(r, "p")), pattern(t, text.Draw(r, "other"))
		id := rapid.StringOfN(rapid.SampledFrom([]rune("ab")), 0, 6, -1).Draw(r, "id")
		if p.Covers(other) && other.Match(id) && !p.Match(id) {
			r.Fatalf("%q is said to cover %q, but only that matches %q", p, other, id)
		}
	})
}

func TestScope(t *testing.T) {
	all := Scope{}
	teamA := Scope{Kinds: []Kind{Connection, Variable}, IDs: []Pattern{pattern(t, "a_*"), pattern(t, "shared")}}
	ofTeam := Scope{Teams: []Pattern{pattern(t, "team_*")}}
	alone := Scope{Teams: []Pattern{{}}}
	for _, row := range []struct {
		scope    Scope
		kind     Kind
		id, team string
		want     bool
	}{
		{all, Config, "x", "t", true}, {teamA, Connection, "a_x", "", true}, {teamA, Config, "a_x", "", false}, {teamA, Variable, "b", "", false},
		{ofTeam, Variable, "x", "team-b", true}, {ofTeam, Variable, "x", "", false}, {alone, Variable, "x", "", true}, {alone, Variable, "x", "t", false},
	} {
		if got := row.scope.Has(row.kind, row.id, row.team); got != row.want {
			t.Errorf("%+v has %s %q of %q: %v", row.scope, row.kind, row.id, row.team, got)
		}
	}
	if !all.Covers(teamA) || teamA.Covers(all) || !teamA.Covers(Scope{Kinds: []Kind{Variable}, IDs: []Pattern{pattern(t, "a_b*")}}) || ofTeam.Covers(alone) || alone.Covers(ofTeam) {
		t.Error("scopes cover one another wrongly")
	}
}
