package doctor

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/keyvault"
	"github.com/airlock-secrets/airlock/internal/project"
	"github.com/airlock-secrets/airlock/internal/source"
)

// Lister walks over the secrets of a vault, without their values.
type Lister interface {
	List(context.Context) iter.Seq2[keyvault.Properties, error]
}

const (
	mostListed = 2000 // secrets that are looked at; a vault may hold any number
	mostShown  = 5    // of a kind, in a line
	soon       = 30 * 24 * time.Hour
)

func readList(ctx context.Context, from Lister) ([]keyvault.Properties, error) {
	secrets := []keyvault.Properties{} // not nil: the list was read
	for s, err := range from.List(ctx) {
		if err != nil {
			return nil, err
		}
		if secrets = append(secrets, s); len(secrets) == mostListed {
			break
		}
	}
	return secrets, nil
}

// notListed is the result of a check that has no list to look at.
var notListed = Result{State: Skipped, Because: "list"}

// checkSecrets shows a sample of what Airflow would find.
func (v *visit) checkSecrets(context.Context) Result {
	if v.held == nil {
		return notListed
	}
	ids := map[airflow.Kind][]string{}
	var others []string
	for _, s := range v.held {
		if kind, id, ok := v.conf.ID(s.Name); ok {
			ids[kind] = append(ids[kind], id)
		} else {
			others = append(others, s.Name)
		}
	}
	r := Result{State: OK}
	found := 0
	for _, kind := range airflow.Kinds() {
		prefix := v.conf.Prefix(kind)
		if prefix.Null() {
			r.Notes = append(r.Notes, kind.Plural()+": never looked up, the prefix is null")
			continue
		}
		found += len(ids[kind])
		if len(ids[kind]) > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("%s: %s", numbered(len(ids[kind]), kind), some(ids[kind])))
		}
	}
	if len(v.held) == mostListed {
		r.Notes = append(r.Notes, fmt.Sprintf("only the first %d secrets were looked at", mostListed))
	}
	if near := lookalikes(others); len(near) > 0 {
		r.Notes = append(r.Notes, "under no prefix, so never found by Airflow: "+some(near))
	}
	r.Found = fmt.Sprintf("%s for Airflow, %d other", count(found, "secret"), len(others))
	if found == 0 {
		name, err := v.conf.Name(airflow.Variable, "hello")
		if err != nil {
			name = "NAME"
		}
		r.State = Warning
		r.Found = fmt.Sprintf("none of the vault's %s is under a prefix: Airflow finds nothing here", count(len(v.held), "secret"))
		r.Remedies = []string{
			"airlock set variable hello",
			fmt.Sprintf("az keyvault secret set --vault-name %s --name %s --value ...", vaultName(v.conf.VaultURL), name),
		}
		if file, err := v.read(project.SettingsFile); err == nil && file.Exists() {
			r.Remedies = append([]string{"airlock import " + project.SettingsFile}, r.Remedies...)
		}
	}
	return r
}

// lookalikes are names that were meant for Airflow, it seems.
func lookalikes(names []string) (near []string) {
	for _, name := range names {
		if strings.HasPrefix(strings.ToLower(name), "airflow") {
			near = append(near, name)
		}
	}
	return near
}

// checkValidity looks for secrets that are not, or not for long, what a task expects. Key Vault gives an expired secret
// all the same (https://learn.microsoft.com/azure/key-vault/secrets/about-secrets), and refuses a disabled one.
func (v *visit) checkValidity(context.Context) Result {
	if v.held == nil {
		return notListed
	}
	now := v.Now()
	var disabled, expired, expiring, early []string
	all := 0
	for _, s := range v.held {
		if _, _, ok := v.conf.ID(s.Name); !ok {
			continue
		}
		all++
		switch {
		case !s.Enabled:
			disabled = append(disabled, s.Name)
		case !s.Expires.IsZero() && s.Expires.Before(now):
			expired = append(expired, s.Name)
		case !s.Expires.IsZero() && s.Expires.Before(now.Add(soon)):
			expiring = append(expiring, s.Name)
		case s.NotBefore.After(now):
			early = append(early, s.Name)
		}
	}
	r := Result{State: OK}
	vault := vaultName(v.conf.VaultURL)
	if len(disabled) > 0 {
		r.warn(fmt.Sprintf("%s disabled, which Airflow cannot read: %s", is(len(disabled)), some(disabled)),
			fmt.Sprintf("az keyvault secret set-attributes --vault-name %s --name %s --enabled true", vault, disabled[0]))
	}
	if len(expired) > 0 {
		r.warn(fmt.Sprintf("%s expired, and still given out: %s", is(len(expired)), some(expired)),
			fmt.Sprintf("rotate it, or look at it: az keyvault secret show --vault-name %s --name %s --query attributes", vault, expired[0]))
	}
	if len(expiring) > 0 {
		r.warn(fmt.Sprintf("%s about to expire within 30 days: %s", is(len(expiring)), some(expiring)),
			fmt.Sprintf("az keyvault secret show --vault-name %s --name %s --query attributes.expires", vault, expiring[0]))
	}
	if len(early) > 0 {
		r.warn(fmt.Sprintf("%s not valid yet, and given out all the same: %s", is(len(early)), some(early)))
	}
	if r.State == OK {
		r.Found = fmt.Sprintf("%s enabled, and none expires within 30 days", is(all))
	}
	return r
}

// checkIDs looks for ids that are one secret, and for secrets that no id asks for.
func (v *visit) checkIDs(context.Context) Result {
	r := Result{State: OK}
	v.overlaps(&r)
	v.localIDs(&r)
	var never, dashed []string
	for _, s := range v.held {
		kind, id, ok := v.conf.ID(s.Name)
		if !ok {
			continue
		}
		name, err := v.conf.Name(kind, id)
		switch {
		case err != nil && v.conf.MultiTeam && strings.Contains(id, "__"):
			// A team's secret, which its team asks for.
		case err != nil || !strings.EqualFold(name, s.Name):
			never = append(never, s.Name)
		case strings.Contains(id, "__"):
			dashed = append(dashed, s.Name)
		}
	}
	if len(never) > 0 {
		r.warn(fmt.Sprintf("%s under a prefix and yet of no id that Airflow can ask for: %s", is(len(never)), some(never)),
			fmt.Sprintf(`with "sep": "-" and a plain prefix every name is reached; sep is %q now`, v.conf.Sep))
	}
	if len(dashed) > 0 && v.class == airflow.AzureBackend {
		r.Notes = append(r.Notes, `names with "--", which releases of the official backend refuse when they know of teams: `+some(dashed))
	}
	if r.State == OK {
		r.Found = `no two ids share a secret, as long as they differ in more than case, "_" and "-"`
	}
	return r
}

// localIDs looks at the ids that the project knows, in airflow_settings.yaml.
func (v *visit) localIDs(r *Result) {
	file, err := v.read(project.SettingsFile)
	if err != nil || !file.Exists() {
		return
	}
	items, err := source.Parse(project.SettingsFile, file.Old)
	if err != nil {
		return // it may hold nothing, and what is wrong with it is not the vault's concern
	}
	ids := map[string]string{} // by the secret's name, as the vault compares it
	for _, item := range items {
		if v.conf.Prefix(item.Kind).Null() {
			continue
		}
		name, err := v.conf.Name(item.Kind, item.ID)
		if err != nil {
			r.warn(fmt.Sprintf("%s: %s", item.Where, err), append(fault.HintsOf(err), "rename it, or leave it to another backend")...)
			continue
		}
		key, own := strings.ToLower(name), string(item.Kind)+" "+item.ID
		if other := ids[key]; other != "" && other != own {
			r.warn(fmt.Sprintf("%s: %s and %s are one secret in the vault, %s", item.Where, other, own, name), "rename one of the two")
		}
		ids[key] = own
	}
}

// overlaps looks for two kinds whose secrets are the same.
func (v *visit) overlaps(r *Result) {
	kinds := airflow.Kinds()
	for i, a := range kinds {
		for _, b := range kinds[i+1:] {
			pa, pb := v.conf.Prefix(a), v.conf.Prefix(b)
			if pa.Null() || pb.Null() {
				continue
			}
			na, errA := v.conf.Name(a, "x")
			nb, errB := v.conf.Name(b, "x")
			switch {
			case errA != nil || errB != nil:
			case strings.EqualFold(na, nb):
				r.warn(fmt.Sprintf("%s and %s have one prefix: an id of the one is also an id of the other", a.Plural(), b.Plural()),
					fmt.Sprintf(`give each kind a prefix of its own, or null to the one that is not used: "%s_prefix": null`, prefixKey(b)))
			case covers(na, nb) || covers(nb, na):
				r.warn(fmt.Sprintf("the prefix of %s begins with that of %s: one secret can be read as both", longer(na, nb, a, b).Plural(),
					longer(nb, na, a, b).Plural()), "choose prefixes of which none begins another")
			}
		}
	}
}

// covers tells whether the name of id "x" under one prefix is where another prefix's names begin.
func covers(short, long string) bool {
	short, long = strings.TrimSuffix(short, "x"), strings.TrimSuffix(long, "x")
	return len(short) < len(long) && strings.EqualFold(long[:len(short)], short)
}

func longer(na, nb string, a, b airflow.Kind) airflow.Kind {
	if len(na) > len(nb) {
		return a
	}
	return b
}

func prefixKey(kind airflow.Kind) string {
	if kind == airflow.Config {
		return "config"
	}
	return kind.Plural()
}

// some shows the first few.
func some(names []string) string {
	shown := strings.Join(names[:min(len(names), mostShown)], ", ")
	if more := len(names) - mostShown; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return shown
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// numbered counts ids of a kind.
func numbered(n int, kind airflow.Kind) string {
	if kind == airflow.Config {
		return count(n, "config option")
	}
	return count(n, string(kind))
}

// is counts secrets and adds the verb.
func is(n int) string {
	if n == 1 {
		return "1 secret is"
	}
	return fmt.Sprintf("%d secrets are", n)
}

// roughly is a time as people say it.
func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Round(time.Hour).Hours()))
	case d < 90*time.Second:
		return fmt.Sprintf("%d seconds", int(d.Round(time.Second).Seconds()))
	}
	return fmt.Sprintf("%d minutes", int(d.Round(time.Minute).Minutes()))
}
