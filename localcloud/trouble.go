package localcloud

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/airlock-secrets/airlock/localcloud/control"
	"github.com/airlock-secrets/airlock/localcloud/faults"
	"github.com/airlock-secrets/airlock/localcloud/keyvault"
)

// serveControl starts the control API on its own listener.
func (c *Cloud) serveControl(cfg Config) error {
	listener, err := listen("Control", cfg.Control, false)
	if err != nil {
		return err
	}
	c.address = listener.Addr().String()
	c.control = &http.Server{
		Handler: control.Handler(control.Config{
			Cloud: c, Clock: c.clock, Requests: &c.requests, Provision: func(body []byte) error {
				p, err := ReadProvision(bytes.NewReader(body), "")
				if err != nil {
					return err
				}
				return c.Add(p)
			},
			AstroToken: c.AstroToken,
		}),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
	}
	c.background.Go(func() { _ = c.control.Serve(listener) })
	return nil
}

// What can go wrong in a cloud, and how.
type (
	Faults     = control.Faults
	Fault      = faults.Fault
	Throttle   = faults.Throttle
	Visibility = keyvault.Visibility
)

// KeyVaultLimits are the limits of the real service, for Faults.Throttle.
var KeyVaultLimits = faults.KeyVaultLimits

// ParseFault reads the written form of a fault, such as "service=keyvault status=429 rate=0.05".
func ParseFault(line string) (Fault, error) { return faults.Parse(line) }

// SetFaults says what goes wrong from now on, in place of what did. At first nothing does.
func (c *Cloud) SetFaults(f Faults) error {
	if f.TokenLifetime < 0 {
		return fmt.Errorf("faults: TokenLifetime = %s: must not be below 0", f.TokenLifetime)
	}
	if err := c.injector.Set(faults.Plan{Seed: f.Seed, Rules: f.Rules, Throttle: f.Throttle}); err != nil {
		return err
	}
	c.keyvault.SetVisibility(f.Visibility)
	c.entra.SetTokenLifetime(f.TokenLifetime)
	c.log.Info("faults set; the same seed repeats them", "seed", c.injector.Plan().Seed, "rules", len(f.Rules))
	return nil
}

// Faults is what goes wrong, with the seed that was chosen if none was given.
func (c *Cloud) Faults() Faults {
	plan := c.injector.Plan()
	return Faults{
		Seed: plan.Seed, Rules: plan.Rules, Throttle: plan.Throttle,
		Visibility: c.keyvault.Visibility(), TokenLifetime: c.entra.TokenLifetime(),
	}
}

// Clock is the clock of tokens and secrets, which goes with Config.Now until it is moved.
func (c *Cloud) Clock() *control.Clock { return c.clock }

// InFlight is how many requests are being answered.
func (c *Cloud) InFlight() int { return c.proxy.InFlight() }

// ControlURL is where the control API is, "" without Config.Control.
func (c *Cloud) ControlURL() string {
	if c.address == "" {
		return ""
	}
	return "http://" + c.address
}
