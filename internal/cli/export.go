package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/migrate"
	"github.com/airlock-secrets/airlock/internal/source"
)

func (a *app) exportCommand() *cobra.Command {
	var dev, reveal, skip bool
	var format string
	c := &cobra.Command{
		Use:   "export {connections | variables} {FILE | -}",
		Short: "Write the vault's connections or variables to a file, as Airflow's export does",
		Long: `Write all connections or all variables of the vault to a file, in the formats of airflow connections export and airflow
variables export, which airflow connections import, airflow variables import and airlock import read. What is imported
again is what it was: ids exactly, variables byte for byte, connections as Airflow reads them.

The file holds secrets: it is private (0600) and put in place in one step. The format is that of the file's name, or json.`,
		Example: `  airlock export connections connections.json
  airlock export variables - | airflow variables import /dev/stdin
  airlock export connections backup.env`,
		Args: cobra.ExactArgs(2),
		ValidArgsFunction: func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			var kinds []string
			for _, kind := range []airflow.Kind{airflow.Connection, airflow.Variable} {
				if len(args) == 0 && strings.HasPrefix(kind.Plural(), begun) {
					kinds = append(kinds, kind.Plural())
				}
			}
			return kinds, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			kind, err := airflow.ParseKind(args[0])
			if err != nil {
				return err
			}
			as, err := exportFormat(kind, args[1], format)
			if err != nil {
				return err
			}
			if args[1] == standardInput && a.env.StdoutTerminal && !reveal {
				return fault.New(fault.Usage, "this would show every secret on the terminal", "name a file, or give --reveal if you mean it")
			}
			configuration, err := a.configuration(dev)
			if err != nil {
				return err
			}
			file, n, err := a.export(c.Context(), configuration, exporting{kind, as, skip})
			if err != nil {
				return err
			}
			defer clear(file)
			if args[1] == standardInput {
				_, err := a.env.Stdout.Write(file)
				return err
			}
			if err := writeFile(a.path(args[1]), file); err != nil {
				return err
			}
			a.say("wrote %d %s to %s", n, pluralKind(n, kind), args[1])
			a.say("airlock: warning: %s holds secrets in plain text; keep it out of git and images, and delete it when it has served", args[1])
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", "", "json, yaml or env; by default as the file's name says")
	c.Flags().BoolVar(&reveal, "reveal", false, "show the secrets on a terminal")
	c.Flags().BoolVar(&skip, "skip-unusable", false, "leave out what Airflow could not use or the format cannot hold")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"json", "yaml", "env"}, cobra.ShellCompDirectiveNoFileComp))
	devFlag(c, &dev)
	return c
}

// exportFormat is the format of a kind's export to a file.
func exportFormat(kind airflow.Kind, file, name string) (source.Format, error) {
	if name == "" {
		switch name = strings.TrimPrefix(strings.ToLower(filepath.Ext(file)), "."); {
		case name == "yml":
			name = "yaml"
		case file == standardInput || !slices.Contains([]string{"json", "yaml", "env"}, name):
			name = "json"
		}
	}
	formats := map[string]source.Format{
		"connections json": source.ConnectionsJSON, "connections yaml": source.ConnectionsYAML, "connections env": source.ConnectionsEnv,
		"variables json": source.VariablesJSON, "variables yaml": source.VariablesYAML, "variables env": source.VariablesEnv,
	}
	format, ok := formats[kind.Plural()+" "+name]
	switch {
	case kind == airflow.Config:
		return "", fault.New(fault.Usage, "Airflow has no export of config options", "connections and variables can be exported")
	case !ok:
		return "", fault.New(fault.Usage, fmt.Sprintf("unknown format %q", name), "a format is one of: json, yaml, env")
	}
	return format, nil
}

// exporting says what to export.
type exporting struct {
	kind   airflow.Kind
	format source.Format
	skip   bool
}

// export reads all secrets of a kind, and writes them in a format. What cannot be exported is named, each of it; unless it is
// to be left out, nothing is exported then.
func (a *app) export(ctx context.Context, c config.Config, e exporting) (file []byte, n int, err error) {
	v, err := bulkVault(c, 0)
	if err != nil {
		return nil, 0, err
	}
	inventory, err := migrate.TakeActive(ctx, v, c.Naming)
	if err != nil {
		return nil, 0, err
	}
	held := slices.DeleteFunc(inventory.Held, func(h migrate.Held) bool { return h.Kind != e.kind })
	if err := migrate.Read(ctx, v, held, nil); err != nil {
		return nil, 0, err
	}
	var items []source.Item
	var problems []error
	var inferred []string
	for _, h := range held {
		item := itemOf(h, vaultName(c.VaultURL))
		err := item.Problem
		if err == nil {
			_, err = source.Write(e.format, []source.Item{item})
		} else {
			err = fault.Wrap(fault.KindOf(err), err, fmt.Sprintf("%s %q: %v", h.Kind, h.ID, err), fault.HintsOf(err)...)
		}
		switch {
		case err == nil:
			items = append(items, item)
			if item.Inferred {
				inferred = append(inferred, item.ID)
			}
		case e.skip:
			a.say("airlock: warning: left out: %v", err)
		default:
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		problems = append(problems, fault.New(fault.Usage, fmt.Sprintf("%d of %d cannot be exported; nothing was written", len(problems), len(held)),
			"leave them out with --skip-unusable"))
		return nil, 0, errors.Join(problems...)
	}
	if len(inferred) > 0 {
		a.say("airlock: warning: %d %s as their secrets' names allow, with _ where it may have been -: %s",
			len(inferred), map[bool]string{true: "id is written", false: "ids are written"}[len(inferred) == 1], some(inferred))
	}
	file, err = source.Write(e.format, items)
	return file, len(items), err
}

// some lists the first few.
func some(ids []string) string {
	const most = 5
	if len(ids) > most {
		return strings.Join(ids[:most], ", ") + ", ..."
	}
	return strings.Join(ids, ", ")
}

func pluralKind(n int, kind airflow.Kind) string {
	if n == 1 {
		return string(kind)
	}
	return kind.Plural()
}
