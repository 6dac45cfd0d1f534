package localcloud_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/localcloud"
)

// impatient is a client that retries as often as the default one, without the waiting.
func impatient(t *testing.T, c *localcloud.Cloud) *azsecrets.Client {
	t.Helper()
	quick := policy.ClientOptions{
		Transport: c.HTTPClient(), Retry: policy.RetryOptions{RetryDelay: time.Millisecond, MaxRetryDelay: 5 * time.Millisecond},
	}
	credential, err := azidentity.NewClientSecretCredential(tenant, appID, appSecret, &azidentity.ClientSecretCredentialOptions{ClientOptions: quick})
	if err != nil {
		t.Fatal(err)
	}
	client, err := azsecrets.NewClient(vaultURL, credential, &azsecrets.ClientOptions{ClientOptions: quick})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func fault(t *testing.T, c *localcloud.Cloud, lines ...string) {
	t.Helper()
	plan := localcloud.Faults{Seed: 1}
	for _, line := range lines {
		rule, err := localcloud.ParseFault(line)
		if err != nil {
			t.Fatal(err)
		}
		plan.Rules = append(plan.Rules, rule)
	}
	if err := c.SetFaults(plan); err != nil {
		t.Fatal(err)
	}
}

// seen lists the statuses of a service's answers since the last look.
func seen(c *localcloud.Cloud, service string) string {
	var all []string
	for _, r := range c.Requests() {
		if r.Service == service {
			all = append(all, fmt.Sprint(r.Status))
		}
	}
	c.ForgetRequests()
	return strings.Join(all, " ")
}

func TestFaults(t *testing.T) {
	for _, row := range []struct {
		name, fault, service string
		seen                 string // statuses; 0 is a connection that was closed
		err                  string
	}{
		{"throttled, then well", "service=keyvault status=429 times=2", "keyvault", "429 429 200", ""},
		{"down, then well", "service=keyvault status=503 times=3", "keyvault", "503 503 503 200", ""},
		{"down for good", "service=keyvault status=503", "keyvault", "503 503 503 503", "ServiceUnavailable"},
		{"throttled for good", "service=keyvault status=429", "keyvault", "429 429 429 429", "VaultRequestTypeLimitReached"},
		{"not answered", "service=keyvault drop=true times=1", "keyvault", "0 200", ""},
		{"half answered", "service=keyvault truncate=true times=1", "keyvault", "0 200", ""},
		{"half answered for good", "service=keyvault truncate=true", "keyvault", "0 0 0 0", "stream error"},
		{"slow", "service=keyvault latency=20ms jitter=5ms times=1", "keyvault", "200", ""},
		{"token refused", "service=keyvault status=401 times=1", "keyvault", "401 200", ""},
		{"other vault", "host=other-vault.vault.azure.net status=503", "keyvault", "200", ""},
		{"no tokens", "service=entra status=500 path=/" + tenant + "/oauth2", "entra", "500", "AADSTS90033"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := start(t)
			client := impatient(t, c)
			if row.service == "keyvault" { // signed in before the trouble begins
				set(t, client, "a", "value")
			}
			c.ForgetRequests()
			fault(t, c, row.fault)
			began := time.Now()
			_, err := client.GetSecret(t.Context(), "a", "", nil)
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
				t.Errorf("err = %v, want %s", err, row.err)
			}
			if got := seen(c, row.service); got != row.seen && !(row.service == "entra" && strings.Contains(got, row.seen)) {
				t.Errorf("seen %s, want %s", got, row.seen)
			}
			if row.name == "slow" && time.Since(began) < 20*time.Millisecond {
				t.Error("it was not slow")
			}
		})
	}
}

// What HTTP/2 shows as a reset stream, HTTP/1.1 shows as a connection that ends too early.
func TestFaultsOverHTTP1(t *testing.T) {
	c := start(t)
	fault(t, c, "truncate=true times=1", "drop=true times=1")
	transport := c.HTTPClient().Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2 = false
	transport.TLSClientConfig = &tls.Config{RootCAs: transport.TLSClientConfig.RootCAs} // without h2 in its ALPN
	transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	response, err := client.Get(vaultURL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(body) == 0 || response.ProtoMajor != 1 {
		t.Errorf("truncated: %s, %q, %v", response.Proto, body, err)
	}
	if response, err := client.Get(vaultURL); !errors.Is(err, io.EOF) {
		t.Errorf("dropped: %v, %v", response, err)
	}
	response, err = client.Get(vaultURL)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
}

func TestRetryAfter(t *testing.T) {
	c := start(t)
	fault(t, c, "service=keyvault status=429 retry-after=7s times=1", "service=keyvault status=429 times=1")
	for _, want := range []string{"7", ""} {
		response, body := wire(t, c, "GET", vaultURL+"secrets?api-version=7.4", "")
		if response.StatusCode != 429 || response.Header.Get("Retry-After") != want || !strings.Contains(body, `"code":"Throttled"`) {
			t.Errorf("%d %v %s", response.StatusCode, response.Header, body)
		}
		if response.Header.Get("X-Ms-Keyvault-Service-Version") == "" {
			t.Error("the answer has not the headers of the service")
		}
	}
}

func TestFaultsOfManagedIdentity(t *testing.T) {
	c := start(t)
	fault(t, c, "service=identity status=429 times=1", "service=identity status=500 times=1")
	for _, want := range []string{"429 too_many_requests", "500 unknown", "200 "} {
		request, _ := http.NewRequestWithContext(t.Context(), "GET",
			"http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net", nil)
		request.Header.Set("Metadata", "true")
		response, err := c.HTTPClient().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Error string }
		err = json.NewDecoder(response.Body).Decode(&answer)
		_ = response.Body.Close()
		if got := fmt.Sprint(response.StatusCode, " ", answer.Error); err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}

	fault(t, c, "service=identity status=429 times=1")
	endpoint, _ := c.IdentityEndpoint()
	response, err := c.HTTPClient().Get(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if want := `{"statusCode":429,"message":"Too many requests, please try again later."}`; err != nil || string(body) != want {
		t.Errorf("App Service: %v, %s\nwant %s", err, body, want)
	}
}

// 300 secrets in ten seconds, and no more, as the real service has it.
func TestKeyVaultLimits(t *testing.T) {
	at := newClock()
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Now: at.Now, Provision: provision()})
	if err := c.SetFaults(localcloud.Faults{Throttle: localcloud.KeyVaultLimits}); err != nil {
		t.Fatal(err)
	}
	client, err := azsecrets.NewClient(vaultURL, clientSecret(t, c, appSecret), &azsecrets.ClientOptions{ClientOptions: policy.ClientOptions{
		Transport: c.HTTPClient(), Retry: policy.RetryOptions{MaxRetries: -1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 300 {
		set(t, client, fmt.Sprintf("n-%d", n%10), "x")
	}
	_, err = client.SetSecret(t.Context(), "one-more", azsecrets.SetSecretParameters{Value: new(string)}, nil)
	wantCode(t, err, http.StatusTooManyRequests, "Throttled")
	get(t, client, "n-1", "") // reads have a limit of their own
	at.advance(10 * time.Second)
	set(t, client, "one-more", "x")
}

func TestTokenLifetime(t *testing.T) {
	at := newClock()
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Now: at.Now, Provision: provision()})
	if err := c.SetFaults(localcloud.Faults{TokenLifetime: time.Minute}); err != nil {
		t.Fatal(err)
	}
	token, err := clientSecret(t, c, appSecret).GetToken(t.Context(), policyFor("https://vault.azure.net"))
	if err != nil {
		t.Fatal(err)
	}
	ask := func() int {
		request, _ := http.NewRequestWithContext(t.Context(), "GET", vaultURL+"secrets?api-version=7.4", nil)
		request.Header.Set("Authorization", "Bearer "+token.Token)
		response, err := c.HTTPClient().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	first := ask()
	c.Clock().Advance(time.Minute + 5*time.Minute + time.Second) // its life and the skew that services allow
	if second := ask(); first != 200 || second != 401 {
		t.Errorf("%d, then %d", first, second)
	}
	if err := c.SetFaults(localcloud.Faults{TokenLifetime: -1}); err == nil {
		t.Error("a negative lifetime was taken")
	}
}

// The seed that was chosen is told, so that a run can be repeated.
func TestSeedIsTold(t *testing.T) {
	var log bytes.Buffer
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: provision(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	rule, err := localcloud.ParseFault("service=keyvault status=503 rate=0.5")
	if err != nil {
		t.Fatal(err)
	}
	run := func(seed uint64) string {
		if err := c.SetFaults(localcloud.Faults{Seed: seed, Rules: []localcloud.Fault{rule}}); err != nil {
			t.Fatal(err)
		}
		c.ForgetRequests()
		for range 40 {
			response, err := c.HTTPClient().Get(vaultURL)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
		}
		return seen(c, "keyvault")
	}
	first := run(0)
	seed := c.Faults().Seed
	if again := run(seed); again != first || !strings.Contains(first, "503") || !strings.Contains(first, "401") {
		t.Errorf("with one seed:\n%s\n%s", first, again)
	}
	if !strings.Contains(log.String(), fmt.Sprintf("seed=%d", seed)) {
		t.Errorf("the log does not tell the seed: %s", log.String())
	}
}

func TestDelayedVisibility(t *testing.T) {
	at := newClock()
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Now: at.Now, Provision: provision()})
	if err := c.SetFaults(localcloud.Faults{Visibility: localcloud.Visibility{
		Deleted: 2 * time.Second, Recovered: 2 * time.Second, Purged: 2 * time.Second,
	}}); err != nil {
		t.Fatal(err)
	}
	client := impatient(t, c)
	ctx := t.Context()
	set(t, client, "a", "1")
	deletedNames := func() (names []string) {
		page, err := client.NewListDeletedSecretPropertiesPager(nil).NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Value {
			names = append(names, item.ID.Name())
		}
		return names
	}
	if _, err := client.DeleteSecret(ctx, "a", nil); err != nil {
		t.Fatal(err)
	}
	_, err := client.GetDeletedSecret(ctx, "a", nil)
	wantCode(t, err, http.StatusNotFound, "SecretNotFound")
	_, err = client.RecoverDeletedSecret(ctx, "a", nil)
	wantCode(t, err, http.StatusConflict, "Conflict")
	_, err = client.PurgeDeletedSecret(ctx, "a", nil)
	wantCode(t, err, http.StatusConflict, "Conflict")
	if names := deletedNames(); len(names) != 0 {
		t.Errorf("deleted: %v", names)
	}
	at.advance(2 * time.Second)
	if names := deletedNames(); len(names) != 1 {
		t.Errorf("deleted: %v", names)
	}
	if _, err := client.RecoverDeletedSecret(ctx, "a", nil); err != nil {
		t.Fatal(err)
	}
	_, err = client.GetSecret(ctx, "a", "", nil)
	wantCode(t, err, http.StatusNotFound, "SecretNotFound")
	at.advance(2 * time.Second)
	if got := get(t, client, "a", ""); got != "1" {
		t.Errorf("got %q", got)
	}
	if _, err := client.DeleteSecret(ctx, "a", nil); err != nil {
		t.Fatal(err)
	}
	at.advance(2 * time.Second)
	if _, err := client.PurgeDeletedSecret(ctx, "a", nil); err != nil {
		t.Fatal(err)
	}
	_, err = client.SetSecret(ctx, "a", azsecrets.SetSecretParameters{Value: new(string)}, nil)
	wantCode(t, err, http.StatusConflict, "Conflict")
	at.advance(2 * time.Second)
	set(t, client, "a", "2")
}

// Closing does not wait for answers that are slow on purpose.
func TestCloseDuringLatency(t *testing.T) {
	c, err := localcloud.Open(localcloud.Config{Hermetic: true, Provision: provision()})
	if err != nil {
		t.Fatal(err)
	}
	fault(t, c, "latency=1m")
	answered := make(chan error, 1)
	go func() {
		response, err := c.HTTPClient().Get(vaultURL)
		if err == nil {
			_ = response.Body.Close()
		}
		answered <- err
	}()
	for c.InFlight() == 0 {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("closing took %v", took)
	}
	if err := <-answered; err == nil {
		t.Error("the request was answered")
	}
}

func TestControlAPI(t *testing.T) {
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Control: "127.0.0.1:0", Provision: provision()})
	ask := func(method, path, body string, header ...string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, c.ControlURL()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			if header[i] == "Host" {
				request.Host = header[i+1]
			}
			request.Header.Set(header[i], header[i+1])
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		raw, _ := io.ReadAll(response.Body)
		return response.StatusCode, strings.TrimSpace(string(raw))
	}
	const plan = `{"seed":7,"rules":["service=keyvault rate=0.5 status=429 retry-after=2s"],` +
		`"throttle":{"window":"10s","requests":4000,"creates":300},"visibility":{"deleted":"2s","permissions":"1m0s"},"tokenLifetime":"10m0s"}`
	if status, body := ask("PUT", "/v1/faults", plan); status != 200 || body != plan {
		t.Errorf("%d %s\nwant %s", status, body, plan)
	}
	want := localcloud.Faults{
		Seed: 7, Rules: []localcloud.Fault{{Service: "keyvault", Rate: 0.5, Status: 429, RetryAfter: 2 * time.Second}},
		Throttle:      localcloud.Throttle{Window: 10 * time.Second, Requests: 4000, Creates: 300},
		Visibility:    localcloud.Visibility{Deleted: 2 * time.Second, Permissions: time.Minute},
		TokenLifetime: 10 * time.Minute,
	}
	if diff := cmp.Diff(want, c.Faults()); diff != "" {
		t.Error(diff)
	}
	for _, row := range []struct {
		method, path, body string
		header             []string
		status             int
		want               string
	}{
		{"GET", "/v1/faults", "", nil, 200, plan},
		{"PUT", "/v1/faults", `{"rules":["status=200"]}`, nil, 400, "want a status from 400 to 599"},
		{"PUT", "/v1/faults", `{"rule":[]}`, nil, 400, `unknown field`},
		{"PUT", "/v1/faults", `{"rules":[]}{}`, nil, 400, "more than one value"},
		{"PUT", "/v1/faults", `{"tokenLifetime":"-1s"}`, nil, 400, "TokenLifetime"},
		{"GET", "/v1/faults", "", nil, 200, plan}, // what was refused left the one before
		{"DELETE", "/v1/faults", "", nil, 200, `"rules":[]}`},
		{"PUT", "/v1/clock", `{"now":"2030-01-01T00:00:00Z"}`, nil, 200, `{"now":"2030-01-01T00:00:00`},
		{"PUT", "/v1/clock", `{"advance":"24h"}`, nil, 200, `{"now":"2030-01-02T00:00:0`},
		{"PUT", "/v1/clock", `{}`, nil, 400, `want either \"now\" or \"advance\"`},
		{"PUT", "/v1/clock", `{"now":"2030-01-01T00:00:00Z","advance":"1h"}`, nil, 400, "want either"},
		{"DELETE", "/v1/clock", "", nil, 200, `"moved":"0s"`},
		{"GET", "/v1/requests", "", nil, 200, "[]"},
		{"DELETE", "/v1/requests", "", nil, 204, ""},
		{"GET", "/v1/other", "", nil, 404, ""},
		{"POST", "/v1/clock", "", nil, 405, ""},
		{"GET", "/v1/requests", "", []string{"Origin", "https://example.com"}, 403, "not for web pages"},
		{"GET", "/v1/requests", "", []string{"Host", "rebound.example.com"}, 403, "not for web pages"},
	} {
		if status, body := ask(row.method, row.path, row.body, row.header...); status != row.status || !strings.Contains(body, row.want) {
			t.Errorf("%s %s %s: %d %s\nwant %d %s", row.method, row.path, row.body, status, body, row.status, row.want)
		}
	}
	response, err := c.HTTPClient().Get(vaultURL + "secrets/a?api-version=7.4")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	_, body := ask("GET", "/v1/requests", "")
	if !strings.Contains(body, `"service":"keyvault","method":"GET","host":"airlock-dev.vault.azure.net","path":"/secrets/a","status":401}`) {
		t.Errorf("requests: %s", body)
	}
	if _, err := localcloud.Open(localcloud.Config{Control: "0.0.0.0:0"}); err == nil || !strings.Contains(err.Error(), `Control = "0.0.0.0:0"`) {
		t.Errorf("a control API for everybody: %v", err)
	}
	if start(t).ControlURL() != "" {
		t.Error("a control API that nobody asked for")
	}
}
