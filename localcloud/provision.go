package localcloud

import (
	"errors"
	"fmt"

	"github.com/airlock-secrets/airlock/localcloud/astro"
	"github.com/airlock-secrets/airlock/localcloud/clouds"
	"github.com/airlock-secrets/airlock/localcloud/entra"
	"github.com/airlock-secrets/airlock/localcloud/github"
	"github.com/airlock-secrets/airlock/localcloud/identity"
	"github.com/airlock-secrets/airlock/localcloud/keyvault"
)

// Provision is what exists in a cloud from the start. The order of vaults means nothing. Tenants of apps, identities and
// vaults need not be listed.
type Provision struct {
	Tenants    []string
	Apps       []App
	Identities []ManagedIdentity
	Vaults     []Vault
	Astro      []AstroOrganization
	GitHub     []GitHubRepository
}

// App is an application with its service principal.
type App = entra.App

// FederatedCredential makes the tokens of another issuer a credential of an app or a managed identity.
type FederatedCredential = entra.FederatedCredential

// What there is of Astro.
type (
	AstroOrganization = astro.Organization
	AstroWorkspace    = astro.Workspace
	AstroDeployment   = astro.Deployment
	AstroVariable     = astro.Variable
	AstroToken        = astro.Token
)

// The scopes of an AstroToken.
const (
	AstroOrganizationScope = astro.OrganizationScope
	AstroWorkspaceScope    = astro.WorkspaceScope
	AstroDeploymentScope   = astro.DeploymentScope
)

// What there is of GitHub. With no repository, api.github.com is not emulated.
type (
	GitHubRepository = github.Repository
	GitHubToken      = github.Token
)

// LocalIssuer is the issuer of the tokens that WorkloadIdentity makes.
const LocalIssuer = entra.LocalIssuer

// ManagedIdentity is an identity of the machine.
type ManagedIdentity = identity.ManagedIdentity

// Vault is a Key Vault. An empty TenantID stands for the only tenant that there is.
type Vault = keyvault.Vault

// The permissions of a vault.
type (
	Permissions    = keyvault.Permissions
	AccessPolicy   = keyvault.AccessPolicy
	RoleAssignment = keyvault.RoleAssignment
	NetworkRules   = keyvault.NetworkRules
)

// The models of a vault's permissions.
const (
	Everyone       = keyvault.Everyone
	AccessPolicies = keyvault.AccessPolicies
	RBAC           = keyvault.RBAC
)

// Add provisions more while the cloud runs. An app or a vault takes the place of the one with the same ids; what a vault
// holds stays. Errors name the field and the value that is wrong; what has no error is there.
func (c *Cloud) Add(p Provision) error {
	var problems []error
	check := func(kind string, i int, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("config: Provision.%s[%d]: %w", kind, i, err))
		}
	}
	for i, tenant := range p.Tenants {
		check("Tenants", i, c.entra.AddTenant(tenant))
	}
	for i, app := range p.Apps {
		check("Apps", i, c.entra.AddApp(app))
	}
	for i, id := range p.Identities {
		check("Identities", i, c.addIdentity(id))
	}
	for i, vault := range p.Vaults {
		check("Vaults", i, c.addVault(vault))
	}
	for i, organization := range p.Astro {
		check("Astro", i, c.astro.Add(organization))
	}
	for i, repository := range p.GitHub {
		check("GitHub", i, c.github.Add(repository))
	}
	return errors.Join(problems...)
}

func (c *Cloud) addIdentity(id ManagedIdentity) error {
	if err := c.identity.Add(id); err != nil {
		return err
	}
	if len(id.Federated) > 0 { // to Entra ID it is then an app without a secret
		return c.entra.AddApp(App{TenantID: id.TenantID, ClientID: id.ClientID, ObjectID: id.ObjectID, Federated: id.Federated})
	}
	return c.entra.AddTenant(id.TenantID)
}

// Remove revokes an app or a managed identity: it gets no tokens any more. Those that it has stay good until they
// expire, as in Azure.
func (c *Cloud) Remove(tenantID, clientID string) {
	c.entra.RemoveApp(tenantID, clientID)
	c.identity.Remove(tenantID, clientID)
}

// WorkloadIdentity is the environment of a workload in a cluster that signs in by federation: it writes a token of
// [LocalIssuer] for the subject to file, private, and returns AZURE_FEDERATED_TOKEN_FILE and the variables that go with
// it. The app or the identity must have a [FederatedCredential] for the subject. The token is good for an hour.
func (c *Cloud) WorkloadIdentity(tenantID, clientID, subject, file string) (map[string]string, error) {
	token, err := c.entra.FederatedToken(subject)
	if err != nil {
		return nil, err
	}
	if err := writeKey(file, []byte(token+"\n")); err != nil {
		return nil, err
	}
	return map[string]string{
		"AZURE_TENANT_ID": tenantID, "AZURE_CLIENT_ID": clientID, "AZURE_FEDERATED_TOKEN_FILE": file,
		"AZURE_AUTHORITY_HOST": "https://" + clouds.All[0].Login + "/",
	}, nil
}

func (c *Cloud) addVault(v Vault) error {
	if v.TenantID == "" {
		tenants := c.entra.Tenants()
		if len(tenants) != 1 {
			return fmt.Errorf("no TenantID, which stands for the only tenant, but there are %d", len(tenants))
		}
		v.TenantID = tenants[0]
	}
	if err := c.keyvault.AddVault(v); err != nil {
		return err
	}
	return c.entra.AddTenant(v.TenantID)
}

// SetSecrets gives a provisioned vault secrets without the wire, in one transaction. A name whose value is the same
// already gets no new version; one that is deleted is recovered. Key Vault's rules for names and sizes hold.
func (c *Cloud) SetSecrets(vaultURL string, secrets map[string]string) error {
	return c.keyvault.SetSecrets(vaultURL, secrets)
}

// AstroToken is the value of ASTRO_API_TOKEN for a provisioned token's id.
func (c *Cloud) AstroToken(id string) (string, error) { return c.astro.Token(id) }

// DeploymentEnvironment is what the Airflow of a Deployment has in its environment from Astro: the values of its
// variables, secret ones too. An unknown id has none.
func (c *Cloud) DeploymentEnvironment(id string) map[string]string { return c.astro.Environment(id) }

// GitHubSecrets are the Actions secrets of a repository OWNER/NAME, as a workflow gets them.
func (c *Cloud) GitHubSecrets(repository string) map[string]string {
	return c.github.Secrets(repository)
}
