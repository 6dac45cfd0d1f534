// Package cli is the command line: one file a command, which parses, calls and prints. What it prints for people goes
// to a terminal aligned; a pipe gets plain text; --json is stable.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// Env is all that a run of the program takes from outside.
type Env struct {
	Context context.Context // ends when the program shall stop
	Args    []string        // with the program's own name first
	Dir     string          // the working directory
	Environ []string        // KEY=VALUE
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	// Whether these streams are a terminal.
	StdinTerminal, StdoutTerminal, StderrTerminal bool
	// StdoutSize is the terminal's size, asked for anew each time; nil or an error is an unknown one.
	StdoutSize func() (columns, lines int, err error)
	// OnHangup says what SIGHUP does in place of ending Context; nil where there are no signals.
	OnHangup func(act func())
}

// System is the process's own environment. Its context ends with SIGINT, SIGTERM or SIGHUP; a second one of them ends
// the process at once.
func System() Env {
	base, hangUp := context.WithCancel(context.Background())
	ctx, stop := signal.NotifyContext(base, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	var instead atomic.Pointer[func()]
	go func() {
		for range hangups {
			if act := instead.Load(); act != nil {
				(*act)()
				continue
			}
			hangUp()
			signal.Stop(hangups)
		}
	}()
	dir, err := os.Getwd()
	if err != nil {
		dir = "."
	}
	return Env{
		Context: ctx, Args: os.Args, Dir: dir, Environ: os.Environ(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		OnHangup:       func(act func()) { instead.Store(&act) },
		StdinTerminal:  term.IsTerminal(int(os.Stdin.Fd())),
		StdoutTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		StderrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		StdoutSize:     func() (int, int, error) { return term.GetSize(int(os.Stdout.Fd())) },
	}
}

// app is one run of the program.
type app struct {
	env    Env
	getenv func(string) string
}

// Main runs the program and returns its exit code.
func Main(env Env) int {
	a := &app{env: env, getenv: lookup(env.Environ)}
	root := a.rootCommand()
	root.SetArgs(env.Args[1:])
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(env.Context)
	var own *ownExit
	if errors.As(err, &own) {
		return own.code
	}
	if err != nil {
		if kind := fault.KindOf(err); env.Context.Err() != nil && kind != fault.Usage && kind != fault.Canceled {
			err = fault.Wrap(fault.Canceled, err, "interrupted")
		}
		printError(env.Stderr, err)
	}
	return exitCode(err)
}

// path is where a file lies that the user named.
func (a *app) path(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(a.env.Dir, file)
}

func lookup(environ []string) func(string) string {
	values := make(map[string]string, len(environ))
	for _, pair := range environ {
		if key, value, ok := strings.Cut(pair, "="); ok {
			values[key] = value
		}
	}
	return func(key string) string { return values[key] }
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "airlock",
		Short: "The passage between Apache Airflow and Azure Key Vault",
		Long: `The passage between Apache Airflow and Azure Key Vault.

Try it without Azure:

  airlock dev                            a local Key Vault, Entra ID and managed identity, and an agent
  airlock set --dev variable hello       then type the value
  airlock get --dev variable hello
  airlock dev run -- airflow dags test my_dag

From an Astro project to a Deployment that reads its secrets:

  airlock init                           the project: requirements.txt and .env
  airlock doctor                         every link from the project to its vault, each with its remedy
  airlock import airflow_settings.yaml   what the local Airflow has, into the vault
  airlock push DEPLOYMENT                the Deployment's variables
  airlock seal                           no credential left in .env`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	root.AddCommand(
		a.devCommand(), a.agentCommand(), a.getCommand(), a.setCommand(), a.listCommand(), a.deleteCommand(),
		a.lintCommand(), a.diffCommand(), a.importCommand(), a.exportCommand(),
		a.statusCommand(), a.initCommand(), a.azureCommand(), a.doctorCommand(), a.pushCommand(), a.valuesCommand(), a.sealCommand(),
		a.versionCommand(), exitCodesTopic(), environmentTopic(),
	)
	checkArgs(root)
	return root
}

// checkArgs makes cobra's complaints about arguments usage errors, with a hint.
func checkArgs(c *cobra.Command) {
	if !c.HasSubCommands() && c.ValidArgsFunction == nil && !strings.Contains(c.Use, " ") {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if err == nil {
				return nil
			}
			var meant []string
			if !c.HasSubCommands() {
				err = wrongArgs(c, args)
			}
			if c.HasSubCommands() && len(args) > 0 {
				for _, near := range c.SuggestionsFor(args[0]) {
					meant = append(meant, "did you mean: "+c.CommandPath()+" "+near)
				}
			}
			return usage(c, err, meant...)
		}
	}
	for _, sub := range c.Commands() {
		checkArgs(sub)
	}
}

// wrongArgs says what a command takes, in the words of its help.
func wrongArgs(c *cobra.Command, args []string) error {
	_, takes, _ := strings.Cut(c.Use, " ")
	if takes == "" {
		return fmt.Errorf("%s takes no arguments, and got %q", c.CommandPath(), args[0])
	}
	return fmt.Errorf("%s takes %s, and got %d %s", c.CommandPath(), takes, len(args), plural(len(args), "argument"))
}

func usage(c *cobra.Command, err error, hints ...string) error {
	return fault.Wrap(fault.Usage, err, err.Error(), append(hints, "see: "+c.CommandPath()+" --help")...)
}

// printError is the one place that shows an error: what is wrong, then what to type next.
func printError(w io.Writer, err error) {
	for _, one := range flatten(err) {
		for line := range strings.SplitSeq(one.Error(), "\n") {
			fmt.Fprintln(w, "airlock: error:", line)
		}
	}
	for _, hint := range fault.HintsOf(err) {
		fmt.Fprintln(w, "airlock: hint:", hint)
	}
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, one := range joined.Unwrap() {
			all = append(all, flatten(one)...)
		}
		return all
	}
	return []error{err}
}

func (a *app) printJSON(value any) error {
	encoder := json.NewEncoder(a.env.Stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// say tells people something on standard error, beside the output proper.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.env.Stderr, format+"\n", args...) }

func jsonFlag(c *cobra.Command, to *bool) {
	c.Flags().BoolVar(to, "json", false, "print JSON, for programs")
}
