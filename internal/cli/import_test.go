package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/localcloud"
)

// importCount is how many secrets TestImportKilled moves. `make test-import` moves 10,000.
func importCount(t *testing.T) int {
	n, err := strconv.Atoi(first(os.Getenv("AIRLOCK_TEST_SECRETS"), "600"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// clockSpeed is how much faster than ours the local cloud's clock runs. Its limits are for spans of its own time, so that
// a rate is multiplied by it, too.
const clockSpeed = 20

// importScene is a local cloud with a fast clock and Key Vault's limits, and a folder with a source.
type importScene struct {
	t     *testing.T
	cloud *localcloud.Cloud
	dir   string
	env   []string

	writes, throttled int // answers since the beginning
	last              localcloud.Request
}

func stageImport(t *testing.T, source map[string]string) *importScene {
	t.Helper()
	began := time.Now()
	cloud := localcloud.Start(t, localcloud.Config{
		Hermetic: true,
		Now:      func() time.Time { return began.Add(clockSpeed * time.Since(began)) },
		Provision: localcloud.Provision{
			Apps:   []localcloud.App{{TenantID: troubleTenant, ClientID: troubleApp, ClientSecret: troubleSecret}},
			Vaults: []localcloud.Vault{{URL: troubleVault}},
		},
	})
	s := &importScene{t: t, cloud: cloud, dir: t.TempDir()}
	document, err := json.Marshal(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "variables.json"), document, 0o600); err != nil {
		t.Fatal(err)
	}
	kwargs, err := json.Marshal(map[string]any{
		"vault_url": troubleVault, "tenant_id": troubleTenant, "client_id": troubleApp, "client_secret": troubleSecret, "vault_share": 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "HTTPS_PROXY=" + cloud.ProxyURL(), "SSL_CERT_FILE=" + cloud.CAFile(),
		"AIRFLOW__SECRETS__BACKEND_KWARGS=" + string(kwargs),
	}
	return s
}

func (s *importScene) throttle(creates int) {
	s.t.Helper()
	limits := localcloud.KeyVaultLimits
	limits.Creates = creates
	if err := s.cloud.SetFaults(localcloud.Faults{Throttle: limits}); err != nil {
		s.t.Fatal(err)
	}
}

// count adds up what the cloud's log, which forgets, has had since the last look.
func (s *importScene) count() {
	requests := s.cloud.Requests()
	from := slices.Index(requests, s.last) + 1
	if from == 0 && s.last != (localcloud.Request{}) {
		s.t.Fatal("the cloud's log has forgotten more than was looked at: the test counts wrongly")
	}
	for _, r := range requests[from:] {
		s.last = r
		switch {
		case r.Method == "PUT" && r.Status == 200:
			s.writes++
		case r.Status == 429:
			s.throttled++
		}
	}
}

// waitForWrites looks at what another process does to the vault, until it has done enough.
func (s *importScene) waitForWrites(n int) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); s.writes < n; time.Sleep(5 * time.Millisecond) {
		if s.count(); time.Now().After(deadline) {
			s.t.Fatalf("%d writes, waited in vain for %d", s.writes, n)
		}
	}
}

// run makes a run of the program, and gives what it will say.
func (s *importScene) run(ctx context.Context, args ...string) (*exec.Cmd, *bytes.Buffer) {
	var said bytes.Buffer
	c := exec.CommandContext(ctx, "airlock", args...)
	c.Dir, c.Env, c.Stdout, c.Stderr = s.dir, s.env, &said, &said
	return c, &said
}

func (s *importScene) must(args ...string) string {
	s.t.Helper()
	c, said := s.run(s.t.Context(), args...)
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	var err error
	for running := true; running; s.count() {
		select {
		case err = <-done:
			running = false
		case <-look.C:
		}
	}
	if err != nil {
		s.t.Fatalf("airlock %s: %v\n%.2000s", strings.Join(args, " "), err, said)
	}
	if strings.Contains(said.String(), "canary") {
		s.t.Fatalf("airlock %s shows a value", strings.Join(args, " "))
	}
	return said.String()
}

// TestImportKilled: an import at the pace of a real vault stays below its limit; killed with SIGKILL in the middle and run
// again, with somebody else using up most of the limit meanwhile, it loses nothing, and writes nothing twice but what the
// kill left in doubt.
func TestImportKilled(t *testing.T) {
	n := importCount(t)
	values := map[string]string{}
	for i := range n {
		values[fmt.Sprintf("Key_%05d-x", i)] = fmt.Sprintf("canary %d\n{%q}", i, strings.Repeat("ü", i%40))
	}
	s := stageImport(t, values)
	s.throttle(localcloud.KeyVaultLimits.Creates)
	rate := fmt.Sprint(27 * clockSpeed)

	ctx, kill := context.WithCancel(t.Context()) // exec ends it with SIGKILL
	defer kill()
	c, said := s.run(ctx, "import", "--yes", "--rate", rate, "variables.json")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s.waitForWrites(n * 2 / 3)
	kill()
	if err := c.Wait(); err == nil {
		t.Fatalf("it was not killed: %s", said)
	}
	s.count()
	before := s.writes
	if before >= n || s.throttled > 0 {
		t.Fatalf("%d of %d were written before the kill, and %d requests throttled", before, n, s.throttled)
	}
	t.Logf("killed after %d of %d; throttled: none", before, n)

	// A fifth of the limit is left to us, and we do not know of it.
	s.throttle(localcloud.KeyVaultLimits.Creates / 5)
	out := s.must("import", "--yes", "--rate", rate, "variables.json")
	s.count()
	if !strings.Contains(out, " the same") {
		t.Errorf("it did not see what was done before: %.300s", out)
	}
	if s.throttled == 0 {
		t.Error("nothing was throttled: the test shows nothing of it")
	}
	const inFlight = 8
	if s.writes < n || s.writes > n+inFlight {
		t.Errorf("%d writes for %d secrets", s.writes, n)
	}
	t.Logf("resumed: %d written, %d requests throttled and repeated", s.writes-before, s.throttled)

	// Nothing is missing, and each value and id is the one of the source.
	if out := s.must("diff", "--prune", "variables.json"); !strings.Contains(out, fmt.Sprintf("%d the same", n)) {
		t.Errorf("afterwards: %.500s", out)
	}
	s.must("export", "variables", "back.json")
	raw, err := os.ReadFile(filepath.Join(s.dir, "back.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]string
	if err := json.Unmarshal(raw, &back); err != nil || len(back) != n {
		t.Fatalf("%d of %d come back: %v", len(back), n, err)
	}
	for id, value := range values {
		if back[id] != value {
			t.Fatalf("%s comes back changed", id)
		}
	}
}

// TestImportInterrupted: Ctrl-C ends an import within the grace, and the report tells each secret's outcome truly.
func TestImportInterrupted(t *testing.T) {
	values := map[string]string{}
	for i := range 400 {
		values[fmt.Sprintf("k%03d", i)] = "canary"
	}
	s := stageImport(t, values)
	c, said := s.run(t.Context(), "import", "--yes", "--json", "--rate", "100", "variables.json")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s.waitForWrites(60)
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if code := c.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d: %.300s", code, said)
	}
	s.count()
	s.reports(said.String(), len(values))
}

// TestImportRefusedHalfWay: a vault that takes its permission away ends it; the report tells what was written.
func TestImportRefusedHalfWay(t *testing.T) {
	values := map[string]string{}
	for i := range 60 {
		values[fmt.Sprintf("k%03d", i)] = "canary"
	}
	s := stageImport(t, values)
	for i := 30; i < 60; i++ {
		rule, err := localcloud.ParseFault(fmt.Sprintf("service=keyvault method=PUT path=/secrets/airflow-variables-k%03d status=403", i))
		if err != nil {
			t.Fatal(err)
		}
		f := s.cloud.Faults()
		f.Rules = append(f.Rules, rule)
		if err := s.cloud.SetFaults(f); err != nil {
			t.Fatal(err)
		}
	}
	c, said := s.run(t.Context(), "import", "--yes", "--json", "--rate", "1000", "variables.json")
	_ = c.Run()
	if code := c.ProcessState.ExitCode(); code != 4 {
		t.Errorf("exit code %d: %.300s", code, said)
	}
	s.count()
	s.reports(said.String(), len(values))
}

// reports compares a report with what the cloud answered.
func (s *importScene) reports(said string, steps int) {
	s.t.Helper()
	if strings.Contains(said, "canary") {
		s.t.Error("the report shows a value")
	}
	var report struct {
		Results []struct{ ID, Outcome string }
	}
	if err := json.NewDecoder(strings.NewReader(said)).Decode(&report); err != nil {
		s.t.Fatalf("%v: %.300s", err, said)
	}
	counts := map[string]int{}
	for _, r := range report.Results {
		counts[r.Outcome]++
	}
	if len(report.Results) != steps || counts["done"] != s.writes || counts["not-tried"] == 0 || counts["unknown"] > 0 {
		s.t.Errorf("reported %v of %d, while the vault took %d", counts, steps, s.writes)
	}
}

// TestProgress: a bar is for a terminal; nothing of it comes into a pipe. Neither do secrets come to a terminal unasked.
func TestProgress(t *testing.T) {
	s := stageImport(t, map[string]string{"a": "canary"})
	main := func(terminal bool, args ...string) (int, string, string) {
		var out, err bytes.Buffer
		code := Main(Env{
			Context: t.Context(), Args: append([]string{"airlock"}, args...), Dir: s.dir, Environ: s.env,
			Stdin: strings.NewReader(""), Stdout: &out, Stderr: &err, StdoutTerminal: terminal, StderrTerminal: terminal,
		})
		return code, out.String(), err.String()
	}
	if code, _, said := main(true, "import", "--yes", "variables.json"); code != 0 || !strings.Contains(said, "writing") {
		t.Errorf("on a terminal: %d, %q", code, said)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "variables.json"), []byte(`{"a": "canary 2"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, said := main(false, "import", "--yes", "variables.json"); code != 0 || strings.Contains(said, "writing") || strings.Contains(said, "\r") {
		t.Errorf("in a pipe: %d, %q", code, said)
	}
	if code, out, said := main(true, "export", "variables", "-"); code != 2 || out != "" || !strings.Contains(said, "give --reveal") {
		t.Errorf("export to a terminal: %d, %q, %q", code, out, said)
	}
	if code, out, _ := main(true, "export", "variables", "-", "--reveal"); code != 0 || !strings.Contains(out, "canary 2") {
		t.Errorf("export to a terminal that asked for it: %d, %q", code, out)
	}
}
