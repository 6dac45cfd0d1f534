package cli

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/client"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/socket"
)

// agentStatus is an agent's own word, and where it was asked.
type agentStatus struct {
	Socket string `json:"socket,omitempty"`
	URL    string `json:"url,omitempty"` // of one that was asked by TCP
	agentapi.Status
}

func (a *app) statusCommand() *cobra.Command {
	var dev, asJSON, watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the running agents and what they answered",
		Long: `Show the agents that run for you: their vault, and what was read, from where, and how often. Never a value.

The agent that AIRLOCK_AGENT_SOCKET or AIRLOCK_AGENT_URL names is asked, or the running dev's with --dev, otherwise every agent in the runtime
directory. With --watch the view is drawn anew every second until Ctrl-C; with --json, too, each second is one line.`,
		Example: `  airlock status
  airlock status --watch`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			look := func(ctx context.Context) ([]agentStatus, error) { return a.agentStatuses(ctx, dev) }
			if watch {
				return a.watchStatus(c.Context(), look, asJSON)
			}
			all, err := look(c.Context())
			switch {
			case err != nil:
				return err
			case asJSON:
				return a.printJSON(all)
			}
			a.printStatuses(all)
			return nil
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show it anew every second, until Ctrl-C")
	devFlag(c, &dev)
	jsonFlag(c, &asJSON)
	return c
}

// agentStatuses asks the agents. Some that do not answer are left out; when none does, it is an error.
func (a *app) agentStatuses(ctx context.Context, dev bool) ([]agentStatus, error) {
	asked, err := a.agentsToAsk(dev)
	if err != nil {
		return nil, err
	}
	var all []agentStatus
	var last error
	for _, one := range asked {
		s, err := one.client.Status(ctx)
		one.client.Close()
		if err != nil {
			last = err
			continue
		}
		all = append(all, agentStatus{Socket: one.socket, URL: one.url, Status: s})
	}
	if len(all) == 0 && last == nil {
		last = fault.New(fault.Unavailable, "no agent is running", "start one with: airlock agent")
	}
	if len(all) == 0 {
		return nil, last
	}
	return all, nil
}

// askedAgent is an agent that a status is about, and where it is.
type askedAgent struct {
	client      *client.Client
	socket, url string
}

// agentsToAsk says which agents a status is about.
func (a *app) agentsToAsk(dev bool) ([]askedAgent, error) {
	if dev {
		state, err := a.runningDev()
		if err != nil {
			return nil, err
		}
		return bySocket(state.Env[config.EnvAgentSocket]), nil
	}
	named, err := config.AgentFromEnvironment(a.getenv)
	if err != nil {
		return nil, err
	}
	if c, err := namedAgent(named); c != nil || err != nil {
		return []askedAgent{{c, named.AgentSocket, named.AgentURL}}, err
	}
	paths, err := filepath.Glob(filepath.Join(socket.Dir(a.getenv), "*.sock"))
	return bySocket(paths...), err
}

func bySocket(paths ...string) []askedAgent {
	var all []askedAgent
	for _, path := range paths {
		all = append(all, askedAgent{client: askAgent(path), socket: path})
	}
	return all
}

func (a *app) printStatuses(all []agentStatus) {
	for i, s := range all {
		if i > 0 {
			fmt.Fprintln(a.env.Stdout)
		}
		a.printStatus(s)
	}
}

func (a *app) printStatus(s agentStatus) {
	out := a.env.Stdout
	fmt.Fprintf(out, "agent %d on %s, up %v\n", s.PID, cmp.Or(s.Socket, s.URL), time.Since(s.Started).Round(time.Second))
	for _, v := range s.Vaults {
		fmt.Fprintf(out, "vault %s, login by %s\n", v.URL, v.Credential)
	}
	fmt.Fprintf(out, "%d %s; the vault was asked %d %s\n", s.Lookups, plural(int(s.Lookups), "lookup"),
		s.VaultRequests, plural(int(s.VaultRequests), "time"))
	fmt.Fprintln(out, changesInWords(s.Changes))
	if len(s.Entries) == 0 {
		return
	}
	fmt.Fprintln(out)
	t := a.table("KIND", "ID", "VALUE", "LAST FROM", "LOOKUPS", "VAULT ASKED", "SECRET")
	for _, e := range s.Entries {
		value := "********"
		if e.Outcome != "found" {
			value = e.Outcome
		}
		from := string(e.Source)
		if from == "" {
			from = "-"
		}
		name := e.Secret
		if len(s.Vaults) > 1 {
			name = e.Vault + "/" + name
		}
		t.row(e.Kind, e.ID, value, from, e.Lookups, e.VaultRequests, name)
	}
	t.flush()
}

// changesInWords says how soon an agent sees a rotation.
func changesInWords(c agentapi.Changes) string {
	switch {
	case c.Interval == 0:
		return "changes are seen by cache_ttl alone: list_interval is 0"
	case c.Problem != "":
		return "changes are seen by cache_ttl alone: " + c.Problem
	case c.Listed == nil:
		return fmt.Sprintf("changes are looked for every %v: not yet", seconds(c.Interval))
	}
	return fmt.Sprintf("changes are looked for every %v: last %v ago, %d seen", seconds(c.Interval),
		time.Since(*c.Listed).Round(time.Second), c.Seen)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
