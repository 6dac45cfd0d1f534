package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/cache"
	"github.com/airlock-secrets/airlock/internal/fault"
)

// houses are agents of several vaults in maps, by name.
type houses map[string]*vault

func (h houses) agents(t *testing.T) map[string]*Agent {
	t.Helper()
	agents := map[string]*Agent{}
	for name, v := range h {
		agents[name] = New(Config{
			Name: name, Naming: airflow.DefaultKwargs().Naming, Vault: v.get,
			Cache: cache.Options{TTL: time.Hour, NegativeTTL: time.Hour},
		})
	}
	return agents
}

func patterns(t testing.TB, texts ...string) []airflow.Pattern {
	t.Helper()
	var all []airflow.Pattern
	for _, text := range texts {
		p, err := airflow.NewPattern(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestRoutes(t *testing.T) {
	denied := fault.New(fault.Forbidden, "no permission")
	away := fault.New(fault.Unavailable, "no route to host")
	h := houses{
		"a":      {secrets: map[string]string{"airflow-variables-a-x": "a's", "airflow-variables-both": "a's"}},
		"b":      {secrets: map[string]string{"airflow-variables-b-x": "b's", "airflow-variables-both": "b's", "airflow-variables-a-y": "b's"}},
		"denied": {err: denied},
		"away":   {err: away},
	}
	agents := h.agents(t)
	all := airflow.Scope{}
	for _, row := range []struct {
		name   string
		routes []Route
		lookup agentapi.Lookup
		value  string
		kind   fault.Kind // of the error, without a value
		want   string     // in the error
	}{
		{"the first that has it", []Route{{Vault: agents["a"]}, {Vault: agents["b"]}}, variable("both"), "a's", 0, ""},
		{"not found goes on", []Route{{Vault: agents["a"]}, {Vault: agents["b"]}}, variable("b_x"), "b's", 0, ""},
		{"none has it", []Route{{Vault: agents["a"]}, {Vault: agents["b"]}}, variable("c"), "", fault.NotFound, "none of these vaults has it: a, b"},
		{"one has it not", []Route{{Vault: agents["a"]}}, variable("c"), "", fault.NotFound, "no secret airflow-variables-c"},
		{"by id", []Route{{Scope: airflow.Scope{IDs: patterns(t, "b_*")}, Vault: agents["b"]}, {Vault: agents["a"]}}, variable("both"), "a's", 0, ""},
		{"by kind", []Route{{Scope: airflow.Scope{Kinds: []airflow.Kind{airflow.Connection}}, Vault: agents["a"]}}, variable("both"), "", fault.NotFound, "no route leads"},
		{"by team", []Route{{Scope: airflow.Scope{Teams: patterns(t, "blue")}, Vault: agents["b"]}, {Vault: agents["a"]}},
			agentapi.Lookup{Kind: airflow.Variable, ID: "both", Team: "blue"}, "b's", 0, ""},
		{"a denial stops", []Route{{Vault: agents["denied"]}, {Vault: agents["a"]}}, variable("both"), "", fault.Forbidden, "no permission"},
		{"a denial goes on", []Route{{Vault: agents["denied"], PastDenial: true}, {Vault: agents["a"]}}, variable("both"), "a's", 0, ""},
		{"a denial is told in the end", []Route{{Vault: agents["denied"], PastDenial: true}, {Vault: agents["a"]}}, variable("c"), "", fault.Forbidden, "no permission"},
		{"absence stops", []Route{{Vault: agents["away"], PastDenial: true}, {Vault: agents["a"]}}, variable("both"), "", fault.Unavailable, "no route to host"},
		{"an id that no vault can hold", []Route{{Vault: agents["a"]}, {Vault: agents["b"]}}, variable("c.d"), "", fault.Usage, "letters, digits and dashes"},
		{"never", []Route{{Vault: agents["away"], Scope: all}}, variable("Local-Thing"), "", fault.NotFound, "never looked up"},
	} {
		plan := Plan{Vaults: []*Agent{agents["a"], agents["b"]}, Routes: row.routes, Never: map[airflow.Kind][]airflow.Pattern{
			airflow.Variable: patterns(t, "local_*"),
		}}
		got, err := NewDaemon(DaemonConfig{Plan: plan}).lookup(t.Context(), question{Lookup: row.lookup, from: &caller{}})
		switch {
		case row.want == "":
			if value := string(got.value.Reveal()); err != nil || value != row.value {
				t.Errorf("%s: %q, %v; want %q", row.name, value, err, row.value)
			}
		case !fault.Is(err, row.kind) || !strings.Contains(err.Error(), row.want) || !strings.HasPrefix(err.Error(), fmt.Sprintf("variable %q: ", row.lookup.ID)):
			t.Errorf("%s: %v (%v), want %v: %s", row.name, err, fault.KindOf(err), row.kind, row.want)
		}
	}
	if n := strings.Count(h["away"].requests(), "local"); n > 0 {
		t.Errorf("what is never looked up was looked up %d times", n)
	}
}

// TestUse: a new plan takes the old one's place, and what a kept vault holds stays.
func TestUse(t *testing.T) {
	h := houses{
		"a": {secrets: map[string]string{"airflow-variables-x": "a's"}},
		"b": {secrets: map[string]string{"airflow-variables-x": "b's"}},
	}
	agents := h.agents(t)
	d := NewDaemon(DaemonConfig{Plan: Alone(agents["a"])})
	look := func() string {
		got, err := d.lookup(t.Context(), question{Lookup: variable("x"), from: &caller{}})
		if err != nil {
			t.Fatal(err)
		}
		return string(got.value.Reveal()) + string(got.source)
	}
	if got := look(); got != "a'svault" {
		t.Error(got)
	}
	d.Use(Alone(agents["b"]))
	if got := look(); got != "b'svault" {
		t.Error(got)
	}
	d.Use(Plan{Vaults: []*Agent{agents["b"], agents["a"]}, Routes: []Route{{Vault: agents["a"]}}})
	if got := look(); got != "a'scache" {
		t.Errorf("%s: the kept vault forgot", got)
	}
	s := d.Status()
	if s.Lookups != 3 || s.VaultRequests != 2 || len(s.Vaults) != 2 || len(s.Entries) != 2 || s.Entries[0].Vault != "a" {
		t.Errorf("%+v", s)
	}
	if n, err := d.plan.Load().refresh(nil); n != 2 || err != nil {
		t.Errorf("refresh: %d, %v", n, err)
	}
}
