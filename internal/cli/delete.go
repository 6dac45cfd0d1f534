package cli

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/airflow"
)

func (a *app) deleteCommand() *cobra.Command {
	var dev bool
	c := &cobra.Command{
		Use:   "delete KIND ID",
		Short: "Delete a secret from the vault",
		Long: `Delete the secret of a variable, a connection or a config option, with all its versions.

A vault keeps a deleted secret for a while and can recover it, unless its soft delete is off.`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completeKind,
		RunE: func(c *cobra.Command, args []string) error {
			kind, err := airflow.ParseKind(args[0])
			if err != nil {
				return err
			}
			configuration, err := a.configuration(dev)
			if err != nil {
				return err
			}
			name, err := configuration.Name(kind, args[1])
			if err != nil {
				return err
			}
			v, err := vault(configuration)
			if err != nil {
				return err
			}
			if err := v.Delete(c.Context(), name); err != nil {
				return err
			}
			fmt.Fprintf(a.env.Stdout, "deleted %s %s (secret %s)\n", kind, args[1], name)
			if !dev {
				a.say("airlock: hint: recover it with: az keyvault secret recover --vault-name %s --name %s", vaultName(configuration.VaultURL), name)
			}
			a.forget(c.Context(), configuration, kind, args[1])
			return nil
		},
	}
	devFlag(c, &dev)
	return c
}

// vaultName is the first label of a vault's host.
func vaultName(vaultURL string) string {
	u, err := url.Parse(vaultURL)
	if err != nil {
		return "NAME"
	}
	name, _, _ := strings.Cut(u.Hostname(), ".")
	return name
}
