package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

func (a *app) getCommand() *cobra.Command {
	var dev, asJSON bool
	var team, shape string
	c := &cobra.Command{
		Use:   "get KIND ID",
		Short: "Print the value that Airflow would get",
		Long: `Print the value of a variable, a connection or a config option, as Airflow would get it from its backend.

The agent is asked when AIRLOCK_AGENT_SOCKET or AIRLOCK_AGENT_URL names one or --dev is given, otherwise the vault.

--as prints a connection in another shape: uri, json, or its fields as tasks read them; env is the line of a .env in which
Airflow would find it, of a variable too.`,
		Example: `  airlock get variable hello
  airlock get --dev connection my_db --json
  airlock get connection my_db --as fields`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeID,
		RunE: func(c *cobra.Command, args []string) error {
			if shape != "" && (!slices.Contains(shapes, shape) || asJSON) {
				return fault.New(fault.Usage, "--as is one of uri, json, env, fields, and stands without --json")
			}
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
			if shape != "" {
				return a.printAs(shape, about, answer.Value)
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
	c.Flags().StringVar(&shape, "as", "", "print it as uri, json, env or fields")
	_ = c.RegisterFlagCompletionFunc("as", cobra.FixedCompletions(shapes, cobra.ShellCompDirectiveNoFileComp))
	devFlag(c, &dev)
	jsonFlag(c, &asJSON)
	return c
}
