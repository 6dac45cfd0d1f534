package cli

import (
	"cmp"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/airflow"
)

// listed is one secret that has an id in Airflow.
type listed struct {
	Kind    airflow.Kind `json:"kind"`
	ID      string       `json:"id"`
	Secret  string       `json:"secret"`
	Updated time.Time    `json:"updated"`
	Enabled bool         `json:"enabled"`
}

func (a *app) listCommand() *cobra.Command {
	var dev, asJSON bool
	c := &cobra.Command{
		Use:   "list [KIND]",
		Short: "List what the vault holds for Airflow",
		Long: `List the ids of the secrets that the vault holds under the configured prefixes, never their values.

"_" and "-" are one in a secret's name; ids are shown with "_". Needs the permission to list.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeKind,
		RunE: func(c *cobra.Command, args []string) error {
			var only airflow.Kind
			if len(args) == 1 {
				var err error
				if only, err = airflow.ParseKind(args[0]); err != nil {
					return err
				}
			}
			configuration, err := a.configuration(dev)
			if err != nil {
				return err
			}
			v, err := vault(configuration)
			if err != nil {
				return err
			}
			all, others := []listed{}, 0
			for s, err := range v.List(c.Context()) {
				if err != nil {
					return err
				}
				kind, id, ok := configuration.ID(s.Name)
				switch {
				case !ok:
					others++
				case only == "" || kind == only:
					all = append(all, listed{Kind: kind, ID: id, Secret: s.Name, Updated: s.Updated, Enabled: s.Enabled})
				}
			}
			slices.SortFunc(all, func(a, b listed) int {
				return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
			})
			if asJSON {
				return a.printJSON(all)
			}
			t := a.table("KIND", "ID", "SECRET", "UPDATED", "ENABLED")
			for _, s := range all {
				t.row(s.Kind, s.ID, s.Secret, s.Updated.UTC().Format(time.RFC3339), yesNo(s.Enabled))
			}
			t.flush()
			if a.env.StdoutTerminal && others > 0 {
				a.say("%d other %s under no prefix of Airflow", others, plural(others, "secret"))
			}
			return nil
		},
	}
	devFlag(c, &dev)
	jsonFlag(c, &asJSON)
	return c
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
