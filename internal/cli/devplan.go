package cli

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/localcloud"
)

// What dev makes where the folder's .env names nothing.
const (
	defaultVault = "https://airlock-dev.vault.azure.net/"
)

// madeUp are the ids that dev makes up. They stay the same in a folder, so that what was written into a file yesterday
// works today.
type madeUp struct {
	TenantID, ClientID, ClientSecret, IdentityID, GitHubToken string
}

// devPlan is what dev provisions, and the environment that fits it.
type devPlan struct {
	vaultURL, tenantID, clientID, identityID string

	provision localcloud.Provision
	env       map[string]string
	unset     []string
}

// loginVariables steer azidentity's credentials. A command inside dev gets those that the plan sets and no others.
var loginVariables = []string{
	"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH",
	"AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_USERNAME", "AZURE_PASSWORD", "AZURE_FEDERATED_TOKEN_FILE",
	"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET",
}

// planDev provisions what the folder's .env names, word for word, and makes up the rest.
func planDev(project map[string]string, made madeUp, repositories []string) (devPlan, error) {
	getenv := over(project, func(string) string { return "" })
	var c config.Config
	if getenv(config.EnvKwargs) != "" || getenv(config.EnvKwargPrefix+"VAULT_URL") != "" {
		var err error
		if c, err = config.FromEnvironment(getenv); err != nil {
			return devPlan{}, fault.Wrap(fault.Usage, err, ".env: "+err.Error())
		}
	}
	clientID, clientSecret := c.ClientID, string(c.ClientSecret.Reveal())
	if clientSecret == "" {
		clientSecret = getenv("AZURE_CLIENT_SECRET")
		clientID = first(clientID, getenv("AZURE_CLIENT_ID"))
	}
	// Without any secret, an id is a managed identity's: the default chain hands AZURE_CLIENT_ID to it.
	identityID := c.ManagedIdentityClientID
	if clientSecret == "" && identityID == "" {
		identityID, clientID = getenv("AZURE_CLIENT_ID"), c.ClientID
	}
	byIdentity := clientSecret == "" && identityID != ""

	p := devPlan{
		vaultURL:   first(c.VaultURL, defaultVault),
		tenantID:   first(c.TenantID, getenv("AZURE_TENANT_ID"), c.WorkloadIdentityTenantID, made.TenantID),
		clientID:   first(clientID, made.ClientID),
		identityID: first(identityID, made.IdentityID),
		env:        map[string]string{},
	}
	secret := first(clientSecret, made.ClientSecret)
	p.provision = localcloud.Provision{
		Tenants: []string{p.tenantID},
		Apps:    []localcloud.App{{TenantID: p.tenantID, ClientID: p.clientID, ClientSecret: secret}},
		Identities: []localcloud.ManagedIdentity{
			{TenantID: p.tenantID, ClientID: p.identityID, SystemAssigned: identityID == ""},
		},
		Vaults: []localcloud.Vault{{URL: p.vaultURL, TenantID: p.tenantID}},
		Astro:  []localcloud.AstroOrganization{devAstro()},
	}
	for _, name := range repositories {
		p.provision.GitHub = append(p.provision.GitHub,
			localcloud.GitHubRepository{Name: name, Tokens: []localcloud.GitHubToken{{Token: made.GitHubToken}}})
	}
	p.env["AIRLOCK_VAULT_URL"] = p.vaultURL
	p.env["AIRLOCK_MANAGED_IDENTITY_CLIENT_ID"] = p.identityID
	p.env["AZURE_TENANT_ID"] = p.tenantID
	if !byIdentity {
		p.env["AZURE_CLIENT_ID"] = p.clientID
		p.env["AZURE_CLIENT_SECRET"] = secret
	} else if id := getenv("AZURE_CLIENT_ID"); id != "" {
		p.env["AZURE_CLIENT_ID"] = id
	}
	p.env[config.EnvBackend] = first(getenv(config.EnvBackend), airflow.AirlockBackend)
	p.env[config.EnvKwargs] = getenv(config.EnvKwargs)
	if p.env[config.EnvKwargs] == "" {
		kwargs, err := json.Marshal(map[string]string{
			"connections_prefix": "airflow-connections", "variables_prefix": "airflow-variables", "vault_url": p.vaultURL,
			"tenant_id": p.tenantID, "client_id": p.clientID, "client_secret": secret,
		})
		if err != nil {
			return devPlan{}, err
		}
		p.env[config.EnvKwargs] = string(kwargs)
	}
	for _, key := range loginVariables {
		if _, given := p.env[key]; !given {
			p.unset = append(p.unset, key)
		}
	}
	return p, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// makeUp gives ids and a secret: those of the last time in dir, or new ones. An empty dir remembers nothing.
func makeUp(dir string) (madeUp, error) {
	made := madeUp{
		TenantID: uuid.NewString(), ClientID: uuid.NewString(), IdentityID: uuid.NewString(), ClientSecret: "dev-" + rand.Text(),
		GitHubToken: "dev-github-" + rand.Text(),
	}
	if dir == "" {
		return made, nil
	}
	path := filepath.Join(dir, "madeup.json")
	raw, err := os.ReadFile(path)
	if err == nil {
		// What the file does not have is new; it may be of an older version.
		if kept := made; json.Unmarshal(raw, &kept) == nil {
			made = kept
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return madeUp{}, fault.Wrap(fault.Usage, err, "cannot read dev's ids: "+err.Error())
	}
	raw, err = json.MarshalIndent(made, "", "  ")
	if err != nil {
		return madeUp{}, err
	}
	return made, writeFile(path, raw)
}
