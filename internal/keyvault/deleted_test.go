package keyvault

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
	"github.com/airlock-secrets/airlock/localcloud"
)

// TestRecover: a deleted name is listed as such, cannot be set, and comes back with value, content type and tags.
func TestRecover(t *testing.T) {
	isolate(t)
	const vault = "https://recover.vault.azure.net/"
	cloud := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: localcloud.Provision{
		Apps:   []localcloud.App{{TenantID: tenantID, ClientID: appID, ClientSecret: clientSecretCanary}},
		Vaults: []localcloud.Vault{{URL: vault}},
	}})
	c := open(t, Config{
		VaultURL: vault, TenantID: tenantID, ClientID: appID, ClientSecret: secret.FromString(clientSecretCanary),
		HTTPClient: cloud.HTTPClient(),
	})
	ctx := t.Context()
	content := Content{Value: secret.FromString(valueCanary), ContentType: "text/plain", Tags: map[string]string{"airlock-id": "a_b", "x": ""}}
	if _, err := c.Set(ctx, "a-b", content); err != nil {
		t.Fatal(err)
	}
	if err := c.Recover(ctx, "a-b"); !fault.Is(err, fault.NotFound) {
		t.Errorf("recover of a name that is there: %v", err)
	}
	if err := c.Delete(ctx, "a-b"); err != nil {
		t.Fatal(err)
	}
	var deleted []string
	for p, err := range c.Deleted(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		deleted = append(deleted, p.Name)
	}
	if d := cmp.Diff([]string{"a-b"}, deleted); d != "" {
		t.Errorf("deleted: %s", d)
	}
	if _, err := c.Set(ctx, "a-b", content); !fault.Is(err, fault.Usage) {
		t.Errorf("set of a deleted name: %v", err)
	}
	if err := c.Recover(ctx, "a-b"); err != nil {
		t.Fatal(err)
	}
	for p, err := range c.List(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(content.Tags, p.Tags); d != "" || p.ContentType != content.ContentType {
			t.Errorf("recovered as %q with %s", p.ContentType, d)
		}
	}
	if err := c.Retag(ctx, "a-b", map[string]string{"airlock-id": "a-b"}); err != nil {
		t.Fatal(err)
	}
	got, err := c.Get(ctx, "a-b")
	if d := cmp.Diff(map[string]string{"airlock-id": "a-b"}, got.Tags); d != "" || got.ContentType != content.ContentType {
		t.Errorf("retagged as %q with %s", got.ContentType, d)
	}
	if err != nil || string(got.Value.Reveal()) != valueCanary {
		t.Errorf("recovered value: %v", err)
	}
	if err := c.Recover(ctx, "never"); !fault.Is(err, fault.NotFound) {
		t.Errorf("recover of an unknown name: %v", err)
	}
}

// TestRecoverWaits: Key Vault shows a recovered secret after a while only.
func TestRecoverWaits(t *testing.T) {
	asked := 0
	vault := memory(map[string]string{"a": "1"})
	f := newFake(t, &cloudFake{vault: func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			answer(w, http.StatusOK, `{"id":"https://`+vaultHost+`/secrets/a/48a43b28f13c4640924b0973197d5e7d","attributes":{"enabled":true}}`)
			return
		case r.Method == http.MethodGet:
			if asked++; asked == 1 {
				answer(w, http.StatusNotFound, notFoundBody("a"))
				return
			}
		}
		vault(w, r)
	}})
	if err := open(t, f.config()).Recover(t.Context(), "a"); err != nil || asked != 2 {
		t.Errorf("recovered after %d looks: %v", asked, err)
	}
}
