package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/migrate"
)

// lintJSON is one finding for programs.
type lintJSON struct {
	Kind  airflow.Kind `json:"kind,omitempty"`
	ID    string       `json:"id,omitempty"`
	Where string       `json:"where"`
	migrate.Finding
}

func (a *app) lintCommand() *cobra.Command {
	var dev, asJSON, strict bool
	var from sourceFlags
	c := &cobra.Command{
		Use:   "lint [SOURCE]",
		Short: "Find what Airflow could not use, or would misread",
		Long: `Read every connection and variable, and say which of them Airflow could not use (broken) or may read in another way than was
meant (doubtful): what does not parse, ids that meet in one name, names that Airflow never asks for, text where JSON was meant,
characters that should be escaped, connection types that no provider knows. Values are never shown.

Without SOURCE the vault is examined; a file is examined without any vault, too, for the
default prefixes.

` + sourceHelp + `

It ends with 0 when nothing is broken, and with 6 when something is; with --strict, also when something is doubtful.`,
		Example: `  airlock lint
  airlock lint airflow_settings.yaml --strict
  airlock lint connections.json --json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeSource,
		RunE: func(c *cobra.Command, args []string) error {
			var findings []lintJSON
			configuration, err := a.configuration(dev)
			if errors.Is(err, errNoVault) && len(args) == 1 { // a file can be examined without
				configuration, err = config.Config{Kwargs: airflow.DefaultKwargs()}, nil
			}
			if err != nil {
				return err
			}
			examined := 0
			if len(args) == 0 {
				findings, examined, err = a.lintVault(c.Context(), configuration)
			} else {
				findings, examined, err = a.lintSource(c.Context(), configuration, args[0], from)
			}
			if err != nil {
				return err
			}
			if asJSON {
				err = a.printJSON(findings)
			} else {
				a.printFindings(findings, examined)
			}
			bad := slices.ContainsFunc(findings, func(f lintJSON) bool { return f.Broken || strict })
			if err == nil && bad {
				err = &ownExit{exitFound}
			}
			return err
		},
	}
	from.add(c)
	c.Flags().BoolVar(&strict, "strict", false, "what is doubtful counts, too")
	devFlag(c, &dev)
	jsonFlag(c, &asJSON)
	return c
}

func (a *app) lintVault(ctx context.Context, c config.Config) ([]lintJSON, int, error) {
	all, others, err := a.takeList(ctx, c, listing{values: true})
	if err != nil {
		return nil, 0, err
	}
	findings := []lintJSON{}
	for _, one := range all {
		for _, f := range one.Findings {
			findings = append(findings, lintJSON{one.Kind, one.ID, one.Secret, f})
		}
	}
	for _, other := range others {
		for _, f := range migrate.CheckOther(c.Naming, other.Name) {
			findings = append(findings, lintJSON{Where: other.Name, Finding: f})
		}
	}
	return findings, len(all) + len(others), nil
}

func (a *app) lintSource(ctx context.Context, c config.Config, name string, from sourceFlags) ([]lintJSON, int, error) {
	items, err := a.readSource(ctx, c, name, from)
	if err != nil {
		return nil, 0, err
	}
	findings := []lintJSON{}
	met := migrate.CheckCollisions(c.Naming, items)
	for i, item := range items {
		all := migrate.CheckItem(c.Naming, item)
		if met[i] != "" {
			all = append(all, migrate.Finding{Code: migrate.Collision, Broken: true, Message: met[i], Hints: []string{migrate.CollisionHint}})
		}
		for _, f := range all {
			findings = append(findings, lintJSON{item.Kind, item.ID, item.Where, f})
		}
	}
	return findings, len(items), nil
}

func (a *app) printFindings(findings []lintJSON, examined int) {
	t := a.table("VERDICT", "KIND", "ID", "WHERE", "CODE", "WHAT")
	broken := 0
	var hints []string
	for _, f := range findings {
		verdict := "doubtful"
		if f.Broken {
			verdict = "broken"
			broken++
		}
		t.row(verdict, orDash(string(f.Kind)), orDash(f.ID), f.Where, f.Code, f.Message)
		for _, hint := range f.Hints {
			if hint = fmt.Sprintf("%s: %s", f.Code, hint); !slices.Contains(hints, hint) {
				hints = append(hints, hint)
			}
		}
	}
	t.flush()
	for _, hint := range hints {
		a.say("airlock: hint: %s", hint)
	}
	a.say("%d examined: %d broken, %d doubtful", examined, broken, len(findings)-broken)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
