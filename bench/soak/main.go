// Command soak runs the real agent in front of a local cloud in which things go wrong and right again, has it asked by many
// clients all the while, and says at the end whether it grew: memory, goroutines, descriptors. It ends with an error when it
// did, or when a lookup failed that must not: a value that was read once is given whatever happens to the vault.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/airlock-secrets/airlock/localcloud"
)

const (
	vaultURL = "https://soak.vault.azure.net/"
	tenant   = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	app      = "soak"
	password = "soak's own secret"

	secrets    = 300
	missing    = 100 // names that no vault has
	goClients  = 12
	pyClients  = 2
	reloadTime = 20 * time.Second // the longest that a new configuration may take
	calmTime   = time.Minute      // the longest until the newest value is served after the last fault
	quiet      = time.Second / 2  // between two looks at an agent that comes to rest
	restTime   = 2 * time.Second  // what the looks of a cycle take, as a rule
)

func main() {
	log.SetFlags(0)
	s := soak{asked: map[string]int{}}
	flag.StringVar(&s.airlock, "airlock", "bin/airlock", "the program")
	flag.StringVar(&s.python, "python", "", "a Python that has airlock_airflow; none: no clients in Python")
	flag.DurationVar(&s.length, "for", 5*time.Minute, "length of the run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx); err != nil {
		log.Fatal("soak: ", err)
	}
}

// soak is one run.
type soak struct {
	airlock, python string
	length          time.Duration

	dir     string
	socket  string
	cloud   *localcloud.Cloud
	agent   *exec.Cmd
	version int // of all secrets
	reloads int

	mu    sync.Mutex
	asked map[string]int // lookups by what came
	wrong []string       // the first few that must not be
}

// phase is a time in which one thing is so.
type phase struct {
	name  string
	fault string // of the vault and its login; "": none
	act   func(s *soak) error
	idle  bool // nobody asks
}

var phases = []phase{
	{name: "healthy", act: (*soak).healthy},
	{name: "throttled, with Retry-After", fault: "status=429 retry-after=1s"},
	{name: "healthy, rotated", act: (*soak).rotate},
	{name: "failing", fault: "status=503"},
	{name: "slow", fault: "latency=3s"},
	{name: "rotated and reloaded in part", act: (*soak).rotate},
	{name: "connections dropped", fault: "drop=true"},
	{name: "answers cut short", fault: "truncate=true rate=0.5"},
	{name: "one in five refused", fault: "status=429 rate=0.2"},
	{name: "nobody asks", idle: true},
}

func (s *soak) run(ctx context.Context) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "soak"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.cloud.Close()
	defer s.stopAgent()

	cycles := min(10, max(3, int(s.length/(20*time.Second))))
	each := (s.length/time.Duration(cycles) - restTime) / time.Duration(len(phases))
	end := time.Now()
	var first report
	var reports []report
	for cycle := range cycles {
		for _, p := range phases {
			// One that takes longer, as those do whose callers wait for a slow vault, has the next ones take less.
			end = end.Add(each)
			if err := s.pass(ctx, p, max(time.Until(end), each/3)); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		if err := s.cloud.SetFaults(localcloud.Faults{}); err != nil {
			return err
		}
		end = end.Add(restTime)
		r, err := s.look(ctx, first)
		if err != nil {
			return err
		}
		r.cycle = cycle + 1
		if cycle == 0 {
			first = r
		}
		reports = append(reports, r)
	}
	s.print(reports)
	return errors.Join(s.calm(ctx), s.judge(reports))
}

// begin starts the cloud and the agent.
func (s *soak) begin(ctx context.Context) (err error) {
	s.cloud, err = localcloud.Open(localcloud.Config{Hermetic: true, Provision: localcloud.Provision{
		Apps:   []localcloud.App{{TenantID: tenant, ClientID: app, ClientSecret: password}},
		Vaults: []localcloud.Vault{{URL: vaultURL}},
	}})
	if err != nil {
		return err
	}
	s.socket = filepath.Join(s.dir, "run", "agent.sock")
	if err := errors.Join(s.write(), s.configure()); err != nil {
		return err
	}
	errorLog, err := os.Create(filepath.Join(s.dir, "agent.log"))
	if err != nil {
		return err
	}
	s.agent = exec.Command(s.airlock, "agent", "--config", s.config(), "--socket", s.socket)
	s.agent.Env = append(os.Environ(), "SOAK_SECRET="+password)
	for name, value := range s.cloud.Env() {
		s.agent.Env = append(s.agent.Env, name+"="+value)
	}
	s.agent.Stderr = errorLog
	if err := s.agent.Start(); err != nil {
		return err
	}
	return until(ctx, 20*time.Second, func() error { return s.warm() })
}

func (s *soak) config() string { return filepath.Join(s.dir, "airlock.yaml") }

func (s *soak) stopAgent() {
	_ = s.agent.Process.Signal(syscall.SIGTERM)
	_ = s.agent.Wait()
}

// configure writes the agent's configuration; each has another ttl now and then, so that its vault is made anew, and
// otherwise another list of ids that are never asked for.
func (s *soak) configure() error {
	ttl := 2 + s.reloads/3%2
	text := fmt.Sprintf(`vaults:
  - url: %s
    tenant_id: %s
    client_id: %s
    client_secret_env: SOAK_SECRET
never:
  variables: [%s]
cache: {ttl: %ds, negative_ttl: 1s, max_stale: 12h, list_interval: 1s}
audit: {file: %s}
`, vaultURL, tenant, app, never(s.reloads), ttl, filepath.Join(s.dir, "audit.jsonl"))
	s.reloads++
	whole := s.config() + ".new"
	if err := os.WriteFile(whole, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(whole, s.config())
}

// reload has the agent take a new configuration. A vault that is made anew holds nothing, so it is warmed at once.
func (s *soak) reload() error {
	if err := s.configure(); err != nil {
		return err
	}
	if err := s.agent.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	c, err := dial(s.socket)
	if err != nil {
		return err
	}
	defer c.Close()
	err = until(context.Background(), reloadTime, func() error {
		_, page, err := c.exchange(http.MethodGet, "/v1/variables/"+never(s.reloads-1), "")
		if err == nil && !bytes.Contains(page, []byte("never looked up")) {
			err = errors.New("the agent does not take its new configuration")
		}
		return err
	})
	return errors.Join(err, s.warm())
}

// never is the id that is never looked up by one of the configurations.
func never(reload int) string { return "never_" + strconv.Itoa(reload) }

func (s *soak) healthy() error { return errors.Join(s.reload(), s.reload(), s.reload()) }

// rotate gives all secrets new values and reloads.
func (s *soak) rotate() error {
	s.version++
	return errors.Join(s.write(), s.reload())
}

func (s *soak) write() error {
	values := make(map[string]string, secrets)
	for i := range secrets {
		values["airflow-variables-name-"+strconv.Itoa(i)] = value(i, s.version)
	}
	return s.cloud.SetSecrets(vaultURL, values)
}

func value(i, version int) string {
	return fmt.Sprintf("%d of %d %s", version, i, strings.Repeat("x", 200))
}

func variable(i int) string { return "name_" + strconv.Itoa(i) }

// warm reads everything once.
func (s *soak) warm() error {
	c, err := dial(s.socket)
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range secrets {
		if status, _, err := c.get(variable(i)); err != nil || status != 200 {
			return fmt.Errorf("%s: status %d, %w", variable(i), status, err)
		}
	}
	return nil
}

// pass lives through one phase; what it does at its beginning is part of its length.
func (s *soak) pass(ctx context.Context, p phase, length time.Duration) error {
	ctx, end := context.WithTimeout(ctx, length)
	defer end()
	var faults localcloud.Faults
	if p.fault != "" {
		for _, service := range []string{"keyvault", "entra"} {
			fault, err := localcloud.ParseFault("service=" + service + " " + p.fault)
			if err != nil {
				return err
			}
			faults.Rules = append(faults.Rules, fault)
		}
	}
	if p.act != nil {
		if err := s.cloud.SetFaults(localcloud.Faults{}); err != nil {
			return err
		}
		if err := p.act(s); err != nil {
			return err
		}
	}
	s.cloud.ForgetRequests() // they would fill this process, not the agent's
	if err := s.cloud.SetFaults(faults); err != nil {
		return err
	}
	if p.idle {
		<-ctx.Done()
	} else {
		s.load(ctx, p)
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}

// calm waits until the agent serves the newest values again, in a cloud that is well.
func (s *soak) calm(ctx context.Context) error {
	return until(ctx, calmTime, func() error {
		c, err := dial(s.socket)
		if err != nil {
			return err
		}
		defer c.Close()
		for i := range secrets {
			status, got, err := c.get(variable(i))
			if err != nil || status != 200 || got != value(i, s.version) {
				return fmt.Errorf("%s is not the newest: status %d, %w", variable(i), status, err)
			}
		}
		return nil
	})
}

// until repeats what may fail for a time.
func until(ctx context.Context, most time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}
