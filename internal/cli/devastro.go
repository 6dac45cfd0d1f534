package cli

import (
	"path/filepath"
	"slices"

	"github.com/airlock-secrets/airlock/localcloud"
)

// What dev has of Astro and GitHub. The ids have the form of Astro's own.
const (
	devOrganization = "cairlockdevorganization00"
	devWorkspace    = "cairlockdevworkspace00000"
	devDevelopment  = "cairlockdevdeployment0001"
	devProduction   = "cairlockdevdeployment0002"
	devAstroToken   = "airlock-dev"
	devRepository   = "airlock-dev/project"
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

// devTokens are the variables that sign in to the local Astro and GitHub. A host that passes keeps the user's own.
func (a *app) devTokens(cloud *localcloud.Cloud, made madeUp, pass []string) (map[string]string, error) {
	tokens := map[string]string{}
	if !slices.Contains(pass, "api.astronomer.io") {
		token, err := cloud.AstroToken(devAstroToken)
		if err != nil {
			return nil, err
		}
		tokens[envAstroToken] = token
		// The Astro CLI writes the token into its configuration as the login, and must not do that to the user's.
		tokens[envAstroHome] = filepath.Join(a.env.Dir, devDir)
	}
	if !slices.Contains(pass, "api.github.com") {
		tokens[envGitHubToken], tokens[envGHToken] = made.GitHubToken, made.GitHubToken
	}
	return tokens, nil
}
