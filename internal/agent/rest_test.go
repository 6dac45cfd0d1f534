package agent

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/airlock-secrets/airlock/internal/airflow"
)

// TestReplacedAgentsRest: an agent that a new plan leaves out lets go of its vault, and one that stays does not.
func TestReplacedAgentsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rested := map[string]int{}
		named := func(name string) *Agent {
			return New(Config{Name: name, Naming: airflow.DefaultKwargs().Naming, Vault: (&vault{}).get, Rest: func() { rested[name]++ }})
		}
		stays, goes, comes := named("stays"), named("goes"), named("comes")
		d := NewDaemon(DaemonConfig{Plan: Plan{Vaults: []*Agent{stays, goes}}})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Serve(ctx, &listener{closed: make(chan struct{})}) }()
		synctest.Wait()
		d.Use(Plan{Vaults: []*Agent{stays, comes}})
		if len(rested) != 1 || rested["goes"] != 1 {
			t.Errorf("after the new plan: %v", rested)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if rested["goes"] != 1 || rested["stays"] != 1 || rested["comes"] != 1 {
			t.Errorf("at the end: %v", rested)
		}
	})
}
