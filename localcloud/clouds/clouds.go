// Package clouds is the table of Azure's clouds: which vaults, sign-in hosts and token issuers belong together.
package clouds

import (
	"slices"
	"strings"
)

// Cloud is one of Azure's separate clouds.
type Cloud struct {
	Name        string   // as Azure's tools call it
	VaultSuffix string   // the hosts of its vaults are NAME.VaultSuffix; https:// before it is the audience of their tokens
	Login       string   // host of its Entra ID
	Aliases     []string // more hosts of the same Entra ID
	Issuer      string   // issuer of v1 access tokens, before the tenant and a slash
	Graph       string   // host of Microsoft Graph
	Manager     string   // host of Azure Resource Manager
}

// All lists the clouds, the public one first. Vault suffixes are those of "az cloud list", sign-in hosts those of Entra
// ID's instance discovery (recorded in localcloud/testdata/wire/entra_token.json).
var All = []Cloud{
	{
		Name: "AzureCloud", VaultSuffix: "vault.azure.net", Login: "login.microsoftonline.com",
		Aliases: []string{"login.windows.net", "login.microsoft.com", "sts.windows.net"},
		Issuer:  "https://sts.windows.net/", Graph: "graph.microsoft.com", Manager: "management.azure.com",
	},
	{
		Name: "AzureChinaCloud", VaultSuffix: "vault.azure.cn", Login: "login.partner.microsoftonline.cn",
		Aliases: []string{"login.chinacloudapi.cn"},
		Issuer:  "https://sts.chinacloudapi.cn/", Graph: "microsoftgraph.chinacloudapi.cn", Manager: "management.chinacloudapi.cn",
	},
	{ // closed in 2021, and still in the service's answers
		Name: "AzureGermanCloud", VaultSuffix: "vault.microsoftazure.de", Login: "login.microsoftonline.de",
		Issuer: "https://sts.microsoftonline.de/", Graph: "graph.microsoft.de", Manager: "management.microsoftazure.de",
	},
	{
		Name: "AzureUSGovernment", VaultSuffix: "vault.usgovcloudapi.net", Login: "login.microsoftonline.us",
		Aliases: []string{"login.usgovcloudapi.net"},
		Issuer:  "https://sts.windows.net/", Graph: "graph.microsoft.us", Manager: "management.usgovcloudapi.net",
	},
}

// OfVault finds the cloud of a vault's host, which must be one lower-case label before the suffix.
func OfVault(host string) (Cloud, bool) {
	for _, c := range All {
		if name, found := strings.CutSuffix(host, "."+c.VaultSuffix); found && name != "" && !strings.Contains(name, ".") {
			return c, true
		}
	}
	return Cloud{}, false
}

// The hosts of the local cloud's direct listener, which no real cloud has: NAME.DirectSuffix is the vault of that name in
// whichever cloud, and DirectLogin the Entra ID of the public one.
const (
	DirectSuffix = "vault.localhost"
	DirectLogin  = "login.localhost"
)

// DirectVault finds the name of a vault in a lower-case host of the direct listener.
func DirectVault(host string) (name string, found bool) {
	name, found = strings.CutSuffix(host, "."+DirectSuffix)
	return name, found && name != "" && !strings.Contains(name, ".")
}

// OfLogin finds the cloud of a lower-case sign-in host.
func OfLogin(host string) (Cloud, bool) {
	if host == DirectLogin {
		return All[0], true
	}
	for _, c := range All {
		if host == c.Login || slices.Contains(c.Aliases, host) {
			return c, true
		}
	}
	return Cloud{}, false
}

// Domains lists every domain that the local cloud stands in for; a domain includes what is below it.
func Domains() []string {
	domains := []string{DirectSuffix, DirectLogin}
	for _, c := range All {
		domains = append(append(domains, c.VaultSuffix, c.Login), c.Aliases...)
	}
	return domains
}
