package keyvault

import (
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// sovereign maps the DNS suffixes of vaults outside the public cloud to their cloud
// (https://learn.microsoft.com/azure/key-vault/general/access-behind-firewall).
var sovereign = map[string]cloud.Configuration{
	".vault.azure.cn":          cloud.AzureChina,
	".vault.usgovcloudapi.net": cloud.AzureGovernment,
}

// authorityHost is the address of Entra ID: the configured one, else the one of the vault's cloud. A host without a
// scheme is accepted, because the Python SDK accepts it and so it stands in people's environments.
func authorityHost(configured, vaultHost string) (string, error) {
	if configured == "" {
		for suffix, c := range sovereign {
			if strings.HasSuffix(vaultHost, suffix) {
				return c.ActiveDirectoryAuthorityHost, nil
			}
		}
		return cloud.AzurePublic.ActiveDirectoryAuthorityHost, nil
	}
	if !strings.Contains(configured, "://") {
		configured = "https://" + configured
	}
	u, err := url.Parse(configured)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return "", fault.New(fault.Usage, "AZURE_AUTHORITY_HOST is not an https address",
			"for the public cloud leave it out; the US government's is https://login.microsoftonline.us/")
	}
	return configured, nil
}
