package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/keyvault"
	"github.com/airlock-secrets/airlock/internal/migrate"
)

func (a *app) diffCommand() *cobra.Command {
	var dev, asJSON, prune bool
	var from sourceFlags
	c := &cobra.Command{
		Use:   "diff SOURCE",
		Short: "Compare a source with the vault",
		Long: `Say what airlock import would do with a source, without doing it, and never a value: what it would create, change, take
back or leave as it is, and what it could not store. Connections are compared as Airflow reads them, variables byte for byte.

` + sourceHelp + `

It ends with 0 when there is no difference, and with 6 when there is one.`,
		Example: `  airlock diff airflow_settings.yaml
  airflow connections export - | airlock diff - --format connections-json
  airlock diff vault:https://other.vault.azure.net/ --json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeSource,
		RunE: func(c *cobra.Command, args []string) error {
			configuration, err := a.configuration(dev)
			if err != nil {
				return err
			}
			plan, _, err := a.plan(c.Context(), configuration, planning{source: args[0], flags: from, prune: prune})
			if err != nil {
				return err
			}
			if asJSON {
				err = a.printJSON(planJSON(configuration, plan))
			} else {
				err = a.printPlan(plan)
			}
			if err == nil && plan.Different() {
				err = &ownExit{exitFound}
			}
			return err
		},
	}
	from.add(c)
	c.Flags().BoolVar(&prune, "prune", false, "count what only the vault has as a difference, too")
	devFlag(c, &dev)
	jsonFlag(c, &asJSON)
	return c
}

// planning is what a plan is made from.
type planning struct {
	source string
	flags  sourceFlags
	prune  bool
	rate   float64 // of writes in a second; 0: keyvault.DefaultCreates
}

// plan reads a source and the vault, and compares them.
func (a *app) plan(ctx context.Context, c config.Config, p planning) (migrate.Plan, *keyvault.Client, error) {
	v, err := bulkVault(c, p.rate)
	if err != nil {
		return migrate.Plan{}, nil, err
	}
	items, err := a.readSource(ctx, c, p.source, p.flags)
	if err != nil {
		return migrate.Plan{}, nil, err
	}
	inventory, err := migrate.Take(ctx, v, c.Naming)
	if err != nil {
		return migrate.Plan{}, nil, err
	}
	if inventory.DeletedUnknown != nil {
		a.say("airlock: warning: the deleted secrets cannot be listed; a name that is among them will fail to be written")
	}
	question := migrate.Question{Naming: c.Naming, Items: items, Vault: inventory, Prune: p.prune}
	if err := migrate.Read(ctx, v, inventory.Held, question.Wanted()); err != nil {
		return migrate.Plan{}, nil, err
	}
	return migrate.Make(question), v, nil
}

// plannedJSON is a plan for programs.
type plannedJSON struct {
	Vault   string                 `json:"vault"`
	Counts  map[migrate.Action]int `json:"counts"`
	Steps   []migrate.Step         `json:"steps,omitempty"`
	Results []resultJSON           `json:"results,omitempty"`
}

func planJSON(c config.Config, plan migrate.Plan) plannedJSON {
	counts := map[migrate.Action]int{}
	for _, action := range migrate.Actions() {
		counts[action] = plan.Count(action)
	}
	return plannedJSON{Vault: c.VaultURL, Counts: counts, Steps: plan.Steps}
}

// printPlan shows what is to be done, and what cannot be; of what is the same, only how much it is.
func (a *app) printPlan(plan migrate.Plan) error {
	t := a.table("ACTION", "KIND", "ID", "SECRET", "FROM")
	for _, s := range plan.Steps {
		if s.Action != migrate.Same {
			t.row(s.Action, s.Kind, s.ID, s.Secret, s.Where)
		}
	}
	t.flush()
	for _, s := range plan.Steps {
		for _, w := range s.Warnings {
			if s.Action != migrate.Same {
				a.say("airlock: warning: %s: %s %q: %s", s.Where, s.Kind, s.ID, w)
			}
		}
	}
	var hints []string
	for _, s := range plan.Blocked() {
		a.say("airlock: warning: %s: %s %q: %s", s.Where, s.Kind, s.ID, s.Reason)
		for _, hint := range s.Hints {
			if !slices.Contains(hints, hint) {
				hints = append(hints, hint)
			}
		}
	}
	for _, hint := range hints {
		a.say("airlock: hint: %s", hint)
	}
	a.say("%s", summary(plan))
	return nil
}

// summary is a plan in one line.
func summary(plan migrate.Plan) string {
	words := map[migrate.Action]string{
		migrate.Create: "to create", migrate.Change: "to change", migrate.Tag: "to tag", migrate.Recover: "to take back and write",
		migrate.Same: "the same", migrate.Delete: "to delete", migrate.Collide: "in collision", migrate.Refuse: "not to be stored",
	}
	var parts []string
	for _, action := range migrate.Actions() {
		if n := plan.Count(action); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, words[action]))
		}
	}
	return strings.Join(parts, ", ")
}
