package localcloud_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/airlock-secrets/airlock/localcloud"
)

// operations does each thing that the data plane can do, on names of its own so that one does not hinder another.
var operations = []struct {
	name string
	do   func(context.Context, *azsecrets.Client) error
}{
	{"get", func(ctx context.Context, c *azsecrets.Client) error {
		_, err := c.GetSecret(ctx, "kept", "", nil)
		return err
	}},
	{"list", func(ctx context.Context, c *azsecrets.Client) error {
		_, err := c.NewListSecretPropertiesPager(nil).NextPage(ctx)
		return err
	}},
	{"versions", func(ctx context.Context, c *azsecrets.Client) error {
		_, err := c.NewListSecretPropertiesVersionsPager("kept", nil).NextPage(ctx)
		return err
	}},
	{"set", func(ctx context.Context, c *azsecrets.Client) error {
		_, err := c.SetSecret(ctx, "set", azsecrets.SetSecretParameters{Value: new(string)}, nil)
		return err
	}},
	{"update", func(ctx context.Context, c *azsecrets.Client) error {
		_, err := c.UpdateSecretProperties(ctx, "kept", "", azsecrets.UpdateSecretPropertiesParameters{}, nil)
		return err
	}},
	{"backup", func(ctx context.Context, c *azsecrets.Client) error {
		_, err := c.BackupSecret(ctx, "kept", nil)
		return err
	}},
	{"restore", func(ctx context.Context, c *azsecrets.Client) error {
		_, err := c.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: []byte("not a backup")}, nil)
		return err
	}},
	{"delete", func(ctx context.Context, c *azsecrets.Client) error {
		_, err := c.DeleteSecret(ctx, "to-delete", nil)
		return err
	}},
	{"get deleted", func(ctx context.Context, c *azsecrets.Client) error {
		_, err := c.GetDeletedSecret(ctx, "deleted", nil)
		return err
	}},
	{"list deleted", func(ctx context.Context, c *azsecrets.Client) error {
		_, err := c.NewListDeletedSecretPropertiesPager(nil).NextPage(ctx)
		return err
	}},
	{"recover", func(ctx context.Context, c *azsecrets.Client) error {
		_, err := c.RecoverDeletedSecret(ctx, "to-recover", nil)
		return err
	}},
	{"purge", func(ctx context.Context, c *azsecrets.Client) error {
		_, err := c.PurgeDeletedSecret(ctx, "to-purge", nil)
		return err
	}},
}

func everything(but ...string) []string {
	var all []string
	for _, op := range operations {
		if !slices.Contains(but, op.name) {
			all = append(all, op.name)
		}
	}
	return all
}

func TestPermissions(t *testing.T) {
	policies := func(secrets ...string) localcloud.Permissions {
		return localcloud.Permissions{Model: localcloud.AccessPolicies, Policies: []localcloud.AccessPolicy{
			{Principal: "somebody else", Secrets: []string{"all"}}, {Principal: appID, Secrets: secrets},
		}}
	}
	role := func(role, secret string) localcloud.Permissions {
		return localcloud.Permissions{Model: localcloud.RBAC, Roles: []localcloud.RoleAssignment{
			{Principal: "somebody else", Role: "Key Vault Administrator"}, {Principal: appID, Role: role, Secret: secret},
		}}
	}
	for _, row := range []struct {
		name        string
		permissions localcloud.Permissions
		allowed     []string
		code        string // inner code of what is refused
	}{
		{"everyone", localcloud.Permissions{}, everything(), ""},
		{"no policy", localcloud.Permissions{Model: localcloud.AccessPolicies}, nil, "AccessDenied"},
		{"get", policies("Get"), []string{"get", "get deleted"}, "AccessDenied"},
		{"list", policies("list"), []string{"list", "versions", "list deleted"}, "AccessDenied"},
		{"set", policies("set"), []string{"set", "update"}, "AccessDenied"},
		{"delete", policies("delete"), []string{"delete"}, "AccessDenied"},
		{"backup and restore", policies("backup", "restore"), []string{"backup", "restore"}, "AccessDenied"},
		{"recover and purge", policies("recover", "purge"), []string{"recover", "purge"}, "AccessDenied"},
		{"all", policies("all"), everything(), ""},
		{"template", localcloud.Permissions{Model: localcloud.AccessPolicies, Policies: []localcloud.AccessPolicy{
			{Principal: appID, Template: "Key, Secret, & Certificate Management"},
		}}, everything("purge"), "AccessDenied"},
		{"template of keys", localcloud.Permissions{Model: localcloud.AccessPolicies, Policies: []localcloud.AccessPolicy{
			{Principal: appID, Template: "Key Management"},
		}}, nil, "AccessDenied"},
		{"no role", localcloud.Permissions{Model: localcloud.RBAC}, nil, "ForbiddenByRbac"},
		{"policies do not count under RBAC", localcloud.Permissions{Model: localcloud.RBAC, Policies: []localcloud.AccessPolicy{
			{Principal: appID, Secrets: []string{"all"}},
		}}, nil, "ForbiddenByRbac"},
		{"Administrator", role("Key Vault Administrator", ""), everything(), ""},
		{"Secrets Officer", role("key vault secrets officer", ""), everything(), ""},
		{"Secrets User", role("4633458b-17de-408a-b874-0445c86b69e6", ""), []string{"get", "list", "versions", "get deleted", "list deleted"}, "ForbiddenByRbac"},
		{"Reader", role("Key Vault Reader", ""), []string{"list", "versions", "get deleted", "list deleted"}, "ForbiddenByRbac"},
		{"Secrets User of one secret", role("Key Vault Secrets User", "KEPT"), []string{"get", "versions"}, "ForbiddenByRbac"},
		{"Secrets User of another secret", role("Key Vault Secrets User", "other"), nil, "ForbiddenByRbac"},
		{"this address", localcloud.Permissions{Network: localcloud.NetworkRules{Deny: true, Allowed: []string{"203.0.113.0/24", "127.0.0.1"}}}, everything(), ""},
		{"this network", localcloud.Permissions{Network: localcloud.NetworkRules{Deny: true, Allowed: []string{"127.0.0.0/8"}}}, everything(), ""},
		{"other networks", localcloud.Permissions{Network: localcloud.NetworkRules{Deny: true, Allowed: []string{"203.0.113.0/24"}}}, nil, "ForbiddenByFirewall"},
		{"no network", localcloud.Permissions{Network: localcloud.NetworkRules{Disabled: true, Allowed: []string{"127.0.0.1"}}}, nil, "ForbiddenByFirewall"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := start(t)
			open := secretsClient(t, c, vaultURL, clientSecret(t, c, appSecret))
			for _, name := range []string{"kept", "to-delete", "deleted", "to-recover", "to-purge"} {
				set(t, open, name, "value")
			}
			for _, name := range []string{"deleted", "to-recover", "to-purge"} {
				if _, err := open.DeleteSecret(t.Context(), name, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Add(localcloud.Provision{Vaults: []localcloud.Vault{{URL: vaultURL, Permissions: row.permissions}}}); err != nil {
				t.Fatal(err)
			}
			client := secretsClient(t, c, vaultURL, clientSecret(t, c, appSecret))
			var allowed []string
			for _, op := range operations {
				err := op.do(t.Context(), client)
				switch {
				case err == nil || op.name == "restore" && strings.Contains(err.Error(), "Malformed backup blob"):
					allowed = append(allowed, op.name)
				case !strings.Contains(err.Error(), `"code": "`+row.code+`"`) || !strings.Contains(err.Error(), "RESPONSE 403"):
					t.Errorf("%s: %v", op.name, err)
				}
			}
			if !slices.Equal(allowed, row.allowed) {
				t.Errorf("allowed %v, want %v", allowed, row.allowed)
			}
		})
	}
}

// The texts name who asked, for what, and where.
func TestPermissionTexts(t *testing.T) {
	const caller = "appid=" + appID + ";oid=the-object;iss=https://sts.windows.net/" + tenant + "/"
	for _, row := range []struct {
		permissions   localcloud.Permissions
		path, message string
	}{
		{localcloud.Permissions{Model: localcloud.AccessPolicies}, "secrets/a",
			"The user, group or application '" + caller + "' does not have secrets get permission on key vault 'airlock-dev;location=westeurope'. " +
				"For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287"},
		{localcloud.Permissions{Model: localcloud.RBAC}, "secrets/a",
			"Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions were changed " +
				"recently, please observe propagation time.\r\nCaller: " + caller + "\r\nAction: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'\r\n" +
				"Resource: '/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/airlock/providers/microsoft.keyvault/vaults/airlock-dev/secrets/a'\r\n" +
				"Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\nVault: airlock-dev;location=westeurope\r\n"},
		{localcloud.Permissions{Model: localcloud.RBAC}, "secrets",
			"Resource: '/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/airlock/providers/microsoft.keyvault/vaults/airlock-dev'\r\n"},
		{localcloud.Permissions{Network: localcloud.NetworkRules{Deny: true}}, "secrets/a",
			"Client address is not authorized and caller is not a trusted service.\r\nClient address: 127.0.0.1\r\nCaller: " + caller +
				"\r\nVault: airlock-dev;location=westeurope"},
	} {
		p := provision()
		p.Apps[0].ObjectID = "the-object"
		p.Vaults = []localcloud.Vault{{URL: vaultURL, Location: "westeurope", Permissions: row.permissions}}
		c := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: p})
		response, body := wire(t, c, "GET", vaultURL+row.path+"?api-version=7.4", "")
		var answer struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != 403 || answer.Error.Code != "Forbidden" || !strings.Contains(answer.Error.Message, row.message) {
			t.Errorf("%d %q\nwant %q", response.StatusCode, answer.Error.Message, row.message)
		}
		if response.Header.Get("X-Ms-Keyvault-Rbac-Assignment-Id") != "" {
			t.Error("a refusal names a role assignment")
		}
	}
	p := provision()
	p.Vaults = []localcloud.Vault{{URL: vaultURL, Permissions: localcloud.Permissions{Model: localcloud.RBAC,
		Roles: []localcloud.RoleAssignment{{Principal: appID, Role: "Key Vault Reader"}}}}}
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: p})
	response, _ := wire(t, c, "GET", vaultURL+"secrets?api-version=7.4", "")
	if id := response.Header.Get("X-Ms-Keyvault-Rbac-Assignment-Id"); len(id) != 32 {
		t.Errorf("assignment %q", id)
	}
}

func TestPermissionsRefused(t *testing.T) {
	p := provision()
	p.Vaults = []localcloud.Vault{{URL: vaultURL, Permissions: localcloud.Permissions{
		Model:    "acl",
		Policies: []localcloud.AccessPolicy{{Secrets: []string{"read"}, Template: "Everything"}},
		Roles:    []localcloud.RoleAssignment{{Role: "Owner", Secret: "a_b"}},
		Network:  localcloud.NetworkRules{Allowed: []string{"home"}},
	}}}
	_, err := localcloud.Open(localcloud.Config{Provision: p})
	if err == nil {
		t.Fatal("it opened")
	}
	for _, want := range []string{
		`Provision.Vaults[0]: `, `Model = "acl"`, "Policies[0].Principal must not be empty", `no permission is called "read"; there are all, get`,
		`Policies[0].Template = "Everything"`, "Roles[0].Principal must not be empty", `Roles[0].Role = "Owner": want one of "Key Vault Administrator"`,
		`Roles[0].Secret = "a_b"`, `Network.Allowed[0] = "home"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %s:\n%v", want, err)
		}
	}
}

// A role that was taken away still acts for some minutes, and a new one does not act yet.
func TestPermissionsTakeTime(t *testing.T) {
	at := newClock()
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Now: at.Now, Provision: provision()})
	if err := c.SetFaults(localcloud.Faults{Visibility: localcloud.Visibility{Permissions: time.Minute}}); err != nil {
		t.Fatal(err)
	}
	client := secretsClient(t, c, vaultURL, clientSecret(t, c, appSecret))
	set(t, client, "kept", "1")
	status := func() string {
		response, _ := wire(t, c, "GET", vaultURL+"secrets/kept?api-version=7.4", "")
		return fmt.Sprint(response.StatusCode)
	}
	change := func(model localcloud.Permissions) {
		if err := c.Add(localcloud.Provision{Vaults: []localcloud.Vault{{URL: vaultURL, Permissions: model}}}); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	change(localcloud.Permissions{Model: localcloud.RBAC})
	seen = append(seen, status())
	at.advance(time.Minute)
	seen = append(seen, status())
	change(localcloud.Permissions{Model: localcloud.RBAC, Roles: []localcloud.RoleAssignment{{Principal: appID, Role: "Key Vault Secrets User"}}})
	seen = append(seen, status())
	at.advance(time.Minute)
	seen = append(seen, status())
	if want := "200 403 403 200"; strings.Join(seen, " ") != want {
		t.Errorf("seen %v, want %s", seen, want)
	}
}
