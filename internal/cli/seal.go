package cli

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/project"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// keeper is where credentials go before they leave .env. Store keeps all of them, or fails; after a failure nothing has
// left .env.
type keeper interface {
	// Check says beforehand what would stand in the way, and what deserves a look.
	Check(credentials []project.Credential) (warnings []string, err error)
	Store(ctx context.Context, credentials []project.Credential) error
}

type sealFlags struct {
	deploymentID, branch string
	workflow             bool
	github               string // OWNER/REPOSITORY; "": the credentials go nowhere
	dev                  bool
}

func (a *app) sealCommand() *cobra.Command {
	var f sealFlags
	var e fileEdits
	c := &cobra.Command{
		Use:   "seal",
		Short: "Take the credentials out of .env",
		Long: `Take the credentials out of this project's .env: the client secret leaves the kwargs, with the tenant and the app that it
belongs to, and variables such as AZURE_CLIENT_SECRET go with their lines. On a desk the backend then signs in with az login;
a Deployment has its own variables (airlock push). .env.example names what .env needs, without a secret.

--github puts them into a repository's Actions secrets first, under the names of the variables and sealed for its public
key: nothing leaves .env before all of them are there. It takes GITHUB_TOKEN.

--workflow writes a GitHub workflow that deploys the project and gives the Deployment the credentials that the repository
keeps as Actions secrets, under the names of the variables.

Git's history is searched for the secrets: what was committed once is known to all who have a clone, whatever .env says.`,
		Example: `  airlock seal
  airlock seal --github acme/dags --workflow --deployment-id clx2abcde0001`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.workflow && f.deploymentID == "" {
				return usage(c, errors.New("--workflow needs --deployment-id: which Deployment it deploys to"))
			}
			var keep keeper
			if f.github != "" {
				secrets, err := a.githubSecrets(c.Context(), f)
				if err != nil {
					return err
				}
				keep = secrets
			}
			if err := a.planSeal(c.Context(), f, keep, &e); err != nil {
				return err
			}
			return a.edit(c.Context(), &e)
		},
	}
	c.Flags().BoolVar(&f.workflow, "workflow", false, "write "+project.WorkflowFile)
	c.Flags().StringVar(&f.deploymentID, "deployment-id", "", "the Deployment that the workflow deploys to")
	c.Flags().StringVar(&f.branch, "branch", "main", "the branch whose pushes are deployed")
	c.Flags().StringVar(&f.github, "github", "", "put the credentials into the Actions secrets of this repository, OWNER/REPOSITORY")
	devFlag(c, &f.dev)
	e.flags(c)
	return c
}

// planSeal collects what seal changes. A nil keeper keeps the credentials nowhere: the Deployment has them, or the user.
func (a *app) planSeal(ctx context.Context, f sealFlags, keep keeper, e *fileEdits) error {
	if err := project.Find(a.env.Dir); err != nil {
		return err
	}
	root, err := a.repository(ctx)
	if err != nil {
		return err
	}
	if e.tree, err = project.Open(root.top); err != nil {
		return err
	}
	env, err := e.read(root.name(project.EnvFile), project.MaskEnv)
	if err != nil {
		return err
	}
	example, err := e.read(root.name(project.EnvExampleFile), project.MaskEnv)
	if err != nil {
		return err
	}
	sealed, err := project.Seal(env.Old, example.Old)
	if err != nil {
		return err
	}
	if len(env.Old) > 0 {
		env.New, example.New = sealed.Env, sealed.Example
	}
	if f.workflow {
		if err := planWorkflow(f, root, sealed.Credentials, e); err != nil {
			return err
		}
	}
	switch {
	case len(sealed.Credentials) == 0:
	case keep != nil:
		warnings, err := keep.Check(sealed.Credentials)
		if err != nil {
			return err
		}
		for _, w := range warnings {
			e.warn("%s", w)
		}
		e.before = func(ctx context.Context) error { return keep.Store(ctx, sealed.Credentials) }
		e.beforeDone = "the credentials were stored already: run the command again to take them out of .env"
	default:
		e.warn("what leaves .env is kept nowhere else: have it at hand, or in the Deployment (airlock push), before you go on")
	}
	return a.warnOfHistory(ctx, root, sealed.Secrets, e)
}

// repository is where the project lies: in the repository's root or in a folder below it. Without a repository the
// project is its own root.
type repository struct {
	top string // the repository's root
	rel string // the project's folder below it; "." is the root itself
}

func (r repository) name(file string) string { return filepath.ToSlash(filepath.Join(r.rel, file)) }

func (a *app) repository(ctx context.Context) (repository, error) {
	here, err := filepath.EvalSymlinks(a.env.Dir)
	if err != nil {
		return repository{}, err
	}
	top, err := project.GitTop(ctx, here)
	if err != nil || top == "" {
		return repository{here, "."}, err
	}
	rel, err := filepath.Rel(top, here)
	return repository{top, filepath.ToSlash(rel)}, err
}

func planWorkflow(f sealFlags, root repository, credentials []project.Credential, e *fileEdits) error {
	workflow, err := e.read(project.WorkflowFile, nil)
	if err != nil {
		return err
	}
	if workflow.Exists() {
		e.warn("%s exists and stays as it is", project.WorkflowFile)
		return nil
	}
	w := project.Workflow{DeploymentID: f.deploymentID, Branch: f.branch, Root: root.rel}
	for _, c := range credentials {
		w.Names = append(w.Names, c.Name)
	}
	workflow.New = w.YAML()
	return nil
}

// shownLeaks is how many commits are named one by one.
const shownLeaks = 5

// warnOfHistory tells where git's history holds the secrets.
func (a *app) warnOfHistory(ctx context.Context, root repository, secrets []secret.Value, e *fileEdits) error {
	leaks, err := project.History(ctx, root.top, secrets)
	if err != nil {
		return err
	}
	for i, l := range leaks {
		if i == shownLeaks {
			e.warn("and %d more commits", len(leaks)-i)
			break
		}
		e.warn("git's history holds a credential: commit %s, %s", l.Commit[:min(len(l.Commit), 12)], l.Path)
	}
	if len(leaks) > 0 {
		e.then("make a new secret for the app and delete the one in the history: az ad app credential reset --id CLIENT_ID --append, then az ad app credential delete")
	}
	for _, name := range project.Tracked(ctx, a.env.Dir, project.EnvFile) {
		e.warn("%s is in git's index: git rm --cached %s", name, name)
	}
	if len(secrets) > 0 {
		e.then("sign in on this desk with: az login")
	}
	return nil
}
