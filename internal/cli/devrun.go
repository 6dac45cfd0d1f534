package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
)

func (a *app) devRunCommand() *cobra.Command {
	var f devFlags
	c := &cobra.Command{
		Use:   "run [flags] -- CMD [ARG]...",
		Short: "Run a command inside the dev environment",
		Long: `Run a command that takes the local cloud for Azure, Astro and GitHub: it gets what airlock dev env --tokens prints, over
the folder's .env and your environment. It joins the dev that runs in this folder; without one, a dev runs for as long as the command does.

It ends with the command's own exit code.`,
		Example: `  airlock dev run -- airflow dags test my_dag
  airlock dev run --ephemeral --seed airflow_settings.yaml -- pytest`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			state, err := a.runningDev()
			if err == nil {
				if set := changedFlags(c); len(set) > 0 {
					return fault.New(fault.Usage, fmt.Sprintf("%s has no effect: this command joins the dev that runs in this folder", strings.Join(set, " ")),
						"leave it out, or stop that dev first")
				}
				return a.runJoined(state, args)
			}
			d, err := a.startDev(f)
			if err != nil {
				return err
			}
			defer d.finish()
			return a.runInside(d.state, args)
		},
	}
	c.Flags().SetInterspersed(false) // what follows CMD is CMD's
	f.add(c)
	return c
}

func changedFlags(c *cobra.Command) []string {
	var set []string
	c.Flags().Visit(func(f *pflag.Flag) { set = append(set, "--"+f.Name) })
	return set
}

// runJoined runs the command inside a dev that is not its own. If that ended first, it says so: the command's own words for
// what it was refused do not name the reason.
func (a *app) runJoined(state devState, args []string) error {
	err := a.runInside(state, args)
	if err != nil && !a.stillRuns(state) {
		a.say("airlock: warning: the dev that %s had joined ended before it did", args[0])
		a.say("airlock: hint: with no dev in this folder, airlock dev run starts one that lasts as long as the command")
	}
	return err
}

// stillRuns says whether the dev of a state runs. Its agent is asked, which is the first to go when it stops; and another dev
// may run in the folder since.
func (a *app) stillRuns(state devState) bool {
	now, err := a.runningDev()
	if err != nil || !now.Started.Equal(state.Started) {
		return false
	}
	agent := askAgent(state.Env[config.EnvAgentSocket])
	defer agent.Close()
	return agent.Health(context.WithoutCancel(a.env.Context)) == nil
}

// runInside runs the command in dev's environment and returns its exit code as an error.
func (a *app) runInside(state devState, args []string) error {
	project, err := a.projectEnv()
	if err != nil {
		return err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = a.env.Dir
	cmd.Env = insideEnv(a.env.Environ, project, state)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.env.Stdin, a.env.Stdout, a.env.Stderr

	// Ctrl-C on a terminal reaches the command by itself, and this process waits for it. Other signals are passed on.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return startError(args[0], err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if s != os.Interrupt || !a.env.StdinTerminal {
				_ = cmd.Process.Signal(s)
			}
		case err := <-done:
			var exit *exec.ExitError
			switch {
			case err == nil:
				return nil
			case !errors.As(err, &exit):
				return fault.Wrap(fault.Internal, err, "cannot wait for the command: "+err.Error())
			}
			if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
				return &ownExit{code: 128 + int(status.Signal())} // as a shell says it
			}
			return &ownExit{code: exit.ExitCode()}
		}
	}
}

func startError(name string, err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(fault.Usage, err, fmt.Sprintf("there is no command %s", name))
	}
	return fault.Wrap(fault.Usage, err, "cannot run the command: "+err.Error())
}

// insideEnv is the environment of a command inside dev: dev's own over the user's, and the project's .env where neither
// says anything. What would log in elsewhere is taken out.
func insideEnv(environ []string, project map[string]string, state devState) []string {
	env := maps.Clone(project)
	if env == nil {
		env = map[string]string{}
	}
	for _, pair := range environ {
		if key, value, ok := strings.Cut(pair, "="); ok {
			env[key] = value
		}
	}
	for _, key := range state.Unset {
		delete(env, key)
	}
	java := env[envJava]
	maps.Copy(env, state.Env)
	maps.Copy(env, state.Tokens)
	if java != "" { // the user's own come first, so that dev's win
		env[envJava] = java + " " + env[envJava]
	}
	pairs := make([]string, 0, len(env))
	for _, key := range slices.Sorted(maps.Keys(env)) {
		pairs = append(pairs, key+"="+env[key])
	}
	return pairs
}

// envJava is where every Java program takes options from. Java takes neither proxy nor trust from the environment's usual
// variables.
const envJava = "JAVA_TOOL_OPTIONS"

// javaWords writes options as envJava has them, with quotes where a path has blanks.
func javaWords(options []string) string {
	words := make([]string, len(options))
	for i, o := range options {
		words[i] = o
		if strings.ContainsAny(o, " \t") {
			words[i] = `"` + o + `"`
		}
	}
	return strings.Join(words, " ")
}
