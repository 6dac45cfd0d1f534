package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/project"
	"github.com/airlock-secrets/airlock/internal/secret"
	"github.com/airlock-secrets/airlock/internal/source"
)

// backends are what --backend chooses from: the class, and the package that brings it.
var backends = map[string]struct{ class, pkg string }{
	"airlock": {airflow.AirlockBackend, project.AirlockPackage},
	"azure":   {airflow.AzureBackend, project.AzurePackage},
}

type initFlags struct {
	vaultURL, auth, tenantID, clientID, backend string
	connectionsPrefix, variablesPrefix          string
	secretStdin                                 bool
}

func (a *app) initCommand() *cobra.Command {
	var f initFlags
	var e fileEdits
	c := &cobra.Command{
		Use:   "init",
		Short: "Make this Astro project read its secrets from a Key Vault",
		Long: `Make the Astro project in this folder read connections and variables from a Key Vault: requirements.txt gets the package
(and requirements-client.txt, where there is one), .env the backend and its kwargs, .gitignore and .dockerignore what keeps
.env out of git and of the image.

What the flags leave out is taken from .env, and asked for on a terminal. What will change is shown first, without the
secret. Other lines stay as they are, byte for byte, and a second run changes nothing. All files are written, or none.

The line in .env is one that the Astro CLI, Docker Compose, docker --env-file and dotenv packages read alike. Kwargs that
are almost JSON are put right.`,
		Example: `  airlock init                         asks
  airlock init --vault-url https://contoso.vault.azure.net/ --auth managed-identity --tenant-id ID --client-id ID --yes
  airlock init --vault-url https://contoso.vault.azure.net/ --auth client-secret --tenant-id ID --client-id ID \
    --client-secret-stdin --yes < secret.txt`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.secretStdin && !e.yes && !e.dryRun {
				return usage(c, errors.New("--client-secret-stdin takes standard input, so that nobody can be asked: add --yes or --dry-run"))
			}
			if err := a.planInit(c, f, &e); err != nil {
				return err
			}
			return a.edit(c.Context(), &e)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.vaultURL, "vault-url", "", "the vault, as the portal shows it under Vault URI")
	flags.StringVar(&f.auth, "auth", "", "how to sign in: client-secret or managed-identity")
	flags.StringVar(&f.tenantID, "tenant-id", "", "the tenant of the app or the identity")
	flags.StringVar(&f.clientID, "client-id", "", "the client id of the app or the identity")
	flags.BoolVar(&f.secretStdin, "client-secret-stdin", false, "read the app's client secret from standard input")
	flags.StringVar(&f.connectionsPrefix, "connections-prefix", "airflow-connections", "what the names of connections begin with; '' is nothing")
	flags.StringVar(&f.variablesPrefix, "variables-prefix", "airflow-variables", "what the names of variables begin with; '' is nothing")
	flags.StringVar(&f.backend, "backend", "airlock", "the backend class: airlock, or azure for the official one")
	_ = c.RegisterFlagCompletionFunc("auth", cobra.FixedCompletions([]string{string(project.ClientSecret), string(project.ManagedIdentity)}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("backend", cobra.FixedCompletions([]string{"airlock", "azure"}, cobra.ShellCompDirectiveNoFileComp))
	e.flags(c)
	return c
}

// planInit collects what init changes.
func (a *app) planInit(c *cobra.Command, f initFlags, e *fileEdits) error {
	backend, ok := backends[f.backend]
	if !ok {
		return usage(c, fmt.Errorf("unknown backend %q; it is one of: airlock, azure", f.backend))
	}
	if err := a.openProject(e); err != nil {
		return err
	}
	env, err := e.read(project.EnvFile, project.MaskEnv)
	if err != nil {
		return err
	}
	env.Private = true
	was, err := project.ReadBackend(project.EnvFile, env.Old)
	if err != nil {
		return err
	}
	login, err := a.login(c, f, project.LoginOf(was.Kwargs))
	if err != nil {
		return err
	}
	kwargs := was.Kwargs.Clone()
	kwargs.Apply(login)
	if err := checkKwargs(e, backend.class, kwargs); err != nil {
		return err
	}
	if env.New, err = was.With(backend.class, kwargs); err != nil {
		return err
	}
	if was.Repaired != "" {
		e.warn("%s; the line was put right, see the change above", was.Repaired)
	}
	for _, w := range was.Warnings {
		e.warn("%s", w)
	}
	for _, name := range []string{project.RequirementsFile, project.ClientRequirementsFile} {
		requirements, err := e.read(name, project.MaskRequirements)
		if err != nil {
			return err
		}
		if requirements.Exists() || name == project.RequirementsFile {
			requirements.New = project.AddRequirement(requirements.Old, backend.pkg)
		}
	}
	if err := a.planIgnores(c.Context(), e); err != nil {
		return err
	}
	e.then("airlock doctor looks whether all of it works")
	e.then("airlock azure prints the az commands for the permission, if that is to be given yet")
	if n := countSettings(filepath.Join(a.env.Dir, project.SettingsFile)); n > 0 {
		e.then("airlock import --az-login %s moves its connections and variables (%d) into the vault, as yourself (az login)", project.SettingsFile, n)
	}
	return nil
}

// openProject opens the Astro project in this folder.
func (a *app) openProject(e *fileEdits) error {
	if err := project.Find(a.env.Dir); err != nil {
		return err
	}
	var err error
	e.tree, err = project.Open(a.env.Dir)
	return err
}

// login takes what the flags say, else what .env says, else what is answered; all that is missing is told at once.
func (a *app) login(c *cobra.Command, f initFlags, was project.Login) (project.Login, error) {
	l := project.Login{VaultURL: was.VaultURL, ConnectionsPrefix: was.ConnectionsPrefix, VariablesPrefix: was.VariablesPrefix}
	for name, to := range map[string]**string{"connections-prefix": &l.ConnectionsPrefix, "variables-prefix": &l.VariablesPrefix} {
		if c.Flags().Changed(name) {
			text, _ := c.Flags().GetString(name)
			if text != "" && !airflow.ValidName(strings.ReplaceAll(text, "_", "-")) {
				return l, usage(c, fmt.Errorf("--%s: Key Vault allows letters, digits and - in names", name))
			}
			*to = &text
		}
	}
	q := questions{app: a, asking: a.env.StdinTerminal && !f.secretStdin}
	l.VaultURL = q.need(question{"vault-url", "Vault URI, for example https://NAME.vault.azure.net/", project.CheckVaultURL}, f.vaultURL, was.VaultURL)
	l.Auth = project.Auth(q.need(question{"auth", "Sign in by client-secret or managed-identity", project.CheckAuth}, f.auth, string(was.Auth)))
	if l.Auth != was.Auth {
		was.ClientID, was.Secret = "", secret.Value{} // they belong to the other way to sign in
	}
	l.TenantID = q.need(question{"tenant-id", "Tenant id", project.CheckTenantID}, f.tenantID, was.TenantID)
	l.ClientID = q.need(question{"client-id", "Client id", project.CheckClientID}, f.clientID, was.ClientID)
	if q.err != nil {
		return l, q.err
	}
	if l.Auth == project.ClientSecret {
		l.Secret = was.Secret
		if err := a.clientSecret(&q, f, &l); err != nil {
			return l, err
		}
	}
	if len(q.missing) > 0 {
		return l, usage(c, fmt.Errorf("not given, and not in .env: %s", strings.Join(q.missing, ", ")))
	}
	return l, l.Check()
}

// questions are asked where somebody is there to answer; elsewhere it is noted what is missing.
type questions struct {
	app     *app
	asking  bool
	missing []string
	err     error
}

type question struct {
	flag, text string
	check      func(answer string) error
}

// need gives what was given, else what is answered, else the default. An answer that cannot be is asked for again.
func (q *questions) need(ask question, given, byDefault string) string {
	switch {
	case given != "" || q.err != nil:
		return given
	case q.asking:
		for {
			if given, q.err = q.app.ask(ask.text, byDefault); q.err != nil {
				return ""
			}
			err := ask.check(given)
			if err == nil {
				return given
			}
			printError(q.app.env.Stderr, err)
		}
	default:
		given = byDefault
	}
	if given == "" {
		q.missing = append(q.missing, "--"+ask.flag)
	}
	return given
}

// clientSecret reads the secret from where the flags say, or asks for it; one that .env has stays when nothing is given.
func (a *app) clientSecret(q *questions, f initFlags, l *project.Login) error {
	text := "Client secret (not shown): "
	if l.Secret.Len() > 0 {
		text = "Client secret (not shown; empty keeps the one in .env): "
	}
	for f.secretStdin || q.asking {
		raw, err := []byte(nil), error(nil)
		if f.secretStdin {
			raw, err = io.ReadAll(io.LimitReader(a.env.Stdin, airflow.MaxValueBytes))
		} else {
			raw, err = a.prompt(text)
		}
		if err != nil {
			return err
		}
		given := l.Secret
		if typed := bytes.TrimSpace(raw); len(typed) > 0 {
			given = secret.New(typed)
		}
		clear(raw)
		if err := project.CheckClientSecret(given); err != nil && q.asking {
			printError(a.env.Stderr, err)
			continue
		}
		l.Secret = given
		break
	}
	if l.Secret.Len() == 0 {
		q.missing = append(q.missing, "--client-secret-stdin")
	}
	return nil
}

// checkKwargs reads the kwargs as the backend will, so that a key that it refuses is told now.
func checkKwargs(e *fileEdits, class string, kwargs project.Kwargs) error {
	c, err := config.FromKwargs(kwargs.Line().Reveal(), func(string) string { return "" })
	if err != nil && class == airflow.AirlockBackend {
		return err
	}
	for _, w := range c.Warnings {
		e.warn("%s", w)
	}
	if c.Sep != "-" {
		e.warn(`sep is %q: newer releases of the official backend raise on every lookup unless it is "-"; for names without a prefix, set the prefix to "" and leave sep out`, c.Sep)
	}
	return nil
}

// planIgnores keeps .env, and what airlock dev keeps of its own, out of git and of the image.
func (a *app) planIgnores(ctx context.Context, e *fileEdits) error {
	names := []string{project.EnvFile, devDir + "/"}
	gitignore, err := e.read(project.GitignoreFile, nil)
	if err != nil {
		return err
	}
	open, err := project.Committable(ctx, a.env.Dir, gitignore.Old, names...)
	if err != nil {
		return err
	}
	gitignore.New = project.AddIgnores(gitignore.Old, open...)
	dockerignore, err := e.read(project.DockerignoreFile, nil)
	if err != nil {
		return err
	}
	if open, err = project.Unignored(dockerignore.Old, names...); err != nil {
		return err
	}
	dockerignore.New = project.AddIgnores(dockerignore.Old, open...)
	for _, name := range project.Tracked(ctx, a.env.Dir, project.EnvFile) {
		e.warn("%s is in git's index, so that ignoring it has no effect: git rm --cached %s", name, name)
	}
	return nil
}

// countSettings is how many connections and variables airflow_settings.yaml holds; 0 when it is not there or is not
// understood, which is for airlock import to say.
func countSettings(path string) int {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	items, err := source.Parse(path, data)
	if err != nil {
		return 0
	}
	return len(items)
}
