package cli

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) deleteCommand() *cobra.Command {
	var dev bool
	var login azLogin
	c := &cobra.Command{
		Use:   "delete KIND ID",
		Short: "Delete a secret from the vault",
		Long: `Delete the secret of a variable, a connection or a config option, with all its versions.

A vault keeps a deleted secret for a while, unless its soft delete is off. Until then the name is not free: airlock set
--recover takes it back and writes over it.`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeID,
		RunE: func(c *cobra.Command, args []string) error {
			about, err := a.subject(dev, args)
			if err != nil {
				return err
			}
			about.Config = login.config(about.Config)
			name, v, err := about.secret()
			if err != nil {
				return err
			}
			if err := v.Delete(c.Context(), name); err != nil {
				return login.refused(err, dev, "delete")
			}
			fmt.Fprintf(a.env.Stdout, "deleted %s %s (secret %s)\n", about.kind, about.id, name)
			again := "airlock set --recover"
			if dev {
				again += " --dev"
			}
			a.say("airlock: hint: to set it again: %s %s %s", again, about.kind, shellQuote(about.id))
			if !dev {
				a.say("airlock: hint: to have it back as it was: az keyvault secret recover --vault-name %s --name %s", vaultName(about.VaultURL), name)
			}
			a.forget(c.Context(), about.Config, about.lookup())
			return nil
		},
	}
	devFlag(c, &dev)
	login.flag(c)
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
