// Package agent is the daemon: it answers Airflow's lookups on a Unix socket, from its caches or from the vaults. An Agent
// answers for one vault; a Daemon holds the socket and knows which of its agents to ask.
package agent

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/cache"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/metrics"
)

// Vault gives the secret of a name. Its errors are faults: NotFound, Forbidden and Usage are the vault's answer, anything
// else says that it did not answer.
type Vault func(ctx context.Context, name string) (cache.Answer, error)

// Config of an Agent.
type Config struct {
	Naming airflow.Naming // how ids become names of secrets
	Vault  Vault
	Cache  cache.Options

	List         List          // what the vault has; nil: changes are seen by the cache's times alone
	ListInterval time.Duration // the longest between two looks at the list; 0: it is not looked at
	Prefetch     bool          // an agent at work begins with reading all that the list has for Airflow

	// PrefetchSpread is the time within which a prefetch begins, at a drawn moment, as agents tend to start together. 0: at
	// once.
	PrefetchSpread time.Duration

	Log     *slog.Logger     // nil is silence
	Metrics *metrics.Metrics // counts reads of the vault; nil: nobody looks at them

	// Rest is called when the agent is no longer part of a daemon's plan, though lookups under way may still need the vault.
	// nil: there is nothing to be done.
	Rest func()

	// What the agent says of itself.
	Name, VaultURL, Credential string
}

// Agent answers lookups from one vault. Make one with New.
type Agent struct {
	config Config
	cache  *cache.Cache
	log    *slog.Logger

	vaultRequests atomic.Int64
	pages         atomic.Int64 // of the vault's list
	lookups       atomic.Int64
	changes       changes

	mu        sync.RWMutex
	questions map[agentapi.Lookup]*known
	asked     map[string]int64 // requests to the vault by secret
}

// maxRemembered bounds the questions and the secrets that the status tells of.
const maxRemembered = 10_000

// New makes an agent that has not answered anything yet. It does not ask the vault.
func New(config Config) *Agent {
	a := &Agent{
		config: config, log: config.Log,
		questions: map[agentapi.Lookup]*known{}, asked: map[string]int64{},
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.cache = cache.New(a.fetch, config.Cache)
	if a.config.Metrics == nil {
		a.config.Metrics = metrics.New("")
	}
	return a
}

// fetch asks the vault, counts, and writes failures down: the callers may be many, the cause is one.
func (a *Agent) fetch(ctx context.Context, name string) (cache.Answer, error) {
	a.vaultRequests.Add(1)
	a.mu.Lock()
	if _, known := a.asked[name]; known || len(a.asked) < maxRemembered {
		a.asked[name]++
	}
	a.mu.Unlock()
	start := time.Now()
	answer, err := a.ask(ctx, name)
	took := time.Since(start).Round(time.Microsecond)
	a.config.Metrics.Read(err)
	switch {
	case err == nil || fault.Is(err, fault.NotFound):
		a.log.Debug("asked the vault", "secret", name, "found", err == nil, "took", took)
	default:
		a.log.Warn("the vault did not give a secret", "secret", name, "kind", fault.KindOf(err).String(),
			"reason", fault.Detail(err), "hints", fault.HintsOf(err), "took", took)
	}
	return answer, err
}

// ask asks the vault. It runs in the cache's goroutine, where a panic would end the agent.
func (a *Agent) ask(ctx context.Context, name string) (answer cache.Answer, err error) {
	defer func() { err = caught(a.log, recover(), err) }()
	return a.config.Vault(ctx, name)
}

// Lookup answers one question: the team's secret if there is one, else everybody's.
func (a *Agent) Lookup(ctx context.Context, l agentapi.Lookup) (agentapi.Answer, error) {
	f, err := a.lookup(ctx, l)
	if err != nil {
		return agentapi.Answer{}, about(l, err)
	}
	return *f.answer(), nil
}

// lookup is Lookup with what is written down about it.
func (a *Agent) lookup(ctx context.Context, l agentapi.Lookup) (_ found, err error) {
	defer func() { err = caught(a.log, recover(), err) }()
	a.lookups.Add(1)
	k := a.known(l)
	err = k.err
	var name string
	var got cache.Result
	for _, name = range k.names {
		got, err = a.cache.Get(ctx, name)
		if !fault.Is(err, fault.NotFound) {
			break
		}
	}
	f := found{secret: name, vault: a.config.Name}
	if name != "" {
		f.source = sources[got.State]
	}
	if err == nil {
		f.age, f.value = max(0, time.Since(got.Fetched)), got.Value
	}
	k.note(f, err)
	return f, err
}

// known is a question that was asked before: the secrets that may answer it, and what came of it.
type known struct {
	names []string
	err   error // why there are none

	mu    sync.Mutex
	entry agentapi.Entry
}

// known gives the record of a question. Ids come from callers, so that only so many are remembered.
func (a *Agent) known(l agentapi.Lookup) *known {
	a.mu.RLock()
	k := a.questions[l]
	a.mu.RUnlock()
	if k != nil {
		return k
	}
	k = &known{entry: agentapi.Entry{Kind: l.Kind, ID: l.ID}}
	if k.names, k.err = a.names(l); len(l.ID) > agentapi.MaxIDBytes {
		return k
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if other := a.questions[l]; other != nil {
		return other
	}
	if len(a.questions) < maxRemembered {
		a.questions[l] = k
	}
	return k
}

// note keeps what the status shows of a lookup.
func (k *known) note(f found, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := &k.entry
	e.Lookups++
	e.Secret, e.Age, e.Outcome = f.secret, f.age.Seconds(), outcome(err)
	if f.secret != "" {
		e.Source = f.source
	}
}

// sources says in the API's words how the cache answered.
var sources = [...]agentapi.Source{
	cache.Fetched: agentapi.FromVault, cache.Fresh: agentapi.FromCache, cache.Stale: agentapi.FromStale,
}

func (a *Agent) names(l agentapi.Lookup) ([]string, error) {
	if len(l.ID) > agentapi.MaxIDBytes || len(l.Team) > agentapi.MaxIDBytes {
		return nil, fault.New(fault.Usage, fmt.Sprintf("longer than %d bytes", agentapi.MaxIDBytes))
	}
	names, err := a.config.Naming.Names(l.Kind, l.ID, l.Team)
	for i := range names {
		names[i] = fold(names[i])
	}
	if err == nil && len(names) == 0 {
		err = fault.New(fault.NotFound, fmt.Sprintf("%s are never looked up here: their prefix is null", l.Kind.Plural()))
	}
	return names, err
}

// fold gives the one spelling of a secret's name that the agent goes by: Key Vault ignores case.
func fold(name string) string { return strings.ToLower(name) }

// refresh forgets what is held of some ids, or of all, so that the next lookup asks the vault.
func (a *Agent) refresh(lookups []agentapi.Lookup) (int, error) {
	if len(lookups) == 0 {
		return a.cache.Drop(), nil
	}
	var names []string
	for _, l := range lookups {
		own, err := a.names(l)
		if err != nil {
			return 0, about(l, err)
		}
		names = append(names, own...)
	}
	return a.cache.Drop(names...), nil
}

// Status is what the agent says of itself, with the entries in the order of kind and id.
func (a *Agent) Status() agentapi.Status {
	s := agentapi.Status{
		PID: pid(), VaultURL: a.config.VaultURL, Credential: a.config.Credential,
		CacheTTL: a.config.Cache.TTL.Seconds(), MaxStale: a.config.Cache.MaxStale.Seconds(),
		VaultRequests: a.vaultRequests.Load(), Entries: []agentapi.Entry{},
		Changes: a.changes.status(a.config.ListInterval),
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, k := range a.questions {
		k.mu.Lock()
		e := k.entry
		k.mu.Unlock()
		e.VaultRequests = a.asked[e.Secret]
		s.Entries = append(s.Entries, e)
	}
	sortEntries(s.Entries)
	return s
}

func compareEntries(a, b agentapi.Entry) int {
	return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.ID, b.ID), strings.Compare(a.Vault, b.Vault))
}
