package cli

import (
	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/keyvault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// azLogin is the choice of a command that writes to sign in as the person who types it. The login of .env is Airflow's, and
// shall read only.
type azLogin bool

func (l *azLogin) flag(c *cobra.Command) {
	c.Flags().BoolVar((*bool)(l), "az-login", false, "sign in as yourself with the Azure CLI (az login), and not with the login of .env")
	c.MarkFlagsMutuallyExclusive("az-login", "dev")
}

// config is a configuration with the login that was chosen: without one of its own, and with the credentials of a person.
func (l azLogin) config(c config.Config) config.Config {
	if l {
		c.TenantID, c.ClientID, c.ClientSecret = "", "", secret.Value{}
		c.ManagedIdentityClientID, c.WorkloadIdentityTenantID = "", ""
		c.TokenCredentials = "dev" // AZURE_TOKEN_CREDENTIALS's word for them
	}
	return c
}

// refused adds to a vault's refusal that there is another way to sign in.
func (l azLogin) refused(err error, dev bool, command string) error {
	if refusal := fault.CaseOf(err); bool(l) || dev || refusal != keyvault.CaseRBAC && refusal != keyvault.CasePolicy {
		return err
	}
	return fault.Wrap(fault.Forbidden, err, err.Error(),
		"Airflow's login reads only, as it should; to write as yourself: az login, then airlock "+command+" --az-login")
}
