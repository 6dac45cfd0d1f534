package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"airlock": func() { os.Exit(Main(System())) }})
}

// patience bounds how long a script waits for something that another process does.
const patience = 30 * time.Second

func TestScripts(t *testing.T) { runScripts(t, filepath.Join("testdata", "script")) }

// TestScriptsWithGitHubsProgram needs gh, which make finds among Debian's packages.
func TestScriptsWithGitHubsProgram(t *testing.T) {
	if _, err := exec.LookPath("gh"); err != nil {
		t.Skip("gh is not installed, and make did not fetch it")
	}
	runScripts(t, filepath.Join("testdata", "script", "gh"))
}

func runScripts(t *testing.T, dir string) {
	t.Helper()
	if files, err := filepath.Glob(filepath.Join(dir, "*.txtar")); err != nil || len(files) == 0 {
		t.Fatalf("no scripts in %s: %v", dir, err)
	}
	az, err := filepath.Abs(filepath.Join("..", "..", "packaging", "testtools", "az")) // the folder of a stand-in for the Azure CLI
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			runtime, err := os.MkdirTemp("", "airlock") // short, for sun_path
			if err != nil {
				return err
			}
			env.Defer(func() {
				searchLogs(env.T(), runtime)
				os.RemoveAll(runtime)
			})
			env.Setenv("AIRLOCK_RUNTIME_DIR", runtime)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("AZ", az)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitfor": waitFor, "waitline": waitLine, "bytes": writeBytes, "interrupt": interrupt, "mode": checkMode,
		},
	})
}

// searchLogs fails a script whose agents wrote down a secret: the scripts' secrets are called canary.
func searchLogs(t testscript.T, dir string) {
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, path := range logs {
		if log, err := os.ReadFile(path); err == nil && strings.Contains(string(log), "canary") {
			t.Fatal(path, " holds a canary:\n", string(log))
		}
	}
}

// waitFor FILE waits until a file or socket is there; with "!" until it is gone.
func waitFor(ts *testscript.TestScript, gone bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] waitfor FILE")
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Lstat(ts.MkAbs(args[0])); (err != nil) == gone {
			return
		}
	}
	ts.Fatalf("waited in vain for %s", args[0])
}

// waitline N FILE TEXT waits until N lines of a file hold a text.
func waitLine(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: waitline N FILE TEXT")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	var held []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		held, _ = os.ReadFile(ts.MkAbs(args[1]))
		if strings.Count(string(held), args[2]) >= n {
			return
		}
	}
	ts.Fatalf("waited in vain for %d times %q in %s:\n%s", n, args[2], args[1], held)
}

// bytes N FILE writes a file of N letters.
func writeBytes(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Repeat("x", n)), 0o600))
}

// interrupt PIDFILE sends SIGINT to a process, and waits until it has ended.
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	raw, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGINT))
}

// mode OCTAL FILE checks a file's permissions.
func checkMode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}
