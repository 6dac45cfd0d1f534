package localcloud

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const provisionFile = `
tenants: [11111111-1111-1111-1111-111111111111]
apps:
  - tenant_id: 11111111-1111-1111-1111-111111111111
    client_id: 22222222-2222-2222-2222-222222222222
    client_secret: canary
    secret_expires: 2031-01-02T03:04:05Z
    federated:
      - subject: system:serviceaccount:airflow:worker
managed_identities:
  - {tenant_id: 11111111-1111-1111-1111-111111111111, client_id: 33333333-3333-3333-3333-333333333333, system_assigned: true}
vaults:
  - url: https://roles.vault.azure.net/
    permissions:
      roles:
        - {principal: 22222222-2222-2222-2222-222222222222, role: Key Vault Secrets User}
      network: {deny: true, allowed: [203.0.113.0/24]}
  - url: https://policies.vault.azure.net/
    retention_days: 7
    purge_protection: true
    permissions:
      access_policies:
        - {principal: 22222222-2222-2222-2222-222222222222, secrets: [get, list]}
  - url: https://open.vault.azure.net/
`

func TestReadProvision(t *testing.T) {
	file := filepath.Join(t.TempDir(), "provision.yaml")
	if err := os.WriteFile(file, []byte(provisionFile), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ReadProvision(file)
	if err != nil {
		t.Fatal(err)
	}
	roles, policies, open := p.Vaults[0].Permissions, p.Vaults[1].Permissions, p.Vaults[2].Permissions
	if roles.Model != RBAC || roles.Roles[0].Role != "Key Vault Secrets User" || !roles.Network.Deny || roles.Network.Allowed[0] != "203.0.113.0/24" {
		t.Errorf("%+v", roles)
	}
	if policies.Model != AccessPolicies || policies.Policies[0].Secrets[1] != "list" || p.Vaults[1].RetentionDays != 7 || !p.Vaults[1].PurgeProtection {
		t.Errorf("%+v", p.Vaults[1])
	}
	if open.Model != Everyone {
		t.Errorf("%+v", open)
	}
	if p.Apps[0].ClientSecret != "canary" || p.Apps[0].SecretExpires.Year() != 2031 || p.Apps[0].Federated[0].Subject == "" || !p.Identities[0].SystemAssigned {
		t.Errorf("%+v %+v", p.Apps, p.Identities)
	}
	Start(t, Config{Provision: p}) // it is a provision that a cloud takes
}

func TestReadProvisionErrors(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ text, want string }{
		{"apps:\n  - client_sceret: canary\n", `line 2: no field is called "client_sceret"`},
		{"apps:\n  - client_secret: [canary]\n", "line 2: not the kind of value"},
		{"apps: [canary\n", "not valid YAML"},
		{"vaults:\n  - permissions: {roles: [], access_policies: []}\n", "vaults[0]: permissions: a vault has either"},
		{"apps:\n  - certificates: [key.pem]\n", "apps[0]: key.pem holds no certificate"},
		{"apps:\n  - federated: [{keys: key.pem}]\n", "apps[0]: key.pem is not a JSON Web Key Set"},
		{"apps:\n  - certificates: [missing.pem]\n", "apps[0]: open "},
	} {
		file := filepath.Join(dir, "p.yaml")
		if err := os.WriteFile(file, []byte(row.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadProvision(file)
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v, want %q", row.text, err, row.want)
		}
	}
}

func FuzzReadProvision(f *testing.F) {
	f.Add(provisionFile)
	f.Add(`{"vaults": [{"url": "x"}]}`)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseProvision([]byte(text), dir)
	})
}
