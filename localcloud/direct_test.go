package localcloud_test

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/airlock-secrets/airlock/localcloud"
)

// withoutProxy is a client that finds *.localhost on this machine, as browsers and most resolvers do, and uses no proxy.
func withoutProxy(t *testing.T, c *localcloud.Cloud) *http.Client {
	t.Helper()
	transport := c.HTTPClient().Transport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(host, ".localhost") {
			host = "127.0.0.1"
		}
		if host != "127.0.0.1" {
			t.Errorf("a connection to %s", address)
			return nil, net.ErrClosed
		}
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(host, port))
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Without any proxy, and with the SDK's checks of the challenge: by managed identity in a usual tenant, and by a client
// secret in the tenant "adfs", for which the SDKs ask nobody about the authority.
func TestDirect(t *testing.T) {
	for _, row := range []struct {
		name, tenant string
		credential   func(*testing.T, *localcloud.Cloud, policy.ClientOptions) (azcore.TokenCredential, error)
	}{
		{"managed identity", tenant, func(t *testing.T, c *localcloud.Cloud, options policy.ClientOptions) (azcore.TokenCredential, error) {
			endpoint, header := c.IdentityEndpoint()
			t.Setenv("IDENTITY_ENDPOINT", endpoint)
			t.Setenv("IDENTITY_HEADER", header)
			return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: options})
		}},
		{"client secret", "adfs", func(t *testing.T, c *localcloud.Cloud, options policy.ClientOptions) (azcore.TokenCredential, error) {
			t.Setenv("AZURE_AUTHORITY_HOST", c.DirectAuthority())
			return azidentity.NewClientSecretCredential("adfs", appID, appSecret, &azidentity.ClientSecretCredentialOptions{ClientOptions: options})
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := localcloud.Start(t, localcloud.Config{Hermetic: true, Direct: "127.0.0.1:0", Provision: localcloud.Provision{
				Apps:       []localcloud.App{{TenantID: row.tenant, ClientID: appID, ClientSecret: appSecret}},
				Identities: []localcloud.ManagedIdentity{{TenantID: row.tenant, ClientID: "direct"}},
				Vaults:     []localcloud.Vault{{URL: vaultURL}},
			}})
			options := policy.ClientOptions{Transport: withoutProxy(t, c)}
			credential, err := row.credential(t, c, options)
			if err != nil {
				t.Fatal(err)
			}
			base := c.DirectVaultURL("airlock-dev")
			client, err := azsecrets.NewClient(base, credential, &azsecrets.ClientOptions{ClientOptions: options})
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"a", "b", "c"} {
				if id := string(*set(t, client, name, "value of "+name).ID); !strings.HasPrefix(id, base+"secrets/"+name+"/") {
					t.Errorf("id %s", id)
				}
			}
			response, body := wireWith(t, options.Transport.(*http.Client), credential, c, base+"secrets?api-version=7.4&maxresults=2")
			if response.StatusCode != 200 || !strings.Contains(body, `"nextLink":"`+base+`secrets?api-version`) {
				t.Errorf("%d %s", response.StatusCode, body)
			}
			// The same vault by its real name, through the proxy.
			if err := c.SetSecrets(vaultURL, map[string]string{"d": "4"}); err != nil {
				t.Fatal(err)
			}
			if got := get(t, client, "d", ""); got != "4" {
				t.Errorf("got %q", got)
			}
			unknown, err := azsecrets.NewClient(c.DirectVaultURL("nobody"), credential, &azsecrets.ClientOptions{ClientOptions: options})
			if err != nil {
				t.Fatal(err)
			}
			_, err = unknown.GetSecret(t.Context(), "a", "", nil)
			wantCode(t, err, http.StatusNotFound, "VaultNotProvisioned")
		})
	}
	if c := start(t); c.DirectVaultURL("x") != "" || c.DirectAuthority() != "" {
		t.Error("a direct listener that nobody asked for")
	}
}

func wireWith(t *testing.T, client *http.Client, credential azcore.TokenCredential, c *localcloud.Cloud, url string) (*http.Response, string) {
	t.Helper()
	resource := strings.TrimSuffix(strings.Replace(c.DirectAuthority(), "login.", "vault.", 1), "/")
	token, err := credential.GetToken(t.Context(), policyFor(resource))
	if err != nil {
		t.Fatal(err)
	}
	return send(t, client, "GET", url, "", "Authorization", "Bearer "+token.Token)
}

func TestAnyVault(t *testing.T) {
	p := provision()
	p.Vaults = nil
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, AnyVault: true, Provision: p})
	for _, url := range []string{"https://first.vault.azure.net", "https://second.vault.azure.net"} {
		client := secretsClient(t, c, url, clientSecret(t, c, appSecret))
		_, err := client.GetSecret(t.Context(), "a", "", nil)
		wantCode(t, err, http.StatusNotFound, "SecretNotFound")
		set(t, client, "a", url)
	}
	if got := get(t, secretsClient(t, c, "https://first.vault.azure.net", clientSecret(t, c, appSecret)), "a", ""); got != "https://first.vault.azure.net" {
		t.Errorf("got %q", got)
	}
	response, body := wire(t, c, "GET", "https://x.vault.azure.net/secrets?api-version=7.4", "") // no name of a vault
	if response.StatusCode != 404 || !strings.Contains(body, "VaultNotProvisioned") {
		t.Errorf("%d %s", response.StatusCode, body)
	}
}

func TestJavaTrustStore(t *testing.T) {
	c := start(t)
	file, password, err := c.JavaTrustStore()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := pkcs12.DecodeTrustStore(raw, password)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := os.ReadFile(c.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Count(string(bundle), "BEGIN CERTIFICATE"); len(trusted) != want {
		t.Errorf("%d certificates, want %d", len(trusted), want)
	}
	ours, err := os.ReadFile(c.Env()["NODE_EXTRA_CA_CERTS"])
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(ours)
	found := false
	for _, certificate := range trusted {
		found = found || string(certificate.Raw) == string(block.Bytes)
	}
	if !found {
		t.Error("the trust store has not our own certificate")
	}
}

// A Java program reaches the cloud with nothing but the options.
func TestJava(t *testing.T) {
	java, err := exec.LookPath("java")
	if err != nil {
		t.Skip("java is not installed")
	}
	c := start(t)
	options, err := c.JavaOptions()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "Ask.java")
	const source = `class Ask { public static void main(String[] a) throws Exception {
		var c = (java.net.HttpURLConnection) new java.net.URL(a[0]).openConnection();
		System.out.println(c.getResponseCode() + " " + c.getHeaderField("Server"));
	} }`
	if err := os.WriteFile(program, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), java, append(options, program, vaultURL+"secrets?api-version=7.4")...).CombinedOutput()
	if strings.Contains(string(out), "jdk.compiler") || strings.Contains(string(out), "does not contain a class") {
		t.Skip("java cannot compile here: " + strings.TrimSpace(string(out)))
	}
	if err != nil || strings.TrimSpace(string(out)) != "401 Airlock-Local-Cloud" {
		t.Errorf("java: %v\n%s", err, out)
	}
}
