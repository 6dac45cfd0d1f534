package localcloud_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/airlock-secrets/airlock/localcloud"
)

func TestReadProvision(t *testing.T) {
	dir := t.TempDir()
	cert, _ := certificate(t, time.Now(), time.Now())
	if err := os.WriteFile(filepath.Join(dir, "app.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "keys.json"), keys, 0o600); err != nil {
		t.Fatal(err)
	}
	const text = `
tenants: [t]
apps:
  - tenantId: t
    clientId: a
    clientSecret: s
    secretExpires: 2027-01-01T00:00:00Z
    objectId: o
    certificates: [app.pem]
    federated:
      - {issuer: https://cluster.example, subject: s, keys: keys.json}
identities:
  - {tenantId: t, clientId: i, systemAssigned: true, federated: [{subject: w}]}
vaults:
  - url: https://my-vault.vault.azure.net/
    retentionDays: 7
    purgeProtection: true
    permissions:
      model: RBAC
      roles: [{principal: a, role: Key Vault Secrets User, secret: one}]
      policies: [{principal: a, secrets: [get, list], template: Secret Management}]
      network: {deny: true, allowed: [127.0.0.1]}
astro:
  - id: org
    showSecrets: true
    workspaces:
      - id: ws
        deployments: [{id: d, name: prod, hibernating: true, variables: [{key: A, value: v, secret: true}]}]
    tokens: [{id: tok, scope: WORKSPACE, entityId: ws, role: WORKSPACE_MEMBER}]
github:
  - {name: owner/repo, tokens: [{token: t, secrets: read}]}
`
	got, err := localcloud.ReadProvision(strings.NewReader(text), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Apps) != 1 || len(got.Apps[0].Certificates) != 1 || !got.Apps[0].Certificates[0].Equal(cert) ||
		len(got.Apps[0].Federated) != 1 || len(got.Apps[0].Federated[0].Keys.Keys) != 1 {
		t.Fatalf("got %+v", got.Apps)
	}
	want := localcloud.Provision{
		Tenants: []string{"t"},
		Apps: []localcloud.App{{
			TenantID: "t", ClientID: "a", ClientSecret: "s", SecretExpires: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), ObjectID: "o",
			Federated: []localcloud.FederatedCredential{{Issuer: "https://cluster.example", Subject: "s"}},
		}},
		Identities: []localcloud.ManagedIdentity{{TenantID: "t", ClientID: "i", SystemAssigned: true,
			Federated: []localcloud.FederatedCredential{{Subject: "w"}}}},
		Vaults: []localcloud.Vault{{URL: "https://my-vault.vault.azure.net/", RetentionDays: 7, PurgeProtection: true,
			Permissions: localcloud.Permissions{
				Model:    localcloud.RBAC,
				Roles:    []localcloud.RoleAssignment{{Principal: "a", Role: "Key Vault Secrets User", Secret: "one"}},
				Policies: []localcloud.AccessPolicy{{Principal: "a", Secrets: []string{"get", "list"}, Template: "Secret Management"}},
				Network:  localcloud.NetworkRules{Deny: true, Allowed: []string{"127.0.0.1"}},
			}}},
		Astro: []localcloud.AstroOrganization{{ID: "org", ShowSecrets: true,
			Workspaces: []localcloud.AstroWorkspace{{ID: "ws", Deployments: []localcloud.AstroDeployment{
				{ID: "d", Name: "prod", Hibernating: true, Variables: []localcloud.AstroVariable{{Key: "A", Value: "v", Secret: true}}},
			}}},
			Tokens: []localcloud.AstroToken{{ID: "tok", Scope: localcloud.AstroWorkspaceScope, EntityID: "ws", Role: "WORKSPACE_MEMBER"}},
		}},
		GitHub: []localcloud.GitHubRepository{{Name: "owner/repo", Tokens: []localcloud.GitHubToken{{Token: "t", Secrets: "read"}}}},
	}
	ignore := cmp.Options{
		cmpopts.IgnoreFields(localcloud.App{}, "Certificates"), cmpopts.IgnoreFields(localcloud.FederatedCredential{}, "Keys"),
	}
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Error(diff)
	}
	localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: got})
	if empty, err := localcloud.ReadProvision(strings.NewReader(""), ""); err != nil || !cmp.Equal(empty, localcloud.Provision{}) {
		t.Errorf("an empty file: %+v, %v", empty, err)
	}
}

func TestReadProvisionRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "other"), []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ text, dir, want string }{
		{"apps:\n  - {clientsecret: canary}", dir, "line 2: field clientsecret not found"},
		{"apps:\n  - disabled: canary", dir, "line 2: cannot unmarshal !!str"},
		{"apps: canary", dir, "line 1: cannot unmarshal !!str"},
		{"apps: [", dir, "provision file: yaml: line 1"},
		{"tenants: []\n---\ntenants: [canary]", dir, "more than one document"},
		{"apps: [{certificates: [absent.pem]}]", dir, "apps[0].certificates: open"},
		{"apps: [{certificates: [other]}]", dir, "apps[0].certificates: other holds no certificate in PEM"},
		{"vaults: [{permissions: {roles: [{}], policies: [{}]}}]", dir, "vaults[0].permissions: both roles and policies"},
		{"identities: [{federated: [{keys: other}]}]", dir, "identities[0].federated[0].keys: other is not a JSON Web Key Set"},
		{"apps: [{certificates: [other]}]", "", "files cannot be named here"},
	} {
		_, err := localcloud.ReadProvision(strings.NewReader(row.text), row.dir)
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v, want %s", row.text, err, row.want)
		}
	}
}

func FuzzReadProvision(f *testing.F) {
	f.Add("apps: [{tenantId: t, clientId: c, clientSecret: s}]\nvaults: [{url: https://my-vault.vault.azure.net/}]")
	f.Add(`{"tenants":["t"],"identities":[{"tenantId":"t","clientId":"c","federated":[{"subject":"s"}]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := localcloud.ReadProvision(strings.NewReader(text), "")
		if err == nil {
			for _, app := range p.Apps {
				if len(app.Certificates) > 0 {
					t.Error("a certificate out of nowhere")
				}
			}
		}
	})
}

func TestProvisionOverTheControlAPI(t *testing.T) {
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Control: "127.0.0.1:0", Provision: provision()})
	add := func(body string) (int, string) {
		response, text := send(t, http.DefaultClient, "POST", c.ControlURL()+"/v1/provision", body)
		return response.StatusCode, text
	}
	const late = "https://late-vault.vault.azure.net"
	if status, body := add("apps: [{tenantId: " + tenant + ", clientId: late, clientSecret: s}]\nvaults: [{url: '" + late + "'}]"); status != 204 {
		t.Fatalf("%d %s", status, body)
	}
	if err := c.SetSecrets(late, map[string]string{"a": "1"}); err != nil {
		t.Error(err)
	}
	for body, want := range map[string]string{
		"vaults: [{url: nonsense}]":    `Provision.Vaults[0]`,
		"vault: []":                    "field vault not found",
		"apps: [{certificates: [/x]}]": "files cannot be named here",
	} {
		if status, text := add(body); status != 400 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
}
