package cli

import (
	"log/slog"

	"github.com/airlock-secrets/airlock/internal/agent"
	"github.com/airlock-secrets/airlock/internal/config"
)

// openVault is a vault's agent with the configuration that it was made from.
type openVault struct {
	vault config.Vault
	agent *agent.Agent
}

// opened are the vaults of the configuration that is in force.
type opened []openVault

// open makes the agents of a configuration's vaults. One whose configuration is the same as before is kept, with all that
// it holds.
func (before opened) open(c config.Agent, log *slog.Logger) (opened, error) {
	var now opened
	for _, v := range c.Vaults {
		kept := before.find(v)
		if kept == nil {
			made, err := newAgent(v.Config, agent.Config{Name: v.Name, Log: log})
			if err != nil {
				return nil, err
			}
			kept = made
		}
		now = append(now, openVault{v, kept})
	}
	return now, nil
}

func (before opened) find(v config.Vault) *agent.Agent {
	for _, old := range before {
		if old.vault.Name == v.Name && old.vault.Same(v) {
			return old.agent
		}
	}
	return nil
}

// plan is what a configuration says about its vaults.
func (now opened) plan(c config.Agent) agent.Plan {
	p := agent.Plan{Never: c.Never}
	for _, v := range now {
		p.Vaults = append(p.Vaults, v.agent)
	}
	for _, r := range c.Routes {
		p.Routes = append(p.Routes, agent.Route{Scope: r.Scope, Vault: now[r.Vault].agent, PastDenial: r.PastDenial})
	}
	return p
}
