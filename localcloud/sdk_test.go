package localcloud_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/airlock-secrets/airlock/localcloud"
)

const (
	tenant    = "11111111-2222-3333-4444-555555555555"
	appID     = "aaaaaaaa-0000-0000-0000-000000000001"
	appSecret = "an~app.secret"
	systemID  = "bbbbbbbb-0000-0000-0000-000000000001"
	userID    = "bbbbbbbb-0000-0000-0000-000000000002"
	vaultURL  = "https://airlock-dev.vault.azure.net/"
	otherURL  = "https://other-vault.vault.azure.net"
)

func provision() localcloud.Provision {
	return localcloud.Provision{
		Apps: []localcloud.App{{TenantID: tenant, ClientID: appID, ClientSecret: appSecret}},
		Identities: []localcloud.ManagedIdentity{
			{TenantID: tenant, ClientID: systemID, SystemAssigned: true},
			{TenantID: tenant, ClientID: userID},
		},
		Vaults: []localcloud.Vault{{URL: vaultURL}, {URL: otherURL}},
	}
}

func start(t testing.TB) *localcloud.Cloud {
	t.Helper()
	return localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: provision()})
}

// through gives an SDK the way into the cloud and nothing else: what HTTPS_PROXY and SSL_CERT_FILE do for a program.
func through(c *localcloud.Cloud) policy.ClientOptions {
	return policy.ClientOptions{Transport: c.HTTPClient()}
}

func clientSecret(t testing.TB, c *localcloud.Cloud, secret string) azcore.TokenCredential {
	t.Helper()
	credential, err := azidentity.NewClientSecretCredential(tenant, appID, secret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: through(c)})
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

func managedIdentity(t testing.TB, c *localcloud.Cloud, clientID string) azcore.TokenCredential {
	t.Helper()
	options := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: through(c)}
	if clientID != "" {
		options.ID = azidentity.ClientID(clientID)
	}
	credential, err := azidentity.NewManagedIdentityCredential(options)
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

func secretsClient(t testing.TB, c *localcloud.Cloud, url string, credential azcore.TokenCredential) *azsecrets.Client {
	t.Helper()
	client, err := azsecrets.NewClient(url, credential, &azsecrets.ClientOptions{ClientOptions: through(c)})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func set(t testing.TB, client *azsecrets.Client, name, value string) azsecrets.Secret {
	t.Helper()
	answer, err := client.SetSecret(t.Context(), name, azsecrets.SetSecretParameters{Value: &value}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Secret
}

func get(t testing.TB, client *azsecrets.Client, name, version string) string {
	t.Helper()
	answer, err := client.GetSecret(t.Context(), name, version, nil)
	if err != nil {
		t.Fatal(err)
	}
	return *answer.Value
}

func wantCode(t testing.TB, err error, status int, code string) {
	t.Helper()
	var response *azcore.ResponseError
	if !errors.As(err, &response) || response.StatusCode != status || response.ErrorCode != code {
		t.Errorf("err = %v, want %d %s", err, status, code)
	}
}

func TestSDKSecrets(t *testing.T) {
	c := start(t)
	client := secretsClient(t, c, vaultURL, clientSecret(t, c, appSecret))
	first := set(t, client, "Hello", "one")
	second := set(t, client, "hello", "two")
	if got := get(t, client, "hello", ""); got != "two" {
		t.Errorf("current = %q", got)
	}
	if got := get(t, client, "HELLO", first.ID.Version()); got != "one" {
		t.Errorf("first version = %q", got)
	}
	if second.ID.Name() != "Hello" {
		t.Errorf("the name is %q, want the case first used", second.ID.Name())
	}

	other := secretsClient(t, c, otherURL, clientSecret(t, c, appSecret))
	_, err := other.GetSecret(t.Context(), "hello", "", nil)
	wantCode(t, err, http.StatusNotFound, "SecretNotFound")

	for n := range 60 {
		set(t, client, fmt.Sprintf("n-%02d", n), "x")
	}
	var names []string
	pages := 0
	for pager := client.NewListSecretPropertiesPager(nil); pager.More(); pages++ {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Value {
			names = append(names, item.ID.Name())
		}
	}
	if len(names) != 61 || !slices.IsSorted(names[1:]) || names[0] != "Hello" || pages != 3 {
		t.Errorf("%d pages with %v", pages, names)
	}

	if _, err := client.DeleteSecret(t.Context(), "hello", nil); err != nil {
		t.Fatal(err)
	}
	_, err = client.GetSecret(t.Context(), "hello", "", nil)
	wantCode(t, err, http.StatusNotFound, "SecretNotFound")
	_, err = client.SetSecret(t.Context(), "HELLO", azsecrets.SetSecretParameters{Value: new(string)}, nil)
	wantCode(t, err, http.StatusConflict, "Conflict")

	_, err = client.SetSecret(t.Context(), "under_score", azsecrets.SetSecretParameters{Value: new(string)}, nil)
	wantCode(t, err, http.StatusBadRequest, "BadParameter")
	large := strings.Repeat("x", 25<<10)
	set(t, client, "large", large)
	large += "x"
	_, err = client.SetSecret(t.Context(), "large", azsecrets.SetSecretParameters{Value: &large}, nil)
	wantCode(t, err, http.StatusBadRequest, "BadParameter")
}

func TestSDKManagedIdentity(t *testing.T) {
	for n, row := range []struct{ name, path, unknown string }{
		{"IMDS", "/metadata/identity/oauth2/token", "Identity not found"},
		{"App Service", "/msi/token", "No User Assigned or Delegated Managed Identity found"},
	} {
		t.Run(row.name, func(t *testing.T) {
			// The SDK keeps the tokens of managed identities for the whole process, so each row has identities of its own.
			system, user := fmt.Sprintf("system-%d", n), fmt.Sprintf("user-%d", n)
			p := provision()
			p.Identities = []localcloud.ManagedIdentity{
				{TenantID: tenant, ClientID: system, SystemAssigned: true}, {TenantID: tenant, ClientID: user},
			}
			c := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: p})
			if row.name == "App Service" {
				endpoint, header := c.IdentityEndpoint()
				t.Setenv("IDENTITY_ENDPOINT", endpoint)
				t.Setenv("IDENTITY_HEADER", header)
			}
			if err := c.SetSecrets(vaultURL, map[string]string{"a": "value"}); err != nil {
				t.Fatal(err)
			}
			for _, id := range []string{system, user} {
				if got := get(t, secretsClient(t, c, vaultURL, managedIdentity(t, c, id)), "a", ""); got != "value" {
					t.Errorf("identity %q: %q", id, got)
				}
			}
			_, err := managedIdentity(t, c, "cccccccc-0000-0000-0000-000000000000").GetToken(t.Context(),
				policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}})
			if err == nil || !strings.Contains(err.Error(), row.unknown) {
				t.Errorf("unknown identity: %v", err)
			}
			var asked []int
			for _, request := range c.Requests() {
				if request.Service == "identity" && request.Path == row.path {
					asked = append(asked, request.Status)
				}
			}
			if want := []int{200, 200, 400}; !slices.Equal(asked, want) {
				t.Errorf("the endpoint answered %v, want %v", asked, want)
			}
		})
	}
}

// The whole chain, as production code has it, finds the machine's identity by asking the metadata service first.
func TestSDKDefaultCredential(t *testing.T) {
	c := start(t)
	credential, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: through(c)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetSecrets(vaultURL, map[string]string{"a": "value"}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, secretsClient(t, c, vaultURL, credential), "a", ""); got != "value" {
		t.Errorf("got %q", got)
	}
}

func TestSDKRefusedCredentials(t *testing.T) {
	c := start(t)
	scope := policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}}
	newCredential := func(tenant, app, secret string) azcore.TokenCredential {
		credential, err := azidentity.NewClientSecretCredential(tenant, app, secret,
			&azidentity.ClientSecretCredentialOptions{ClientOptions: through(c)})
		if err != nil {
			t.Fatal(err)
		}
		return credential
	}
	for _, row := range []struct {
		name       string
		credential azcore.TokenCredential
		scope      string
		want       string
	}{
		{"secret", newCredential(tenant, appID, "wrong~secret"), "", "AADSTS7000215: Invalid client secret provided."},
		{"app", newCredential(tenant, systemID, appSecret), "", "AADSTS700016: Application with identifier '" + systemID + "'"},
		{"tenant", newCredential("99999999-2222-3333-4444-555555555555", appID, appSecret), "", "AADSTS90002: Tenant '99999999-"},
		{"resource", newCredential(tenant, appID, appSecret), "https://example.com/.default", "AADSTS500011: The resource principal named https://example.com"},
		{"scope", newCredential(tenant, appID, appSecret), "https://vault.azure.net/user", "AADSTS1002012: The provided value for scope"},
	} {
		t.Run(row.name, func(t *testing.T) {
			options := scope
			if row.scope != "" {
				options.Scopes = []string{row.scope}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := row.credential.GetToken(ctx, options)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("err = %v\nwant %s", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret~") || err != nil && strings.Contains(err.Error(), appSecret) {
				t.Error("the error holds a client secret")
			}
		})
	}
}

func TestSDKSovereignClouds(t *testing.T) {
	for suffix, login := range map[string]string{
		"vault.azure.cn":          "https://login.partner.microsoftonline.cn/",
		"vault.usgovcloudapi.net": "https://login.microsoftonline.us/",
	} {
		t.Run(suffix, func(t *testing.T) {
			url := "https://airlock-dev." + suffix + "/"
			p := provision()
			p.Vaults = []localcloud.Vault{{URL: url}}
			c := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: p})
			t.Setenv("AZURE_AUTHORITY_HOST", login)
			client := secretsClient(t, c, url, clientSecret(t, c, appSecret))
			set(t, client, "a", "value")
			if got := get(t, client, "a", ""); got != "value" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestSDKUnknownVault(t *testing.T) {
	c := start(t)
	_, err := secretsClient(t, c, "https://nobody.vault.azure.net", clientSecret(t, c, appSecret)).GetSecret(t.Context(), "a", "", nil)
	wantCode(t, err, http.StatusNotFound, "VaultNotProvisioned")
	if err == nil || !strings.Contains(err.Error(), "--vault https://nobody.vault.azure.net/") {
		t.Errorf("the error says no remedy: %v", err)
	}
}

func TestSecretsOutliveTheProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	cfg := localcloud.Config{Dir: dir, Hermetic: true, Provision: provision()}
	first, err := localcloud.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	version := set(t, secretsClient(t, first, vaultURL, clientSecret(t, first, appSecret)), "a", "kept").ID.Version()
	if _, err := localcloud.Open(cfg); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("the folder was opened twice: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := localcloud.Start(t, cfg)
	if got := get(t, secretsClient(t, second, vaultURL, clientSecret(t, second, appSecret)), "a", version); got != "kept" {
		t.Errorf("got %q", got)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v %v", entry.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v %v", info.Mode(), err)
	}
}
