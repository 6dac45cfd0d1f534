package keyvault

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
	"github.com/airlock-secrets/airlock/localcloud"
)

const (
	rightsVault   = "https://rights.vault.azure.net/"
	rightsTenant  = "11111111-2222-3333-4444-555555555555"
	rightsApp     = "aaaaaaaa-0000-0000-0000-000000000001"
	strangeTenant = "99999999-2222-3333-4444-555555555555"
)

// openRights makes a client of a vault with permissions, as an app of a tenant.
func openRights(t *testing.T, p localcloud.Permissions, tenant string) *Client {
	t.Helper()
	cloud := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: localcloud.Provision{
		Apps: []localcloud.App{
			{TenantID: rightsTenant, ClientID: rightsApp, ClientSecret: "s"}, {TenantID: strangeTenant, ClientID: rightsApp, ClientSecret: "s"},
		},
		Vaults: []localcloud.Vault{{URL: rightsVault, TenantID: rightsTenant, Permissions: p}},
	}})
	c, err := New(Config{VaultURL: rightsVault, TenantID: tenant, ClientID: rightsApp, ClientSecret: secret.FromString("s"), HTTPClient: cloud.HTTPClient()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var allRights = []Right{RightGet, RightList, RightSet, RightDelete, RightRecover, RightBackup, RightPurge}

// TestTry: each right is told from the others, in both models of permissions.
func TestTry(t *testing.T) {
	for _, right := range allRights {
		t.Run(string(right), func(t *testing.T) {
			c := openRights(t, localcloud.Permissions{Model: localcloud.AccessPolicies, Policies: []localcloud.AccessPolicy{
				{Principal: rightsApp, Secrets: []string{string(right)}},
			}}, rightsTenant)
			for _, other := range allRights {
				err := c.Try(t.Context(), other)
				if (err == nil) != (other == right) || err != nil && (!fault.Is(err, fault.Forbidden) || fault.CaseOf(err) != "policy") {
					t.Errorf("with %s alone, %s: %v (%s)", right, other, err, fault.CaseOf(err))
				}
			}
		})
	}
	for role, may := range map[string][]Right{
		"Key Vault Secrets User":    {RightGet, RightList},
		"Key Vault Reader":          {RightList},
		"Key Vault Secrets Officer": allRights,
	} {
		c := openRights(t, localcloud.Permissions{Model: localcloud.RBAC, Roles: []localcloud.RoleAssignment{{Principal: rightsApp, Role: role}}}, rightsTenant)
		for _, right := range allRights {
			if err := c.Try(t.Context(), right); (err == nil) != slices.Contains(may, right) {
				t.Errorf("%s, %s: %v", role, right, err)
			}
		}
	}
	if err := openRights(t, localcloud.Permissions{}, rightsTenant).Try(t.Context(), "restore"); !fault.Is(err, fault.Internal) {
		t.Errorf("a right that cannot be tried: %v", err)
	}
}

// TestCases: each case is a row of the table.
func TestCases(t *testing.T) {
	for _, name := range []string{CaseUnknownVault, CaseProxy, CaseWrongTenant, CaseWrongAudience, CaseTokenRefused, CaseFirewall, CasePrivate, CaseRBAC, caseOtherTenant} {
		if !slices.ContainsFunc(remedies, func(r remedy) bool { return r.id == name }) {
			t.Errorf("no remedy is called %q", name)
		}
	}
}

// TestLogin: whose token it is, also where the vault is another tenant's.
func TestLogin(t *testing.T) {
	for _, tenant := range []string{rightsTenant, strangeTenant} {
		c := openRights(t, localcloud.Permissions{}, tenant)
		to, err := c.Challenge(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if to.TenantID != rightsTenant || to.Audience != "https://vault.azure.net" || to.Authority != "https://login.microsoftonline.com" ||
			to.Seen != "127.0.0.1" || to.Region != "eastus" || !to.Emulated || to.Asked.Sub(to.Date).Abs() > time.Minute {
			t.Errorf("challenge: %+v", to)
		}
		login, err := c.Login(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		if login.TenantID != tenant || login.AppID != rightsApp || login.ObjectID == "" || login.Credential != "ClientSecretCredential" ||
			login.Audience != "https://vault.azure.net" || time.Until(login.Expires) < time.Minute {
			t.Errorf("login: %+v", login)
		}
	}
}

// TestClaims: what is shown of a token cannot steer a terminal, and a token of another form shows nothing.
func TestClaims(t *testing.T) {
	token := func(claims string) string { return "h." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".s" }
	for raw, want := range map[string]Login{
		token(`{"appid":"a","oid":"o","tid":"t","aud":"https://vault.azure.net","upn":"jo@contoso.com"}`): {
			AppID: "a", ObjectID: "o", TenantID: "t", Audience: "https://vault.azure.net", User: "jo@contoso.com"},
		token(`{"azp":"a","unique_name":"live.com#jo@contoso.com"}`):                      {AppID: "a", User: "live.com#jo@contoso.com"},
		token("{\"appid\":\"\\u001b[31m\",\"tid\":\"" + strings.Repeat("x", 300) + "\"}"): {},
		token(`{"appid":7}`): {}, token(`[]`): {}, "opaque": {}, "a.b.c": {}, "": {},
	} {
		var got Login
		if got.read(raw); got != want {
			t.Errorf("%q: %+v, want %+v", raw, got, want)
		}
	}
}

func FuzzClaims(f *testing.F) {
	f.Add("h.eyJhcHBpZCI6ImEifQ.s")
	f.Fuzz(func(t *testing.T, token string) {
		var l Login
		l.read(token)
		for _, text := range []string{l.AppID, l.ObjectID, l.TenantID, l.User, l.Audience} {
			if strings.ContainsAny(text, "\x1b\n\r\x00") {
				t.Errorf("shows %q", text)
			}
		}
	})
}
