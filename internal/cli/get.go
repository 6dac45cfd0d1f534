package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
)

func (a *app) getCommand() *cobra.Command {
	var dev, asJSON bool
	var team string
	c := &cobra.Command{
		Use:   "get KIND ID",
		Short: "Print the value that Airflow would get",
		Long: `Print the value of a variable, a connection or a config option, as Airflow would get it from its backend.

The agent is asked when AIRLOCK_AGENT_SOCKET or AIRLOCK_AGENT_URL names one or --dev is given, otherwise the vault.`,
		Example: `  airlock get variable hello
  airlock get --dev connection my_db --json`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completeKind,
		RunE: func(c *cobra.Command, args []string) error {
			about, err := a.subject(dev, args)
			if err != nil {
				return err
			}
			get, err := lookups(about.Config)
			if err != nil {
				return err
			}
			answer, err := get(c.Context(), agentapi.Lookup{Kind: about.kind, ID: about.id, Team: team})
			if err != nil {
				return err
			}
			value := string(answer.Value.Reveal())
			if asJSON {
				return a.printJSON(struct {
					Kind airflow.Kind `json:"kind"`
					ID   string       `json:"id"`
					agentapi.Answer
				}{about.kind, about.id, agentapi.Answer{Value: value, Source: answer.Source, Age: answer.Age}})
			}
			fmt.Fprintln(a.env.Stdout, value)
			return nil
		},
	}
	c.Flags().StringVar(&team, "team", "", "the team that asks, in Airflow with teams")
	devFlag(c, &dev)
	jsonFlag(c, &asJSON)
	return c
}

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
