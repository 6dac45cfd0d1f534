package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/github"
	"github.com/airlock-secrets/airlock/internal/project"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// githubSecrets keeps credentials in the Actions secrets of a repository.
type githubSecrets struct {
	app        *app
	api        *github.Client
	repository string
	key        github.Key
	there      []string // names of secrets that the repository has
}

// githubSecrets asks the repository for its key and its secrets, so that a token without rights is told before anybody is
// asked to confirm.
func (a *app) githubSecrets(ctx context.Context, f sealFlags) (*githubSecrets, error) {
	client, getenv, err := a.apiClient(f.dev)
	if err != nil {
		return nil, err
	}
	g := &githubSecrets{app: a, repository: f.github}
	cfg := github.Config{Repository: f.github, HTTPClient: client}
	for _, name := range []string{envGitHubToken, envGHToken} {
		if value := strings.TrimSpace(getenv(name)); value != "" {
			cfg.Token, cfg.TokenSource = secret.FromString(value), name
			break
		}
	}
	if g.api, err = github.New(cfg); err != nil {
		return nil, err
	}
	if g.key, err = g.api.Key(ctx); err != nil {
		return nil, err
	}
	list, err := g.api.Secrets(ctx)
	for _, s := range list {
		g.there = append(g.there, s.Name)
	}
	return g, err
}

// Check tells which secrets get another value.
func (g *githubSecrets) Check(credentials []project.Credential) (warnings []string, err error) {
	var problems []error
	for _, c := range credentials {
		problems = append(problems, github.CheckName(c.Name))
		if slices.Contains(g.there, strings.ToUpper(c.Name)) {
			warnings = append(warnings, fmt.Sprintf("%s has the secret %s already; it gets the value of .env", g.repository, c.Name))
		}
	}
	return warnings, errors.Join(problems...)
}

// Store puts all of them, and looks whether they are there.
func (g *githubSecrets) Store(ctx context.Context, credentials []project.Credential) error {
	var stored []string
	fail := func(err error) error {
		where := "none of the credentials is in " + g.repository
		if len(stored) > 0 {
			where = "in " + g.repository + " are by now: " + strings.Join(stored, ", ")
		}
		return fault.Wrap(fault.KindOf(err), err, fmt.Sprintf("%v; .env is as before, and %s", err, where))
	}
	for _, c := range credentials {
		if err := g.api.Put(ctx, g.key, github.NamedValue{Name: c.Name, Value: c.Value}); err != nil {
			return fail(err)
		}
		stored = append(stored, c.Name)
	}
	list, err := g.api.Secrets(ctx)
	if err != nil {
		return fail(err)
	}
	for _, name := range stored {
		if !slices.ContainsFunc(list, func(s github.Secret) bool { return s.Name == strings.ToUpper(name) }) {
			return fail(fault.New(fault.Internal, fmt.Sprintf("github took the secret %s, and does not have it", name)))
		}
	}
	g.app.say("stored in the Actions secrets of %s: %s", g.repository, strings.Join(stored, ", "))
	return nil
}
