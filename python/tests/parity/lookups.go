package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/localcloud"
)

// lookup is what a backend is asked. No team is Python's None.
type lookup struct {
	Kind airflow.Kind `json:"kind"`
	ID   string       `json:"id"`
	Team *string      `json:"team"`
}

// found is what a backend answers: a value, None, or an exception.
type found struct {
	Value      *string
	Error      string
	Connection *found // what get_connection makes of it
}

func (f found) String() string {
	if f.Value == nil {
		return "None " + f.Error
	}
	return fmt.Sprintf("%q", *f.Value)
}

// perVault is how many lookups are made with one set of kwargs, in a vault of its own.
const perVault = 200

const (
	tenant = "11111111-1111-1111-1111-111111111111"
	app    = "22222222-2222-2222-2222-222222222222"
)

// lookups compares the official backend, ours and the naming in Go: what is found, and which names are asked for.
func lookups(opt options, t *tally) (err error) {
	cloud, err := localcloud.Open(localcloud.Config{Hermetic: true, Provision: localcloud.Provision{
		Apps: []localcloud.App{{TenantID: tenant, ClientID: app, ClientSecret: "parity~secret"}},
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cloud.Close()) }()
	dir, err := os.MkdirTemp("", "parity") // short, for the sockets
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	airlock, err := filepath.Abs(opt.airlock)
	if err != nil {
		return err
	}
	environ := []string{
		"PATH=/usr/bin:/bin", "HOME=" + dir, "AIRFLOW_HOME=" + dir, "AIRLOCK_RUNTIME_DIR=" + filepath.Join(dir, "run"),
		"AIRLOCK_BINARY=" + airlock, "AIRFLOW__LOGGING__LOGGING_LEVEL=CRITICAL",
	}
	for key, value := range cloud.Env() {
		environ = append(environ, key+"="+value)
	}
	g := newGenerator(rand.New(rand.NewPCG(opt.seed, 2)))
	run := &lookupRun{cloud: cloud, g: g, t: t, airlock: airlock, environ: environ}
	for i, multiTeam := range []bool{false, true} {
		p, err := startPeer(opt.python, append(environ, fmt.Sprintf("AIRFLOW__CORE__MULTI_TEAM=%t", multiTeam)),
			opt.dir+"/lookup.py")
		if err != nil {
			return err
		}
		for done := i * opt.lookups / 2; done < (i+1)*opt.lookups/2; done += perVault {
			if err := run.vault(p, multiTeam, min(perVault, (i+1)*opt.lookups/2-done)); err != nil {
				return err
			}
		}
		if err := p.close(); err != nil {
			return err
		}
	}
	return nil
}

type lookupRun struct {
	cloud   *localcloud.Cloud
	g       *generator
	t       *tally
	airlock string
	environ []string
	vaults  int
}

// vault makes n lookups with new kwargs, in a new vault.
func (r *lookupRun) vault(p *peer, multiTeam bool, n int) (err error) {
	r.vaults++
	url := fmt.Sprintf("https://parity-%d.vault.azure.net/", r.vaults)
	if err := r.cloud.Add(localcloud.Provision{Vaults: []localcloud.Vault{{URL: url, TenantID: tenant}}}); err != nil {
		return err
	}
	kwargs, odd := r.g.kwargs()
	kwargs["vault_url"] = url
	kwargs["tenant_id"], kwargs["client_id"], kwargs["client_secret"] = tenant, app, "parity~secret"
	naming, namingErr := readNaming(kwargs, multiTeam)
	r.t.check("kwargs of a wrong type", (namingErr != nil) == odd, func() string {
		return fmt.Sprintf("%v: %v",
			kwargs, namingErr)
	})

	asked := make([]lookup, n)
	for i := range asked {
		asked[i] = r.g.lookup()
	}
	secrets := r.g.secrets(naming, asked)
	if err := r.cloud.SetSecrets(url, secrets); err != nil {
		return err
	}
	answers := map[string][]found{}
	for _, backend := range []string{"official", "airlock"} {
		r.cloud.ForgetRequests()
		var answer struct {
			Refused string
			Answers []found
		}
		if err := p.ask(map[string]any{"backend": backend, "kwargs": kwargs, "lookups": asked}, &answer); err != nil {
			return err
		}
		if answer.Refused != "" {
			answer.Answers = slices.Repeat([]found{{Error: answer.Refused,
				Connection: &found{Error: answer.Refused}}}, n)
		}
		answers[backend] = answer.Answers
		if backend == "official" && !odd {
			r.compareRequests(naming, asked, secrets, kwargs)
		}
	}
	for i, l := range asked {
		if odd {
			r.t.row("kwargs of a wrong type")
			a := answers["airlock"][i]
			r.t.check("lookups with kwargs of a wrong type", a.Value == nil,
				func() string { return fmt.Sprintf("%v: %v", kwargs, a) })
			continue
		}
		r.compare(l, answers["official"][i], answers["airlock"][i], expect(naming, l, secrets), kwargs)
	}
	return r.stopAgents()
}

// readNaming reads the kwargs as the agent does.
func readNaming(kwargs map[string]any, multiTeam bool) (airflow.Naming, error) {
	document, err := json.Marshal(kwargs)
	if err != nil {
		return airflow.Naming{}, err
	}
	raw, err := airflow.ParseObject(document)
	if err != nil {
		return airflow.Naming{}, err
	}
	k, err := airflow.KwargsFrom(raw)
	k.MultiTeam = multiTeam
	return k.Naming, err
}

// names are those that a lookup asks for until one is there.
func names(n airflow.Naming, l lookup, secrets map[string]string) (asked []string, value *string) {
	team := ""
	if l.Team != nil {
		team = *l.Team
	}
	all, err := n.Names(l.Kind, l.ID, team)
	if err != nil {
		return nil, nil
	}
	for _, name := range all {
		asked = append(asked, name)
		for have, value := range secrets {
			if strings.EqualFold(have, name) {
				return asked, &value
			}
		}
	}
	return asked, nil
}

func expect(n airflow.Naming, l lookup, secrets map[string]string) *string {
	_, value := names(n, l, secrets)
	return value
}

// compareRequests compares the names that the official backend asked the vault for with those of the Go code.
func (r *lookupRun) compareRequests(n airflow.Naming, asked []lookup, secrets map[string]string,
	kwargs map[string]any) {
	var want, got []string
	for _, l := range asked {
		one, _ := names(n, l, secrets)
		want = append(want, one...)
		if l.Kind == airflow.Connection { // get_conn_value, then get_connection
			want = append(want, one...)
		}
	}
	for _, request := range r.cloud.Requests() {
		if request.Service == "keyvault" && request.Status != 401 {
			got = append(got, strings.Trim(strings.TrimPrefix(request.Path, "/secrets/"), "/"))
		}
	}
	r.t.check("sequences of requests", slices.Equal(want, got), func() string {
		for i := range min(len(want), len(got)) {
			if want[i] != got[i] {
				return fmt.Sprintf("%v: request %d is for %q, the official backend's %q", kwargs, i, want[i], got[i])
			}
		}
		return fmt.Sprintf("%v: %d requests, the official backend's %d", kwargs, len(want), len(got))
	})
	for range want {
		r.t.check("requested names", true, nil)
	}
}

func (r *lookupRun) compare(l lookup, official, ours found, want *string, kwargs map[string]any) {
	same := func(a, b *string) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
	describe := func() string {
		document, _ := json.Marshal(l)
		delete(kwargs, "client_secret")
		return fmt.Sprintf("%v %s: official %v, airlock %v, Go %v", kwargs, document, official, ours,
			found{Value: want})
	}
	if want != nil {
		r.t.check("lookups that find", same(official.Value, ours.Value) && same(ours.Value, want) &&
			official.Error == "" && ours.Error == "", describe)
	} else {
		r.t.check("lookups that find nothing", official.Value == nil && ours.Value == nil && official.Error == "" &&
			ours.Error == "", describe)
	}
	if l.Kind == airflow.Connection {
		r.t.check("connections", same(official.Connection.Value, ours.Connection.Value) &&
			official.Connection.Error == ours.Connection.Error, describe)
	}
}

// stopAgents ends the agents that the backend started, found by their sockets in our own folder.
func (r *lookupRun) stopAgents() error {
	status := exec.Command(r.airlock, "status", "--json")
	status.Env = r.environ
	out, err := status.Output()
	if err != nil {
		return nil // no agent is running: none was asked
	}
	var agents []struct{ PID int }
	if err := json.Unmarshal(out, &agents); err != nil {
		return err
	}
	for _, a := range agents {
		if err := syscall.Kill(a.PID, syscall.SIGTERM); err != nil {
			return err
		}
	}
	return nil
}

// kwargs makes prefixes and a separator, and tells whether one is of a wrong type, which Airlock refuses.
func (g *generator) kwargs() (kwargs map[string]any, odd bool) {
	kwargs = map[string]any{}
	for _, key := range []string{"connections_prefix", "variables_prefix", "config_prefix"} {
		if g.chance(60) {
			kwargs[key] = pick[any](g, nil, "", "p", "airflow-connections", "airflow_variables", "x--", "--",
				"UPPER", "a-b_c", "pre.fix", "p ", "é", "x-x", "_", "p_")
		}
	}
	if g.chance(35) {
		kwargs["sep"] = pick(g, "-", "", "--", ".", "_", "x", "/", "-x", "0", "a_")
	}
	if g.chance(8) {
		kwargs[pick(g, "connections_prefix", "variables_prefix", "config_prefix", "sep")] = pick[any](g, 5, false,
			true, []string{"p"}, 1.5, map[string]string{})
		odd = true
	}
	return kwargs, odd
}

func (g *generator) lookup() lookup {
	l := lookup{Kind: pick(g, airflow.Kinds()...)}
	switch g.IntN(10) {
	case 0:
		l.ID = g.text(8)
	case 1:
		l.ID = g.id()
	case 2:
		l.ID = pick(g, "a__b", "a--b", "--x", "x--", "_", "-", "__", "team_a--db", "team-a--db", "my_team__db", ".",
			"..", "a/b", "a?b", "a#b", "a%2Fb", "a%b", "a+b", "a&team=x", "a\x00b", " ", "a b ")
	case 3:
		l.ID = strings.Repeat(pick(g, "x", "x_", "y-"), pick(g, 30, 50, 53, 60, 63, 64, 107, 108, 126, 127, 128, 200))
	default:
		l.ID = pick(g, "hello", "my_db", "my-db", "My_DB", "smtp_default", "db1", "x", "a_b_c", "sql_alchemy_conn",
			"A", "1")
	}
	if g.chance(40) {
		l.Team = new(pick(g, "", "team_a", "team-a", "TEAM_A", "b", "a--b", "a__b", "t.x", "é", " ", "/", "a&b", "x_"))
	}
	return l
}

// secrets fills a vault with names that some lookups ask for, and with some that come close.
func (g *generator) secrets(n airflow.Naming, asked []lookup) map[string]string {
	secrets := map[string]string{}
	lower := map[string]bool{}
	put := func(name string) {
		if airflow.ValidName(name) && !lower[strings.ToLower(name)] {
			lower[strings.ToLower(name)] = true
			secrets[name] = pick(g, g.connection(), g.word(), g.connection(), "")
		}
	}
	for _, l := range asked {
		if !g.chance(40) {
			continue
		}
		team := ""
		if l.Team != nil {
			team = *l.Team
		}
		plain := n
		plain.MultiTeam = false // also what must not be found
		all, _ := plain.Names(l.Kind, l.ID, team)
		if len(all) > 0 {
			put(pick(g, all...))
		}
		put(pick(g, l.ID, strings.ToUpper(l.ID), "p-"+l.ID, "airflow-connections-"+team+"-"+l.ID, "p-"+team+"--"+l.ID))
	}
	return secrets
}
