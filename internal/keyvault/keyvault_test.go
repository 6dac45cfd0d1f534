package keyvault

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

func TestSecretsRoundTrip(t *testing.T) {
	f := newFake(t, &cloudFake{vault: memory(map[string]string{"b": "1", "c": "2", "d": "3", "e": "4"})})
	c := open(t, f.config())
	ctx := t.Context()

	want := Properties{
		Name: "a", Version: "48a43b28f13c4640924b0973197d5e7d", ContentType: "text/plain", Enabled: true,
		Created: time.Unix(1619569461, 0).UTC(), Updated: time.Unix(1619569462, 0).UTC(),
		Expires: time.Unix(1900000000, 0).UTC(), Tags: map[string]string{"team": "a"},
	}
	set, err := c.Set(ctx, "a", Content{Value: secret.FromString(valueCanary)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, utc(set)); diff != "" {
		t.Errorf("Set (-want +got):\n%s", diff)
	}
	got, err := c.Get(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, utc(got.Properties)); diff != "" {
		t.Errorf("Get (-want +got):\n%s", diff)
	}
	if string(got.Value.Reveal()) != valueCanary {
		t.Error("the value came back changed")
	}

	var names []string
	for p, err := range c.List(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if p.Version != "" || !p.Enabled {
			t.Errorf("listed %+v", p)
		}
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"a", "b", "c", "d", "e"}) {
		t.Errorf("List = %q", names)
	}
	for range c.List(ctx) {
		break // a walk may end early
	}

	if err := c.Delete(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(ctx, "a"); !fault.Is(err, fault.NotFound) {
		t.Errorf("Get after Delete: %v", err)
	}
	if n := f.count(loginHost + " POST"); n != 1 {
		t.Errorf("%d logins, want one for all calls", n)
	}
}

func utc(p Properties) Properties {
	for _, at := range []*time.Time{&p.Created, &p.Updated, &p.Expires, &p.NotBefore} {
		if !at.IsZero() {
			*at = at.UTC()
		}
	}
	return p
}

func TestFirstCallGoesAlone(t *testing.T) {
	f := newFake(t, &cloudFake{vault: memory(map[string]string{"a": valueCanary})})
	cfg := f.config()
	var dialled atomic.Int32
	tr := f.transport()
	tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled.Add(1)
		return f.dial(ctx, network, address)
	}
	cfg.HTTPClient = &http.Client{Transport: tr}
	c := open(t, cfg)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.Get(t.Context(), "a"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := f.count(vaultHost); n != 1 {
		t.Errorf("%d calls were challenged, want only the first", n)
	}
	if n := f.count("!" + vaultHost); n != 20 {
		t.Errorf("%d calls with a token, want 20", n)
	}
	if n := f.count(loginHost + " POST"); n != 1 {
		t.Errorf("%d logins, want one", n)
	}
	if n := dialled.Load(); n > 2 {
		t.Errorf("%d connections, want one for each host", n)
	}
}

func TestCallerEnds(t *testing.T) {
	reached := make(chan struct{}, 8)
	f := newFake(t, &cloudFake{vault: func(_ http.ResponseWriter, r *http.Request) {
		reached <- struct{}{}
		<-r.Context().Done()
	}})
	c := open(t, f.config())

	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := c.Get(ctx, "a"); first <- err }()
	<-reached

	// The second waits behind the first, and its own deadline ends that.
	late, stop := context.WithDeadline(t.Context(), time.Now())
	defer stop()
	_, err := c.Get(late, "a")
	if !fault.Is(err, fault.Unavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline: %v (%v)", err, fault.KindOf(err))
	}
	cancel()
	err = <-first
	if !fault.Is(err, fault.Canceled) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancel: %v (%v)", err, fault.KindOf(err))
	}
}

func TestRetries(t *testing.T) {
	for _, row := range []struct {
		retries, want int
	}{{-1, 1}, {0, 4}, {1, 2}} {
		f := newFake(t, &cloudFake{vault: refuse(http.StatusServiceUnavailable, "", "retry-after-ms", "1")})
		cfg := f.config()
		cfg.Retries = row.retries
		_, err := open(t, cfg).Get(t.Context(), "a")
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("Retries %d: %v", row.retries, err)
		}
		if n := f.count("!" + vaultHost); n != row.want {
			t.Errorf("Retries %d: %d tries, want %d", row.retries, n, row.want)
		}
	}
}

// A login that fails was already retried by the credential; the vault's call must not begin all over again.
func TestLoginIsNotRetriedTwice(t *testing.T) {
	f := newFake(t, &cloudFake{login: refuse(http.StatusServiceUnavailable, "", "retry-after-ms", "1")})
	cfg := f.config()
	cfg.Retries = 2
	if _, err := open(t, cfg).Get(t.Context(), "a"); !fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
	if n := f.count(loginHost + " POST"); n != 3 {
		t.Errorf("%d token requests, want 3", n)
	}
}

// A vault that asks to wait for long is not waited for.
func TestLongRetryAfter(t *testing.T) {
	f := newFake(t, &cloudFake{vault: refuse(http.StatusTooManyRequests,
		vaultError("Throttled", "", "Request was not processed because too many requests were received."),
		"Retry-After", "60")})
	cfg := f.config()
	cfg.Retries = 0
	_, err := open(t, cfg).Get(t.Context(), "a")
	if n := f.count("!" + vaultHost); n != 1 {
		t.Errorf("%d tries, want 1", n)
	}
	if fault.RetryAfter(err) != time.Minute || !slices.Contains(fault.HintsOf(err), "it asks to wait 1m0s") {
		t.Errorf("hints: %q", fault.HintsOf(err))
	}
}

// deadlines notes the deadline of every request.
type deadlines struct {
	http.RoundTripper
	longest time.Duration
}

func (d *deadlines) RoundTrip(r *http.Request) (*http.Response, error) {
	at, ok := r.Context().Deadline()
	if !ok {
		at = time.Now().Add(time.Hour)
	}
	d.longest = max(d.longest, time.Until(at))
	return d.RoundTripper.RoundTrip(r)
}

func TestEveryTryIsBounded(t *testing.T) {
	f := newFake(t, &cloudFake{vault: memory(map[string]string{"a": valueCanary})})
	cfg := f.config()
	d := &deadlines{RoundTripper: f.transport()}
	cfg.HTTPClient = &http.Client{Transport: d}
	if _, err := open(t, cfg).Get(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if d.longest <= 0 || d.longest > tryTimeout {
		t.Errorf("a request may take %v, want at most %v", d.longest, tryTimeout)
	}
}

func TestUserAgentNamesAirlock(t *testing.T) {
	var agents sync.Map
	f := newFake(t, &cloudFake{})
	f.vault = func(w http.ResponseWriter, r *http.Request) {
		agents.Store("vault", r.UserAgent())
		memory(map[string]string{"a": "1"})(w, r)
	}
	if _, err := open(t, f.config()).Get(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got, _ := agents.Load("vault"); !strings.HasPrefix(got.(string), "airlock azsdk-go-azsecrets/") {
		t.Errorf("User-Agent = %q", got)
	}
}

func TestNewRefuses(t *testing.T) {
	isolate(t)
	good := "https://" + vaultHost
	for _, row := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"empty", Config{}, "vault_url is empty"},
		{"no URL", Config{VaultURL: "https://a b"}, "vault_url is not a URL"},
		{"http", Config{VaultURL: "http://team-a.vault.azure.net"}, "vault_url does not start with https://"},
		{"bare name", Config{VaultURL: "team-a"}, "vault_url does not start with https://"},
		{"no host", Config{VaultURL: "https:///secrets"}, "vault_url has no host"},
		{"user", Config{VaultURL: "https://me:" + valueCanary + "@team-a.vault.azure.net"},
			"vault_url holds a user name or password"},
		{"path", Config{VaultURL: good + "/secrets/a"}, "vault_url has something after the host"},
		{"query", Config{VaultURL: good + "/?a=b"}, "vault_url has something after the host"},
		{"authority", Config{VaultURL: good, AuthorityHost: "http://login.microsoftonline.com"},
			"AZURE_AUTHORITY_HOST is not an https address"},
		{"tenant", Config{VaultURL: good, TenantID: "a b", ClientID: appID, ClientSecret: secret.FromString(valueCanary)},
			"tenant_id is not the id of a tenant"},
		{"chain", Config{VaultURL: good, TokenCredentials: "AzureCliCredentials"},
			"AZURE_TOKEN_CREDENTIALS has a value that is not known"},
	} {
		c, err := New(row.cfg)
		if c != nil || !fault.Is(err, fault.Usage) || err.Error() != row.want || len(fault.HintsOf(err)) == 0 {
			t.Errorf("%s: %v (%v), want %q with a hint", row.name, err, fault.KindOf(err), row.want)
		}
	}
}

// People write vault_url with a slash or two, in capitals, with a port.
func TestVaultURLForms(t *testing.T) {
	f := newFake(t, &cloudFake{vault: memory(map[string]string{"a": valueCanary})})
	for _, raw := range []string{
		"https://team-a.vault.azure.net", "https://team-a.vault.azure.net//", "https://Team-A.Vault.Azure.Net/",
		"https://team-a.vault.azure.net:443/",
	} {
		cfg := f.config()
		cfg.VaultURL = raw
		if _, err := open(t, cfg).Get(t.Context(), "a"); err != nil {
			t.Errorf("%s: %v", raw, fault.Detail(err))
		}
	}
}

func TestSetRefusesWhatJSONWouldChange(t *testing.T) {
	f := newFake(t, &cloudFake{vault: memory(map[string]string{})})
	_, err := open(t, f.config()).Set(t.Context(), "a", Content{Value: secret.New([]byte{'a', 0xff, 'b'})})
	if !fault.Is(err, fault.Usage) || f.count("") != 0 {
		t.Errorf("%v after %d requests", err, f.count(""))
	}
}

func TestEmptyNames(t *testing.T) {
	f := newFake(t, &cloudFake{})
	c := open(t, f.config())
	_, get := c.Get(t.Context(), "")
	_, set := c.Set(t.Context(), "", Content{Value: secret.FromString("v")})
	for _, err := range []error{get, set, c.Delete(t.Context(), "")} {
		if !fault.Is(err, fault.Usage) {
			t.Error(err)
		}
	}
}

func TestParseID(t *testing.T) {
	for id, want := range map[string][2]string{
		"https://v.vault.azure.net/secrets/n/48a4":  {"n", "48a4"},
		"https://v.vault.azure.net/secrets/n":       {"n", ""},
		"https://v.vault.azure.net//secrets/n/48a4": {"n", "48a4"},
		"https://v.vault.azure.net/secrets":         {"", ""},
		"":                                          {"", ""}, "%": {"", ""},
	} {
		if name, version := parseID(id); [2]string{name, version} != want {
			t.Errorf("parseID(%q) = %q, %q", id, name, version)
		}
	}
}

func TestAuthorityOfTheCloud(t *testing.T) {
	for _, row := range []struct{ configured, vault, want string }{
		{"", "v.vault.azure.net", "https://login.microsoftonline.com/"},
		{"", "v.vault.azure.cn", "https://login.chinacloudapi.cn/"},
		{"", "v.vault.usgovcloudapi.net", "https://login.microsoftonline.us/"},
		{"", "v.vault.example", "https://login.microsoftonline.com/"},
		{"login.microsoftonline.us", "v.vault.azure.net", "https://login.microsoftonline.us"},
		{"https://login.example:8443/", "v.vault.azure.net", "https://login.example:8443/"},
	} {
		got, err := authorityHost(row.configured, row.vault)
		if err != nil || got != row.want {
			t.Errorf("authorityHost(%q, %q) = %q, %v, want %q", row.configured, row.vault, got, err, row.want)
		}
	}
}
