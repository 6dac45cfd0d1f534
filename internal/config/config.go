// Package config makes one checked configuration out of the backend's kwargs and the environment. Nothing below it reads
// an environment variable; every problem is reported in one run.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

// Defaults of what the kwargs leave out.
const (
	DefaultCacheTTL    = 5 * time.Minute
	DefaultNegativeTTL = time.Minute
	DefaultMaxStale    = 12 * time.Hour

	DefaultListInterval = 30 * time.Second
	DefaultVaultShare   = 0.25
)

// Names of the environment variables that carry the backend's configuration in Airflow.
const (
	EnvBackend     = airflow.EnvBackend
	EnvKwargs      = airflow.EnvKwargs
	EnvKwargPrefix = airflow.EnvKwargPrefix
	// EnvAgentSocket names the agent that is to be asked, by its socket; EnvAgentURL by its address on loopback, and
	// EnvAgentTokenFile the file with what it wants to be shown there.
	EnvAgentSocket    = "AIRLOCK_AGENT_SOCKET"
	EnvAgentURL       = "AIRLOCK_AGENT_URL"
	EnvAgentTokenFile = "AIRLOCK_AGENT_TOKEN_FILE"
)

// Config is everything that Airlock needs to know to answer lookups. Make one with FromKwargs or FromEnvironment.
type Config struct {
	airflow.Kwargs

	CacheTTL    time.Duration // how long a value is served without asking the vault
	NegativeTTL time.Duration // how long "not found" is remembered
	MaxStale    time.Duration // how old a value may be that is served while the vault does not answer

	ListInterval time.Duration // the longest between two looks at the vault's list for changes; 0: none
	Prefetch     bool          // an agent begins with reading all that the vault has for Airflow
	VaultShare   float64       // the part of the vault's limit that one agent keeps to, above 0 and up to 1

	// The agent to ask: by its socket, or else by its URL with the token of a file; "" is none.
	AgentSocket, AgentURL, AgentTokenFile string

	AuthorityHost    string // AZURE_AUTHORITY_HOST; "" is by the vault's cloud
	TokenCredentials string // AZURE_TOKEN_CREDENTIALS; "" is the whole chain
	Network          Network

	Warnings []string // what is accepted and yet deserves a look, for the log
}

// Login says in words how the configuration logs in.
func (c Config) Login() string {
	switch {
	case c.TenantID != "" && c.ClientID != "" && c.ClientSecret.Len() > 0:
		return "client secret of app " + c.ClientID
	case c.ManagedIdentityClientID != "":
		return "default chain, managed identity " + c.ManagedIdentityClientID
	}
	return "default chain"
}

// Network is how to reach the vault, Entra ID, and whatever else a command asks.
type Network struct {
	HTTPProxy, HTTPSProxy, NoProxy string
	CAFile                         string // PEM bundle to trust instead of the system's; "" is the system's
}

// NetworkOf reads from the environment how to reach anything.
func NetworkOf(getenv Getenv) Network {
	return Network{
		HTTPProxy:  either(getenv, "HTTP_PROXY", "http_proxy"),
		HTTPSProxy: either(getenv, "HTTPS_PROXY", "https_proxy"),
		NoProxy:    either(getenv, "NO_PROXY", "no_proxy"),
		CAFile:     getenv("SSL_CERT_FILE"),
	}
}

// Getenv looks one environment variable up; "" is unset.
type Getenv func(key string) string

// FromEnvironment reads the kwargs from where Airflow has them in the environment.
func FromEnvironment(getenv Getenv) (Config, error) {
	raw := map[string]json.RawMessage{}
	if text := strings.TrimSpace(getenv(EnvKwargs)); text != "" {
		parsed, err := airflow.ParseObject([]byte(text))
		if err != nil {
			return Config{}, err
		}
		raw = parsed
	}
	for key := range kwargTypes {
		if text := getenv(EnvKwargPrefix + strings.ToUpper(key)); text != "" {
			quoted, err := json.Marshal(text)
			if err != nil {
				return Config{}, err
			}
			raw[key] = quoted
		}
	}
	return build(raw, getenv)
}

// FromKwargs reads the kwargs from a JSON object.
func FromKwargs(document []byte, getenv Getenv) (Config, error) {
	raw, err := airflow.ParseObject(document)
	if err != nil {
		return Config{}, err
	}
	return build(raw, getenv)
}

func build(raw map[string]json.RawMessage, getenv Getenv) (Config, error) {
	kwargs, err := airflow.KwargsFrom(raw)
	c := around(kwargs, getenv)
	problems := []error{err}
	for _, key := range slices.Sorted(maps.Keys(c.Extra)) {
		problems = append(problems, c.takeExtra(key, c.Extra[key]))
	}
	c.Extra = nil
	problems = append(problems, c.findAgent(getenv))
	// An agent elsewhere knows its vault itself; then the kwargs need not name one.
	if c.VaultURL != "" || c.AgentSocket+c.AgentURL == "" {
		problems = append(problems, checkVaultURL(c.VaultURL))
	}
	c.warn()
	return c, errors.Join(problems...)
}

// around puts the defaults and the environment around kwargs.
func around(kwargs airflow.Kwargs, getenv Getenv) Config {
	return Config{
		Kwargs:      kwargs,
		CacheTTL:    DefaultCacheTTL,
		NegativeTTL: DefaultNegativeTTL,
		MaxStale:    DefaultMaxStale,

		ListInterval: DefaultListInterval,
		VaultShare:   DefaultVaultShare,

		AuthorityHost:    getenv("AZURE_AUTHORITY_HOST"),
		TokenCredentials: getenv("AZURE_TOKEN_CREDENTIALS"),
		Network:          NetworkOf(getenv),
	}
}

func either(getenv Getenv, keys ...string) string {
	for _, key := range keys {
		if value := getenv(key); value != "" {
			return value
		}
	}
	return ""
}

// kwargType is how a kwarg is read that the official constructor does not name.
type kwargType func(c *Config, raw json.RawMessage) error

// kwargTypes are all kwargs: the official ones, which are read already when this table is asked (nil), and our own.
var kwargTypes = func() map[string]kwargType {
	types := map[string]kwargType{
		"cache_ttl":    duration(func(c *Config) *time.Duration { return &c.CacheTTL }),
		"negative_ttl": duration(func(c *Config) *time.Duration { return &c.NegativeTTL }),
		"max_stale":    duration(func(c *Config) *time.Duration { return &c.MaxStale }),
		"multi_team":   boolean(func(c *Config) *bool { return &c.MultiTeam }),
		"agent_socket": text(func(c *Config) *string { return &c.AgentSocket }),
		"agent_url":    text(func(c *Config) *string { return &c.AgentURL }),

		"agent_token_file": text(func(c *Config) *string { return &c.AgentTokenFile }),

		"list_interval": readListInterval,
		"prefetch":      boolean(func(c *Config) *bool { return &c.Prefetch }),
		"vault_share":   readVaultShare,
		// The backend class reads these two itself.
		"agent_binary": text(func(*Config) *string { return new(string) }),
		"on_error":     readOnError,
	}
	for _, key := range airflow.OfficialKwargs() {
		types[key] = nil
	}
	return types
}()

// secretClientOptions are keywords that the official backend passes on to SecretClient and its pipeline, where they are
// known. They steer the Python SDK, which Airlock does not load.
// https://learn.microsoft.com/python/api/azure-core/azure.core.pipeline.policies
var secretClientOptions = []string{
	"api_version", "verify_challenge_resource", "connection_verify", "connection_cert", "connection_timeout",
	"read_timeout", "timeout", "retry_total", "retry_connect", "retry_read", "retry_status", "retry_backoff_factor",
	"retry_backoff_max", "retry_mode", "retry_on_methods", "logging_enable", "logging_body", "user_agent",
	"user_agent_overwrite", "headers", "proxies", "transport", "policies", "request_id", "permit_redirects",
}

func (c *Config) takeExtra(key string, raw json.RawMessage) error {
	if read, known := kwargTypes[key]; known {
		if err := read(c, raw); err != nil {
			return fault.New(fault.Usage, fmt.Sprintf("backend kwargs: %s %s", key, err))
		}
		return nil
	}
	if slices.Contains(secretClientOptions, key) {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s steers the Python SDK and has no effect here", key))
		return nil
	}
	err := unknownKey(key, slices.Collect(maps.Keys(kwargTypes)))
	return fault.New(fault.Usage, "backend kwargs: "+err.Error(), fault.HintsOf(err)...)
}

func text(field func(*Config) *string) kwargType {
	return func(c *Config, raw json.RawMessage) error {
		if json.Unmarshal(raw, field(c)) != nil {
			return errors.New("must be a string")
		}
		return nil
	}
}

// duration reads seconds as a number, or text with a unit.
func duration(field func(*Config) *time.Duration) kwargType {
	return func(c *Config, raw json.RawMessage) error {
		var seconds float64
		var written string
		var d time.Duration
		var err error
		switch {
		case json.Unmarshal(raw, &seconds) == nil:
			d, err = spanOfSeconds(seconds)
		case json.Unmarshal(raw, &written) == nil:
			d, err = spanOfText(written)
		default:
			err = errNoSpan
		}
		if err != nil {
			return err
		}
		*field(c) = d
		return nil
	}
}

var errNoSpan = errors.New(`must be seconds as a number, or text with a unit, for example "30s", "5m" or "12h"`)

func spanOfSeconds(seconds float64) (time.Duration, error) {
	if !(seconds >= 0 && seconds <= 366*24*3600) {
		return 0, errors.New("must be between 0 and a year")
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

func spanOfText(written string) (time.Duration, error) {
	d, err := time.ParseDuration(written)
	if err != nil || d < 0 {
		return 0, errNoSpan
	}
	return d, nil
}

// boolean reads true or false, or text as one key of the environment has it.
func boolean(field func(*Config) *bool) kwargType {
	return func(c *Config, raw json.RawMessage) error {
		if json.Unmarshal(raw, field(c)) == nil {
			return nil
		}
		var written string
		if json.Unmarshal(raw, &written) == nil {
			switch strings.ToLower(written) {
			case "true", "1", "t", "yes":
				*field(c) = true
				return nil
			case "false", "0", "f", "no":
				*field(c) = false
				return nil
			}
		}
		return errors.New("must be true or false")
	}
}

// readListInterval wants a time that does not make polling the vault's main work.
func readListInterval(c *Config, raw json.RawMessage) error {
	interval := func(c *Config) *time.Duration { return &c.ListInterval }
	if err := duration(interval)(c, raw); err != nil {
		return err
	}
	return listIntervalProblem(c.ListInterval)
}

func listIntervalProblem(d time.Duration) error {
	if d > 0 && d < time.Second {
		return errors.New("must be 0, which is off, or at least a second")
	}
	return nil
}

// readVaultShare reads a number, or text as one key of the environment has it.
func readVaultShare(c *Config, raw json.RawMessage) error {
	var written string
	if json.Unmarshal(raw, &written) == nil {
		raw = json.RawMessage(written)
	}
	if json.Unmarshal(raw, &c.VaultShare) != nil || !(c.VaultShare > 0 && c.VaultShare <= 1) {
		return errNoShare
	}
	return nil
}

var errNoShare = errors.New("must be a number above 0 and up to 1, for example 0.25")

func readOnError(_ *Config, raw json.RawMessage) error {
	var written string
	if json.Unmarshal(raw, &written) != nil || written != "fall_through" && written != "stop" {
		return errors.New(`must be "fall_through" or "stop"`)
	}
	return nil
}

// checkVaultURL wants the address that Azure shows as "Vault URI".
func checkVaultURL(raw string) error {
	err := vaultURLProblem(raw)
	if err == nil {
		return nil
	}
	return fault.New(fault.Usage, "backend kwargs: vault_url "+err.Error(),
		`for example "vault_url": "https://NAME.vault.azure.net/"; the portal shows it as Vault URI`)
}

// vaultURLProblem says what is wrong with a vault's address, without repeating it.
func vaultURLProblem(raw string) error {
	if strings.TrimSpace(raw) == "" {
		return errors.New("is missing")
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return errors.New("is not a URL")
	case u.Scheme == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("does not start with https://")
	case u.Scheme == "http":
		return errors.New("must be https, not http: Azure's clients send no token without TLS")
	case u.Hostname() == "":
		return errors.New("has no host")
	case u.User != nil:
		return errors.New("holds a user name")
	case strings.Trim(u.Path, "/") != "":
		return errors.New("has a path; name the vault alone")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("has a query or a fragment")
	}
	return nil
}

// warn notes what the official backend passes over in silence.
func (c *Config) warn() {
	triple := map[string]bool{
		"tenant_id": c.TenantID != "", "client_id": c.ClientID != "", "client_secret": c.ClientSecret.Len() > 0,
	}
	var set, missing []string
	for _, key := range slices.Sorted(maps.Keys(triple)) {
		if triple[key] {
			set = append(set, key)
		} else {
			missing = append(missing, key)
		}
	}
	if len(set) > 0 && len(missing) > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s without %s is no client secret login: the default credential chain is used",
			strings.Join(set, " and "), strings.Join(missing, " and ")))
	}
	if c.Sep != "" && !airflow.ValidName(c.Sep) {
		c.Warnings = append(c.Warnings, "sep has characters that Key Vault allows in no name: ids under a prefix are never found")
	}
}

// nearest finds the known word that a mistyped one most likely meant; "" when none is close.
func nearest(word string, known []string) string {
	best, bestDistance := "", 1+len(word)/3
	for _, k := range known {
		if d := distance(word, k); d <= bestDistance {
			best, bestDistance = k, d-1
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
