package cli

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/project"
)

type azureFlags struct {
	vaultURL, auth, clientID string
	name, resourceGroup      string
	rbac, accessPolicy       bool
	issuer, namespace        string
	serviceAccounts          []string
}

func (a *app) azureCommand() *cobra.Command {
	var f azureFlags
	c := &cobra.Command{
		Use:   "azure",
		Short: "Print the az commands that register the sign-in and give it the least permission",
		Long: `Print, for the chosen way to sign in, the commands of the Azure CLI that register it and let it read secrets, and nothing
more: an app and its secret, or a managed identity and the federated credentials of a Deployment's service accounts; and the
role "Key Vault Secrets User" on this one vault, or an access policy with get and list. Nothing is run.

What the flags leave out is taken from .env. With --client-id the app or the identity exists already, and is not made.
A Deployment's page on Astro shows its namespace and its OIDC issuer.`,
		Example: `  airlock azure --vault-url https://contoso.vault.azure.net/ --auth client-secret > setup.sh
  airlock azure --auth managed-identity --resource-group airflow --issuer https://westeurope.oic.prod-aks.azure.com/ID/ID/ \
    --namespace quasarian-spectrum-4321`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.azureDefaults(&f); err != nil {
				return err
			}
			if err := f.check(c); err != nil {
				return err
			}
			fmt.Fprint(a.env.Stdout, f.script())
			return nil
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.vaultURL, "vault-url", "", "the vault, as the portal shows it under Vault URI")
	flags.StringVar(&f.auth, "auth", "", "how to sign in: client-secret or managed-identity")
	flags.StringVar(&f.clientID, "client-id", "", "the client id of an app or an identity that exists")
	flags.StringVar(&f.name, "name", "airlock", "the name of the app or the identity that is made")
	flags.StringVar(&f.resourceGroup, "resource-group", "", "where the identity is, or is made; by default where the vault is")
	flags.BoolVar(&f.rbac, "rbac", false, `the vault uses Azure roles (the default): "Key Vault Secrets User"`)
	flags.BoolVar(&f.accessPolicy, "access-policy", false, "the vault uses access policies: get and list")
	flags.StringVar(&f.issuer, "issuer", "", "the OIDC issuer of the cluster, for federated credentials")
	flags.StringVar(&f.namespace, "namespace", "", "the namespace of a Deployment, whose service accounts get a federated credential each")
	flags.StringArrayVar(&f.serviceAccounts, "service-account", nil, "NAMESPACE:NAME of a service account that gets a federated credential; may be repeated")
	c.MarkFlagsMutuallyExclusive("rbac", "access-policy")
	_ = c.RegisterFlagCompletionFunc("auth", cobra.FixedCompletions([]string{string(project.ClientSecret), string(project.ManagedIdentity)}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// azureDefaults takes from .env what the flags leave out. A folder without one has nothing to give.
func (a *app) azureDefaults(f *azureFlags) error {
	tree, err := project.Open(a.env.Dir)
	if err != nil {
		return err
	}
	env, err := tree.Read(project.EnvFile)
	if err != nil {
		return err
	}
	backend, err := project.ReadBackend(project.EnvFile, env.Old)
	if err != nil {
		return err
	}
	was := project.LoginOf(backend.Kwargs)
	f.vaultURL = first(f.vaultURL, was.VaultURL)
	if f.auth == "" || f.auth == string(was.Auth) {
		f.auth, f.clientID = string(was.Auth), first(f.clientID, was.ClientID)
	}
	return nil
}

// serviceAccountName is NAMESPACE:NAME of Kubernetes.
var serviceAccountName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?:[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)

// maxFederated is how many federated credentials an identity may have.
// https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations
const maxFederated = 20

func (f *azureFlags) check(c *cobra.Command) error {
	var problems []error
	if f.vaultURL == "" {
		problems = append(problems, errors.New("--vault-url is not given, and .env names none"))
	} else if err := project.CheckVaultURL(f.vaultURL); err != nil {
		problems = append(problems, err)
	}
	if auth := project.Auth(f.auth); auth != project.ClientSecret && auth != project.ManagedIdentity {
		problems = append(problems, fmt.Errorf("--auth is one of %s and %s", project.ClientSecret, project.ManagedIdentity))
	}
	if f.clientID != "" && uuid.Validate(f.clientID) != nil {
		problems = append(problems, errors.New("--client-id is not a GUID"))
	}
	if f.namespace != "" {
		// As the workload-identity page names them, with Airflow 3's API server.
		for _, component := range []string{"kpo", "dag-processor-serviceaccount", "scheduler-serviceaccount", "triggerer-serviceaccount",
			"webserver-serviceaccount", "api-server-serviceaccount", "worker-serviceaccount"} {
			f.serviceAccounts = append(f.serviceAccounts, f.namespace+":"+f.namespace+"-"+component)
		}
	}
	for _, account := range f.serviceAccounts {
		if !serviceAccountName.MatchString(account) {
			problems = append(problems, fmt.Errorf("%q is not NAMESPACE:NAME of a service account", account))
		}
	}
	switch {
	case len(f.serviceAccounts) > 0 && f.issuer == "":
		problems = append(problems, errors.New("--issuer is not given: a federated credential trusts one cluster's tokens"))
	case len(f.serviceAccounts) > 0 && f.auth != string(project.ManagedIdentity):
		problems = append(problems, errors.New("federated credentials are for --auth managed-identity"))
	case len(f.serviceAccounts) > maxFederated:
		problems = append(problems, fmt.Errorf("an identity has at most %d federated credentials", maxFederated))
	}
	if f.issuer != "" && !strings.HasPrefix(f.issuer, "https://") {
		problems = append(problems, errors.New("--issuer is not an https URL"))
	}
	for i, p := range problems {
		problems[i] = usage(c, p)
	}
	return errors.Join(problems...)
}

// script is what the administrator runs. All that comes from outside stands in quotes, at its head.
func (f *azureFlags) script() string {
	var s strings.Builder
	line := func(text string) { s.WriteString(text + "\n") }
	set := func(name, value string) { line(name + "=" + shellQuote(value)) }
	identity := f.auth == string(project.ManagedIdentity)

	line("# Lets Airflow read the secrets of one Key Vault, and nothing else. Read it, then run it: sh setup.sh")
	line("# You need: the Azure CLI, signed in (az login) as somebody who may register apps or make identities, and who may give")
	line("# permissions on the vault.")
	line("set -eu")
	set("VAULT", vaultName(f.vaultURL))
	set("VAULT_URL", f.vaultURL)
	if f.clientID != "" {
		set("CLIENT_ID", f.clientID)
	} else {
		set("NAME", f.name)
	}
	line("TENANT_ID=$(az account show --query tenantId --output tsv)")
	if identity && (f.clientID == "" || len(f.serviceAccounts) > 0) {
		if f.resourceGroup != "" {
			set("RESOURCE_GROUP", f.resourceGroup)
		} else {
			line(`RESOURCE_GROUP=$(az keyvault show --name "$VAULT" --query resourceGroup --output tsv)`)
		}
	}
	line("")
	if identity {
		f.identity(line)
	} else {
		f.registration(line)
	}
	line("")
	f.permission(line)
	for i, account := range f.serviceAccounts {
		if i == 0 {
			line("")
			line("# Each service account may sign in as the identity: Entra ID trusts the cluster's tokens for exactly these names.")
			line(fmt.Sprintf("# An identity takes %d of these credentials, which bounds how many Deployments can share it.", maxFederated))
			set("ISSUER", f.issuer)
			if f.clientID != "" {
				line(`NAME=$(az identity list --resource-group "$RESOURCE_GROUP" --query "[?clientId=='$CLIENT_ID'].name" --output tsv)`)
			}
		}
		namespace, name, _ := strings.Cut(account, ":")
		line(`az identity federated-credential create --identity-name "$NAME" --resource-group "$RESOURCE_GROUP" \`)
		line(`  --name ` + shellQuote(federatedName(namespace, name)) + ` --issuer "$ISSUER" --subject ` + shellQuote("system:serviceaccount:"+namespace+":"+name) + ` \`)
		line(`  --audiences api://AzureADTokenExchange --output none`)
	}
	line("")
	f.finish(line, identity)
	return s.String()
}

// federatedName is a name of 3 to 120 letters, digits, - and _.
func federatedName(namespace, name string) string {
	if !strings.HasPrefix(name, namespace+"-") {
		name = namespace + "-" + name
	}
	name = strings.ReplaceAll(name, ".", "-")
	return name[:min(len(name), 120)]
}

func (f *azureFlags) registration(line func(string)) {
	if f.clientID == "" {
		line("# An app to sign in as. It has no rights of its own, and needs no permission on Microsoft Graph.")
		line(`CLIENT_ID=$(az ad app create --display-name "$NAME" --sign-in-audience AzureADMyOrg --query appId --output tsv)`)
		line(`az ad sp create --id "$CLIENT_ID" --output none`)
	}
	line("# Permissions are given to the app's service principal in this tenant.")
	line(`PRINCIPAL_ID=$(az ad sp show --id "$CLIENT_ID" --query id --output tsv)`)
}

func (f *azureFlags) identity(line func(string)) {
	if f.clientID == "" {
		line("# An identity that Azure signs in itself: there is no secret to keep or to rotate.")
		line(`az identity create --name "$NAME" --resource-group "$RESOURCE_GROUP" --output none`)
		line(`CLIENT_ID=$(az identity show --name "$NAME" --resource-group "$RESOURCE_GROUP" --query clientId --output tsv)`)
		line(`PRINCIPAL_ID=$(az identity show --name "$NAME" --resource-group "$RESOURCE_GROUP" --query principalId --output tsv)`)
		return
	}
	line("# Permissions are given to the identity's service principal.")
	line(`PRINCIPAL_ID=$(az ad sp show --id "$CLIENT_ID" --query id --output tsv)`)
}

func (f *azureFlags) permission(line func(string)) {
	if f.accessPolicy {
		line("# get reads values. list reads names and dates only; airlock sees rotations by it. The portal's template \"Key, Secret, &")
		line("# Certificate Management\" would let Airflow delete secrets and export keys.")
		line(`az keyvault set-policy --name "$VAULT" --object-id "$PRINCIPAL_ID" --secret-permissions get list --output none`)
		return
	}
	line("# This role reads secrets of this vault: no writing, no keys, no certificates' keys, no other vault. It takes effect within")
	line("# some minutes. A vault that uses access policies ignores it: airlock azure --access-policy.")
	line(`VAULT_ID=$(az keyvault show --name "$VAULT" --query id --output tsv)`)
	line(`az role assignment create --role 'Key Vault Secrets User' --assignee-object-id "$PRINCIPAL_ID" \`)
	line(`  --assignee-principal-type ServicePrincipal --scope "$VAULT_ID" --output none`)
}

func (f *azureFlags) finish(line func(string), identity bool) {
	if identity {
		line("# In the project's folder:")
		line(`airlock init --vault-url "$VAULT_URL" --auth managed-identity --tenant-id "$TENANT_ID" --client-id "$CLIENT_ID"`)
		return
	}
	line("# A secret, good for a year, beside those that the app has. It goes from az to airlock without being shown. Run this part")
	line("# in the project's folder.")
	line(`az ad app credential reset --id "$CLIENT_ID" --append --display-name airlock --years 1 --query password --output tsv |`)
	line(`  airlock init --vault-url "$VAULT_URL" --auth client-secret --tenant-id "$TENANT_ID" --client-id "$CLIENT_ID" \`)
	line(`    --client-secret-stdin --yes`)
}
