package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/astro"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/doctor"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/keyvault"
)

func (a *app) doctorCommand() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check every link between the project and its vault",
		Long: `Check every link of the chain between the project and its vault, and say what to type where one is broken.

Nothing is changed, here or in the vault, and no value of a secret is read or shown. Rights are tried with requests that have
no effect: they name a secret that does not exist.

It ends with 0 when nothing is broken. Warnings leave it at 0, so that a pipeline can go on; --strict makes them 6. A broken
link makes it 7.`,
		Example: `  airlock doctor
  airlock doctor --dev
  airlock doctor --json --strict`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.runDoctor(c.Context(), f)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.deployment, "deployment", "", "compare with the variables of this Deployment of Astro, by id or name")
	flags.StringVar(&f.values, "values", "", "compare with this values.yaml of a Remote Execution Agent")
	flags.StringVar(&f.python, "python", "", "the interpreter that has the project's Airflow; by default VIRTUAL_ENV's, or the first in PATH")
	flags.BoolVar(&f.strict, "strict", false, "end with an exit code of its own when there are warnings")
	_ = c.RegisterFlagCompletionFunc("deployment", func(c *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return a.completeDeployment(c, nil, begun)
	})
	devFlag(c, &f.dev)
	jsonFlag(c, &f.asJSON)
	return c
}

type doctorFlags struct {
	dev, asJSON, strict bool

	deployment, values string
	python             string
}

func (a *app) runDoctor(ctx context.Context, f doctorFlags) error {
	if err := a.lendLogin(f.dev); err != nil {
		return err
	}
	if f.python != "" && strings.ContainsRune(f.python, os.PathSeparator) {
		f.python = a.path(f.python)
	}
	cfg := doctor.Config{
		Dir:     a.env.Dir,
		Getenv:  func() (config.Getenv, error) { return a.airflowEnv(f.dev) },
		Process: a.env.Environ,
		Open:    openRoad,
		Agents:  func(ctx context.Context, c config.Config) []doctor.Agent { return a.agentsOf(ctx, c, f.dev) },
		Version: Version,
		Python:  f.python,
		Dev:     f.dev,

		Deployment: f.deployment,
		Astro:      func() (doctor.Deployments, error) { return a.astro(f.dev) },
		Wanted: func() ([]astro.Wanted, error) {
			env, err := a.projectEnv()
			if err != nil {
				return nil, err
			}
			return a.wanted(env, pushFlags{})
		},
		Values: f.values,
	}
	view := a.doctorView()
	listener := doctor.Listener{Waits: view.waits, Hears: view.hears}
	if f.asJSON {
		listener = doctor.Listener{}
	}
	report := doctor.Examine(ctx, cfg, listener)
	if f.asJSON {
		if err := a.printJSON(report); err != nil {
			return err
		}
	} else {
		view.sum(report)
	}
	switch {
	case ctx.Err() != nil:
		return fault.New(fault.Canceled, "interrupted")
	case report.State == doctor.Broken:
		return &ownExit{code: exitBroken}
	case report.State == doctor.Warning && f.strict:
		return &ownExit{code: exitFound}
	}
	return nil
}

// openRoad makes the client of a configuration's vault, with connections of its own.
func openRoad(c config.Config) (doctor.Road, error) {
	client, err := httpClient(c.Network)
	if err != nil {
		return doctor.Road{}, err
	}
	opened, err := keyvault.New(vaultOver(c, client))
	if err != nil {
		return doctor.Road{}, err
	}
	road := doctor.Road{Vault: opened, Trust: c.Network.CAFile}
	if u, err := url.Parse(c.VaultURL); err == nil {
		if t, ok := client.Transport.(*http.Transport); ok {
			road.Proxy, _ = t.Proxy(&http.Request{URL: u})
		}
	}
	return road, nil
}

// agentsOf asks the agent that a configuration names, or else all that run.
func (a *app) agentsOf(ctx context.Context, c config.Config, dev bool) []doctor.Agent {
	named, err := namedAgent(c)
	asked := []askedAgent{{named, c.AgentSocket, c.AgentURL}}
	switch {
	case err != nil:
		return []doctor.Agent{{Named: true, Err: err}}
	case named == nil:
		asked, _ = a.agentsToAsk(dev)
	}
	var all []doctor.Agent
	for _, one := range asked {
		status, err := one.client.Status(ctx)
		one.client.Close()
		all = append(all, doctor.Agent{At: cmp.Or(one.socket, one.url), Named: named != nil, Status: status, Err: err})
	}
	return all
}

// doctorView shows results as they come: aligned and coloured on a terminal, with the check that is waited for; plain in a
// pipe.
type doctorView struct {
	a        *app
	terminal bool
	colour   bool
	width    int // of the column of findings; 0: as wide as they are
}

const (
	indent    = 27 // of the column of findings
	leastWide = 30 // of it, below which breaking lines helps nobody
)

func (a *app) doctorView() *doctorView {
	// https://no-color.org: set and not empty, whatever it says.
	colour := a.env.StdoutTerminal && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
	v := &doctorView{a: a, terminal: a.env.StdoutTerminal && a.getenv("TERM") != "dumb", colour: colour}
	if a.env.StdoutSize != nil && v.terminal {
		if columns, _, err := a.env.StdoutSize(); err == nil && columns-indent >= leastWide {
			v.width = columns - indent
		}
	}
	return v
}

// Colours of a terminal (ECMA-48, select graphic rendition).
var colours = map[doctor.State]string{
	doctor.OK: "\x1b[32m", doctor.Warning: "\x1b[33m", doctor.Broken: "\x1b[31m", doctor.Skipped: "\x1b[2m",
}

const (
	plainAgain = "\x1b[0m"
	eraseLine  = "\r\x1b[K"
)

func (v *doctorView) waits(title string) {
	if v.terminal {
		fmt.Fprintf(v.a.env.Stdout, "%s%-7s  %-16s  ...", eraseLine, "", title)
	}
}

func (v *doctorView) hears(r doctor.Result) {
	out := v.a.env.Stdout
	if !v.terminal {
		fmt.Fprintf(out, "%s\t%s\t%s\n", r.State, r.Title, line(r.Found))
		for _, note := range r.Notes {
			fmt.Fprintf(out, "\t\t%s\n", line(note))
		}
		for _, remedy := range r.Remedies {
			fmt.Fprintf(out, "\t\thint: %s\n", line(remedy))
		}
		return
	}
	before := strings.Repeat(" ", indent)
	for i, text := range v.wrap(line(r.Found)) {
		if i == 0 {
			fmt.Fprintf(out, "%s%s  %-16s  %s\n", eraseLine, v.paint(r.State, fmt.Sprintf("%-7s", r.State)), r.Title, text)
			continue
		}
		fmt.Fprintf(out, "%s%s\n", before, text)
	}
	for _, note := range r.Notes {
		for _, text := range v.wrap(line(note)) {
			fmt.Fprintf(out, "%s%s\n", before, v.paint(doctor.Skipped, text))
		}
	}
	for _, remedy := range r.Remedies { // in one piece, so that a command can be copied
		fmt.Fprintf(out, "%shint: %s\n", before, line(remedy))
	}
}

// wrap breaks a text at its blanks where the column ends. A word that is longer than a line stays whole.
func (v *doctorView) wrap(text string) []string {
	if v.width == 0 {
		return []string{text}
	}
	var lines []string
	for _, word := range strings.Split(text, " ") {
		last := len(lines) - 1
		if last >= 0 && utf8.RuneCountInString(lines[last])+1+utf8.RuneCountInString(word) <= v.width {
			lines[last] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	return lines
}

func (v *doctorView) paint(state doctor.State, text string) string {
	if !v.colour {
		return text
	}
	return colours[state] + text + plainAgain
}

// line keeps what others wrote on one line, and from steering a terminal.
func line(text string) string { return strings.Map(printable, text) }

// sum ends with one line that says it all.
func (v *doctorView) sum(report doctor.Report) {
	numbers := map[doctor.State]int{}
	for _, r := range report.Checks {
		numbers[r.State]++
	}
	var parts []string
	for _, state := range []doctor.State{doctor.Broken, doctor.Warning, doctor.Skipped, doctor.OK} {
		if n := numbers[state]; n > 0 {
			word := string(state)
			if state == doctor.Warning {
				word = plural(n, word)
			}
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	fmt.Fprintf(v.a.env.Stdout, "\n%s\n", strings.Join(parts, ", "))
}
