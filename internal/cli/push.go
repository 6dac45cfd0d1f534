package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/astro"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/project"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// pushed are the variables of a .env that configure the backend, and whether they hold credentials. A name that ends with
// "__" stands for all that begin with it.
var pushed = []struct {
	name   string
	secret bool
}{
	{config.EnvBackend, false}, {config.EnvKwargs, true}, {config.EnvKwargPrefix, true},
	{airflow.EnvWorkersBackend, false}, {airflow.EnvWorkersKwargs, true}, {airflow.EnvWorkersKwargPrefix, true},
	{"AZURE_TENANT_ID", false}, {"AZURE_CLIENT_ID", false}, {"AZURE_CLIENT_SECRET", true}, {"AZURE_CLIENT_CERTIFICATE_PASSWORD", true},
	{"AZURE_AUTHORITY_HOST", false}, {"AZURE_TOKEN_CREDENTIALS", false},
}

type pushFlags struct {
	keys, plain       []string
	yes, dryRun, json bool
	dev               bool
	withoutLogin      bool
}

func (a *app) pushCommand() *cobra.Command {
	var f pushFlags
	var names []string
	for _, p := range pushed {
		if p.secret {
			names = append(names, strings.TrimSuffix(p.name, "__")+" (secret)")
			continue
		}
		names = append(names, p.name)
	}
	c := &cobra.Command{
		Use:   "push DEPLOYMENT",
		Short: "Bring the backend's configuration from .env to a Deployment on Astro",
		Long: `Bring the variables of this folder's .env that configure the backend to the environment of an Astro Deployment, which is
named by its id or its name. What holds credentials is secret from its first write. All other variables and settings of the
Deployment stay as they are, secrets that nobody can read among them.

The plan is shown before anything is written: create, change, same, or unknown for a secret, whose value nobody is told and
which is written again. Afterwards the Deployment is read and compared. If somebody else changes the Deployment between plan
and write, nothing is written; if the network dies, the report says whether the Deployment is as before or as planned.

A .env that airlock seal took the login out of does not replace the Deployment's kwargs, whose login nobody could read back:
--without-login does, for a Deployment whose identity signs in by itself.

It takes ` + astro.EnvToken + `, the token of the Deployment, its Workspace or its Organization, or else the Astro CLI's login.

Pushed are, as far as .env has them:
  ` + strings.Join(names, "\n  "),
		Example: `  airlock push production
  airlock push clx0123456789abcdefghijkl --yes
  airlock push production --dry-run --json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeDeployment,
		RunE: func(c *cobra.Command, args []string) error {
			if f.json && !f.yes && !f.dryRun {
				return usage(c, errors.New("--json cannot ask; it takes --yes or --dry-run"))
			}
			return a.push(c.Context(), args[0], f)
		},
	}
	flags := c.Flags()
	flags.StringArrayVar(&f.keys, "key", nil, "one more variable of .env, as a secret; may be repeated")
	flags.StringArrayVar(&f.plain, "plain", nil, "one more variable of .env, for everybody to read; may be repeated")
	flags.BoolVar(&f.yes, "yes", false, "write without asking")
	flags.BoolVar(&f.dryRun, "dry-run", false, "show the plan, and write nothing")
	flags.BoolVar(&f.withoutLogin, "without-login", false, "replace kwargs that may hold a login by those of .env, which hold none")
	c.MarkFlagsMutuallyExclusive("yes", "dry-run")
	jsonFlag(c, &f.json)
	devFlag(c, &f.dev)
	return c
}

func (a *app) push(ctx context.Context, deployment string, f pushFlags) error {
	if err := a.checkBackend(); err != nil {
		return err
	}
	env, err := a.projectEnv()
	if err != nil {
		return err
	}
	wanted, err := a.wanted(env, f)
	if err != nil {
		return err
	}
	api, err := a.astro(f.dev)
	if err != nil {
		return err
	}
	d, err := api.Find(ctx, deployment)
	if err != nil {
		return err
	}
	plan := astro.NewPlan(d, wanted)
	report := pushReport{
		Deployment: pushDeployment{d.ID, d.Name, d.WorkspaceID, d.Status}, Changes: []pushChange{},
		Kept: len(d.Variables), Warnings: []string{}, State: astro.AsBefore,
	}
	for _, change := range plan.Changes {
		report.Changes = append(report.Changes, pushChange{change.Key, change.Action, change.Secret})
		if change.Action != astro.Create {
			report.Kept--
		}
	}
	if d.Hibernating() {
		report.Warnings = append(report.Warnings, "the Deployment is hibernating; what is written takes effect when it wakes")
	}
	shared, err := a.shared(ctx, api, plan)
	if err != nil {
		return err
	}
	report.Warnings = append(report.Warnings, shared...)
	if !f.json {
		a.showPlan(plan, report)
	}
	refused := error(nil)
	if !f.withoutLogin {
		refused = keepsLogin(plan, env)
	}
	if refused != nil || plan.Nothing() || f.dryRun {
		if f.json {
			return errors.Join(a.printJSON(report), refused)
		}
		return refused
	}
	if !f.yes {
		if err := a.confirm("Write this to Deployment " + d.Name + "? Its Airflow restarts."); err != nil {
			return err
		}
	}
	result, err := api.Apply(ctx, plan)
	report.State, report.Written = result.State, result.State == astro.AsPlanned
	report.Warnings = append(report.Warnings, result.Warnings...)
	if f.json {
		return errors.Join(a.printJSON(report), err)
	}
	for _, w := range result.Warnings {
		a.say("airlock: warning: %s", w)
	}
	fmt.Fprintf(a.env.Stdout, "Deployment %s is %s\n", d.Name, stateInWords[result.State])
	if err != nil && result.State == astro.NotKnown {
		err = fault.Wrap(fault.KindOf(err), err, err.Error(), "when Astro answers again, see what is there: airlock push "+d.ID+" --dry-run")
	}
	return err
}

// shared warns of variables that the Environment Manager gives the Deployment under a name that is pushed. Which of the two
// an Airflow gets is Astro's affair. A token that may not read them is no reason not to push.
func (a *app) shared(ctx context.Context, api *astro.Client, p astro.Plan) (warnings []string, err error) {
	keys, err := api.Shared(ctx, p.Deployment)
	if fault.Is(err, fault.Canceled) {
		return nil, err
	}
	if err != nil {
		return []string{"the Environment Manager could not be looked at: " + err.Error()}, nil
	}
	for _, c := range p.Changes {
		if slices.Contains(keys, c.Key) {
			warnings = append(warnings, c.Key+" is in Astro's Environment Manager, too; take it out there, or leave it out of .env")
		}
	}
	return warnings, nil
}

var stateInWords = map[astro.State]string{
	astro.AsBefore: "as before: nothing was written", astro.AsPlanned: "as planned",
	astro.Changed:  "neither as before nor as planned: somebody else changed it, too",
	astro.NotKnown: "in a state that is not known: Astro could not be asked any more",
}

// pushReport is the JSON of push. It holds no values.
type pushReport struct {
	Deployment pushDeployment `json:"deployment"`
	Changes    []pushChange   `json:"changes"`
	Kept       int            `json:"kept"`    // other variables, which stay as they are
	Written    bool           `json:"written"` // the Deployment was written, and is as planned
	State      astro.State    `json:"state"`
	Warnings   []string       `json:"warnings"`
}

type pushDeployment struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	WorkspaceID string `json:"workspaceId"`
	Status      string `json:"status"` // as it was read first
}

type pushChange struct {
	Key    string       `json:"key"`
	Action astro.Action `json:"action"`
	Secret bool         `json:"secret"`
}

func (a *app) showPlan(p astro.Plan, r pushReport) {
	d := p.Deployment
	for _, w := range r.Warnings {
		a.say("airlock: warning: %s", w)
	}
	out := a.env.Stdout
	fmt.Fprintf(out, "Deployment %s (%s) of Workspace %s, %s\n", d.Name, d.ID, cmp.Or(d.WorkspaceName, d.WorkspaceID), d.Status)
	t := a.table("ACTION", "VARIABLE", "")
	for _, c := range p.Changes {
		note := ""
		switch {
		case c.Action == astro.Unknown:
			note = "secret; nobody can tell whether it differs"
		case c.Secret && !c.WasSecret && c.Action == astro.Replace:
			note = "becomes secret"
		case c.Secret:
			note = "secret"
		}
		t.row(c.Action, c.Key, note)
	}
	t.flush()
	if r.Kept > 0 {
		fmt.Fprintf(out, "kept as it is: %d other %s\n", r.Kept, plural(r.Kept, "variable"))
	}
	if p.Nothing() {
		fmt.Fprintln(out, "nothing is to do")
	}
}

// wanted takes out of .env what is pushed, in the order of the table and then of the flags.
func (a *app) wanted(env map[string]string, f pushFlags) ([]astro.Wanted, error) {
	var wanted []astro.Wanted
	var problems []error
	taken := map[string]bool{}
	take := func(key string, isSecret bool) {
		switch value := env[key]; {
		case taken[key]:
		case value == "": // an empty value would blank what is there
			a.say("airlock: warning: %s is empty in .env, and is left out", key)
		default:
			wanted = append(wanted, astro.Wanted{Key: key, Value: secret.FromString(value), Secret: isSecret})
		}
		taken[key] = true
	}
	for _, p := range pushed {
		for _, key := range slices.Sorted(maps.Keys(env)) {
			if key == p.name || strings.HasSuffix(p.name, "__") && strings.HasPrefix(key, p.name) {
				take(key, p.secret)
			}
		}
	}
	if !slices.ContainsFunc(wanted, func(w astro.Wanted) bool { return w.Key == config.EnvBackend }) {
		problems = append(problems, fault.New(fault.Usage, ".env does not set "+config.EnvBackend+": there is no backend to push",
			"write it with: airlock init"))
	} else if _, err := config.FromEnvironment(over(env, func(string) string { return "" })); err != nil {
		problems = append(problems, fault.Wrap(fault.Usage, err, ".env: "+err.Error()))
	}
	for _, more := range []struct {
		keys   []string
		secret bool
	}{{f.keys, true}, {f.plain, false}} {
		for _, key := range more.keys {
			if _, found := env[key]; !found {
				problems = append(problems, fault.New(fault.Usage, fmt.Sprintf(".env does not set %s", key)))
				continue
			}
			if i := slices.IndexFunc(wanted, func(w astro.Wanted) bool { return w.Key == key }); i >= 0 && wanted[i].Secret && !more.secret {
				problems = append(problems, fault.New(fault.Usage, key+" holds credentials: it is pushed as a secret only"))
				continue
			} else if i >= 0 {
				wanted[i].Secret = more.secret
			}
			take(key, more.secret)
		}
	}
	return wanted, errors.Join(problems...)
}

// checkBackend refuses kwargs that are not JSON: Airflow would run without any. Where there is one way to read them, init
// can put them right.
func (a *app) checkBackend() error {
	data, err := os.ReadFile(a.path(project.EnvFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(fault.Usage, err, "cannot read "+project.EnvFile)
	}
	backend, err := project.ReadBackend(project.EnvFile, data)
	if err == nil && backend.Repaired != "" {
		err = fault.New(fault.Usage, backend.Repaired, "airlock init puts the line right; airlock init --dry-run shows it")
	}
	return err
}

// apiPatience is how long a service may think about a write.
const apiPatience = time.Minute

// apiClient reaches a service by the environment that dev or the user gives, and returns that environment.
func (a *app) apiClient(dev bool) (*http.Client, config.Getenv, error) {
	getenv := config.Getenv(a.getenv)
	if dev {
		state, err := a.runningDev()
		if err != nil {
			return nil, nil, err
		}
		getenv = over(state.Tokens, over(state.Env, a.getenv))
	}
	client, err := httpClient(config.NetworkOf(getenv))
	if err != nil {
		return nil, nil, err
	}
	if transport, ok := client.Transport.(*http.Transport); ok {
		transport.ResponseHeaderTimeout = apiPatience
	}
	return client, getenv, nil
}

// astro makes a client of the Astro API. It does not ask it yet.
func (a *app) astro(dev bool) (*astro.Client, error) {
	client, getenv, err := a.apiClient(dev)
	if err != nil {
		return nil, err
	}
	login, err := astro.FindLogin(astro.Sources{Getenv: getenv, ReadFile: os.ReadFile, Now: time.Now()})
	if err != nil {
		return nil, err
	}
	return astro.New(astro.Config{Login: login, HTTPClient: client}), nil
}
