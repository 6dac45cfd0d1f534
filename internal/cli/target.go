package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/net/http/httpproxy"

	"github.com/airlock-secrets/airlock/internal/agent"
	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/cache"
	"github.com/airlock-secrets/airlock/internal/client"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/dotenv"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/keyvault"
	"github.com/airlock-secrets/airlock/internal/metrics"
	"github.com/airlock-secrets/airlock/internal/secret"
	"github.com/airlock-secrets/airlock/internal/socket"
	"github.com/airlock-secrets/airlock/internal/tracing"
)

// devFlag aims a command at this folder's running dev.
func devFlag(c *cobra.Command, to *bool) {
	c.Flags().BoolVar(to, "dev", false, "use the dev that runs in this folder")
}

// configuration finds out which vault a command is about: the running dev's, or what the environment says, or what the
// folder's .env says.
func (a *app) configuration(dev bool) (config.Config, error) {
	getenv, err := a.airflowEnv(dev)
	if err != nil {
		return config.Config{}, err
	}
	c, err := config.FromEnvironment(getenv)
	if err != nil && getenv(config.EnvKwargs) == "" && getenv(config.EnvKwargPrefix+"VAULT_URL") == "" {
		return config.Config{}, errNoVault
	}
	if err == nil {
		for _, w := range c.Warnings {
			a.say("airlock: warning: %s", w)
		}
		err = a.lendLogin(dev)
	}
	return c, err
}

// errNoVault is the error where nothing says which vault is meant.
var errNoVault = fault.New(fault.Usage, "no vault is configured",
	"set "+config.EnvKwargs+`, for example to {"vault_url": "https://NAME.vault.azure.net/"}, or run it where a .env does`,
	"in an Astro project: airlock init writes it into .env",
	"or try it without Azure: run airlock dev, and add --dev to this command")

// airflowEnv is the environment that Airflow would have here, or in the running dev.
func (a *app) airflowEnv(dev bool) (config.Getenv, error) {
	if dev {
		state, err := a.runningDev()
		return over(state.Env, config.AsAgent(a.getenv)), err
	}
	project, err := a.projectEnv()
	return under(project, a.getenv), err
}

// lendLogin gives this process the login that the project's .env or the running dev names: Azure's library reads it from
// the process itself, as it does in Airflow.
func (a *app) lendLogin(dev bool) error {
	var lent map[string]string
	if dev {
		state, err := a.runningDev()
		if err != nil {
			return err
		}
		for _, key := range state.Unset {
			_ = os.Unsetenv(key)
		}
		lent = state.Env
	} else {
		lent, _ = a.projectEnv() // what is wrong with it, others say
	}
	for key, value := range lent {
		switch prefix, _, _ := strings.Cut(key, "_"); prefix {
		case "AZURE", "IDENTITY", "MSI":
			if dev || a.getenv(key) == "" {
				_ = os.Setenv(key, value)
			}
		}
	}
	return nil
}

// subject is what get, set and delete are about: a kind, an id, and the vault in question.
type subject struct {
	config.Config
	kind airflow.Kind
	id   string
}

// subject reads the first two arguments of a command, and finds the vault.
func (a *app) subject(dev bool, args []string) (subject, error) {
	kind, err := airflow.ParseKind(args[0])
	if err != nil {
		return subject{}, err
	}
	c, err := a.configuration(dev)
	return subject{Config: c, kind: kind, id: args[1]}, err
}

// secret is where the subject is kept: the name of its secret, and the client of its vault.
func (s subject) secret() (string, *keyvault.Client, error) {
	name, err := s.Name(s.kind, s.id)
	if err != nil {
		return "", nil, err
	}
	v, err := vault(s.Config)
	return name, v, err
}

// lookup is what an agent is told of the subject.
func (s subject) lookup() agentapi.Lookup { return agentapi.Lookup{Kind: s.kind, ID: s.id} }

// projectEnv reads the folder's .env; a folder without one has an empty one.
func (a *app) projectEnv() (map[string]string, error) {
	data, err := os.ReadFile(filepath.Join(a.env.Dir, ".env"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "cannot read .env")
	}
	entries, err := dotenv.Parse(".env", data)
	if err != nil {
		return nil, err
	}
	return dotenv.Map(entries), nil
}

// over puts values above an environment, under puts them below it.
func over(values map[string]string, getenv config.Getenv) config.Getenv {
	return func(key string) string {
		if value, ok := values[key]; ok {
			return value
		}
		return getenv(key)
	}
}

func under(values map[string]string, getenv config.Getenv) config.Getenv {
	return func(key string) string {
		if value := getenv(key); value != "" {
			return value
		}
		return values[key]
	}
}

// vault makes the client of a configuration's vault. It does not ask it yet.
func vault(c config.Config) (*keyvault.Client, error) { return watchedVault(c, nil, nil) }

// watchedVault makes a client whose requests are counted and traced; nil does neither.
func watchedVault(c config.Config, m *metrics.Metrics, tracer *tracing.Tracer) (*keyvault.Client, error) {
	k, err := vaultConfig(c)
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(c.VaultURL); err == nil {
		if tracer != nil {
			operation := func(r *http.Request) string { return metrics.Operation(u.Hostname(), r) }
			k.HTTPClient.Transport = tracer.Transport(operation, k.HTTPClient.Transport)
		}
		if m != nil {
			k.HTTPClient.Transport = m.Transport(u.Hostname(), k.HTTPClient.Transport)
		}
	}
	return keyvault.New(k)
}

// bulkShare is the part of the vault's limit that a command keeps to which somebody waits for: more than an agent's, since it
// ends, and not all of it, since others read meanwhile.
const bulkShare = 0.5

// bulkVault makes a client for many secrets in a row: at most rate are set in a second; 0 is keyvault.DefaultCreates.
func bulkVault(c config.Config, rate float64) (*keyvault.Client, error) {
	k, err := vaultConfig(c)
	if err != nil {
		return nil, err
	}
	k.Share, k.Creates = max(c.VaultShare, bulkShare), rate
	return keyvault.New(k)
}

func vaultConfig(c config.Config) (keyvault.Config, error) {
	if c.VaultURL == "" {
		return keyvault.Config{}, fault.New(fault.Usage, "this command asks the vault itself, and no vault_url is configured")
	}
	httpClient, err := httpClient(c.Network)
	return vaultOver(c, httpClient), err
}

// vaultOver reaches the vault and Entra ID by the HTTP client that it is given.
func vaultOver(c config.Config, httpClient *http.Client) keyvault.Config {
	return keyvault.Config{
		VaultURL: c.VaultURL,
		TenantID: c.TenantID, ClientID: c.ClientID, ClientSecret: c.ClientSecret,
		ManagedIdentityClientID: c.ManagedIdentityClientID, WorkloadIdentityTenantID: c.WorkloadIdentityTenantID,
		AuthorityHost: c.AuthorityHost, TokenCredentials: c.TokenCredentials,
		HTTPClient: httpClient,
		Share:      c.VaultShare,
	}
}

// httpClient reaches the vault and Entra ID through the configured proxy, with the configured trust.
func httpClient(n config.Network) (*http.Client, error) {
	transport := keyvault.Transport()
	for name, value := range map[string]string{"HTTPS_PROXY": n.HTTPSProxy, "HTTP_PROXY": n.HTTPProxy} {
		if u, err := url.Parse(value); value != "" && (err != nil || u.Host == "") {
			return nil, fault.New(fault.Usage, name+" is not the URL of a proxy", "for example http://127.0.0.1:3128")
		}
	}
	proxy := (&httpproxy.Config{HTTPProxy: n.HTTPProxy, HTTPSProxy: n.HTTPSProxy, NoProxy: n.NoProxy}).ProxyFunc()
	transport.Proxy = func(r *http.Request) (*url.URL, error) { return proxy(r.URL) }
	if n.CAFile != "" {
		pem, err := os.ReadFile(n.CAFile)
		if err != nil {
			return nil, fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot read the certificates that SSL_CERT_FILE names: %s", n.CAFile))
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.Usage, fmt.Sprintf("SSL_CERT_FILE names a file without certificates: %s", n.CAFile))
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{Transport: transport}, nil
}

// newAgent makes an agent in front of a configuration's vault.
func newAgent(c config.Config, base agent.Config, tracer *tracing.Tracer) (*agent.Agent, error) {
	v, err := watchedVault(c, base.Metrics, tracer)
	if err != nil {
		return nil, err
	}
	base.PrefetchSpread = prefetchSpread
	return agentOf(v, c, base), nil
}

// agentOf makes an agent in front of a vault, with the configuration's times.
func agentOf(v *keyvault.Client, c config.Config, base agent.Config) *agent.Agent {
	base.Naming, base.Rest = c.Naming, v.Rest
	base.Vault = func(ctx context.Context, name string) (cache.Answer, error) {
		s, err := v.Get(ctx, name)
		return cache.Answer{Value: s.Value, Updated: s.Updated, Asked: s.Asked}, err
	}
	base.List, base.ListInterval, base.Prefetch = readable(v), c.ListInterval, c.Prefetch
	base.Cache = cache.Options{
		TTL: c.CacheTTL, NegativeTTL: c.NegativeTTL, MaxStale: c.MaxStale, FetchTime: fetchTime, MaxEntries: maxEntries, MaxBytes: maxBytes,
		Patience: slowAfter, Backoff: backoff, MaxBackoff: maxBackoff,
	}
	base.VaultURL, base.Credential = c.VaultURL, c.Login()
	return agent.New(base)
}

// readable lists what a vault would give: a disabled secret is as good as none.
func readable(v *keyvault.Client) agent.List {
	return func(ctx context.Context) iter.Seq2[[]agent.Listed, error] {
		return func(yield func([]agent.Listed, error) bool) {
			for page, err := range v.Pages(ctx) {
				var enabled []agent.Listed
				for _, s := range page {
					if s.Enabled {
						enabled = append(enabled, agent.Listed{Name: s.Name, Updated: s.Updated})
					}
				}
				if !yield(enabled, err) {
					return
				}
			}
		}
	}
}

// askAgent makes a client of the agent at a socket.
func askAgent(path string) *client.Client {
	return client.New(func(ctx context.Context) (net.Conn, error) { return socket.Dial(ctx, path) })
}

// namedAgent makes a client of the agent that a configuration names; nil when it names none.
func namedAgent(c config.Config) (*client.Client, error) {
	switch {
	case c.AgentSocket != "":
		return askAgent(c.AgentSocket), nil
	case c.AgentURL == "":
		return nil, nil
	}
	address, err := config.AgentAddress(c.AgentURL)
	if err != nil {
		return nil, err
	}
	token, err := config.ReadToken(c.AgentTokenFile)
	if err != nil {
		return nil, err
	}
	return client.NewTCP(address, token), nil
}

// lookups answers through the agent that is named, or else straight from the vault.
func lookups(c config.Config) (func(context.Context, agentapi.Lookup) (client.Answer, error), error) {
	named, err := namedAgent(c)
	if err != nil {
		return nil, err
	}
	if named != nil {
		return named.Get, nil
	}
	direct, err := newAgent(c, agent.Config{}, nil)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, l agentapi.Lookup) (client.Answer, error) {
		answer, err := direct.Lookup(ctx, l)
		return client.Answer{Value: secret.FromString(answer.Value), Source: answer.Source, Age: answer.Age}, err
	}, nil
}
