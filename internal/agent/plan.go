package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Plan says which vault is asked for what. It does not change while it is in use; a Daemon takes a new one whole.
type Plan struct {
	Vaults []*Agent // at least one
	Routes []Route  // in the order in which they are tried
	// Never are ids that are answered "not found" without a look at cache or vault.
	Never map[airflow.Kind][]airflow.Pattern
	Guard Guard // who may ask
}

// Route sends a part of the lookups to a vault.
type Route struct {
	Scope airflow.Scope
	Vault *Agent
	// PastDenial goes on to the next route when the vault denies, and not only when it has nothing.
	PastDenial bool
}

// Alone is the plan of an agent with one vault.
func Alone(a *Agent) Plan {
	return Plan{Vaults: []*Agent{a}, Routes: []Route{{Vault: a}}}
}

// found is an answer with what is written down about it.
type found struct {
	value         secret.Value
	source        agentapi.Source
	age           time.Duration // since the vault said so
	secret, vault string        // the last that were asked, even if they had nothing; "" when none was
}

// answer is what a caller is told.
func (f found) answer() *agentapi.Answer {
	return &agentapi.Answer{Value: string(f.value.Reveal()), Source: f.source, Age: f.age.Seconds()}
}

// lookup tries the routes that fit. "Not found" and an id that a vault cannot hold go on to the next; so does a denial
// where the route says so, but it is what the caller hears when nothing is found after it.
func (p *Plan) lookup(ctx context.Context, l agentapi.Lookup) (found, error) {
	for _, never := range p.Never[l.Kind] {
		if never.Match(l.ID) {
			return found{}, about(l, fault.New(fault.NotFound, "the configuration says that it is never looked up"))
		}
	}
	var denied, missing error
	var without []string
	var last found
	for i := range p.Routes {
		r := &p.Routes[i]
		if !r.Scope.Has(l.Kind, l.ID, l.Team) {
			continue
		}
		f, err := r.Vault.lookup(ctx, l)
		if err == nil {
			return f, nil
		}
		if f.vault != "" || last.vault == "" {
			last = f
		}
		switch kind := fault.KindOf(err); {
		case kind == fault.NotFound || kind == fault.Usage:
			if missing == nil || fault.Is(missing, fault.Usage) {
				missing = err
			}
			if kind == fault.NotFound {
				without = append(without, r.Vault.config.Name)
			}
		case kind == fault.Forbidden && r.PastDenial:
			denied = err
		default:
			return f, about(l, err)
		}
	}
	switch {
	case denied != nil:
		return last, about(l, denied)
	case len(without) > 1:
		missing = fault.New(fault.NotFound, "none of these vaults has it: "+strings.Join(without, ", "))
	case missing == nil:
		missing = fault.New(fault.NotFound, "no route leads to a vault for it")
	}
	return last, about(l, missing)
}

// refresh makes every vault forget some ids, or all.
func (p *Plan) refresh(lookups []agentapi.Lookup) (int, error) {
	dropped := 0
	var wrong []error
	for _, a := range p.Vaults {
		n, err := a.refresh(lookups)
		dropped += n
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	if len(wrong) == len(p.Vaults) { // an id that one vault cannot hold may be another's
		return 0, errors.Join(wrong...)
	}
	return dropped, nil
}

// status joins what the vaults' agents say of themselves.
func (p *Plan) status() agentapi.Status {
	var joined agentapi.Status
	for i, a := range p.Vaults {
		s := a.Status()
		if i == 0 {
			joined = s
			joined.Entries, joined.Vaults = []agentapi.Entry{}, nil
		} else {
			joined.VaultRequests += s.VaultRequests
		}
		for _, e := range s.Entries {
			e.Vault = a.config.Name
			joined.Entries = append(joined.Entries, e)
		}
		joined.Vaults = append(joined.Vaults, agentapi.VaultStatus{
			Name: a.config.Name, URL: s.VaultURL, Credential: s.Credential, Requests: s.VaultRequests, Changes: s.Changes,
		})
	}
	sortEntries(joined.Entries)
	return joined
}

// about says which lookup an error belongs to.
func about(l agentapi.Lookup, err error) error {
	id := l.ID
	if len(id) > 100 {
		id = id[:100] + "..."
	}
	return fmt.Errorf("%s %q: %w", l.Kind, id, err)
}
