package airflow

import (
	"slices"
	"strings"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// naming is the defaults with one prefix for all kinds; null leaves them off.
func naming(prefix string, sep string) Naming {
	p := NewPrefix(prefix)
	return Naming{ConnectionsPrefix: p, VariablesPrefix: p, ConfigPrefix: p, Sep: sep}
}

func TestNames(t *testing.T) {
	defaults := DefaultKwargs().Naming
	teams := defaults
	teams.MultiTeam = true
	custom := defaults
	custom.VariablesPrefix = NewPrefix("custom-variables")

	for _, row := range []struct {
		naming   Naming
		kind     Kind
		id, team string
		want     string // names, joined by a space; "" is none; "refused" is an error
	}{
		// The official backend's own tests.
		{defaults, Variable, "hello", "", "airflow-variables-hello"},
		{defaults, Variable, "test_mysql", "", "airflow-variables-test-mysql"},
		{naming("af-secrets", "-"), Connection, "test_mysql_password", "", "af-secrets-test-mysql-password"},
		{defaults, Connection, "my_db", "team_a", "airflow-connections-team-a--my-db airflow-connections-my-db"},
		{defaults, Variable, "hello", "team_a", "airflow-variables-team-a--hello airflow-variables-hello"},
		{custom, Variable, "hello", "team_a", "custom-variables-team-a--hello custom-variables-hello"},
		{teams, Variable, "teama--hello", "", "refused"},
		{defaults, Variable, "my.app.setting", "", "refused"},

		// Null and empty prefixes, trailing separators, case.
		{Naming{Sep: "-"}, Variable, "hello", "", ""},
		{Naming{Sep: "-"}, Config, "test_mysql", "", ""},
		{naming("airflow-connections-", "-"), Connection, "smtp_default", "", "airflow-connections-smtp-default"},
		{naming("airflow-connections---", "-"), Connection, "x", "", "airflow-connections-x"},
		{naming("airflow_connections", "-"), Connection, "My_DB", "", "airflow-connections-My-DB"},
		{naming("", "-"), Connection, "my_db", "", "my-db"},
		{naming("", "-"), Connection, "my_db", "team_a", "team-a--my-db my-db"},
		{naming("---", "-"), Connection, "my_db", "", "my-db"},

		// Ids that look like a team's: ordinary ones unless teams are on, and then refused wherever "--" stands
		// (15.2.1; earlier releases refused some of them always).
		{naming("p", "-"), Connection, "a__b", "", "p-a--b"},
		{naming("p", "-"), Connection, "my_team__db", "", "p-my-team--db"},
		{naming("p", "-"), Connection, "--hello", "", "p---hello"},
		{naming("p", "-"), Connection, "a--", "", "p-a--"},
		{naming("p", "-"), Connection, "team-a--hello", "", "p-team-a--hello"},
		{teams, Connection, "a__b", "", "refused"},
		{teams, Connection, "a__b", "team", "refused"},
		{teams, Connection, "my_team__db", "", "refused"},
		{teams, Connection, "a_-b", "", "refused"},
		{teams, Config, "a__b", "", "refused"},
		{teams, Connection, "a_b", "t", "airflow-connections-t--a-b airflow-connections-a-b"},

		// Other separators. "" joins without one and drops "_"; "." makes names that Key Vault cannot hold.
		{naming("p", ""), Connection, "x_y", "t", "pt--xy pxy"},
		{naming("p", ""), Connection, "x_y", "", "pxy"},
		{naming("", ""), Connection, "my_db", "", "mydb"},
		{naming("p", "."), Connection, "x_y", "", "refused"},

		// What Key Vault cannot hold.
		{naming("p", "-"), Connection, "x y", "", "refused"},
		{naming("p", "-"), Connection, "", "", "p-"},
		{naming("", "-"), Connection, "", "", "refused"},
		{naming("p", "-"), Connection, strings.Repeat("x", 125), "", "p-" + strings.Repeat("x", 125)},
		{naming("p", "-"), Connection, strings.Repeat("x", 126), "", "refused"},
		{naming("p", "-"), Connection, "x\n", "", "refused"},
		{naming("p", "-"), Connection, "é", "", "refused"},
		{naming("p", "-"), Connection, "../up", "", "refused"},
		{naming("p", "-"), Connection, "x", "bad team", "p-x"}, // the team's name is not askable, everybody's is

		// Config knows no teams.
		{defaults, Config, "sql_alchemy_conn", "t", "airflow-config-sql-alchemy-conn"},
	} {
		names, err := row.naming.Names(row.kind, row.id, row.team)
		got := strings.Join(names, " ")
		if err != nil {
			got = "refused"
			if !fault.Is(err, fault.Usage) {
				t.Errorf("Names(%s, %q, %q): kind %v", row.kind, row.id, row.team, fault.KindOf(err))
			}
		}
		if got != row.want {
			t.Errorf("Names(%s, %q, %q) with %+v = %q, want %q", row.kind, row.id, row.team, row.naming, got, row.want)
		}
	}
}

func TestNameErrorsAreShort(t *testing.T) {
	_, err := naming("p", "-").Name(Variable, strings.Repeat("\x00ü", 20_000))
	if err == nil || len(err.Error()) > 2500 {
		t.Fatalf("an error of %d bytes", len(err.Error()))
	}
	if _, err := (Naming{}).Name(Config, "x"); err == nil || !slices.Contains(fault.HintsOf(err), `set "config_prefix" in the backend kwargs`) {
		t.Errorf("null prefix: %v, hints %q", err, fault.HintsOf(err))
	}
}

func TestID(t *testing.T) {
	defaults := DefaultKwargs().Naming
	nested := naming("a", "-")
	nested.VariablesPrefix = NewPrefix("a-b")
	for _, row := range []struct {
		naming Naming
		name   string
		kind   Kind
		id     string
	}{
		{defaults, "airflow-connections-my-db", Connection, "my_db"},
		{defaults, "Airflow-Variables-Hello", Variable, "Hello"},
		{defaults, "airflow-config-x", Config, "x"},
		{defaults, "airflow-connections-", "", ""},
		{defaults, "other", "", ""},
		{nested, "a-b-c", Variable, "c"}, // the longer prefix owns the name
		{nested, "a-c", Connection, "c"},
	} {
		kind, id, ok := row.naming.ID(row.name)
		if kind != row.kind || id != row.id || ok != (row.kind != "") {
			t.Errorf("ID(%q) = %q, %q, %v; want %q, %q", row.name, kind, id, ok, row.kind, row.id)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, id := range []string{"hello", "a__b", "", "x y", "é", "a/b", strings.Repeat("x", 130)} {
		f.Add(id, "team", "airflow-variables", "-")
	}
	f.Fuzz(func(t *testing.T, id, team, prefix, sep string) {
		n := naming(prefix, sep)
		names, err := n.Names(Variable, id, team)
		if err == nil && len(names) == 0 {
			t.Error("neither names nor a reason")
		}
		for _, name := range names {
			if !ValidName(name) {
				t.Errorf("name %q is not askable", name)
			}
		}
	})
}
