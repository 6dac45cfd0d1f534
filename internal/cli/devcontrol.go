package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/rest"
	"github.com/airlock-secrets/airlock/localcloud"
	"github.com/airlock-secrets/airlock/localcloud/control"
)

// envControl is where the running dev's control API is. It is no part of what Azure's programs need.
const envControl = "AIRLOCK_DEV_CONTROL"

// envDirect is the vault's URL without the proxy.
const envDirect = "AIRLOCK_DEV_DIRECT"

// control makes one exchange with the control API of the dev that runs in this folder. A nil body sends none, a nil into
// reads none.
func (a *app) control(ctx context.Context, method, path string, body, into any) error {
	reader, err := rest.Body(body)
	if err != nil {
		return err
	}
	return a.controlRaw(ctx, method, path, reader, into)
}

// controlRaw is control with a body of any form.
func (a *app) controlRaw(ctx context.Context, method, path string, body io.Reader, into any) error {
	state, err := a.runningDev()
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, state.Env[envControl]+path, body)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{}} // straight to loopback, whatever proxy the environment names
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the dev in this folder does not answer")
	}
	defer response.Body.Close()
	if response.StatusCode >= 400 {
		var refused struct {
			Error string `json:"error"`
		}
		if err := json.NewDecoder(response.Body).Decode(&refused); err != nil || refused.Error == "" {
			return fault.New(fault.Internal, "dev's control API answers "+response.Status)
		}
		return fault.New(fault.Usage, refused.Error)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(into)
}

func (a *app) devFaultsCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "faults",
		Short: "Show and set what goes wrong in the running dev",
		Long: `Show what goes wrong in the local cloud of this folder's dev. At first nothing does.

A rule is written as KEY=VALUE words. service, host, method and path choose requests; rate hits a share of them and times
ends it after so many; latency, jitter, status, retry-after, drop and truncate are what happens.`,
		Example: `  airlock dev faults add service=keyvault status=429 retry-after=2s rate=0.05
  airlock dev faults add service=entra latency=3s jitter=1s
  airlock dev faults set --throttle keyvault --token-lifetime 5m
  airlock dev faults clear`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var f localcloud.Faults
			if err := a.control(c.Context(), http.MethodGet, "/v1/faults", nil, &f); err != nil {
				return err
			}
			return a.showFaults(f, asJSON)
		},
	}
	jsonFlag(c, &asJSON)
	c.AddCommand(a.faultsAddCommand(), a.faultsSetCommand(), a.faultsClearCommand())
	return c
}

// changeFaults reads what goes wrong, changes it, and shows what is in force then.
func (a *app) changeFaults(ctx context.Context, change func(*localcloud.Faults) error) error {
	var f localcloud.Faults
	if err := a.control(ctx, http.MethodGet, "/v1/faults", nil, &f); err != nil {
		return err
	}
	if err := change(&f); err != nil {
		return err
	}
	if err := a.control(ctx, http.MethodPut, "/v1/faults", f, &f); err != nil {
		return err
	}
	return a.showFaults(f, false)
}

func (a *app) showFaults(f localcloud.Faults, asJSON bool) error {
	if asJSON {
		return a.printJSON(f)
	}
	out := a.env.Stdout
	for _, rule := range f.Rules {
		fmt.Fprintln(out, "rule            ", rule)
	}
	if t := f.Throttle; t.Window > 0 {
		fmt.Fprintf(out, "throttle         %d requests and %d creates of each vault in %v\n", t.Requests, t.Creates, t.Window)
	}
	if v := f.Visibility; v != (localcloud.Visibility{}) {
		fmt.Fprintf(out, "visible after    deleted %v, recovered %v, purged %v, permissions %v\n", v.Deleted, v.Recovered, v.Purged, v.Permissions)
	}
	if f.TokenLifetime > 0 {
		fmt.Fprintf(out, "token lifetime   %v\n", f.TokenLifetime)
	}
	if len(f.Rules) == 0 && f.Throttle.Window == 0 && f.Visibility == (localcloud.Visibility{}) && f.TokenLifetime == 0 {
		fmt.Fprintln(out, "nothing goes wrong")
		return nil
	}
	fmt.Fprintf(out, "random seed      %d (the same seed repeats what chance does)\n", f.Seed)
	return nil
}

func (a *app) faultsAddCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "add KEY=VALUE...",
		Short:   "Add a rule",
		Example: `  airlock dev faults add service=keyvault path=/secrets/ status=503 times=3`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, words []string) error {
			var line bytes.Buffer
			for _, word := range words {
				line.WriteString(word + " ")
			}
			rule, err := localcloud.ParseFault(line.String())
			if err != nil {
				return usage(c, err)
			}
			return a.changeFaults(c.Context(), func(f *localcloud.Faults) error {
				f.Rules = append(f.Rules, rule)
				return nil
			})
		},
	}
}

func (a *app) faultsSetCommand() *cobra.Command {
	var throttle string
	var seed uint64
	var lifetime time.Duration
	var visibility localcloud.Visibility
	c := &cobra.Command{
		Use:   "set",
		Short: "Set limits, delays and lifetimes; flags that are not given stay as they are",
		Example: `  airlock dev faults set --throttle keyvault --random-seed 7
  airlock dev faults set --deleted-after 5s --permissions-after 2m`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			limits, known := map[string]localcloud.Throttle{"keyvault": localcloud.KeyVaultLimits, "none": {}}[throttle]
			if c.Flags().Changed("throttle") && !known {
				return usage(c, fmt.Errorf("unknown limits %q; they are one of: keyvault, none", throttle))
			}
			return a.changeFaults(c.Context(), func(f *localcloud.Faults) error {
				for flag, set := range map[string]func(){
					"throttle":          func() { f.Throttle = limits },
					"random-seed":       func() { f.Seed = seed },
					"token-lifetime":    func() { f.TokenLifetime = lifetime },
					"deleted-after":     func() { f.Visibility.Deleted = visibility.Deleted },
					"recovered-after":   func() { f.Visibility.Recovered = visibility.Recovered },
					"purged-after":      func() { f.Visibility.Purged = visibility.Purged },
					"permissions-after": func() { f.Visibility.Permissions = visibility.Permissions },
				} {
					if c.Flags().Changed(flag) {
						set()
					}
				}
				return nil
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&throttle, "throttle", "none", "limits of each vault: keyvault for the real ones, or none")
	flags.Uint64Var(&seed, "random-seed", 0, "decides what chance decides; 0 takes one and shows it")
	flags.DurationVar(&lifetime, "token-lifetime", 0, "of tokens that are issued from now on; 0 is as long as the real ones")
	flags.DurationVar(&visibility.Deleted, "deleted-after", 0, "until a deleted secret is found among the deleted ones")
	flags.DurationVar(&visibility.Recovered, "recovered-after", 0, "until a recovered secret can be read")
	flags.DurationVar(&visibility.Purged, "purged-after", 0, "until a purged name can be set again")
	flags.DurationVar(&visibility.Permissions, "permissions-after", 0, "until changed permissions are in force")
	return c
}

func (a *app) faultsClearCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clear",
		Short: "Let nothing go wrong any more",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var f localcloud.Faults
			if err := a.control(c.Context(), http.MethodDelete, "/v1/faults", nil, &f); err != nil {
				return err
			}
			return a.showFaults(localcloud.Faults{}, false)
		},
	}
}

func (a *app) devClockCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "clock [advance DURATION | set TIME | reset]",
		Short: "Show or move the running dev's clock",
		Long: `Show or move the clock that the local cloud goes by: tokens expire, retention ends, dates of secrets come.

TIME is written as 2026-01-31T12:00:00Z. advance takes a duration such as 90m, or -1h.`,
		Example:   "  airlock dev clock advance 2h",
		Args:      cobra.MaximumNArgs(2),
		ValidArgs: []string{"advance", "set", "reset"},
		RunE: func(c *cobra.Command, args []string) error {
			method, body := http.MethodGet, map[string]string(nil)
			switch {
			case len(args) == 0:
			case args[0] == "reset" && len(args) == 1:
				method = http.MethodDelete
			case args[0] == "advance" && len(args) == 2:
				method, body = http.MethodPut, map[string]string{"advance": args[1]}
			case args[0] == "set" && len(args) == 2:
				method, body = http.MethodPut, map[string]string{"now": args[1]}
			default:
				return usage(c, fmt.Errorf("want advance DURATION, set TIME, reset, or nothing"))
			}
			var clock struct {
				Now   time.Time `json:"now"`
				Moved string    `json:"moved"`
			}
			var send any
			if body != nil {
				send = body
			}
			if err := a.control(c.Context(), method, "/v1/clock", send, &clock); err != nil {
				return err
			}
			fmt.Fprintf(a.env.Stdout, "%s (moved by %s)\n", clock.Now.UTC().Format(time.RFC3339), clock.Moved)
			return nil
		},
	}
	return c
}

func (a *app) devRequestsCommand() *cobra.Command {
	var asJSON, forget bool
	c := &cobra.Command{
		Use:   "requests",
		Short: "Show what the running dev was asked",
		Long:  "Show the requests that the local cloud answered, oldest first: never a query, a header or a body.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if forget {
				return a.control(c.Context(), http.MethodDelete, "/v1/requests", nil, nil)
			}
			requests := []control.Request{}
			if err := a.control(c.Context(), http.MethodGet, "/v1/requests", nil, &requests); err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(requests)
			}
			t := a.table("TIME", "SERVICE", "METHOD", "STATUS", "HOST", "PATH")
			for _, r := range requests {
				t.row(r.Time.UTC().Format("15:04:05.000"), r.Service, r.Method, r.Status, r.Host, r.Path)
			}
			t.flush()
			return nil
		},
	}
	c.Flags().BoolVar(&forget, "clear", false, "forget them")
	jsonFlag(c, &asJSON)
	return c
}
