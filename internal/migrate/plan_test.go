package migrate

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/keyvault"
	"github.com/airlock-secrets/airlock/internal/secret"
	"github.com/airlock-secrets/airlock/internal/source"
)

var naming = airflow.DefaultKwargs().Naming

func variable(id, value string) source.Item {
	return source.Item{Kind: airflow.Variable, ID: id, Value: secret.FromString(value), Where: "f:1"}
}

func connection(id, value string) source.Item {
	return source.Item{Kind: airflow.Connection, ID: id, Value: secret.FromString(value), Where: "f:1"}
}

// held is a secret that somebody wrote, with its value read.
func held(name, value string, change ...func(*keyvault.Properties)) Held {
	p := keyvault.Properties{Name: name, Enabled: true}
	for _, c := range change {
		c(&p)
	}
	h, ok := Identify(naming, p)
	if !ok {
		panic(name + " is under no prefix")
	}
	h.Value = secret.FromString(value)
	return h
}

func tagged(kind airflow.Kind, id string) func(*keyvault.Properties) {
	return func(p *keyvault.Properties) { p.Tags = Tags(kind, id) }
}

func TestPlan(t *testing.T) {
	loose := func(item source.Item) source.Item { item.Loose = true; return item }
	inferred := func(item source.Item) source.Item { item.Inferred = true; return item }
	for _, row := range []struct {
		name  string
		items []source.Item
		vault []Held
		prune bool
		want  string // action and id of each step
	}{
		{"new", []source.Item{variable("a", "1"), connection("a", "x://h")}, nil, false, "create connection a, create variable a"},
		{"the same", []source.Item{variable("a", "1")}, []Held{held("airflow-variables-a", "1")}, false, "same variable a"},
		{"another value", []source.Item{variable("a", "1")}, []Held{held("airflow-variables-a", "2")}, false, "change variable a"},
		{"JSON in other words is another variable", []source.Item{variable("a", `{"k": 1}`)},
			[]Held{held("airflow-variables-a", `{"k":1}`)}, false, "change variable a"},
		{"unless the source does not tell the words", []source.Item{loose(variable("a", `{"k": 1.0, "n": null}`))},
			[]Held{held("airflow-variables-a", `{"k":1.00,"n":null}`)}, false, "same variable a"},
		{"but JSON with another meaning is", []source.Item{loose(variable("a", `{"k": 1}`))},
			[]Held{held("airflow-variables-a", `{"k": "1"}`)}, false, "change variable a"},
		{"None and empty are two", []source.Item{connection("a", "x://h")}, []Held{held("airflow-connections-a", `{"conn_type": "x", "host": "h"}`)},
			false, "change connection a"},
		{"unless the source does not tell them apart", []source.Item{loose(connection("a", "x://h"))},
			[]Held{held("airflow-connections-a", `{"conn_type": "x", "host": "h"}`)}, false, "same connection a"},
		{"and the same connection", []source.Item{connection("a", `{"conn_type": "x", "host": "h", "schema": ""}`)},
			[]Held{held("airflow-connections-a", "x://h")}, false, "same connection a"},
		{"a connection with another host", []source.Item{connection("a", "x://i")},
			[]Held{held("airflow-connections-a", "x://h")}, false, "change connection a"},
		{"deleted", []source.Item{variable("gone", "1")}, nil, false, "recover variable gone"},
		{"case of the name", []source.Item{variable("A", "1")}, []Held{held("AIRFLOW-variables-a", "1")}, false, "tag variable A"},
		{"id that the name does not tell", []source.Item{variable("a-b", "1")}, []Held{held("airflow-variables-a-b", "1")}, false, "tag variable a-b"},
		{"id that the tag tells", []source.Item{variable("a-b", "1")},
			[]Held{held("airflow-variables-a-b", "1", tagged(airflow.Variable, "a-b"))}, false, "same variable a-b"},
		{"id of somebody else", []source.Item{variable("a_b", "1")},
			[]Held{held("airflow-variables-a-b", "1", tagged(airflow.Variable, "a-b"))}, false, "collide variable a_b"},
		{"id that the source does not know for certain", []source.Item{inferred(variable("a_b", "1"))},
			[]Held{held("airflow-variables-a-b", "1", tagged(airflow.Variable, "A-b"))}, false, "same variable a_b"},
		{"a tag that lies", []source.Item{variable("a_b", "1")},
			[]Held{held("airflow-variables-a-b", "1", tagged(airflow.Variable, "other"))}, false, "same variable a_b"},
		{"two in one", []source.Item{variable("a_b", "1"), variable("a-B", "1"), variable("c", "1")}, nil, false,
			"collide variable a-B, collide variable a_b, create variable c"},
		{"twice the same", []source.Item{variable("a", "1"), variable("a", "1")}, nil, false, "create variable a"},
		{"twice, and not the same", []source.Item{variable("a", "1"), variable("a", "2")}, nil, false, "collide variable a, collide variable a"},
		{"no name", []source.Item{variable("a b", "1"), variable(strings.Repeat("x", 127), "1")}, nil, false,
			"refuse variable a b, refuse variable " + strings.Repeat("x", 127)},
		{"too large", []source.Item{variable("a", strings.Repeat("x", airflow.MaxValueBytes+1))}, nil, false, "refuse variable a"},
		{"as large as may be", []source.Item{variable("a", strings.Repeat("x", airflow.MaxValueBytes))}, nil, false, "create variable a"},
		{"no text", []source.Item{variable("a", "\xff")}, nil, false, "refuse variable a"},
		{"no connection", []source.Item{connection("a", "pg://h:99999"), connection("b", "{}x")}, nil, false, "refuse connection a, refuse connection b"},
		{"not readable in the source", []source.Item{{Kind: airflow.Variable, ID: "a", Problem: errors.New("disabled")}}, nil, false, "refuse variable a"},
		{"disabled in the vault", []source.Item{variable("a", "1")},
			[]Held{held("airflow-variables-a", "", func(p *keyvault.Properties) { p.Enabled = false })}, false, "refuse variable a"},
		{"a certificate's", []source.Item{variable("a", "1")},
			[]Held{held("airflow-variables-a", "", func(p *keyvault.Properties) { p.Managed = true })}, false, "refuse variable a"},
		{"what the source does not name stays", []source.Item{variable("a", "1")},
			[]Held{held("airflow-variables-a", "1"), held("airflow-variables-b", "1")}, false, "same variable a"},
		{"unless it is pruned", []source.Item{variable("a", "1")},
			[]Held{held("airflow-variables-a", "1"), held("airflow-variables-b", "1"), held("airflow-connections-c", "x://h")}, true,
			"same variable a, delete variable b"},
		{"what collides is not pruned", []source.Item{variable("a_b", "1")},
			[]Held{held("airflow-variables-a-b", "1", tagged(airflow.Variable, "a-b"))}, true, "collide variable a_b"},
		{"a certificate's is not pruned", []source.Item{variable("a", "1")},
			[]Held{held("airflow-variables-b", "1", func(p *keyvault.Properties) { p.Managed = true })}, true, "create variable a"},
	} {
		q := Question{Naming: naming, Items: row.items, Prune: row.prune,
			Vault: Inventory{Held: row.vault, Deleted: map[string]bool{"airflow-variables-gone": true}}}
		plan := Make(q)
		var got []string
		for _, s := range plan.Steps {
			got = append(got, fmt.Sprintf("%s %s %s", s.Action, s.Kind, s.ID))
			if s.Action.Blocked() != (s.Reason != "") {
				t.Errorf("%s: %s with the reason %q", row.name, s.Action, s.Reason)
			}
		}
		if d := cmp.Diff(row.want, strings.Join(got, ", ")); d != "" {
			t.Errorf("%s: %s", row.name, d)
		}
	}
}

// TestPlanKeepsWhatOthersWrote: tags and content type stay with a new version, and the id comes to them.
func TestPlanKeepsWhatOthersWrote(t *testing.T) {
	old := held("airflow-variables-a", "2", func(p *keyvault.Properties) {
		p.ContentType, p.Tags = "text/plain", map[string]string{"owner": "me"}
	})
	plan := Make(Question{Naming: naming, Items: []source.Item{variable("a", "1")}, Vault: Inventory{Held: []Held{old}}})
	got := plan.Steps[0].content
	want := map[string]string{"owner": "me", TagID: "a", TagKind: "variable"}
	if d := cmp.Diff(want, got.Tags); d != "" || got.ContentType != "text/plain" {
		t.Errorf("content type %q, tags %s", got.ContentType, d)
	}
	if len(old.Tags) != 1 {
		t.Error("the vault's own tags were changed")
	}
}

// TestPruneWithoutPrefix: where every secret is under the prefix, only those that Airlock wrote are Airflow's for certain;
// and a team's secret is not everybody's.
func TestPruneWithoutPrefix(t *testing.T) {
	bare := airflow.Naming{VariablesPrefix: airflow.NewPrefix(""), Sep: "-"}
	teams := naming
	teams.MultiTeam = true
	for _, row := range []struct {
		naming airflow.Naming
		name   string
		tags   map[string]string
		want   int
	}{
		{bare, "database-password", nil, 0},
		{bare, "mine", Tags(airflow.Variable, "mine"), 1},
		{teams, "airflow-variables-team--x", nil, 0},
		{teams, "airflow-variables-x", nil, 1},
		{naming, "airflow-variables-team--x", nil, 1},
	} {
		h, ok := Identify(row.naming, keyvault.Properties{Name: row.name, Enabled: true, Tags: row.tags})
		if !ok {
			t.Fatal(row.name)
		}
		plan := Make(Question{Naming: row.naming, Items: []source.Item{variable("a", "1")}, Vault: Inventory{Held: []Held{h}}, Prune: true})
		if got := len(plan.Deletes()); got != row.want {
			t.Errorf("%s: %d to delete, want %d", row.name, got, row.want)
		}
	}
}

// TestIdentify: where both kinds have the same names, the tag tells the kind.
func TestIdentify(t *testing.T) {
	bare := airflow.Naming{ConnectionsPrefix: airflow.NewPrefix(""), VariablesPrefix: airflow.NewPrefix(""), Sep: "-"}
	h, ok := Identify(bare, keyvault.Properties{Name: "my-db", Tags: Tags(airflow.Variable, "my-db")})
	if !ok || h.Kind != airflow.Variable || h.ID != "my-db" || !h.Tagged {
		t.Errorf("got %+v", h)
	}
}

func TestFindings(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	codes := func(all []Finding) string {
		var words []string
		for _, f := range all {
			word := f.Code
			if f.Broken {
				word += "!"
			}
			words = append(words, word)
			if strings.Contains(f.Message+strings.Join(f.Hints, ""), "canary") {
				t.Errorf("%s shows content: %s", f.Code, f.Message)
			}
		}
		return strings.Join(words, " ")
	}
	for _, row := range []struct{ kind, id, value, want string }{
		{"variable", "a", "canary", ""},
		{"variable", "a", `{"canary": 1}`, ""},
		{"variable", "a", `{"canary": 1`, "broken-json"},
		{"variable", "a", `[canary]`, "broken-json"},
		{"variable", "a", "canary\n", "outer-space"},
		{"variable", "a", "\xff", "not-text!"},
		{"variable", "a", strings.Repeat("x", 25601), "too-large!"},
		{"variable", "a b", "canary", "not-nameable!"},
		{"connection", "a", "postgres://u:canary@h/db", ""},
		{"connection", "a", "postgres://u:can!ary@h/db", "unescaped"},
		{"connection", "a", "postgres://u:canary@h:x/db", "unparsable!"},
		{"connection", "a", "canary", "no-type!"},
		{"connection", "a", `{"conn_type": "postgres", "canary": 1}`, "unparsable!"},
		{"connection", "a", `{"conn_type": "canary"}`, "unknown-type"},
		{"connection", "a*", "postgres://h", "not-nameable! not-airflow-id"},
	} {
		got := codes(CheckItem(naming, source.Item{Kind: airflow.Kind(row.kind), ID: row.id, Value: secret.FromString(row.value)}))
		if got != row.want {
			t.Errorf("%s %.40q: %q, want %q", row.kind, row.value, got, row.want)
		}
	}
	for _, row := range []struct {
		change func(*keyvault.Properties)
		want   string
	}{
		{func(*keyvault.Properties) {}, ""},
		{func(p *keyvault.Properties) { p.Enabled = false }, "disabled!"},
		{func(p *keyvault.Properties) { p.Expires = now.Add(-day) }, "expired"},
		{func(p *keyvault.Properties) { p.Expires = now.Add(29 * day) }, "expires-soon"},
		{func(p *keyvault.Properties) { p.Expires = now.Add(31 * day) }, ""},
		{func(p *keyvault.Properties) { p.NotBefore = now.Add(day) }, "not-yet-valid"},
		{tagged(airflow.Variable, "other"), "tag-differs"},
		{tagged(airflow.Variable, "A"), ""},
	} {
		if got := codes(CheckHeld(naming, held("airflow-variables-a", "1", row.change), now)); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
	for name, want := range map[string]string{
		"airflow-connections": "not-askable!", "airflow-connectionsdb": "not-askable!", "AIRFLOW-VARIABLES-": "not-askable!", "database": "",
	} {
		if got := codes(CheckOther(naming, name)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
