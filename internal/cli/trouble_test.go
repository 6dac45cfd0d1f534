package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/airlock-secrets/airlock/internal/agent"
	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/audit"
	"github.com/airlock-secrets/airlock/internal/client"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/socket"
	"github.com/airlock-secrets/airlock/localcloud"
)

const (
	troubleVault  = "https://trouble.vault.azure.net/"
	troubleTenant = "11111111-2222-3333-4444-555555555555"
	troubleApp    = "aaaaaaaa-0000-0000-0000-000000000001"
	troubleSecret = "canary-app-secret-7d02"
)

// ids are what the callers look up, over and over.
var ids = []string{"one", "two", "three"}

// scene is an agent as the program makes it, on its socket, with the Azure SDK in it, and the local cloud at the other end
// of a road that can be closed.
type scene struct {
	t     *testing.T
	cloud *localcloud.Cloud
	road  *road
	agent *client.Client
	log   *lockedBuffer

	daemon *agent.Daemon
	plan   agent.Plan
	path   string // of the socket
}

// lockedBuffer is a buffer that several goroutines use.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// stage sets a scene. The kwargs come on top of the vault and the login; now is the cloud's clock, nil for the real one.
func stage(t *testing.T, kwargs map[string]any, now func() time.Time) *scene {
	t.Helper()
	s := &scene{t: t, log: &lockedBuffer{}}
	s.cloud = localcloud.Start(t, localcloud.Config{Hermetic: true, Now: now, Provision: localcloud.Provision{
		Apps:   []localcloud.App{{TenantID: troubleTenant, ClientID: troubleApp, ClientSecret: troubleSecret}},
		Vaults: []localcloud.Vault{{URL: troubleVault}},
	}})
	s.put("canary-before")
	s.road = newRoad(t, s.cloud.ProxyURL())

	all := map[string]any{
		"vault_url": troubleVault, "tenant_id": troubleTenant, "client_id": troubleApp, "client_secret": troubleSecret,
		"cache_ttl": "1ms", "negative_ttl": "1ms", "list_interval": 0,
	}
	maps.Copy(all, kwargs)
	document, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"HTTPS_PROXY": "http://" + s.road.Addr().String(), "SSL_CERT_FILE": s.cloud.CAFile()}
	c, err := config.FromKwargs(document, func(key string) string { return env[key] })
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	vault, err := newAgent(c, agent.Config{Log: log}, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "airlock") // short, for sun_path
	if err != nil {
		t.Fatal(err)
	}
	l, err := socket.Listen(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s.plan, s.path = agent.Alone(vault), l.Path()
	s.daemon = agent.NewDaemon(agent.DaemonConfig{Plan: s.plan, Log: log})
	go func() { done <- s.daemon.Serve(ctx, l) }()
	s.agent = askAgent(l.Path())
	t.Cleanup(func() {
		s.agent.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
		if strings.Contains(s.log.String(), "canary") {
			t.Errorf("the log holds a secret: %s", s.log)
		}
	})
	return s
}

// put sets all the secrets to one value.
func (s *scene) put(value string) {
	s.t.Helper()
	secrets := map[string]string{}
	for _, id := range ids {
		secrets["airflow-variables-"+id] = value
	}
	s.do(s.cloud.SetSecrets(troubleVault, secrets))
}

func (s *scene) do(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// fault makes the cloud fail, in the words of package faults; without any, it is well again.
func (s *scene) fault(lines ...string) {
	s.t.Helper()
	f := s.cloud.Faults()
	f.Rules = nil
	for _, line := range lines {
		rule, err := localcloud.ParseFault(line)
		s.do(err)
		f.Rules = append(f.Rules, rule)
	}
	s.do(s.cloud.SetFaults(f))
}

func (s *scene) tokensLast(lifetime time.Duration) {
	s.t.Helper()
	f := s.cloud.Faults()
	f.TokenLifetime = lifetime
	s.do(s.cloud.SetFaults(f))
}

func (s *scene) vault(p localcloud.Permissions) {
	s.t.Helper()
	s.do(s.cloud.Add(localcloud.Provision{Vaults: []localcloud.Vault{{URL: troubleVault, TenantID: troubleTenant, Permissions: p}}}))
}

func (s *scene) app(app localcloud.App) {
	s.t.Helper()
	app.TenantID, app.ClientID = troubleTenant, troubleApp
	s.do(s.cloud.Add(localcloud.Provision{Apps: []localcloud.App{app}}))
}

// each does something with every secret that needs the real API, as somebody with a browser would.
func (s *scene) each(method, body string) {
	s.t.Helper()
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {troubleApp}, "client_secret": {troubleSecret},
		"scope": {"https://vault.azure.net/.default"},
	}
	answer, err := s.cloud.HTTPClient().PostForm("https://login.microsoftonline.com/"+troubleTenant+"/oauth2/v2.0/token", form)
	s.do(err)
	var token struct {
		AccessToken string `json:"access_token"`
	}
	s.do(json.NewDecoder(answer.Body).Decode(&token))
	_ = answer.Body.Close()
	for _, id := range ids {
		request, err := http.NewRequestWithContext(s.t.Context(), method,
			troubleVault+"secrets/airflow-variables-"+id+"?api-version=7.4", strings.NewReader(body))
		s.do(err)
		request.Header.Set("Authorization", "Bearer "+token.AccessToken)
		request.Header.Set("Content-Type", "application/json")
		answer, err := s.cloud.HTTPClient().Do(request)
		s.do(err)
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			s.t.Fatalf("%s %s: %s", method, id, answer.Status)
		}
	}
}

// audit has every lookup written down in a file from now on.
func (s *scene) audit(path string) {
	s.t.Helper()
	written, err := audit.Open(path)
	s.do(err)
	s.t.Cleanup(func() { _ = written.Close() })
	s.plan.Guard.Audit = written
	s.daemon.Use(s.plan)
}

// readSlowly is a caller that asks for far more than the kernel keeps for it, and reads a byte a second.
func (s *scene) readSlowly() {
	s.t.Helper()
	conn, err := net.Dial("unix", s.path)
	s.do(err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	s.t.Cleanup(func() {
		cancel()
		_ = conn.Close()
		running.Wait()
	})
	running.Go(func() {
		for err := error(nil); err == nil; {
			_, err = io.WriteString(conn, "GET "+agentapi.PathStatus+" HTTP/1.1\r\nHost: a\r\n\r\n")
		}
	})
	running.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for err := error(nil); err == nil; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_, err = conn.Read(make([]byte, 1))
			}
		}
	})
}

// tally is what many lookups came to.
type tally struct {
	lookups, failed int
	outcomes        map[string]int // "VALUE SOURCE", or the kind of an error
}

// storm looks everything up 60 times, from ten callers at once.
func (s *scene) storm() tally {
	const callers, times = 10, 2
	all := tally{outcomes: map[string]int{}}
	var mu sync.Mutex
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			for range times {
				for _, id := range ids {
					outcome, failed := s.get(id)
					mu.Lock()
					all.lookups++
					all.outcomes[outcome]++
					if failed {
						all.failed++
					}
					mu.Unlock()
				}
			}
		})
	}
	running.Wait()
	return all
}

func (s *scene) get(id string) (outcome string, failed bool) {
	answer, err := s.agent.Get(context.Background(), agentapi.Lookup{Kind: airflow.Variable, ID: id})
	if err != nil {
		return fault.KindOf(err).String(), true
	}
	return fmt.Sprintf("%s %s", answer.Value.Reveal(), answer.Source), false
}

// until looks up until everything has an outcome: what is awaited needs some time that is not ours to say.
func (s *scene) until(outcome string) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for _, id := range ids {
		for got := ""; !strings.HasPrefix(got, outcome); {
			if got, _ = s.get(id); time.Now().After(deadline) {
				s.t.Fatalf("%s: %s, and not %s", id, got, outcome)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// logged waits for something in the agent's log.
func (s *scene) logged(text string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(s.log.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the log does not tell of %q: %s", text, s.log)
		}
	}
}

// asked is how many requests of a service the cloud has answered since the last look.
func (s *scene) asked(service string) (n int) {
	for _, r := range s.cloud.Requests() {
		if r.Service == service {
			n++
		}
	}
	s.cloud.ForgetRequests()
	return n
}

// road is the way to the cloud: a relay on loopback that stands where a proxy does.
type road struct {
	net.Listener
	mu     sync.Mutex
	to     string // where it leads; "": nobody lets anybody pass
	frozen bool   // nothing moves
	thawed *sync.Cond
	open   map[net.Conn]bool
}

func newRoad(t *testing.T, proxy string) *road {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &road{Listener: l, to: strings.TrimPrefix(proxy, "http://"), open: map[net.Conn]bool{}}
	r.thawed = sync.NewCond(&r.mu)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { r.relay(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.lead("")
		running.Wait()
	})
	return r
}

// lead makes the road lead elsewhere, or nowhere, and cuts off who is on it.
func (r *road) lead(to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to, r.frozen = strings.TrimPrefix(to, "http://"), false
	for conn := range r.open {
		_ = conn.Close()
	}
	r.thawed.Broadcast()
}

// freeze stops everything on the road: bytes are taken and go nowhere, and nobody is told.
func (r *road) freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = true
}

// enter notes a connection; false: it may not pass.
func (r *road) enter(conns ...net.Conn) (to string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range conns {
		r.open[conn] = true
	}
	return r.to, r.to != "" || r.frozen
}

func (r *road) leave(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
		delete(r.open, conn)
	}
}

func (r *road) relay(from net.Conn) {
	defer r.leave(from)
	to, ok := r.enter(from)
	if !ok {
		return
	}
	conn, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer r.leave(conn)
	if _, ok := r.enter(conn); !ok {
		return
	}
	var running sync.WaitGroup
	running.Go(func() { r.copy(conn, from) })
	running.Go(func() { r.copy(from, conn) })
	running.Wait()
}

func (r *road) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		r.mu.Lock()
		for r.frozen {
			r.thawed.Wait()
		}
		r.mu.Unlock()
		if err == nil {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			return
		}
	}
}

// trouble is a row of the matrix: what goes wrong with an agent that has answered before, what lookups then get, and how
// many of them fail.
type trouble struct {
	name   string
	kwargs map[string]any
	before func(*scene) // before the agent's first lookup
	begin  func(*scene)
	change bool // the secrets are changed in the meantime, so that an old value tells itself from a new one
	want   []string
	fails  bool // all of them; otherwise none may
	most   int  // requests to the vault; 0: any number
	end    func(*scene)
}

const (
	old = "canary-before stale"
	now = "canary-after vault"
)

// noRole are permissions whose roles give the app nothing.
var noRole = localcloud.Permissions{Model: localcloud.RBAC}

func well(s *scene) { s.fault() }

// shortTokens makes the agent need its login again and again.
func shortTokens(s *scene) { s.tokensLast(time.Second) }

// jump moves all clocks but the agent's: to the agent it is as if its own had jumped the other way. Its cache goes by the
// monotonic clock, which does not jump.
func jump(by time.Duration) func(*scene) { return func(s *scene) { s.cloud.Clock().Advance(by) } }

var troubles = []trouble{
	{name: "nothing", begin: func(*scene) {}, change: true, want: []string{now, "canary-after cache"}},

	// No answer: design.md, section 6, promises the old value, and no lookup fails.
	{name: "vault down", begin: func(s *scene) { s.road.lead("") }, want: []string{old}, change: true,
		end: func(s *scene) { s.road.lead(s.cloud.ProxyURL()) }},
	{name: "black hole", begin: func(s *scene) { s.road.freeze() }, want: []string{old}, change: true,
		end: func(s *scene) { s.road.lead(s.cloud.ProxyURL()) }},
	{name: "slow by 30 s", begin: func(s *scene) { s.fault("service=keyvault latency=30s") }, want: []string{old}, change: true,
		most: len(ids), end: func(s *scene) { well(s); s.road.lead(s.cloud.ProxyURL()) }},
	{name: "429", begin: func(s *scene) { s.fault("service=keyvault status=429") }, want: []string{old}, change: true,
		most: 4 * len(ids), end: well},
	{name: "429, Retry-After 2 s", begin: func(s *scene) { s.fault("service=keyvault status=429 retry-after=2s times=1") },
		want: []string{old, now, "canary-after cache"}, change: true, end: well},
	{name: "429, Retry-After 60 s", begin: func(s *scene) { s.fault("service=keyvault status=429 retry-after=60s") },
		want: []string{old}, change: true, most: len(ids)},
	{name: "500", begin: func(s *scene) { s.fault("service=keyvault status=500") }, want: []string{old}, change: true,
		most: 4 * len(ids), end: well},
	{name: "503", begin: func(s *scene) { s.fault("service=keyvault status=503") }, want: []string{old}, change: true, end: well},
	{name: "connection lost", begin: func(s *scene) { s.fault("service=keyvault drop=true") }, want: []string{old}, change: true, end: well},
	{name: "truncated", begin: func(s *scene) { s.fault("service=keyvault truncate=true") }, want: []string{old}, change: true, end: well},
	{name: "every third request fails", begin: func(s *scene) { s.fault("service=keyvault status=503 rate=0.3") },
		want: []string{old, now, "canary-after cache", "canary-after stale"}, change: true, end: well},
	{name: "TLS failure", want: []string{old}, change: true,
		begin: func(s *scene) { // somebody else answers, whose certificates are not trusted
			other := localcloud.Start(s.t, localcloud.Config{Hermetic: true, AnyVault: true})
			s.road.lead(other.ProxyURL())
		},
		end: func(s *scene) { s.road.lead(s.cloud.ProxyURL()) }},
	{name: "login down, token expired", before: shortTokens, begin: func(s *scene) {
		s.fault("service=entra status=503")
		s.until(old)
	}, want: []string{old}, change: true, end: well},
	{name: "login throttled, token expired", before: shortTokens, begin: func(s *scene) {
		s.fault("service=entra status=429 retry-after=60s")
		s.until(old)
	}, want: []string{old}, change: true},

	// It is not the vault.
	{name: "a client that reads a byte a second", begin: (*scene).readSlowly, change: true, want: []string{now, "canary-after cache"}},
	{name: "disk full for the audit", begin: func(s *scene) { s.audit("/dev/full") }, want: []string{"unavailable"}, fails: true,
		end: func(s *scene) { s.audit(filepath.Join(s.t.TempDir(), "audit.jsonl")) }},

	// The vault answers.
	{name: "token expired", before: func(s *scene) { s.tokensLast(time.Minute) },
		begin: func(s *scene) { s.cloud.Clock().Advance(time.Minute + 6*time.Minute) }, // and what a vault allows for clocks
		want:  []string{now, "canary-after cache"}, change: true},
	{name: "app's secret expired, token good", begin: func(s *scene) {
		s.app(localcloud.App{ClientSecret: troubleSecret, SecretExpires: time.Now().Add(-time.Hour)})
	}, want: []string{now, "canary-after cache"}, change: true},
	{name: "login down, token good", begin: func(s *scene) { s.fault("service=entra status=503") },
		want: []string{now, "canary-after cache"}, change: true},
	{name: "clock 3 min behind", begin: jump(3 * time.Minute), want: []string{now, "canary-after cache"}, change: true},
	{name: "clock 3 min ahead", begin: jump(-3 * time.Minute), want: []string{now, "canary-after cache"}, change: true},
	{name: "clock 2 h behind", begin: jump(2 * time.Hour), want: []string{now, "canary-after cache"}, change: true},
	{name: "clock 2 h ahead", begin: jump(-2 * time.Hour), want: []string{now, "canary-after cache"}, change: true},
	{name: "clock 2 h behind, then an outage", begin: func(s *scene) {
		jump(2 * time.Hour)(s)
		s.fault("service=keyvault status=503 retry-after=60s")
	}, want: []string{old}, change: true},

	// Access was taken away: design.md wants all of them to fail, at once, and nothing stale.
	{name: "app's secret expired, token expired", before: shortTokens, begin: func(s *scene) {
		s.app(localcloud.App{ClientSecret: troubleSecret, SecretExpires: time.Now().Add(-time.Hour)})
		s.until("forbidden")
	}, want: []string{"forbidden"}, fails: true, end: func(s *scene) { s.app(localcloud.App{ClientSecret: troubleSecret}) }},
	{name: "app disabled, token expired", before: shortTokens, begin: func(s *scene) {
		s.app(localcloud.App{ClientSecret: troubleSecret, Disabled: true})
		s.until("forbidden")
	}, want: []string{"forbidden"}, fails: true, end: func(s *scene) { s.app(localcloud.App{ClientSecret: troubleSecret}) }},
	{name: "role removed", begin: func(s *scene) { s.vault(noRole) }, want: []string{"forbidden"}, fails: true,
		end: func(s *scene) { s.vault(localcloud.Permissions{}) }},
	{name: "role removed, then an outage", begin: func(s *scene) {
		s.vault(noRole)
		s.until("forbidden")
		s.fault("service=keyvault status=503 retry-after=60s")
	}, want: []string{"forbidden", "unavailable"}, fails: true},
	{name: "secret disabled", begin: func(s *scene) { s.each(http.MethodPatch, `{"attributes":{"enabled":false}}`) },
		want: []string{"forbidden"}, fails: true, end: func(s *scene) { s.each(http.MethodPatch, `{"attributes":{"enabled":true}}`) }},
	{name: "secret deleted", begin: func(s *scene) { s.each(http.MethodDelete, "") }, want: []string{"not_found"}, fails: true},

	// Seen by the list, for the cache would go on for a day.
	{name: "secret deleted, seen by the list", kwargs: watching, begin: func(s *scene) {
		s.each(http.MethodDelete, "")
		s.until("not_found")
	}, want: []string{"not_found"}, fails: true},
	{name: "secret disabled, seen by the list", kwargs: watching, begin: func(s *scene) {
		s.each(http.MethodPatch, `{"attributes":{"enabled":false}}`)
		s.until("forbidden")
	}, want: []string{"forbidden"}, fails: true},
	{name: "list refused", kwargs: watching, begin: func(s *scene) {
		s.vault(localcloud.Permissions{Model: localcloud.AccessPolicies, Policies: []localcloud.AccessPolicy{
			{Principal: troubleApp, Secrets: []string{"get"}},
		}})
		s.logged("may not list the secrets")
	}, want: []string{"canary-before cache", "canary-before vault"}}, // a look before may have found the second of put too near
	{name: "list throttled", kwargs: watching, begin: func(s *scene) {
		s.fault("service=keyvault status=429 retry-after=60s")
		s.logged("too many requests")
	}, want: []string{"canary-before cache", old}},
	{name: "seen to change, then an outage", kwargs: watching, begin: func(s *scene) {
		s.fault("service=keyvault path=/secrets/ status=503") // values are not to be had, the list is
		s.put("canary-after")
		s.until(old)
	}, want: []string{old, "canary-before cache"}, end: well},
}

var watching = map[string]any{"cache_ttl": "24h", "negative_ttl": "24h", "list_interval": "1s"}

// TestTroubles: how many lookups fail when something goes wrong between the agent and the vault, or there.
func TestTroubles(t *testing.T) {
	atOnce(t, troubles, func(row trouble) string { return row.name }, func(t *testing.T, row trouble) {
		s := stage(t, row.kwargs, nil)
		if row.before != nil {
			row.before(s)
		}
		if warm := s.storm(); warm.failed > 0 {
			t.Fatalf("before the trouble: %v", warm.outcomes)
		}
		time.Sleep(2 * time.Millisecond) // what is held is old from now on
		s.cloud.ForgetRequests()
		row.begin(s)
		if row.change {
			s.put("canary-after")
		}
		got := s.storm()
		asked := s.asked("keyvault")
		t.Logf("%d of %d lookups failed, %d requests to the vault: %v", got.failed, got.lookups, asked, got.outcomes)
		failed := 0
		if row.fails {
			failed = got.lookups
		}
		if got.failed != failed {
			t.Errorf("%d of %d lookups failed, want %d", got.failed, got.lookups, failed)
		}
		for outcome := range got.outcomes {
			if !slices.Contains(row.want, outcome) {
				t.Errorf("a lookup got %q; only %q may be", outcome, row.want)
			}
		}
		if row.most > 0 && asked > row.most {
			t.Errorf("%d requests to the vault, want %d at most", asked, row.most)
		}
		if row.end != nil {
			s.put("canary-end")
			row.end(s)
			s.until("canary-end")
		}
	})
}

// atOnce runs a subtest for each row, eight at a time whatever the machine has: they wait, most of the time, for the SDK to
// try again.
func atOnce[T any](t *testing.T, rows []T, name func(T) string, test func(*testing.T, T)) {
	var group errgroup.Group
	group.SetLimit(8)
	for _, row := range rows {
		group.Go(func() error {
			t.Run(name(row), func(t *testing.T) { test(t, row) })
			return nil
		})
	}
	_ = group.Wait()
}

// TestTwoRotationsInOneSecond: the vault's clock stands still, so that both versions have the same time.
func TestTwoRotationsInOneSecond(t *testing.T) {
	t.Parallel()
	still := time.Now()
	s := stage(t, watching, func() time.Time { return still })
	s.until("canary-before")
	s.put("canary-first")
	s.until("canary-first")
	s.put("canary-second")
	if got := s.storm(); got.failed > 0 {
		t.Errorf("%v", got.outcomes)
	}
	s.until("canary-second")
}

// TestColdSecretInAnOutage: nothing is promised for what was never read, but no storm comes of it.
func TestColdSecretInAnOutage(t *testing.T) {
	t.Parallel()
	s := stage(t, nil, nil)
	s.fault("service=keyvault status=503 retry-after=60s")
	got := s.storm()
	if n := s.asked("keyvault"); got.failed != got.lookups || got.outcomes["unavailable"] != got.lookups || n > 2*len(ids) {
		t.Errorf("%d requests, %v", n, got.outcomes)
	}
}

// TestShortTroubleOfAColdSecret: what the SDK tries again by itself, nobody sees.
func TestShortTroubleOfAColdSecret(t *testing.T) {
	atOnce(t, []string{
		"service=keyvault status=429 times=1", "service=keyvault status=429 retry-after=1s times=1", "service=keyvault status=503 times=1",
		"service=keyvault drop=true times=1", "service=keyvault truncate=true times=1", "service=entra status=503 times=1",
	}, func(line string) string { return line }, func(t *testing.T, line string) {
		s := stage(t, nil, nil)
		s.fault(line)
		if got := s.storm(); got.failed > 0 {
			t.Errorf("%v", got.outcomes)
		}
	})
}
