package cli

import (
	"fmt"
	"slices"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/astro"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/project"
)

// keepsLogin refuses a plan that would take the Deployment's login away. A .env that was sealed, or that was made from
// .env.example, has kwargs without one; the Deployment's have it, and nobody can read it back once it is overwritten.
func keepsLogin(p astro.Plan, env map[string]string) error {
	for _, key := range []string{airflow.EnvKwargs, airflow.EnvWorkersKwargs} {
		change := slices.IndexFunc(p.Changes, func(c astro.Change) bool { return c.Key == key })
		if change < 0 || namesLogin(env[key]) || signsInBeside(p.Deployment, env) {
			continue
		}
		held := slices.IndexFunc(p.Deployment.Variables, func(v astro.Variable) bool { return v.Key == key })
		if held < 0 {
			continue
		}
		if v := p.Deployment.Variables[held]; v.Known && !namesLogin(string(v.Value.Reveal())) {
			continue // nothing is lost
		}
		return fault.New(fault.Usage,
			fmt.Sprintf("the login is not in .env any more, and the Deployment's %s may hold it: nothing was written, so that it stays", key),
			"to change something, put the login back, push, and seal again: airlock init, airlock push "+p.Deployment.ID+", airlock seal",
			"where the Deployment's own identity signs in, and no login is needed: add --without-login")
	}
	return nil
}

// namesLogin tells whether kwargs say how to sign in, or leave that to an agent. Kwargs that cannot be read may do so.
func namesLogin(kwargs string) bool {
	k, err := project.ParseKwargs([]byte(kwargs))
	if err != nil {
		return true
	}
	login := project.LoginOf(k)
	return login.Auth == project.ManagedIdentity || login.Secret.Len() > 0 || k.Has("agent_socket") || k.Has("agent_url")
}

// loginBeside are variables that sign in beside the kwargs.
var loginBeside = []string{"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", airflow.EnvKwargPrefix + "CLIENT_SECRET"}

// signsInBeside tells whether the Deployment has, or will have, a login in variables of its own.
func signsInBeside(d astro.Deployment, env map[string]string) bool {
	return slices.ContainsFunc(loginBeside, func(key string) bool {
		return env[key] != "" || slices.ContainsFunc(d.Variables, func(v astro.Variable) bool { return v.Key == key })
	})
}
