package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/keyvault"
	"github.com/airlock-secrets/airlock/internal/migrate"
)

// listed is one secret that has an id in Airflow.
type listed struct {
	Kind     airflow.Kind      `json:"kind"`
	ID       string            `json:"id"`
	IDFrom   string            `json:"id_from"` // "tag" or "name"
	Secret   string            `json:"secret"`
	Updated  time.Time         `json:"updated"`
	Enabled  bool              `json:"enabled"`
	Expires  *time.Time        `json:"expires"`
	Checked  bool              `json:"checked"` // the value has been looked at, too
	Findings []migrate.Finding `json:"findings"`
}

func (a *app) listCommand() *cobra.Command {
	var dev, asJSON, check bool
	c := &cobra.Command{
		Use:   "list [KIND]",
		Short: "List what the vault holds for Airflow",
		Long: `List the ids of the secrets that the vault holds under the configured prefixes, never their values: whence the id is known,
when it changed, whether it is enabled, until when it is valid, and what Airflow would stumble over.

"_" and "-" are one in a secret's name. Where Airlock wrote the secret, its tag holds the exact id; otherwise the id is what
the name allows, shown with "_".

The list needs the permission to list, and one request for 25 secrets. --check also reads each value, which is one request
for each secret, and tells whether Airflow could use it.`,
		Example: `  airlock list
  airlock list connections --check
  airlock list --json`,
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
			all, others, err := a.takeList(c.Context(), configuration, listing{kind: only, values: check})
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(all)
			}
			t := a.table("KIND", "ID", "SECRET", "UPDATED", "ENABLED", "ID FROM", "EXPIRES", "FINDINGS")
			for _, s := range all {
				expires := "-"
				if s.Expires != nil {
					expires = s.Expires.UTC().Format(time.DateOnly)
				}
				t.row(s.Kind, s.ID, s.Secret, s.Updated.UTC().Format(time.RFC3339), yesNo(s.Enabled), s.IDFrom, expires, codes(s.Findings))
			}
			t.flush()
			if a.env.StdoutTerminal && len(others) > 0 {
				a.say("%d other %s under no prefix of Airflow", len(others), plural(len(others), "secret"))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&check, "check", false, "read each value, and tell whether Airflow could use it")
	devFlag(c, &dev)
	jsonFlag(c, &asJSON)
	return c
}

// listing says what to list.
type listing struct {
	kind   airflow.Kind // "": every kind
	values bool         // look at the values, too
}

// takeList lists and examines what the vault holds, sorted, and what it holds under no prefix.
func (a *app) takeList(ctx context.Context, c config.Config, l listing) ([]listed, []keyvault.Properties, error) {
	v, err := bulkVault(c, 0)
	if err != nil {
		return nil, nil, err
	}
	inventory, err := migrate.TakeActive(ctx, v, c.Naming)
	if err != nil {
		return nil, nil, err
	}
	held := slices.DeleteFunc(inventory.Held, func(h migrate.Held) bool { return l.kind != "" && h.Kind != l.kind })
	if l.values {
		if err := migrate.Read(ctx, v, held, nil); err != nil {
			return nil, nil, err
		}
	}
	all := []listed{}
	now := time.Now()
	for _, h := range held {
		one := listed{
			Kind: h.Kind, ID: h.ID, IDFrom: "name", Secret: h.Name, Updated: h.Updated, Enabled: h.Enabled,
			Checked: l.values && h.Err == nil, Findings: []migrate.Finding{},
		}
		if h.Tagged {
			one.IDFrom = "tag"
		}
		if !h.Expires.IsZero() {
			one.Expires = &h.Expires
		}
		one.Findings = append(one.Findings, migrate.CheckHeld(c.Naming, h, now)...)
		if one.Checked {
			one.Findings = append(one.Findings, migrate.CheckValue(h.Kind, h.ID, h.Value)...)
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b listed) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Secret, b.Secret))
	})
	return all, inventory.Others, nil
}

// codes are the findings in a word each; "-" when there is none.
func codes(findings []migrate.Finding) string {
	var all []string
	for _, f := range findings {
		if !slices.Contains(all, f.Code) {
			all = append(all, f.Code)
		}
	}
	if all == nil {
		return "-"
	}
	return strings.Join(all, ",")
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
