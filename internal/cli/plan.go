package cli

import (
	"github.com/airlock-secrets/airlock/internal/agent"
	"github.com/airlock-secrets/airlock/internal/audit"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/policy"
	"github.com/airlock-secrets/airlock/internal/tracing"
)

// openVault is a vault's agent with the configuration that it was made from.
type openVault struct {
	vault config.Vault
	agent *agent.Agent
}

// opened are the vaults of the configuration that is in force.
type opened []openVault

// open makes the agents of a configuration's vaults, each with base's log and metrics. One whose configuration is the same as before is kept, with all that
// it holds.
func (before opened) open(c config.Agent, base agent.Config, tracer *tracing.Tracer) (opened, error) {
	var now opened
	for _, v := range c.Vaults {
		kept := before.find(v)
		if kept == nil {
			base.Name = v.Name
			made, err := newAgent(v.Config, base, tracer)
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

// openAudit opens what a configuration says about the audit: in the place of before if there is one, so that lookups under
// way are written down all the same.
func (a *app) openAudit(c config.Agent, before *audit.Log) (*audit.Log, error) {
	switch {
	case c.AuditFile == "-":
		return audit.New(a.env.Stdout), nil
	case c.AuditFile == "":
		return before, nil
	case before != nil:
		return before, before.Move(c.AuditFile)
	}
	return audit.Open(c.AuditFile)
}

// plan is what a configuration says about its vaults, and about who may ask.
func (now opened) plan(c config.Agent, log *audit.Log) agent.Plan {
	p := agent.Plan{Never: c.Never}
	if c.AuditFile != "" {
		p.Guard.Audit = log
	}
	p.Guard.Remote = agent.Remote{Token: c.Remote.Token, Hosts: c.Remote.Hosts}
	for _, r := range c.Policy {
		p.Guard.Policy.Rules = append(p.Guard.Policy.Rules, policy.Rule{
			UIDs: r.UIDs, GIDs: r.GIDs, TCP: r.TCP, Operate: r.Operate, Scope: r.Scope,
		})
	}
	for _, v := range now {
		p.Vaults = append(p.Vaults, v.agent)
	}
	for _, r := range c.Routes {
		p.Routes = append(p.Routes, agent.Route{Scope: r.Scope, Vault: now[r.Vault].agent, PastDenial: r.PastDenial})
	}
	return p
}
