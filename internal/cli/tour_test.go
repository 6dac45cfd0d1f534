package cli

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTour takes the pages' tours: every command of their console blocks, in one shell a page, with the output compared.
// "..." stands for anything.
func TestTour(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"README.md", "docs/astro.md", "docs/localcloud.md"} {
		t.Run(page, func(t *testing.T) { takeTour(t, root, page) })
	}
}

func takeTour(t *testing.T, root, page string) {
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	steps := tour(t, string(text))
	if len(steps) < 8 {
		t.Fatalf("the tour has %d commands: the test does not find them", len(steps))
	}
	runtime, err := os.MkdirTemp("", "airlock")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(runtime)

	shell := exec.Command("bash")
	shell.Dir = root
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Env = append(os.Environ(), "AIRLOCK_RUNTIME_DIR="+runtime, "HOME="+t.TempDir(), "TMPDIR="+t.TempDir(),
		"GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"))
	input, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	shell.Stderr = shell.Stdout
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() { _ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) } // whatever it has in the background, too
	defer time.AfterFunc(10*patience, end).Stop()
	defer func() {
		input.Close()
		end()
		_ = shell.Wait()
	}()
	lines := bufio.NewScanner(output)
	for _, step := range steps {
		fmt.Fprintln(input, step.command)
		if strings.HasSuffix(step.command, "&") { // a reader takes a moment to type on
			fmt.Fprintln(input, `for i in $(seq 600); do test -e .airlock/dev.json && break; sleep 0.05; done`)
		}
		fmt.Fprintln(input, `s=$?; echo; echo "=== $s"`) // the output before it may end without a newline
		var got []string
		status := ""
		for lines.Scan() {
			var ended bool
			if status, ended = strings.CutPrefix(lines.Text(), "=== "); ended {
				break
			}
			got = append(got, lines.Text())
		}
		for len(got) > 0 && got[len(got)-1] == "" {
			got = got[:len(got)-1]
		}
		if status != "0" {
			t.Fatalf("$ %s\nexit code %q (none: the time is over)\n%s", step.command, status, strings.Join(got, "\n"))
		}
		if step.output != nil && !matches(step.output, got) {
			t.Errorf("$ %s\n%s\n--- the page says\n%s", step.command, strings.Join(got, "\n"), strings.Join(step.output, "\n"))
		}
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

type step struct {
	command string
	output  []string // nil: not shown, so not compared
}

// tour finds the commands between a page's two marks. A command with << goes on to its END, one that ends in \ on the next
// line.
func tour(t *testing.T, page string) []step {
	t.Helper()
	_, text, ok := strings.Cut(page, "<!-- tour -->")
	text, _, closed := strings.Cut(text, "<!-- end of tour -->")
	if !ok || !closed {
		t.Fatal("the page has no tour")
	}
	var steps []step
	inside, document := false, false
	for line := range strings.SplitSeq(text, "\n") {
		switch command, isCommand := strings.CutPrefix(line, "$ "); {
		case line == "```console":
			inside = true
		case line == "```":
			inside = false
		case inside && isCommand:
			steps = append(steps, step{command: command})
			document = strings.Contains(command, "<<")
		case inside && len(steps) > 0 && strings.HasSuffix(steps[len(steps)-1].command, "\\"):
			steps[len(steps)-1].command += "\n" + line
		case inside && document:
			steps[len(steps)-1].command += "\n" + line
			document = line != "END"
		case inside:
			last := &steps[len(steps)-1]
			last.output = append(last.output, line)
		}
	}
	return steps
}

// matches compares output with what the page shows; a line that is "..." or ends so may stand for several.
func matches(want, got []string) bool {
	pattern := regexp.QuoteMeta(strings.Join(want, "\n"))
	pattern = strings.ReplaceAll(pattern, `\.\.\.`, `(?s:.*)`)
	return regexp.MustCompile("^" + pattern + "$").MatchString(strings.Join(got, "\n"))
}
