package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/keyvault"
	"github.com/airlock-secrets/airlock/internal/migrate"
)

// importFlags are those of airlock import.
type importFlags struct {
	dev, yes, dryRun, asJSON, skip bool
	planning
	login azLogin
}

func (a *app) importCommand() *cobra.Command {
	var f importFlags
	c := &cobra.Command{
		Use:   "import SOURCE",
		Short: "Write a source's connections and variables to the vault",
		Long: `Compare a source with the vault, show the plan, and after a yes write what differs. Values are never shown.

` + sourceHelp + `

What is the same is left alone, and what the source does not name is never touched, unless --prune is given, which asks for
itself. A run that was stopped is taken up by running it again. Secrets that were deleted and are not yet gone are taken back
before they are written. The exact id is kept in the secret's tag ` + migrate.TagID + `, its kind in ` + migrate.TagKind + `.

Where something cannot be stored, nothing is written, unless --skip-blocked leaves it out.

The login in .env is Airflow's and may only read, if it was made with airlock azure. --az-login writes as yourself.`,
		Example: `  airlock import airflow_settings.yaml
  airlock import --az-login airflow_settings.yaml
  airlock import --dry-run --json connections.json
  airlock import --yes airflow: --airflow "astro dev run"
  airlock import vault:https://old.vault.azure.net/`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeSource,
		RunE: func(c *cobra.Command, args []string) error {
			f.source = args[0]
			return a.runImport(c.Context(), f)
		},
	}
	f.flags.add(c)
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the plan, and write nothing")
	c.Flags().BoolVar(&f.prune, "prune", false, "delete what the source does not name, of the kinds that it holds")
	c.Flags().BoolVar(&f.skip, "skip-blocked", false, "leave out what cannot be stored, and write the rest")
	c.Flags().Float64Var(&f.rate, "rate", keyvault.DefaultCreates, "the most secrets to write in a second; a vault allows 300 in 10 seconds to all")
	devFlag(c, &f.dev)
	f.login.flag(c)
	jsonFlag(c, &f.asJSON)
	return c
}

func (a *app) runImport(ctx context.Context, f importFlags) error {
	if f.rate <= 0 {
		return fault.New(fault.Usage, "--rate must be above 0")
	}
	asks := !f.yes && !f.dryRun
	if asks && (!a.env.StdinTerminal || f.source == standardInput || f.asJSON) {
		return fault.New(fault.Usage, "there is nobody to ask before the vault is written to", "see the plan with --dry-run, then give --yes")
	}
	c, err := a.configuration(f.dev)
	if err != nil {
		return err
	}
	c = f.login.config(c)
	plan, v, err := a.plan(ctx, c, f.planning)
	if err != nil {
		return err
	}
	if !f.asJSON {
		if err := a.printPlan(plan); err != nil {
			return err
		}
	}
	writes, deletes := plan.Writes(), plan.Deletes()
	if blocked := plan.Blocked(); len(blocked) > 0 && !f.skip || f.dryRun {
		if f.asJSON {
			if err := a.printJSON(planJSON(c, plan)); err != nil {
				return err
			}
		}
		if len(blocked) > 0 && !f.skip {
			return fault.New(fault.Usage, fmt.Sprintf("%d of %d cannot be stored; nothing was written", len(blocked), len(plan.Steps)),
				"mend them in the source, or leave them out with --skip-blocked")
		}
		return nil
	}
	if asks {
		for _, about := range []struct {
			steps *[]migrate.Step
			deed  string
		}{{&writes, "write"}, {&deletes, "delete"}} {
			if len(*about.steps) == 0 {
				continue
			}
			yes, err := a.askYes(fmt.Sprintf("%s %d %s of %s?", about.deed, len(*about.steps), plural(len(*about.steps), "secret"), c.VaultURL))
			if err != nil {
				return err
			}
			if !yes {
				*about.steps = nil
			}
		}
	}
	results, err := a.apply(ctx, v, append(writes, deletes...))
	err = f.login.refused(err, f.dev, "import")
	if len(results) > 0 {
		a.forget(context.WithoutCancel(ctx), c)
	}
	if f.asJSON {
		document := planJSON(c, plan)
		document.Steps, document.Results = nil, resultsJSON(results)
		return firstError(a.printJSON(document), err)
	}
	switch {
	case len(results) > 0:
		a.printResults(results)
	case len(plan.Writes())+len(plan.Deletes()) > 0:
		a.say("nothing was written")
	}
	return err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// apply carries out steps, with a bar on a terminal.
func (a *app) apply(ctx context.Context, v *keyvault.Client, steps []migrate.Step) ([]migrate.Result, error) {
	if len(steps) == 0 {
		return nil, nil
	}
	var o migrate.Options
	if a.env.StderrTerminal {
		bar := progressbar.NewOptions(len(steps), progressbar.OptionSetWriter(a.env.Stderr), progressbar.OptionShowCount(),
			progressbar.OptionSetDescription("writing"), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
		_ = bar.RenderBlank() // before the first secret is written, which may take a login
		defer func() { _ = bar.Finish() }()
		o.Progress = func(over int) { _ = bar.Set(over) }
	}
	return migrate.Apply(ctx, v, steps, o)
}

// resultJSON is what became of a step, for programs.
type resultJSON struct {
	migrate.Result
	Error string `json:"error,omitempty"`
}

func resultsJSON(results []migrate.Result) []resultJSON {
	var all []resultJSON
	for _, r := range results {
		one := resultJSON{Result: r}
		if r.Err != nil {
			one.Error = r.Err.Error()
		}
		all = append(all, one)
	}
	return all
}

// printResults says what was done; and, unless all was, what was and what was not, one by one.
func (a *app) printResults(results []migrate.Result) {
	counts := map[migrate.Outcome]int{}
	for _, r := range results {
		counts[r.Outcome]++
	}
	if counts[migrate.Done] < len(results) {
		t := a.table("OUTCOME", "ACTION", "KIND", "ID", "SECRET")
		for _, r := range results {
			t.row(r.Outcome, r.Action, r.Kind, r.ID, r.Secret)
		}
		t.flush()
	}
	parts := []string{fmt.Sprintf("%d of %d done", counts[migrate.Done], len(results))}
	for _, other := range []struct {
		outcome migrate.Outcome
		words   string
	}{
		{migrate.Failed, "failed"}, {migrate.Unknown, "may or may not have been done: the vault did not answer"}, {migrate.NotTried, "not tried"},
	} {
		if n := counts[other.outcome]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, other.words))
		}
	}
	a.say("%s", strings.Join(parts, ", "))
	if counts[migrate.Done] < len(results) {
		a.say("airlock: hint: run the same command again; it goes on with what is not done")
	}
}
