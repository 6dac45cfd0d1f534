package config

import (
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

// Route sends a part of the lookups to a vault.
type Route struct {
	Scope airflow.Scope
	Vault int // its place in Agent.Vaults
	// PastDenial lets a lookup that this vault denies go on to the next route.
	PastDenial bool
}

// Scoped is how a part of all lookups is written.
type Scoped struct {
	Kinds []kindName    `yaml:"kinds" doc:"connection, variable, config; without it all of them."`
	IDs   []idPattern   `yaml:"ids" doc:"Patterns of Airflow's ids: * is any characters, ? is one. Case does not matter, and _ and - are one. Without it\nall ids."`
	Teams []teamPattern `yaml:"teams" doc:"Patterns of teams, in Airflow with teams; \"\" is a lookup without one. Without it all lookups."`
}

func (s Scoped) scope() airflow.Scope {
	var scope airflow.Scope
	for _, k := range s.Kinds {
		scope.Kinds = append(scope.Kinds, airflow.Kind(k))
	}
	for _, p := range s.IDs {
		scope.IDs = append(scope.IDs, p.Pattern)
	}
	for _, p := range s.Teams {
		scope.Teams = append(scope.Teams, p.Pattern)
	}
	return scope
}

// problem says why a scope is empty; nil when it is not.
func (s Scoped) problem() error {
	if len(s.Kinds) == 1 && s.Kinds[0] == kindName(airflow.Config) && len(s.Teams) > 0 {
		return errors.New("is for config of teams, and config knows no teams")
	}
	return nil
}

type routeEntry struct {
	Scoped   `yaml:",inline"`
	Vault    label  `yaml:"vault" doc:"The vault that these lookups go to."`
	OnDenied denial `yaml:"on_denied" doc:"What follows when this vault denies the lookup: stop, or continue with the next route."`

	At int `yaml:"-"`
}

func (r *routeEntry) setDefaults() { r.OnDenied = denialStop }

type neverEntry struct {
	Connections []idPattern `yaml:"connections"`
	Variables   []idPattern `yaml:"variables"`
	Config      []idPattern `yaml:"config"`
}

func (n neverEntry) of(kind airflow.Kind) []idPattern {
	switch kind {
	case airflow.Connection:
		return n.Connections
	case airflow.Variable:
		return n.Variables
	case airflow.Config:
		return n.Config
	}
	return nil
}

// denial is stop or continue.
type denial string

const (
	denialStop     denial = "stop"
	denialContinue denial = "continue"
)

func (d *denial) take(n *yaml.Node) error {
	*d = denial(n.Value)
	if *d != denialStop && *d != denialContinue {
		return errors.New(`must be "stop" or "continue"`)
	}
	return nil
}

// kindName is connection, variable or config.
type kindName airflow.Kind

func (k *kindName) take(n *yaml.Node) error {
	kind, err := airflow.ParseKind(n.Value)
	if err != nil {
		return errors.New("must be connection, variable or config")
	}
	*k = kindName(kind)
	return nil
}

// idPattern is a pattern of ids, teamPattern one of teams.
type (
	idPattern   struct{ airflow.Pattern }
	teamPattern struct{ idPattern }
)

func (p *idPattern) take(n *yaml.Node) error {
	if n.Value == "" {
		return errors.New("is empty, and no id is")
	}
	return p.read(n)
}

func (p *teamPattern) take(n *yaml.Node) error { return p.read(n) }

func (p *idPattern) read(n *yaml.Node) (err error) {
	p.Pattern, err = airflow.NewPattern(n.Value)
	return err
}

func (p idPattern) give() any { return p.String() }

// route makes the routes and what is never looked up, and refuses what contradicts itself or can never be reached.
func (a *Agent) route(d *decoder) {
	doc := &a.doc
	a.Never = map[airflow.Kind][]airflow.Pattern{}
	for _, kind := range airflow.Kinds() {
		for _, p := range doc.Never.of(kind) {
			a.Never[kind] = append(a.Never[kind], p.Pattern)
		}
	}
	if len(doc.Routes) == 0 {
		for i := range a.Vaults {
			a.Routes = append(a.Routes, Route{Vault: i})
		}
		return
	}
	names := map[string]int{}
	for i, v := range a.Vaults {
		names[v.Name] = i
	}
	routed := map[string]bool{}
	for i, e := range doc.Routes {
		path := fmt.Sprintf("routes[%d]", i)
		vault, known := names[string(e.Vault)]
		if !known {
			d.problem(e.At, path+".vault", unknownVault(string(e.Vault), a.Vaults))
			continue
		}
		routed[string(e.Vault)] = true
		r := Route{Scope: e.scope(), Vault: vault, PastDenial: e.OnDenied == denialContinue}
		if err := a.unreachable(e, r); err != nil {
			d.problem(e.At, path, err)
		}
		a.Routes = append(a.Routes, r)
	}
	for i, v := range a.Vaults {
		if !routed[v.Name] {
			d.problem(doc.Vaults[i].At, fmt.Sprintf("vaults[%d]", i),
				fault.New(fault.Usage, fmt.Sprintf("%q is in no route, so nothing is ever read from it", v.Name), "add it to routes, or take it out"))
		}
	}
}

func unknownVault(name string, vaults []Vault) error {
	if name == "" {
		return errors.New("is missing")
	}
	err := fault.New(fault.Usage, fmt.Sprintf("names %q, and no vault is called that", name))
	var known []string
	for _, v := range vaults {
		known = append(known, v.Name)
	}
	if near := nearest(name, known); near != "" {
		err.Hints = append(err.Hints, fmt.Sprintf("did you mean %q?", near))
	}
	return err
}

// unreachable says why no lookup can get anything by a route; nil when one can.
func (a *Agent) unreachable(e routeEntry, r Route) error {
	if err := e.problem(); err != nil {
		return err
	}
	for i, earlier := range a.Routes {
		if earlier.Vault == r.Vault && earlier.Scope.Covers(r.Scope) {
			return fmt.Errorf("can give nothing: the route of line %d asks the same vault for all of it before", a.doc.Routes[i].At)
		}
	}
	naming := a.Vaults[r.Vault].Naming
	for _, kind := range r.Scope.Kinds {
		if naming.Prefix(kind).Null() {
			return fmt.Errorf("is for %s, and the vault's %s_prefix is null", kind.Plural(), kind.Plural())
		}
	}
	kinds := r.Scope.Kinds
	if len(kinds) == 0 {
		kinds = airflow.Kinds()
	}
	open := slices.ContainsFunc(kinds, func(kind airflow.Kind) bool {
		never := airflow.Scope{IDs: a.Never[kind]}
		return len(never.IDs) == 0 || !never.Covers(airflow.Scope{IDs: r.Scope.IDs})
	})
	if !open {
		return errors.New("is for ids that are never looked up")
	}
	return nil
}
