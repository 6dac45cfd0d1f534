package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/migrate"
)

// completionTime is how long somebody who pressed the tab key is kept waiting for the vault's list.
const completionTime = 3 * time.Second

// completeKind completes the first argument.
func completeKind(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	var kinds []string
	if len(args) == 0 {
		for _, kind := range airflow.Kinds() {
			if strings.HasPrefix(string(kind), begun) {
				kinds = append(kinds, string(kind))
			}
		}
	}
	return kinds, cobra.ShellCompDirectiveNoFileComp
}

// completeID completes a kind and then an id, of those that the vault holds.
func (a *app) completeID(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return completeKind(c, args, begun)
	}
	kind, err := airflow.ParseKind(args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	dev, _ := c.Flags().GetBool("dev")
	configuration, err := a.configuration(dev)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	v, err := vault(configuration)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTime)
	defer cancel()
	inventory, err := migrate.TakeActive(ctx, v, configuration.Naming)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var ids []string
	for _, h := range inventory.Held {
		if h.Kind == kind && strings.HasPrefix(h.ID, begun) {
			ids = append(ids, h.ID)
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// completeDeployment completes the name of a Deployment that the login to Astro sees.
func (a *app) completeDeployment(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	dev, _ := c.Flags().GetBool("dev")
	api, err := a.astro(dev)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTime)
	defer cancel()
	all, err := api.Deployments(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, d := range all {
		if strings.HasPrefix(d.Name, begun) {
			names = append(names, d.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
