package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/localcloud"
)

// What dev has of Astro. The ids have the form of Astro's own.
const (
	devOrganization = "cairlockdevorganization00"
	devWorkspace    = "cairlockdevworkspace00000"
	devDevelopment  = "cairlockdevdeployment0001"
	devProduction   = "cairlockdevdeployment0002"
	devAstroToken   = "airlock-dev"
)

// Environment variables that hold a token, or say where one is kept.
const (
	envAstroToken  = "ASTRO_API_TOKEN"
	envAstroHome   = "ASTRO_HOME"
	envGitHubToken = "GITHUB_TOKEN"
	envGHToken     = "GH_TOKEN" // GitHub's program takes it before GITHUB_TOKEN
)

// devAstro is one Organization with one Workspace, two Deployments, and a token that may push to both.
func devAstro() localcloud.AstroOrganization {
	return localcloud.AstroOrganization{
		ID: devOrganization, Name: "airlock-dev",
		Workspaces: []localcloud.AstroWorkspace{{ID: devWorkspace, Name: "airlock-dev", Deployments: []localcloud.AstroDeployment{
			{ID: devDevelopment, Name: "development"}, {ID: devProduction, Name: "production"},
		}}},
		Tokens: []localcloud.AstroToken{
			{ID: devAstroToken, Scope: localcloud.AstroWorkspaceScope, EntityID: devWorkspace, Role: "WORKSPACE_OPERATOR"},
		},
	}
}

// devTokens are the variables that sign in to the local Astro and GitHub. A host that passes keeps the user's own, and so
// does GitHub where dev has no repository.
func (a *app) devTokens(cloud *localcloud.Cloud, made madeUp, f devFlags) (map[string]string, error) {
	tokens := map[string]string{}
	if !slices.Contains(f.pass, "api.astronomer.io") {
		token, err := cloud.AstroToken(devAstroToken)
		if err != nil {
			return nil, err
		}
		tokens[envAstroToken] = token
		// The Astro CLI writes the token into its configuration as the login, and must not do that to the user's.
		tokens[envAstroHome] = filepath.Join(a.env.Dir, devDir)
	}
	if len(f.github) > 0 && !slices.Contains(f.pass, "api.github.com") {
		tokens[envGitHubToken], tokens[envGHToken] = made.GitHubToken, made.GitHubToken
	}
	return tokens, nil
}

func (a *app) devTokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "token ID",
		Short: "Print an Astro API token of the running dev",
		Long: `Print the API token of the local Astro that was provisioned under an id: the value of ` + envAstroToken + ` for a command that
shall act with the rights of that token. The one of dev itself has the id ` + devAstroToken + `.`,
		Example: `  airlock dev run -- sh -c 'ASTRO_API_TOKEN=$(airlock dev token ci) airlock push production --dry-run'`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var answer struct{ Token string }
			if err := a.control(c.Context(), http.MethodGet, "/v1/astro/tokens/"+url.PathEscape(args[0]), nil, &answer); err != nil {
				return err
			}
			fmt.Fprintln(a.env.Stdout, answer.Token)
			return nil
		},
	}
}
