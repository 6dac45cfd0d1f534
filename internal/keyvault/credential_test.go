package keyvault

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

var identities int

// nextID gives a client id that no other test has: MSAL keeps the tokens of managed identities for the whole process.
func nextID() string {
	identities++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", identities)
}

// tool puts an executable of this name on the path; it prints the text or, with status, fails with it.
func tool(t *testing.T, name, text string, status int) {
	t.Helper()
	script := fmt.Sprintf("#!/bin/sh\necho call >>\"$0.calls\"\n[ %d = 0 ] || exec >&2\nprintf '%%s\\n' '%s'\nexit %d\n",
		status, text, status)
	writeFile(t, filepath.Join(os.Getenv("PATH"), name), script)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

func calls(name string) int {
	b, _ := os.ReadFile(filepath.Join(os.Getenv("PATH"), name+".calls"))
	return strings.Count(string(b), "call")
}

const (
	cliToken = `{"accessToken":"token","expires_on":4102444800,"expiresOn":"2100-01-01 00:00:00.000000"}`
	azdToken = `{"token":"token","expiresOn":"2100-01-01T00:00:00Z"}`

	identityToken = `{"access_token":"token","expires_on":"4102444800","resource":"r","token_type":"Bearer"}`
)

func imdsAnswers(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, identityToken) }

// Which credential opens the vault, out of what is there.
func TestChain(t *testing.T) {
	federated := func(t *testing.T) string {
		path := filepath.Join(t.TempDir(), "token")
		writeFile(t, path, "assertion")
		return path
	}
	for _, row := range []struct {
		name  string
		fake  *cloudFake
		setup func(t *testing.T, f *cloudFake, cfg *Config)
		check func(t *testing.T, f *cloudFake)
	}{
		{"environment", &cloudFake{login: wantForm("client_id", appID, "client_secret", clientSecretCanary)},
			func(t *testing.T, _ *cloudFake, _ *Config) {
				t.Setenv("AZURE_TENANT_ID", tenantID)
				t.Setenv("AZURE_CLIENT_ID", appID)
				t.Setenv("AZURE_CLIENT_SECRET", clientSecretCanary)
				tool(t, "az", cliToken, 0)
			}, func(t *testing.T, _ *cloudFake) {
				if calls("az") != 0 {
					t.Error("the chain went on after a success")
				}
			}},
		{"workload identity from the environment",
			&cloudFake{login: wantForm("client_id", appID, "client_assertion", "assertion")},
			func(t *testing.T, _ *cloudFake, _ *Config) {
				t.Setenv("AZURE_TENANT_ID", tenantID)
				t.Setenv("AZURE_CLIENT_ID", appID)
				t.Setenv("AZURE_FEDERATED_TOKEN_FILE", federated(t))
			}, nil},
		{"workload identity from the configuration",
			&cloudFake{login: wantForm("client_id", objectID, "client_assertion", "assertion")},
			func(t *testing.T, _ *cloudFake, cfg *Config) {
				t.Setenv("AZURE_TENANT_ID", "11111111-0000-4000-8000-000000000000")
				t.Setenv("AZURE_CLIENT_ID", appID)
				t.Setenv("AZURE_FEDERATED_TOKEN_FILE", federated(t))
				cfg.ManagedIdentityClientID = objectID
				cfg.WorkloadIdentityTenantID = strings.ToUpper(tenantID)
			}, nil},
		{"managed identity of IMDS", &cloudFake{imds: imdsAnswers},
			func(t *testing.T, _ *cloudFake, cfg *Config) { cfg.ManagedIdentityClientID = nextID() },
			func(t *testing.T, f *cloudFake) {
				if n := f.count(imdsHost); n != 2 {
					t.Errorf("%d requests to IMDS, want a probe and a token", n)
				}
			}},
		{"managed identity of AZURE_CLIENT_ID", &cloudFake{},
			func(t *testing.T, f *cloudFake, _ *Config) {
				id := nextID()
				t.Setenv("AZURE_CLIENT_ID", id)
				f.imds = func(w http.ResponseWriter, r *http.Request) {
					if got := r.URL.Query().Get("client_id"); got != id {
						t.Errorf("client_id = %q", got)
					}
					imdsAnswers(w, r)
				}
			}, func(t *testing.T, f *cloudFake) {
				if n := f.count(imdsHost); n != 2 {
					t.Errorf("%d requests to IMDS, want a probe and a token", n)
				}
			}},
		{"managed identity alone needs no probe", &cloudFake{imds: imdsAnswers},
			func(t *testing.T, _ *cloudFake, cfg *Config) {
				cfg.ManagedIdentityClientID = nextID()
				cfg.TokenCredentials = "managedidentitycredential"
			},
			func(t *testing.T, f *cloudFake) {
				if n := f.count(imdsHost); n != 1 {
					t.Errorf("%d requests to IMDS, want the token's only", n)
				}
			}},
		{"Azure CLI, because nothing answers at IMDS", &cloudFake{},
			func(t *testing.T, _ *cloudFake, _ *Config) { tool(t, "az", cliToken, 0) }, nil},
		{"Azure CLI, because something else answers at IMDS", &cloudFake{imds: refuse(http.StatusOK, "<html>hello</html>")},
			func(t *testing.T, _ *cloudFake, cfg *Config) {
				cfg.ManagedIdentityClientID = nextID()
				tool(t, "az", cliToken, 0)
			}, nil},
		{"azd, because nobody is logged in to az", &cloudFake{},
			func(t *testing.T, _ *cloudFake, _ *Config) {
				tool(t, "az", "ERROR: Please run az login to setup account.", 1)
				tool(t, "azd", azdToken, 0)
			}, func(t *testing.T, _ *cloudFake) {
				if calls("az") != 1 || calls("azd") != 1 {
					t.Errorf("az ran %d times, azd %d", calls("az"), calls("azd"))
				}
			}},
		{"dev leaves production out", &cloudFake{imds: imdsAnswers},
			func(t *testing.T, _ *cloudFake, cfg *Config) {
				cfg.TokenCredentials = "Dev"
				tool(t, "az", cliToken, 0)
			},
			func(t *testing.T, f *cloudFake) {
				if f.count(imdsHost) != 0 {
					t.Error("IMDS was asked")
				}
			}},
		{"two of the client secret triple are not enough", &cloudFake{},
			func(t *testing.T, _ *cloudFake, cfg *Config) {
				cfg.TenantID, cfg.ClientID = tenantID, appID
				tool(t, "az", cliToken, 0)
			}, nil},
		{"tenant in capitals", &cloudFake{login: wantForm("client_id", appID)},
			func(t *testing.T, _ *cloudFake, cfg *Config) {
				cfg.TenantID, cfg.ClientID = strings.ToUpper(tenantID), appID
				cfg.ClientSecret = secret.FromString(clientSecretCanary)
			}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.fake.vault = memory(map[string]string{"a": valueCanary})
			f := newFake(t, row.fake)
			cfg := Config{VaultURL: "https://" + vaultHost, HTTPClient: &http.Client{Transport: f.transport()}, Retries: -1}
			row.setup(t, f, &cfg)
			c := open(t, cfg)
			for range 2 {
				if _, err := c.Get(t.Context(), "a"); err != nil {
					t.Fatal(fault.Detail(err))
				}
			}
			if row.check != nil {
				row.check(t, f)
			}
		})
	}
}

// wantForm gives a token to whoever posts these fields, and AADSTS900144 to others.
func wantForm(fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(fields); i += 2 {
			if got := r.PostFormValue(fields[i]); got != fields[i+1] {
				answer(w, http.StatusBadRequest, entraError("invalid_request", 900144, "not the expected "+fields[i]))
				return
			}
		}
		answer(w, http.StatusOK, `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"token"}`)
	}
}

// App Service and its kin are known by their variables: no probe, and no IMDS.
func TestManagedIdentityOfAppService(t *testing.T) {
	f := newFake(t, &cloudFake{vault: memory(map[string]string{"a": valueCanary})})
	id := nextID()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-IDENTITY-HEADER") != "h" || r.URL.Query().Get("client_id") != id ||
			r.URL.Query().Get("resource") != "https://vault.azure.net" {
			http.Error(w, "{}", http.StatusBadRequest)
			return
		}
		imdsAnswers(w, r)
	}))
	t.Cleanup(service.Close)
	t.Setenv("IDENTITY_ENDPOINT", service.URL+"/token")
	t.Setenv("IDENTITY_HEADER", "h")

	tr := f.transport()
	tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == service.Listener.Addr().String() {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
		return f.dial(ctx, network, address)
	}
	c := open(t, Config{
		VaultURL: "https://" + vaultHost, ManagedIdentityClientID: id, HTTPClient: &http.Client{Transport: tr},
	})
	if _, err := c.Get(t.Context(), "a"); err != nil {
		t.Fatal(fault.Detail(err))
	}
	if f.count(imdsHost) != 0 {
		t.Error("IMDS was asked")
	}
}

// The probe must not hold a laptop for longer than a second.
func TestProbeIsShort(t *testing.T) {
	f := newFake(t, &cloudFake{})
	d := &deadlines{RoundTripper: f.transport()}
	i := &imds{client: &http.Client{Transport: d}}
	if err := i.probe(t.Context()); err == nil {
		t.Error("a probe without an answer succeeds")
	}
	if d.longest <= 0 || d.longest > imdsTimeout {
		t.Errorf("the probe may take %v, want at most %v", d.longest, imdsTimeout)
	}
}

// Clouds other than the public one have their own login, and their own token audience.
func TestSovereignClouds(t *testing.T) {
	for _, row := range []struct{ vault, login, resource string }{
		{"team-a.vault.azure.cn", "login.chinacloudapi.cn", "https://vault.azure.cn"},
		{"team-a.vault.usgovcloudapi.net", "login.microsoftonline.us", "https://vault.usgovcloudapi.net"},
	} {
		f := newFake(t, &cloudFake{
			vault:     memory(map[string]string{"a": valueCanary}),
			hosts:     []string{row.vault, row.login},
			challenge: `Bearer authorization="https://` + row.login + "/" + tenantID + `", resource="` + row.resource + `"`,
		})
		f.login = func(w http.ResponseWriter, r *http.Request) {
			if scopes := strings.Fields(r.PostFormValue("scope")); !slices.Contains(scopes, row.resource+"/.default") {
				t.Errorf("%s: scopes = %q", row.vault, scopes)
			}
			wantForm()(w, r)
		}
		cfg := f.config()
		cfg.VaultURL = "https://" + row.vault
		if _, err := open(t, cfg).Get(t.Context(), "a"); err != nil {
			t.Errorf("%s: %v", row.vault, fault.Detail(err))
		}
		if f.count(row.login+" POST") != 1 || f.count(loginHost+" POST") != 0 {
			t.Errorf("%s: the login went elsewhere", row.vault)
		}
	}
}
