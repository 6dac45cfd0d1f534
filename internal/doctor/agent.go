package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
)

// checkAgent looks for an agent of this vault.
func (v *visit) checkAgent(ctx context.Context) Result {
	if v.conf.VaultURL+v.conf.AgentSocket+v.conf.AgentURL == "" {
		return Result{State: Skipped, Because: "kwargs"} // whose agent could it be?
	}
	var agents []Agent
	if v.Agents != nil {
		agents = v.Agents(ctx, v.conf)
	}
	var others int
	for _, a := range agents {
		switch {
		case a.Err != nil && a.Named:
			return brokenBy(a.Err)
		case a.Err != nil: // a socket that somebody left behind
		case a.Named || servesVault(a.Status, v.conf.VaultURL):
			return v.judgeAgent(a)
		default:
			others++
		}
	}
	r := Result{State: OK, Found: "none runs for this vault; the backend starts one when a task asks"}
	if v.class == airflow.AzureBackend {
		r.Found = "none runs for this vault, and the official backend asks none"
	}
	if others > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%s for other vaults; see: airlock status", count(others, "agent")))
	}
	return r
}

func servesVault(s agentapi.Status, address string) bool {
	for _, vault := range s.Vaults {
		if hostOf(vault.URL) == hostOf(address) {
			return true
		}
	}
	return hostOf(s.VaultURL) == hostOf(address)
}

func (v *visit) judgeAgent(a Agent) Result {
	s := a.Status
	r := Result{State: OK, Found: fmt.Sprintf("agent %d answers: %s, %s of the vault", s.PID,
		count(int(s.Lookups), "lookup"), count(int(s.VaultRequests), "request"))}
	r.Notes = append(r.Notes, "at "+a.At)
	if !servesVault(s, v.conf.VaultURL) && v.conf.VaultURL != "" {
		r.warn("the agent that is named serves another vault: "+s.VaultURL, "see what runs: airlock status")
	}
	if s.Version != v.Version {
		r.warn(fmt.Sprintf("the agent is of version %s, and this is %s", s.Version, v.Version),
			fmt.Sprintf("kill %d", s.PID)+"   # the backend starts a new one")
	}
	failed := map[string][]string{}
	for _, e := range s.Entries {
		failed[e.Outcome] = append(failed[e.Outcome], fmt.Sprintf("%s %s", e.Kind, e.ID))
	}
	for _, outcome := range []string{"forbidden", "unavailable", "internal"} {
		if names := failed[outcome]; len(names) > 0 {
			r.warn(fmt.Sprintf("lookups that end with %s: %s", outcome, some(names)), "airlock status")
		}
	}
	if names := failed["not_found"]; len(names) > 0 {
		r.Notes = append(r.Notes, "asked for and not in the vault: "+some(names))
	}
	if problem := s.Changes.Problem; problem != "" {
		r.Notes = append(r.Notes, "it does not see rotations at once: "+strings.TrimSpace(problem))
	}
	return r
}
