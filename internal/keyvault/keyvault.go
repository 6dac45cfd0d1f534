// Package keyvault reads and writes the secrets of one Azure Key Vault. It is the only importer of the Azure SDK: above
// it there are names, secret.Value and fault.Error, and nothing of Azure.
//
// A Client holds one login and one pool of connections, and is made to be kept and shared. Every error is a
// *fault.Error that says what to do next; the SDK's own errors stay inside, because they print whole response bodies.
package keyvault

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

const (
	// tryTimeout bounds one try, with the login that it may need: the IMDS probe (1 s) and the Azure CLI, which
	// azidentity gives 10 s.
	tryTimeout = 15 * time.Second

	// maxRetryDelay bounds the wait between two tries. A Retry-After beyond it ends the call at once with the vault's
	// refusal: whoever asks can still use an older answer, which is better than a task that hangs.
	maxRetryDelay = 10 * time.Second

	// telemetryID stands in the User-Agent, so that a vault's own logs tell Airlock from others.
	telemetryID = "airlock"
)

// Config says which vault to open and as whom.
type Config struct {
	// VaultURL is the vault's address, such as https://NAME.vault.azure.net/. Required.
	VaultURL string

	// TenantID, ClientID and ClientSecret log in as an application when all three are set. Otherwise none of them is
	// used, and the chain of credentials is tried: environment, workload identity, managed identity, Azure CLI, azd.
	TenantID, ClientID string
	ClientSecret       secret.Value

	// ManagedIdentityClientID chooses a user-assigned identity, for the managed identity and the workload identity
	// alike. Empty: AZURE_CLIENT_ID, else the system-assigned identity. It is honoured without
	// WorkloadIdentityTenantID too, unlike in the official backend.
	ManagedIdentityClientID string

	// WorkloadIdentityTenantID is the tenant of the workload identity. Empty: AZURE_TENANT_ID.
	WorkloadIdentityTenantID string

	// AuthorityHost is the address of Entra ID, with or without https://, as AZURE_AUTHORITY_HOST has it. Empty: the
	// one that belongs to the vault's DNS suffix; the public cloud's for a suffix that is not known.
	AuthorityHost string

	// TokenCredentials narrows the chain, as AZURE_TOKEN_CREDENTIALS does: "prod" (environment, workload identity,
	// managed identity), "dev" (Azure CLI, azd), or the name of one credential; case does not matter. Empty: all.
	TokenCredentials string

	// HTTPClient makes every request, to the vault and to the login alike; proxy and certificate authorities come with
	// it. Build its transport from Transport, so that a proxy's refusal is recognised. Nil: one over Transport.
	HTTPClient *http.Client

	// Retries is the number of tries after the first. 0: the SDK's default, which is 3; negative: none.
	Retries int

	// Share is the part of the vault's limit (4000 requests in 10 seconds) that this client keeps to, retries included.
	// Requests beyond it wait for their turn, in the order in which they came. 0: no limit.
	Share float64

	// Creates is how many secrets are set in a second at most; a vault has a limit of its own for that, 300 in 10 seconds.
	// 0: DefaultCreates.
	Creates float64
}

// Client is one open vault. It is safe for concurrent use.
//
// A call ends with its context. Without a deadline, a vault that swallows everything holds a call for about a minute.
type Client struct {
	session atomic.Pointer[session]
	open    func() (*session, error)
	http    *http.Client
	rested  atomic.Bool  // no connection is kept any more
	vault   string       // the vault's name, for messages and commands
	host    string       // the vault's host, as requests have it
	app     string       // the configured client id, if any
	hidden  secret.Value // the client secret, which no error may hold
}

// Rest closes the connections of a client that is hardly needed any more: those that are in use when their call has ended.
// It may be used all the same.
func (c *Client) Rest() {
	c.rested.Store(true)
	c.http.CloseIdleConnections()
}

// Secret is one version of a secret.
type Secret struct {
	Properties
	Value secret.Value
	Asked time.Time // when the vault gave it, by the vault's clock; zero when it did not say
}

// Properties is what is known of a secret without its value. A zero time is unset.
type Properties struct {
	Name    string
	Version string // empty in a list: it shows secrets, not versions

	ContentType string
	Enabled     bool

	Created, Updated   time.Time
	Expires, NotBefore time.Time

	Tags    map[string]string
	Managed bool // true: a certificate owns the secret
}

// Content is what a new version of a secret is made of.
type Content struct {
	Value       secret.Value
	ContentType string            // empty: none
	Tags        map[string]string // nil: none
}

// New prepares a client. It sends nothing: a wrong secret or an unknown vault shows at the first call. The error is of
// kind fault.Usage.
func New(cfg Config) (*Client, error) {
	vault, err := parseVaultURL(cfg.VaultURL)
	if err != nil {
		return nil, err
	}
	authority, err := authorityHost(cfg.AuthorityHost, vault.Hostname())
	if err != nil {
		return nil, err
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = &http.Client{Transport: Transport()}
	}
	options := azcore.ClientOptions{
		Cloud:            cloud.Configuration{ActiveDirectoryAuthorityHost: authority},
		PerRetryPolicies: []policy.Policy{watch{}},
		Retry: policy.RetryOptions{
			MaxRetries:    int32(min(cfg.Retries, 100)),
			MaxRetryDelay: maxRetryDelay,
			TryTimeout:    tryTimeout,
		},
		Telemetry: policy.TelemetryOptions{ApplicationID: telemetryID},
		Transport: cfg.HTTPClient,
	}
	toVault := options
	toVault.PerRetryPolicies = []policy.Policy{watch{}, challengeGuard{}, newShare(cfg.Share, cfg.Creates)}
	name, _, _ := strings.Cut(vault.Hostname(), ".")
	c := &Client{http: cfg.HTTPClient, vault: name, host: vault.Host, app: cfg.ClientID, hidden: cfg.ClientSecret}
	c.open = func() (*session, error) {
		cred, err := newCredential(cfg, options)
		if err != nil {
			return nil, err
		}
		sdk, err := azsecrets.NewClient(vault.String(), cred, &azsecrets.ClientOptions{ClientOptions: toVault})
		if err != nil {
			return nil, fault.Wrap(fault.Usage, cutQuoted(err), "the vault's client cannot be made")
		}
		return &session{sdk: sdk, cred: cred, door: newDoor()}, nil
	}
	opened, err := c.open()
	if err != nil {
		return nil, err
	}
	c.session.Store(opened)
	return c, nil
}

// parseVaultURL checks the address and brings it into the one form that the SDK accepts: when it compares a challenge
// with the vault it minds the case of the host and an explicit port 443 (security/keyvault/internal, challenge_policy).
func parseVaultURL(raw string) (*url.URL, error) {
	refuse := func(why string) (*url.URL, error) {
		return nil, fault.New(fault.Usage, "vault_url "+why,
			"it looks like https://NAME.vault.azure.net/; list yours with: az keyvault list --query \"[].properties.vaultUri\"")
	}
	if raw == "" {
		return refuse("is empty")
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return refuse("is not a URL")
	case u.Scheme != "https":
		return refuse("does not start with https://")
	case u.Hostname() == "":
		return refuse("has no host")
	case u.User != nil:
		return refuse("holds a user name or password")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return refuse("has something after the host")
	}
	host := strings.TrimSuffix(strings.ToLower(u.Host), ":443")
	return &url.URL{Scheme: "https", Host: host, Path: "/"}, nil
}

// Get reads the current version of a secret.
func (c *Client) Get(ctx context.Context, name string) (Secret, error) {
	var got Secret
	err := c.do(ctx, operation{verb: get, name: name}, func(ctx context.Context, sdk *azsecrets.Client) error {
		resp, err := sdk.GetSecret(ctx, name, "", nil)
		if err != nil {
			return err
		}
		if resp.Value == nil {
			return errNotKeyVault
		}
		got = Secret{
			Properties: propertiesOf(item(resp.Secret)), Value: secret.FromString(*resp.Value), Asked: traceOf(ctx).date,
		}
		return nil
	})
	return got, err
}

// List walks over the secrets of the vault, disabled ones too, in the vault's order. An error ends the walk.
func (c *Client) List(ctx context.Context) iter.Seq2[Properties, error] {
	return flat(c.Pages(ctx))
}

func flat(pages iter.Seq2[[]Properties, error]) iter.Seq2[Properties, error] {
	return func(yield func(Properties, error) bool) {
		for page, err := range pages {
			if err != nil {
				yield(Properties{}, err)
				return
			}
			for _, p := range page {
				if !yield(p, nil) {
					return
				}
			}
		}
	}
}

// Pages is List by the page: one request each, with at most 25 secrets, and sometimes none.
func (c *Client) Pages(ctx context.Context) iter.Seq2[[]Properties, error] {
	type response = azsecrets.ListSecretPropertiesResponse
	newPager := func(sdk *azsecrets.Client) *runtime.Pager[response] { return sdk.NewListSecretPropertiesPager(nil) }
	return pages(ctx, c, listing[response]{verb: list, pager: newPager, items: func(page response) (all []Properties) {
		for _, p := range page.Value {
			if p != nil {
				all = append(all, propertiesOf(item{
					Attributes: p.Attributes, ContentType: p.ContentType, ID: p.ID, Managed: p.Managed, Tags: p.Tags,
				}))
			}
		}
		return all
	}})
}

// listing is one of the SDK's ways to list: how it begins, and what a page holds.
type listing[P any] struct {
	verb  verb
	pager func(*azsecrets.Client) *runtime.Pager[P]
	items func(P) []Properties
}

func pages[P any](ctx context.Context, c *Client, l listing[P]) iter.Seq2[[]Properties, error] {
	return func(yield func([]Properties, error) bool) {
		var pager *runtime.Pager[P]
		for pager == nil || pager.More() {
			var page P
			first := pager == nil
			err := c.do(ctx, operation{verb: l.verb}, func(ctx context.Context, sdk *azsecrets.Client) (err error) {
				if first { // in every session anew
					pager = l.pager(sdk)
				}
				page, err = pager.NextPage(ctx)
				return err
			})
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(l.items(page), nil) {
				return
			}
		}
	}
}

// Set writes a new version of a secret, which becomes the current one. Content type and tags of the version before are
// not carried over: that is Key Vault's rule.
func (c *Client) Set(ctx context.Context, name string, content Content) (Properties, error) {
	value := content.Value
	// JSON would turn a foreign byte into a question mark without a word.
	if !utf8.Valid(value.Reveal()) {
		return Properties{}, fault.New(fault.Usage, fmt.Sprintf("the value for secret %q is not UTF-8 text", name),
			"encode binary data first, for example with: base64 -w0 FILE")
	}
	var got Properties
	err := c.do(ctx, operation{verb: set, name: name, value: value}, func(ctx context.Context, sdk *azsecrets.Client) error {
		text := string(value.Reveal())
		parameters := azsecrets.SetSecretParameters{Value: &text}
		if content.ContentType != "" {
			parameters.ContentType = &content.ContentType
		}
		if len(content.Tags) > 0 {
			parameters.Tags = tagsOf(content.Tags)
		}
		resp, err := sdk.SetSecret(ctx, name, parameters, nil)
		if err == nil {
			got = propertiesOf(item(resp.Secret))
		}
		return err
	})
	return got, err
}

// Retag gives the current version of a secret these tags in place of those that it has. Its value stays, without a new version.
func (c *Client) Retag(ctx context.Context, name string, tags map[string]string) error {
	return c.do(ctx, operation{verb: set, name: name}, func(ctx context.Context, sdk *azsecrets.Client) error {
		parameters := azsecrets.UpdateSecretPropertiesParameters{Tags: tagsOf(tags)}
		_, err := sdk.UpdateSecretProperties(ctx, name, "", parameters, nil)
		return err
	})
}

func tagsOf(tags map[string]string) map[string]*string {
	all := make(map[string]*string, len(tags))
	for key, tag := range tags {
		all[key] = &tag
	}
	return all
}

// Delete removes all versions of a secret. The vault keeps them for its retention time (7 to 90 days), during which
// the name can be recovered but not be set again.
func (c *Client) Delete(ctx context.Context, name string) error {
	return c.do(ctx, operation{verb: del, name: name}, func(ctx context.Context, sdk *azsecrets.Client) error {
		_, err := sdk.DeleteSecret(ctx, name, nil)
		return err
	})
}

// do runs one call of the SDK and turns its error into a fault.
func (c *Client) do(ctx context.Context, op operation, call func(context.Context, *azsecrets.Client) error) error {
	if op.name == "" && op.verb.named() {
		return fault.New(fault.Usage, "the secret's name is empty")
	}
	defer func() {
		if c.rested.Load() {
			c.http.CloseIdleConnections()
		}
	}()
	traced, seen := withTrace(ctx)
	s := c.session.Load()
	err := s.run(traced, call)
	if c.renew(s, err) {
		err = c.session.Load().run(traced, call)
	}
	if err == nil {
		return nil
	}
	return c.explain(failure{ctx: ctx, op: op, seen: seen, err: err})
}

// item is what the SDK's shapes of a secret have in common.
type item azsecrets.Secret

func propertiesOf(i item) Properties {
	p := Properties{
		ContentType: valueOf(i.ContentType),
		Managed:     valueOf(i.Managed),
	}
	if i.ID != nil {
		p.Name, p.Version = parseID(string(*i.ID))
	}
	if a := i.Attributes; a != nil {
		p.Enabled = valueOf(a.Enabled)
		p.Created, p.Updated = valueOf(a.Created), valueOf(a.Updated)
		p.Expires, p.NotBefore = valueOf(a.Expires), valueOf(a.NotBefore)
	}
	if len(i.Tags) > 0 {
		p.Tags = make(map[string]string, len(i.Tags))
		for k, v := range i.Tags {
			p.Tags[k] = valueOf(v)
		}
	}
	return p
}

// parseID splits https://VAULT/secrets/NAME[/VERSION]. The SDK's own ID.Name panics on anything else.
func parseID(id string) (name, version string) {
	u, err := url.Parse(id)
	if err != nil {
		return "", ""
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) > 1 {
		name = parts[1]
	}
	if len(parts) > 2 {
		version = parts[2]
	}
	return name, version
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
