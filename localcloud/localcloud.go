// Package localcloud is a local Azure for development and tests: Key Vault's secrets, Entra ID and managed identity in
// one process, which the Azure SDKs accept with their production settings. The Astro API and the secrets of GitHub
// repositories stand beside it, for what brings a configuration to a Deployment. Nothing in it is real, and it says so in
// each answer.
//
// A program reaches it through an HTTP proxy and a certificate bundle ([Cloud.Env]), or in the same process through
// [Cloud.HTTPClient]. Vault URLs, tenants and credentials stay those of production.
package localcloud

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/localcloud/astro"
	"github.com/airlock-secrets/airlock/localcloud/authority"
	"github.com/airlock-secrets/airlock/localcloud/clouds"
	"github.com/airlock-secrets/airlock/localcloud/control"
	"github.com/airlock-secrets/airlock/localcloud/entra"
	"github.com/airlock-secrets/airlock/localcloud/faults"
	"github.com/airlock-secrets/airlock/localcloud/github"
	"github.com/airlock-secrets/airlock/localcloud/identity"
	"github.com/airlock-secrets/airlock/localcloud/keyvault"
	"github.com/airlock-secrets/airlock/localcloud/proxy"
	"github.com/airlock-secrets/airlock/localcloud/store"
)

// Config says what a local cloud is made of. The zero value is a cloud in memory that knows no vault.
type Config struct {
	// Dir is the folder of the database, the certificate authority and the key that signs tokens. It is made, private,
	// if it is not there. "" keeps everything in memory, except for the certificate files, which are removed by Close.
	Dir string
	// Listen is the proxy's address; "" is 127.0.0.1:0, a free port. A host that is not loopback is refused.
	Listen string
	// Control is the address of the control API (package control): requests, clock, faults. "" is none; 127.0.0.1:0 is a
	// free port. A host that is not loopback is refused.
	Control string
	// Direct is the address of one more listener, over TLS, for clients that cannot have a proxy: it serves each vault as
	// https://NAME.vault.localhost:PORT and Entra ID as https://login.localhost:PORT. "" is none; 127.0.0.1:0 is a free
	// port. A host that is not loopback is refused.
	Direct string
	// BeyondLoopback lets Listen and Direct be addresses that other machines reach, containers for example. Whoever reaches
	// them can use the cloud as a proxy. Control stays on loopback.
	BeyondLoopback bool
	// AnyVault makes a vault for each name that is asked for, in the first tenant of Provision.
	AnyVault bool
	// Pass lists emulated hosts that are tunnelled to the real ones instead, such as api.github.com.
	Pass []string
	// Hermetic refuses every host that is not emulated, instead of tunnelling to it.
	Hermetic bool
	// Roots is the PEM file of roots that the bundle of CAFile holds besides our own; "" looks where systems keep it.
	Roots string
	// Provision is what exists from the start.
	Provision Provision
	// Now is the clock of tokens and secrets; nil is time.Now. Certificates keep to the real time.
	Now func() time.Time
	// Log gets what goes wrong, never a value of a secret; nil discards it.
	Log *slog.Logger
}

// Cloud is a running local cloud. Its methods are safe for concurrent use.
type Cloud struct {
	dir        string
	temporary  bool // dir goes when the cloud does
	store      store.Store
	authority  *authority.Authority
	keyvault   *keyvault.Service
	entra      *entra.Service
	identity   *identity.Service
	astro      *astro.Service
	github     *github.Service
	pass       []string
	proxy      *proxy.Server
	header     string // of App Service's protocol
	requests   control.Log
	clock      *control.Clock
	injector   faults.Injector
	control    *http.Server // nil without Config.Control
	address    string       // of control
	directPort string       // "" without Config.Direct
	log        *slog.Logger
	client     *http.Client
	background sync.WaitGroup
	close      func() error
}

// Open starts a cloud; it is ready when Open returns. Errors name the field and the value that is wrong, all of them at
// once. An address in use is an error that is syscall.EADDRINUSE.
func Open(cfg Config) (_ *Cloud, err error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cloud{dir: cfg.Dir, clock: control.NewClock(cfg.Now), pass: cfg.Pass, log: cfg.Log}
	cfg.Now = c.clock.Now // all services go by it
	c.injector.Now, c.injector.Refuse = c.clock.Now, c.refuse
	c.close = sync.OnceValue(c.shutdown)
	defer func() {
		if err != nil {
			_ = c.Close()
		}
	}()
	for _, host := range cfg.Pass {
		if !standsFor(host) {
			return nil, fmt.Errorf("config: Pass = %q: the local cloud does not stand in for this host", host)
		}
	}
	listener, err := listen("Listen", cfg.Listen, cfg.BeyondLoopback)
	if err != nil {
		return nil, err
	}
	defer func() {
		if c.proxy == nil {
			_ = listener.Close()
		}
	}()
	if err := c.openDir(cfg); err != nil {
		return nil, err
	}
	key := c.signingKey(cfg.Dir)
	c.background.Go(func() { _, _ = key() }) // whoever needs it gets the error
	c.entra = entra.New(entra.Config{Key: key, Now: cfg.Now})
	c.header = newHeader()
	c.identity = identity.New(identity.Config{Tokens: c.entra, Header: c.header})
	backups, err := randomKey(cfg.Dir, "backup.key")
	if err != nil {
		return nil, err
	}
	vaults := keyvault.Config{Store: c.store, Keys: c.entra.Keys, BackupKey: backups, Now: cfg.Now, Log: cfg.Log}
	if cfg.AnyVault {
		vaults.NewVault = func(host string) (Vault, bool) {
			tenant := c.entra.FirstTenant()
			return Vault{URL: "https://" + host + "/", TenantID: tenant}, tenant != ""
		}
	}
	c.keyvault = keyvault.New(vaults)
	tokens, err := randomKey(cfg.Dir, "astro.key")
	if err != nil {
		return nil, err
	}
	if c.astro, err = astro.New(astro.Config{Store: c.store, Seed: tokens, Now: cfg.Now, Log: cfg.Log}); err != nil {
		return nil, err
	}
	c.github = github.New(github.Config{Store: c.store, Now: cfg.Now, Log: cfg.Log})
	if err := c.Add(cfg.Provision); err != nil {
		return nil, err
	}
	c.proxy = proxy.Start(listener, proxy.Config{
		Emulates:    c.emulates,
		Emulated:    http.HandlerFunc(c.serve),
		Own:         http.HandlerFunc(c.serveOwn),
		Certificate: c.authority.Certificate,
		Hermetic:    cfg.Hermetic,
		Observe: func(r *http.Request, status int) {
			c.requests.Add(c.request("proxy", r, status))
		},
		Log: cfg.Log,
	})
	c.client = c.newClient()
	if cfg.Direct != "" {
		direct, err := listen("Direct", cfg.Direct, cfg.BeyondLoopback)
		if err != nil {
			return nil, err
		}
		_, c.directPort, _ = net.SplitHostPort(direct.Addr().String())
		c.proxy.ServeDirect(direct)
	}
	if cfg.Control != "" {
		if err := c.serveControl(cfg); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Start opens a cloud for a test, and closes it when the test ends.
func Start(t testing.TB, cfg Config) *Cloud {
	t.Helper()
	c, err := Open(cfg)
	if err != nil {
		t.Fatalf("start the local cloud: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close the local cloud: %v", err)
		}
	})
	return c
}

// listen refuses addresses that other machines reach, unless they are allowed.
func listen(field, addr string, beyond bool) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("config: %s = %q: %w", field, addr, err)
	}
	if ip := net.ParseIP(host); !beyond && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("config: %s = %q: the local cloud listens on loopback only, for example 127.0.0.1:8443",
			field, addr)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("config: %s = %q: %w", field, addr, err)
	}
	return listener, nil
}

func (c *Cloud) openDir(cfg Config) (err error) {
	if cfg.Dir == "" {
		c.temporary = true
		if c.dir, err = os.MkdirTemp("", "airlock-local-cloud-"); err != nil {
			return err
		}
		c.store = store.NewMemory()
	} else {
		if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
			return fmt.Errorf("config: Dir = %q: %w", cfg.Dir, err)
		}
		if c.store, err = store.OpenFile(filepath.Join(cfg.Dir, "secrets.db")); err != nil {
			return fmt.Errorf("config: Dir = %q: %w", cfg.Dir, err)
		}
	}
	c.authority, err = authority.New(authority.Config{
		Dir: c.dir, Domains: append(clouds.Domains(), astro.Host, github.Host), Roots: cfg.Roots,
	})
	if err != nil {
		return fmt.Errorf("certificates in %q: %w", c.dir, err)
	}
	if !c.authority.HasSystemRoots() {
		cfg.Log.Warn("no roots of the system were found: hosts that are not emulated will not verify", "field", "Roots")
	}
	return nil
}

// Close ends the cloud. Requests under way get a moment to finish. Closing again does nothing.
func (c *Cloud) Close() error { return c.close() }

func (c *Cloud) shutdown() error {
	var problems []error
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	if c.control != nil {
		problems = append(problems, c.control.Close())
	}
	if c.proxy != nil {
		problems = append(problems, c.proxy.Close())
	}
	c.background.Wait()
	if c.store != nil {
		problems = append(problems, c.store.Close())
	}
	if c.temporary && c.dir != "" {
		problems = append(problems, os.RemoveAll(c.dir))
	}
	return errors.Join(problems...)
}
