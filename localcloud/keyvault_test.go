package localcloud_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/airlock-secrets/airlock/localcloud"
)

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestSDKWholeSecretsAPI(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	client := secretsClient(t, c, vaultURL, clientSecret(t, c, appSecret))

	nbf, exp := time.Unix(1700000000, 0), time.Unix(1800000000, 0)
	first, err := client.SetSecret(ctx, "all", azsecrets.SetSecretParameters{
		Value: to.Ptr("v1"), ContentType: to.Ptr("text/plain"), Tags: map[string]*string{"a": to.Ptr("1"), "b": to.Ptr("2")},
		SecretAttributes: &azsecrets.SecretAttributes{Enabled: to.Ptr(true), NotBefore: &nbf, Expires: &exp},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !first.Attributes.NotBefore.Equal(nbf) || !first.Attributes.Expires.Equal(exp) || *first.Tags["b"] != "2" || *first.ContentType != "text/plain" {
		t.Errorf("set: %+v", first.Secret)
	}
	set(t, client, "all", "v2")

	// Update one version, then the current one.
	updated, err := client.UpdateSecretProperties(ctx, "all", first.ID.Version(), azsecrets.UpdateSecretPropertiesParameters{
		Tags: map[string]*string{"c": to.Ptr("3")}, SecretAttributes: &azsecrets.SecretAttributes{Enabled: to.Ptr(false)},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(updated.Tags) != 1 || *updated.Attributes.Enabled || *updated.ContentType != "text/plain" || updated.Value != nil {
		t.Errorf("update: %+v", updated.Secret)
	}
	_, err = client.GetSecret(ctx, "all", first.ID.Version(), nil)
	wantCode(t, err, http.StatusForbidden, "Forbidden")
	if got := get(t, client, "all", ""); got != "v2" {
		t.Errorf("current = %q", got)
	}

	var versions []string
	for pager := client.NewListSecretPropertiesVersionsPager("all", nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Value {
			versions = append(versions, item.ID.Version())
		}
	}
	if len(versions) != 2 || !slices.IsSorted(versions) {
		t.Errorf("versions = %v", versions)
	}

	saved, err := client.BackupSecret(ctx, "all", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: saved.Value}, nil)
	wantCode(t, err, http.StatusConflict, "Conflict")

	deleted, err := client.DeleteSecret(ctx, "all", nil)
	if err != nil {
		t.Fatal(err)
	}
	if deleted.ScheduledPurgeDate.Sub(*deleted.DeletedDate) != 90*24*time.Hour || *deleted.RecoveryID != vaultURL+"deletedsecrets/all" {
		t.Errorf("deleted: %+v", deleted.DeletedSecret)
	}
	var gone []string
	for pager := client.NewListDeletedSecretPropertiesPager(nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Value {
			gone = append(gone, item.ID.Name())
		}
	}
	if !slices.Equal(gone, []string{"all"}) {
		t.Errorf("deleted = %v", gone)
	}
	if _, err := client.GetDeletedSecret(ctx, "all", nil); err != nil {
		t.Error(err)
	}
	if _, err := client.RecoverDeletedSecret(ctx, "all", nil); err != nil {
		t.Error(err)
	}
	if got := get(t, client, "all", ""); got != "v2" {
		t.Errorf("recovered = %q", got)
	}
	_, err = client.RecoverDeletedSecret(ctx, "all", nil)
	wantCode(t, err, http.StatusNotFound, "SecretNotFound")
	_, err = client.PurgeDeletedSecret(ctx, "all", nil)
	wantCode(t, err, http.StatusNotFound, "SecretNotFound")

	if _, err := client.DeleteSecret(ctx, "all", nil); err != nil {
		t.Fatal(err)
	}
	_, err = client.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: saved.Value}, nil)
	wantCode(t, err, http.StatusConflict, "Conflict")
	if _, err := client.PurgeDeletedSecret(ctx, "all", nil); err != nil {
		t.Fatal(err)
	}
	restored, err := client.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: saved.Value}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(versions, restored.ID.Version()) || restored.Value != nil || get(t, client, "all", "") != "v2" {
		t.Errorf("restored: %+v", restored.Secret)
	}
	// A backup is of one cloud, as the real one is of one geography.
	elsewhere := start(t)
	_, err = secretsClient(t, elsewhere, vaultURL, clientSecret(t, elsewhere, appSecret)).RestoreSecret(ctx,
		azsecrets.RestoreSecretParameters{SecretBackup: saved.Value}, nil)
	wantCode(t, err, http.StatusBadRequest, "Malformed backup blob")
}

// The service backs up no more than 500 versions of a secret.
func TestBackupOfManyVersions(t *testing.T) {
	c := start(t)
	for n := range 500 {
		if err := c.SetSecrets(vaultURL, map[string]string{"a": fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
	}
	client := secretsClient(t, c, vaultURL, clientSecret(t, c, appSecret))
	if _, err := client.BackupSecret(t.Context(), "a", nil); err != nil {
		t.Errorf("500 versions: %v", err)
	}
	set(t, client, "a", "one more")
	_, err := client.BackupSecret(t.Context(), "a", nil)
	wantCode(t, err, http.StatusBadRequest, "BadParameter")
}

func TestRetention(t *testing.T) {
	at := newClock()
	p := provision()
	p.Vaults = []localcloud.Vault{{URL: vaultURL, RetentionDays: 7}, {URL: otherURL, PurgeProtection: true}}
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Now: at.Now, Provision: p})
	client := secretsClient(t, c, vaultURL, clientSecret(t, c, appSecret))
	first := set(t, client, "a", "1")
	if level := *first.Attributes.RecoveryLevel; level != "CustomizedRecoverable+Purgeable" {
		t.Errorf("level = %s", level)
	}
	if _, err := client.DeleteSecret(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	at.advance(7*24*time.Hour - time.Second)
	client = secretsClient(t, c, vaultURL, clientSecret(t, c, appSecret))
	if _, err := client.GetDeletedSecret(t.Context(), "a", nil); err != nil {
		t.Errorf("a second too early: %v", err)
	}
	at.advance(time.Second)
	_, err := client.GetDeletedSecret(t.Context(), "a", nil)
	wantCode(t, err, http.StatusNotFound, "SecretNotFound")
	set(t, client, "a", "2")
	_, err = client.GetSecret(t.Context(), "a", first.ID.Version(), nil)
	wantCode(t, err, http.StatusNotFound, "SecretNotFound")

	protected := secretsClient(t, c, otherURL, clientSecret(t, c, appSecret))
	if level := *set(t, protected, "a", "1").Attributes.RecoveryLevel; level != "Recoverable" {
		t.Errorf("level = %s", level)
	}
	if _, err := protected.DeleteSecret(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	_, err = protected.PurgeDeletedSecret(t.Context(), "a", nil)
	wantCode(t, err, http.StatusForbidden, "Forbidden")
}

// wire sends one request as a client of its own would, with a good token, and returns status and body.
func wire(t testing.TB, c *localcloud.Cloud, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	token, err := clientSecret(t, c, appSecret).GetToken(t.Context(), policyFor("https://vault.azure.net"))
	if err != nil {
		t.Fatal(err)
	}
	return send(t, c.HTTPClient(), method, url, body, append(header, "Authorization", "Bearer "+token.Token)...)
}

// send sends a request with headers, names and values by turns, and reads the answer.
func send(t testing.TB, client *http.Client, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(raw)
}

func policyFor(resource string) policy.TokenRequestOptions {
	return policy.TokenRequestOptions{Scopes: []string{resource + "/.default"}}
}

func TestWire(t *testing.T) {
	c := start(t)
	if err := c.SetSecrets(vaultURL, map[string]string{"a": "<&>", "b": "2", "c": "3"}); err != nil {
		t.Fatal(err)
	}
	tags := func(n int) string {
		all := map[string]string{}
		for i := range n {
			all[fmt.Sprint(i)] = "x"
		}
		raw, _ := json.Marshal(all)
		return string(raw)
	}
	for _, row := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"get", "GET", "/secrets/a?api-version=7.4", "", 200, `"value":"<&>"`},
		{"trailing slash", "GET", "/secrets/a/?api-version=7.4", "", 200, `"value":"<&>"`},
		{"double slash", "GET", "//secrets//a?api-version=7.4", "", 200, `"value":"<&>"`},
		{"encoded query name, as Node sends it", "GET", "/secrets/a?api%2Dversion=2025-07-01", "", 200, `"value":"<&>"`},
		{"preview version", "GET", "/secrets/a?api-version=7.6-preview.2", "", 200, `"value":"<&>"`},
		{"newest version", "GET", "/secrets/a?api-version=2026-04-01", "", 200, `"value":"<&>"`},
		{"no version", "GET", "/secrets/a", "", 400, `"code":"BadParameter"`},
		{"unknown version", "GET", "/secrets/a?api-version=2.0", "", 400, "The specified version (2.0) is not recognized."},
		{"missing version of a secret", "GET", "/secrets/a/0123?api-version=7.4", "", 404, "(name/id) a/0123 was not found"},
		{"bad name", "GET", "/secrets/my_name?api-version=7.4", "", 400, "The request URI contains an invalid name: my_name"},
		{"long name", "GET", "/secrets/" + strings.Repeat("a", 128) + "?api-version=7.4", "", 400, "invalid name"},
		{"longest name", "GET", "/secrets/" + strings.Repeat("a", 127) + "?api-version=7.4", "", 404, "SecretNotFound"},
		{"method", "PUT", "/secrets?api-version=7.4", "{}", 405, "HTTP PUT not allowed"},
		{"keys", "GET", "/keys/a?api-version=7.4", "", 501, "NotImplementedByLocalCloud"},
		{"no such path", "GET", "/secret/a?api-version=7.4", "", 404, `"code":"NotFound"`},
		{"root", "GET", "/?api-version=7.4", "", 404, `"code":"NotFound"`},
		{"no page", "GET", "/secrets?api-version=7.4&maxresults=0", "", 400, "maxresults"},
		{"page too long", "GET", "/secrets?api-version=7.4&maxresults=26", "", 400, "maxresults"},
		{"skip token", "GET", "/secrets?api-version=7.4&$skiptoken=x", "", 400, "$skiptoken"},
		{"next link", "GET", "/secrets?api-version=7.4&maxresults=2", "", 200, `"nextLink":"https://airlock-dev.vault.azure.net:443/secrets?api-version=7.4&$skiptoken=`},
		{"last page", "GET", "/secrets?maxresults=3&api-version=7.4", "", 200, `"nextLink":null`},
		{"no body", "PUT", "/secrets/n?api-version=7.4", "", 400, "BadParameter"},
		{"not JSON", "PUT", "/secrets/n?api-version=7.4", "value", 400, "BadParameter"},
		{"not an object", "PUT", "/secrets/n?api-version=7.4", "[]", 400, "BadParameter"},
		{"two objects", "PUT", "/secrets/n?api-version=7.4", `{"value":"1"}{}`, 400, "BadParameter"},
		{"wrong type", "PUT", "/secrets/n?api-version=7.4", `{"value":1}`, 400, "BadParameter"},
		{"no value", "PUT", "/secrets/n?api-version=7.4", `{"contentType":"x"}`, 400, `Property  has invalid value\r\n`},
		{"content type too long", "PUT", "/secrets/n?api-version=7.4", `{"value":"","contentType":"` + strings.Repeat("x", 256) + `"}`, 400, "Property  has"},
		{"15 tags", "PUT", "/secrets/n?api-version=7.4", `{"value":"","tags":` + tags(15) + `}`, 200, `"tags":{`},
		{"16 tags", "PUT", "/secrets/n?api-version=7.4", `{"value":"","tags":` + tags(16) + `}`, 400, "Property  has"},
		{"long tag", "PUT", "/secrets/n?api-version=7.4", `{"value":"","tags":{"a":"` + strings.Repeat("x", 513) + `"}}`, 400, "Property  has"},
		{"25 KB of UTF-8", "PUT", "/secrets/n?api-version=7.4", `{"value":"` + strings.Repeat("ü", 12800) + `"}`, 200, "ü"},
		{"more than 25 KB of UTF-8", "PUT", "/secrets/n?api-version=7.4", `{"value":"` + strings.Repeat("ü", 12801) + `"}`, 400, "Property  has"},
		{"body too large", "PUT", "/secrets/n?api-version=7.4", `{"value":"` + strings.Repeat(" ", 300<<10) + `"}`, 413, "RequestEntityTooLarge"},
		{"update of nothing", "PATCH", "/secrets/nothing?api-version=7.4", `{}`, 404, "SecretNotFound"},
		{"backup with another kind", "POST", "/secrets/restore?api-version=7.4", `{"value":"AXg"}`, 400, "invalid or corrupt version"},
	} {
		t.Run(row.name, func(t *testing.T) {
			response, body := wire(t, c, row.method, strings.TrimSuffix(vaultURL, "/")+row.path, row.body)
			if response.StatusCode != row.status || !strings.Contains(body, row.want) {
				t.Errorf("%d %s\nwant %d %s", response.StatusCode, body, row.status, row.want)
			}
			if response.Header.Get("Server") != "Airlock-Local-Cloud" || response.Header.Get("X-Airlock-Local-Cloud") == "" {
				t.Errorf("the answer does not say that it is not Azure's: %v", response.Header)
			}
		})
	}
}

func TestVaultHeaders(t *testing.T) {
	c := start(t)
	response, _ := wire(t, c, "GET", vaultURL+"secrets?api-version=7.4", "", "x-ms-client-request-id", "mine")
	for name, want := range map[string]string{
		"X-Ms-Client-Request-Id": "mine", "X-Ms-Keyvault-Region": "eastus",
		"X-Ms-Keyvault-Network-Info": "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;",
	} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if response.Header.Get("X-Ms-Request-Id") == "" || response.ProtoMajor != 2 {
		t.Errorf("%s %v", response.Proto, response.Header)
	}
}

// The challenge comes before anything else is looked at, because SDKs send their first request empty.
func TestTokens(t *testing.T) {
	at := newClock()
	p := provision()
	const stranger = "99999999-2222-3333-4444-555555555555"
	p.Apps = append(p.Apps, localcloud.App{TenantID: stranger, ClientID: appID, ClientSecret: appSecret})
	for i := range p.Vaults {
		p.Vaults[i].TenantID = tenant
	}
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Now: at.Now, Provision: p})
	token := func(tenant, scope string) string {
		response, err := c.HTTPClient().PostForm("https://login.microsoftonline.com/"+tenant+"/oauth2/v2.0/token", map[string][]string{
			"client_id": {appID}, "client_secret": {appSecret}, "grant_type": {"client_credentials"}, "scope": {scope},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		var answer struct {
			Token string `json:"access_token"`
		}
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Token == "" {
			t.Fatalf("no token: %v", err)
		}
		return answer.Token
	}
	good := token(tenant, "https://vault.azure.net/.default")
	parts := strings.Split(good, ".")
	for _, row := range []struct {
		name, token string
		late        time.Duration
		status      int
		want        string
	}{
		{"good", good, 0, 404, "SecretNotFound"},
		{"for a trailing slash", token(tenant, "https://vault.azure.net//.default"), 0, 404, "SecretNotFound"},
		{"for Key Vault's app id", token(tenant, "cfa8b339-82a2-471a-a3c9-0fc0be7a4093/.default"), 0, 404, "SecretNotFound"},
		{"none", "", 0, 401, "AKV10000"},
		{"no JWT", "abc", 0, 401, "S2S12086"},
		{"changed", parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])), 0, 401, "AKV10046: Unable to resolve the key"},
		{"unsigned", "eyJhbGciOiJub25lIn0." + parts[1] + ".", 0, 401, "S2S12086"},
		{"other audience", token(tenant, "https://management.azure.com/.default"), 0, 401,
			"AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://management.azure.com."},
		{"other tenant", token(stranger, "https://vault.azure.net/.default"), 0, 401, "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/" + tenant},
		{"expired", good, 2 * time.Hour, 401, "[TokenExpired]"},
		{"from the future", good, -4 * time.Hour, 401, "S2S12086"},
	} {
		t.Run(row.name, func(t *testing.T) {
			at.advance(row.late)
			request, _ := http.NewRequestWithContext(t.Context(), "GET", vaultURL+"secrets/nothing?api-version=7.4", nil)
			if row.token != "" {
				request.Header.Set("Authorization", "Bearer "+row.token)
			}
			response, err := c.HTTPClient().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			body, _ := io.ReadAll(response.Body)
			if response.StatusCode != row.status || !strings.Contains(string(body), row.want) {
				t.Errorf("%d %s", response.StatusCode, body)
			}
			challenge := `Bearer authorization="https://login.microsoftonline.com/` + tenant + `", resource="https://vault.azure.net"`
			if got := response.Header.Get("WWW-Authenticate"); (row.status == 401) != (got == challenge) {
				t.Errorf("challenge %q", got)
			}
		})
	}
}

// Many writers and readers of one vault: each write is seen by its writer at once, and no version is lost.
func TestConcurrency(t *testing.T) {
	for name, dir := range map[string]string{"memory": "", "file": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			c := localcloud.Start(t, localcloud.Config{Dir: dir, Hermetic: true, Provision: provision()})
			client := secretsClient(t, c, vaultURL, clientSecret(t, c, appSecret))
			get := func(name, version string) (string, error) {
				answer, err := client.GetSecret(t.Context(), name, version, nil)
				if err != nil {
					return "", err
				}
				return *answer.Value, nil
			}
			const writers, each = 8, 10
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for n := range each {
						value := fmt.Sprintf("%d-%d", w, n)
						shared, err := client.SetSecret(t.Context(), "shared", azsecrets.SetSecretParameters{Value: &value}, nil)
						if err != nil {
							t.Error(err)
							return
						}
						if got, err := get("shared", shared.ID.Version()); err != nil || got != value {
							t.Errorf("%q, %v", got, err)
						}
						own := fmt.Sprintf("own-%d", w)
						if _, err := client.SetSecret(t.Context(), own, azsecrets.SetSecretParameters{Value: &value}, nil); err != nil {
							t.Error(err)
						}
						if got, err := get(own, ""); err != nil || got != value {
							t.Errorf("%q, %v", got, err)
						}
					}
				})
			}
			all.Wait()
			versions := 0
			for pager := client.NewListSecretPropertiesVersionsPager("shared", nil); pager.More(); {
				page, err := pager.NextPage(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				versions += len(page.Value)
			}
			if versions != writers*each {
				t.Errorf("%d versions, want %d", versions, writers*each)
			}
		})
	}
}
