// Package localcloud is a local Azure for development and tests: Key Vault's secrets, Entra ID and managed identity in
// one process, which the Azure SDKs accept with their production settings. Nothing in it is real, and it says so in each
// answer.
//
// A program reaches it through an HTTP proxy and a certificate bundle ([Cloud.Env]), or in the same process through
// [Cloud.HTTPClient]. Vault URLs, tenants and credentials stay those of production.
package localcloud

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/localcloud/authority"
	"github.com/airlock-secrets/airlock/localcloud/clouds"
	"github.com/airlock-secrets/airlock/localcloud/control"
	"github.com/airlock-secrets/airlock/localcloud/entra"
	"github.com/airlock-secrets/airlock/localcloud/faults"
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
	// AnyVault makes a vault for each name that is asked for, in the first tenant of Provision.
	AnyVault bool
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

// Provision is what exists in a cloud from the start. The order of vaults means nothing. Tenants of apps, identities and
// vaults need not be listed.
type Provision struct {
	Tenants    []string
	Apps       []App
	Identities []ManagedIdentity
	Vaults     []Vault
}

// App is an application with its service principal.
type App = entra.App

// FederatedCredential makes the tokens of another issuer a credential of an app or a managed identity.
type FederatedCredential = entra.FederatedCredential

// LocalIssuer is the issuer of the tokens that WorkloadIdentity makes.
const LocalIssuer = entra.LocalIssuer

// ManagedIdentity is an identity of the machine.
type ManagedIdentity = identity.ManagedIdentity

// Vault is a Key Vault. An empty TenantID stands for the only tenant that there is.
type Vault = keyvault.Vault

// The permissions of a vault.
type (
	Permissions    = keyvault.Permissions
	AccessPolicy   = keyvault.AccessPolicy
	RoleAssignment = keyvault.RoleAssignment
	NetworkRules   = keyvault.NetworkRules
)

// The models of a vault's permissions.
const (
	Everyone       = keyvault.Everyone
	AccessPolicies = keyvault.AccessPolicies
	RBAC           = keyvault.RBAC
)

// Cloud is a running local cloud. Its methods are safe for concurrent use.
type Cloud struct {
	dir        string
	temporary  bool // dir goes when the cloud does
	store      store.Store
	authority  *authority.Authority
	keyvault   *keyvault.Service
	entra      *entra.Service
	identity   *identity.Service
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
	c := &Cloud{dir: cfg.Dir, clock: control.NewClock(cfg.Now), log: cfg.Log}
	cfg.Now = c.clock.Now // all services go by it
	c.injector.Now, c.injector.Refuse = c.clock.Now, c.refuse
	c.close = sync.OnceValue(c.shutdown)
	defer func() {
		if err != nil {
			_ = c.Close()
		}
	}()
	listener, err := listen("Listen", cfg.Listen)
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
	backups, err := backupKey(cfg.Dir)
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
	if err := c.Add(cfg.Provision); err != nil {
		return nil, err
	}
	c.proxy = proxy.Start(listener, proxy.Config{
		Emulates:    emulates,
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
		direct, err := listen("Direct", cfg.Direct)
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

// serveControl starts the control API on its own listener.
func (c *Cloud) serveControl(cfg Config) error {
	listener, err := listen("Control", cfg.Control)
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
		}),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
	}
	c.background.Go(func() { _ = c.control.Serve(listener) })
	return nil
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

// listen refuses addresses that other machines reach.
func listen(field, addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("config: %s = %q: %w", field, addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("config: %s = %q: the local cloud listens on loopback only, for example 127.0.0.1:8443", field, addr)
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
	c.authority, err = authority.New(authority.Config{Dir: c.dir, Domains: clouds.Domains(), Roots: cfg.Roots})
	if err != nil {
		return fmt.Errorf("certificates in %q: %w", c.dir, err)
	}
	if !c.authority.HasSystemRoots() {
		cfg.Log.Warn("no roots of the system were found: hosts that are not emulated will not verify", "field", "Roots")
	}
	return nil
}

// Add provisions more while the cloud runs. An app or a vault takes the place of the one with the same ids; what a vault
// holds stays. Errors name the field and the value that is wrong; what has no error is there.
func (c *Cloud) Add(p Provision) error {
	var problems []error
	check := func(kind string, i int, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("config: Provision.%s[%d]: %w", kind, i, err))
		}
	}
	for i, tenant := range p.Tenants {
		check("Tenants", i, c.entra.AddTenant(tenant))
	}
	for i, app := range p.Apps {
		check("Apps", i, c.entra.AddApp(app))
	}
	for i, id := range p.Identities {
		check("Identities", i, c.addIdentity(id))
	}
	for i, vault := range p.Vaults {
		check("Vaults", i, c.addVault(vault))
	}
	return errors.Join(problems...)
}

func (c *Cloud) addIdentity(id ManagedIdentity) error {
	if err := c.identity.Add(id); err != nil {
		return err
	}
	if len(id.Federated) > 0 { // to Entra ID it is then an app without a secret
		return c.entra.AddApp(App{TenantID: id.TenantID, ClientID: id.ClientID, ObjectID: id.ObjectID, Federated: id.Federated})
	}
	return c.entra.AddTenant(id.TenantID)
}

// Remove revokes an app or a managed identity: it gets no tokens any more. Those that it has stay good until they
// expire, as in Azure.
func (c *Cloud) Remove(tenantID, clientID string) {
	c.entra.RemoveApp(tenantID, clientID)
	c.identity.Remove(tenantID, clientID)
}

// WorkloadIdentity is the environment of a workload in a cluster that signs in by federation: it writes a token of
// [LocalIssuer] for the subject to file, private, and returns AZURE_FEDERATED_TOKEN_FILE and the variables that go with
// it. The app or the identity must have a [FederatedCredential] for the subject. The token is good for an hour.
func (c *Cloud) WorkloadIdentity(tenantID, clientID, subject, file string) (map[string]string, error) {
	token, err := c.entra.FederatedToken(subject)
	if err != nil {
		return nil, err
	}
	if err := writeKey(file, []byte(token+"\n")); err != nil {
		return nil, err
	}
	return map[string]string{
		"AZURE_TENANT_ID": tenantID, "AZURE_CLIENT_ID": clientID, "AZURE_FEDERATED_TOKEN_FILE": file,
		"AZURE_AUTHORITY_HOST": "https://" + clouds.All[0].Login + "/",
	}, nil
}

func (c *Cloud) addVault(v Vault) error {
	if v.TenantID == "" {
		tenants := c.entra.Tenants()
		if len(tenants) != 1 {
			return fmt.Errorf("no TenantID, which stands for the only tenant, but there are %d", len(tenants))
		}
		v.TenantID = tenants[0]
	}
	if err := c.keyvault.AddVault(v); err != nil {
		return err
	}
	return c.entra.AddTenant(v.TenantID)
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

// DirectVaultURL is the URL at which the direct listener serves the vault of a name, "" without Config.Direct. Its Entra
// ID is [Cloud.DirectAuthority].
func (c *Cloud) DirectVaultURL(name string) string {
	if c.directPort == "" {
		return ""
	}
	return "https://" + name + "." + clouds.DirectSuffix + ":" + c.directPort + "/"
}

// DirectAuthority is the value of AZURE_AUTHORITY_HOST for the direct listener, "" without Config.Direct.
func (c *Cloud) DirectAuthority() string {
	if c.directPort == "" {
		return ""
	}
	return "https://" + clouds.DirectLogin + ":" + c.directPort + "/"
}

// InFlight is how many requests are being answered.
func (c *Cloud) InFlight() int { return c.proxy.InFlight() }

// ControlURL is where the control API is, "" without Config.Control.
func (c *Cloud) ControlURL() string {
	if c.address == "" {
		return ""
	}
	return "http://" + c.address
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

// ProxyURL is the value for HTTPS_PROXY and HTTP_PROXY.
func (c *Cloud) ProxyURL() string { return "http://" + c.proxy.Addr().String() }

// CAFile is the path of a PEM file with the system's roots and our own. It holds both because SSL_CERT_FILE and its like
// replace the roots, and hosts that are tunnelled must still verify.
func (c *Cloud) CAFile() string { return c.authority.BundleFile() }

// Env is what a program needs in its environment to use the cloud; what it needs in order to sign in is its own affair.
func (c *Cloud) Env() map[string]string {
	const direct = "localhost,127.0.0.1,::1"
	return map[string]string{
		"HTTPS_PROXY": c.ProxyURL(), "https_proxy": c.ProxyURL(),
		"HTTP_PROXY": c.ProxyURL(), "http_proxy": c.ProxyURL(),
		"NO_PROXY": direct, "no_proxy": direct,
		"SSL_CERT_FILE":       c.CAFile(), // Go on Linux, OpenSSL, .NET on Linux
		"REQUESTS_CA_BUNDLE":  c.CAFile(), // Python requests, Azure CLI
		"CURL_CA_BUNDLE":      c.CAFile(),
		"NODE_EXTRA_CA_CERTS": c.authority.CertificateFile(), // adds to Node's own roots
	}
}

// HTTPClient trusts the cloud and goes through its proxy, except to loopback. It is one client, shared by all callers.
func (c *Cloud) HTTPClient() *http.Client { return c.client }

func (c *Cloud) newClient() *http.Client {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	roots.AddCert(c.authority.Root())
	through := &url.URL{Scheme: "http", Host: c.proxy.Addr().String()}
	return &http.Client{Transport: &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) { // as Env says it, with NO_PROXY
			if ip := net.ParseIP(r.URL.Hostname()); ip != nil && ip.IsLoopback() || r.URL.Hostname() == "localhost" {
				return nil, nil
			}
			return through, nil
		},
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
	}}
}

// IdentityEndpoint gives the values of IDENTITY_ENDPOINT and IDENTITY_HEADER, App Service's protocol of managed identity.
func (c *Cloud) IdentityEndpoint() (endpoint, header string) {
	return c.ProxyURL() + identity.AppServicePath, c.header
}

func newHeader() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // does not fail
	return hex.EncodeToString(raw)
}

// SetSecrets gives a provisioned vault secrets without the wire, in one transaction. A name whose value is the same
// already gets no new version; one that is deleted is recovered. Key Vault's rules for names and sizes hold.
func (c *Cloud) SetSecrets(vaultURL string, secrets map[string]string) error {
	return c.keyvault.SetSecrets(vaultURL, secrets)
}
