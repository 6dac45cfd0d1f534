// Package agent is the daemon: it answers Airflow's lookups on a Unix socket, from its cache or from the vault.
package agent

import (
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
	Prefetch     bool          // Serve begins with reading all that the list has for Airflow

	IdleExit time.Duration    // stop after so long without a request; 0 is never
	Log      *slog.Logger     // nil is silence
	Metrics  *metrics.Metrics // nil: the agent makes its own

	// What the agent says of itself.
	Version, VaultURL, Credential string
}

// Agent answers lookups. Make one with New.
type Agent struct {
	config  Config
	cache   *cache.Cache
	log     *slog.Logger
	started time.Time

	lookups       atomic.Int64
	vaultRequests atomic.Int64
	used          activity
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
		config: config, log: config.Log, started: time.Now(),
		questions: map[agentapi.Lookup]*known{}, asked: map[string]int64{},
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.used.last.Store(a.started.UnixNano())
	a.cache = cache.New(a.fetch, config.Cache)
	if a.config.Metrics == nil {
		a.config.Metrics = metrics.New(config.Version)
	}
	a.config.Metrics.Add(a.gauges()...)
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
	answer, err := a.config.Vault(ctx, name)
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

// Lookup answers one question: the team's secret if there is one, else everybody's.
func (a *Agent) Lookup(ctx context.Context, l agentapi.Lookup) (agentapi.Answer, error) {
	a.lookups.Add(1)
	begun := time.Now()
	k := a.known(l)
	err := k.err
	var name string
	var found cache.Result
	for _, name = range k.names {
		found, err = a.cache.Get(ctx, name)
		if !fault.Is(err, fault.NotFound) {
			break
		}
	}
	var answer agentapi.Answer
	done := metrics.Lookup{Err: err}
	now := time.Now()
	if err == nil {
		done.Age = max(0, now.Sub(found.Fetched))
		answer = agentapi.Answer{Source: sources[found.State], Age: done.Age.Seconds()}
	}
	k.note(name, answer, found.State, err)
	if name != "" {
		done.Source = sources[found.State]
	}
	done.Took = now.Sub(begun)
	k.counts.Done(done)
	if err != nil {
		return agentapi.Answer{}, about(l, err)
	}
	answer.Value = string(found.Value.Reveal())
	return answer, nil
}

// known is a question that was asked before: the secrets that may answer it, and what came of it.
type known struct {
	names  []string
	err    error // why there are none
	counts *metrics.Lookups

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
	k = &known{entry: agentapi.Entry{Kind: l.Kind, ID: l.ID}, counts: a.config.Metrics.Of(l.Kind)}
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
func (k *known) note(name string, answer agentapi.Answer, state cache.State, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := &k.entry
	e.Lookups++
	e.Secret, e.Age, e.Outcome = name, answer.Age, "found"
	if err != nil {
		e.Outcome = fault.KindOf(err).String()
	}
	if name != "" {
		e.Source = sources[state]
	}
}

// about says which lookup an error belongs to.
func about(l agentapi.Lookup, err error) error {
	id := l.ID
	if len(id) > 100 {
		id = id[:100] + "..."
	}
	return fmt.Errorf("%s %q: %w", l.Kind, id, err)
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
		PID: pid(), Version: a.config.Version, Started: a.started, VaultURL: a.config.VaultURL, Credential: a.config.Credential,
		CacheTTL: a.config.Cache.TTL.Seconds(), MaxStale: a.config.Cache.MaxStale.Seconds(),
		Lookups: a.lookups.Load(), VaultRequests: a.vaultRequests.Load(), Entries: []agentapi.Entry{},
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
	if c := strings.Compare(string(a.Kind), string(b.Kind)); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}
