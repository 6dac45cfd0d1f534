package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/migrate"
	"github.com/airlock-secrets/airlock/internal/source"
)

// sourceHelp tells what SOURCE may be, for each command that has one.
const sourceHelp = `SOURCE is a file (airflow_settings.yaml, what airflow connections export and airflow variables export write, a .env with
AIRFLOW_CONN_* and AIRFLOW_VAR_*), - for standard input, vault:URL for another Key Vault with the same prefixes and login, or
airflow: for the metadata database of the Airflow that --airflow runs.`

// sourceFlags say how a SOURCE is read.
type sourceFlags struct{ format, airflow string }

func (f *sourceFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.format, "format", "", "the file's format, if it is not to be found out")
	c.Flags().StringVar(&f.airflow, "airflow", "airflow", "the command that airflow: runs, split at blanks")
	_ = c.RegisterFlagCompletionFunc("format", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, format := range source.Formats() {
			names = append(names, string(format))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	_ = c.RegisterFlagCompletionFunc("airflow", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"airflow", "astro dev run"}, cobra.ShellCompDirectiveNoFileComp
	})
}

// The sources that are no files.
const (
	standardInput = "-"
	vaultSource   = "vault:"
	airflowSource = "airflow:"
)

// readSource reads what a SOURCE holds.
func (a *app) readSource(ctx context.Context, c config.Config, name string, f sourceFlags) ([]source.Item, error) {
	format, err := source.ParseFormat(f.format)
	if err != nil {
		return nil, err
	}
	url, isVault := strings.CutPrefix(name, vaultSource)
	if (isVault || name == airflowSource) && format != "" {
		return nil, fault.New(fault.Usage, "--format is for files; "+name+" has a form of its own")
	}
	switch {
	case isVault:
		return a.vaultItems(ctx, c, url)
	case name == airflowSource:
		return a.airflowItems(ctx, strings.Fields(f.airflow))
	case name == standardInput:
		data, err := source.ReadAll(a.env.Stdin)
		if err != nil {
			return nil, fault.Wrap(fault.Usage, err, "cannot read standard input: "+err.Error())
		}
		return source.ParseAs(format, name, data)
	}
	data, err := source.Read(a.path(name))
	if err != nil {
		return nil, err
	}
	return source.ParseAs(format, name, data)
}

// vaultItems are all that another vault has under the same prefixes. An id that no tag tells is inferred.
func (a *app) vaultItems(ctx context.Context, c config.Config, url string) ([]source.Item, error) {
	c.VaultURL = url
	v, err := bulkVault(c, 0)
	if err != nil {
		return nil, err
	}
	inventory, err := migrate.Take(ctx, v, c.Naming)
	if err != nil {
		return nil, err
	}
	if err := migrate.Read(ctx, v, inventory.Held, nil); err != nil {
		return nil, err
	}
	var items []source.Item
	for _, h := range inventory.Held {
		items = append(items, itemOf(h, vaultName(url)))
	}
	return items, nil
}

// itemOf is a secret of a vault as a source.
func itemOf(h migrate.Held, vault string) source.Item {
	return source.Item{
		Kind: h.Kind, ID: h.ID, Value: h.Value, Where: vault + "/" + h.Name, Inferred: !h.Tagged, Problem: h.Err,
	}
}

// airflowItems are those of the metadata database, by Airflow's own export commands.
func (a *app) airflowItems(ctx context.Context, command []string) ([]source.Item, error) {
	if len(command) == 0 {
		return nil, fault.New(fault.Usage, "--airflow is empty")
	}
	var all []source.Item
	for _, export := range []struct {
		format source.Format
		args   []string
	}{
		{source.ConnectionsJSON, []string{"connections", "export", "-", "--file-format", "json"}},
		{source.VariablesJSON, []string{"variables", "export", "-"}},
	} {
		args := append(command[1:len(command):len(command)], export.args...)
		run := exec.CommandContext(ctx, command[0], args...)
		run.Dir, run.Env = a.env.Dir, a.env.Environ
		var out bytes.Buffer
		run.Stdout = &out
		// Airflow's messages may quote a connection; whoever wants to see them runs the command.
		if err := run.Run(); err != nil {
			line := strings.Join(append(command[:len(command):len(command)], export.args...), " ")
			if errors.Is(err, exec.ErrNotFound) {
				return nil, fault.New(fault.Usage, fmt.Sprintf("there is no command %q", command[0]),
					`run it where Airflow is installed, or name one that reaches it, for example: --airflow "astro dev run"`)
			}
			return nil, fault.Wrap(fault.Unavailable, err, fmt.Sprintf("%s failed: %v", line, err), "see what it says: "+line)
		}
		// A wrapper such as docker compose may say something first.
		document := out.Bytes()
		if at := bytes.IndexByte(document, '{'); at > 0 && (document[at-1] == '\n' || document[at-1] == '\r') {
			document = document[at:]
		}
		if string(bytes.Join(bytes.Fields(document), nil)) == "{}" {
			continue
		}
		items, err := source.ParseAs(export.format, "airflow "+export.args[0], document)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Usage, "Airflow's metadata database holds no connection and no variable")
	}
	return all, nil
}

// completeSource completes SOURCE: files, and what is none.
func completeSource(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var others []string
	for _, name := range []string{airflowSource, vaultSource + "https://"} {
		if begun != "" && strings.HasPrefix(name, begun) {
			others = append(others, name)
		}
	}
	if others != nil {
		return others, cobra.ShellCompDirectiveNoSpace
	}
	return nil, cobra.ShellCompDirectiveDefault
}
