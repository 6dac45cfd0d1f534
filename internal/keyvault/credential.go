package keyvault

import (
	"context"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// link is one place of the chain: a credential's name as azidentity spells it, the group that TokenCredentials may
// name, and how the credential is made. alone says that the chain has no other link.
type link struct {
	name  string
	group string
	open  func(cfg Config, options azcore.ClientOptions, alone bool) (azcore.TokenCredential, error)
}

const (
	production  = "prod"
	development = "dev"
)

// links is the chain, in the order of azidentity's DefaultAzureCredential. That one cannot be used itself: it
// takes no client id for a managed identity.
var links = []link{
	{"EnvironmentCredential", production, openEnvironment},
	{"WorkloadIdentityCredential", production, openWorkloadIdentity},
	{"ManagedIdentityCredential", production, openManagedIdentity},
	{"AzureCLICredential", development, openAzureCLI},
	{"AzureDeveloperCLICredential", development, openAzureDeveloperCLI},
}

// newCredential logs in with the client secret, or makes the chain. As in azidentity, a credential that is not
// available passes on to the next, one that is refused ends the chain, and the first that succeeds is kept.
func newCredential(cfg Config, options azcore.ClientOptions) (azcore.TokenCredential, error) {
	// The vault's challenge spells the tenant in lower case, and azidentity compares letter by letter.
	cfg.TenantID = strings.ToLower(cfg.TenantID)
	cfg.WorkloadIdentityTenantID = strings.ToLower(cfg.WorkloadIdentityTenantID)
	if cfg.TenantID != "" && cfg.ClientID != "" && cfg.ClientSecret.Len() > 0 {
		cred, err := azidentity.NewClientSecretCredential(cfg.TenantID, cfg.ClientID, string(cfg.ClientSecret.Reveal()),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: options})
		if err != nil {
			return nil, fault.Wrap(fault.Usage, cutQuoted(err), "tenant_id is not the id of a tenant",
				"find it with: az account show --query tenantId")
		}
		return chain(&source{name: "ClientSecretCredential", cred: cred})
	}
	chosen, err := choose(cfg.TokenCredentials)
	if err != nil {
		return nil, err
	}
	var sources []azcore.TokenCredential
	for _, l := range chosen {
		cred, err := l.open(cfg, options, len(chosen) == 1)
		if err != nil {
			cred = absent{err}
		}
		sources = append(sources, &source{name: l.name, cred: cred, passesOn: l.group == development})
	}
	return chain(sources...)
}

func chain(sources ...azcore.TokenCredential) (azcore.TokenCredential, error) {
	cred, err := azidentity.NewChainedTokenCredential(sources, nil)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the chain of credentials cannot be made")
	}
	return cred, nil
}

// choose gives the links that a value of AZURE_TOKEN_CREDENTIALS stands for.
func choose(value string) ([]link, error) {
	if value == "" {
		return links, nil
	}
	var chosen []link
	names := []string{development, production}
	for _, l := range links {
		if strings.EqualFold(value, l.group) || strings.EqualFold(value, l.name) {
			chosen = append(chosen, l)
		}
		names = append(names, l.name)
	}
	if len(chosen) == 0 {
		return nil, fault.New(fault.Usage, "AZURE_TOKEN_CREDENTIALS has a value that is not known",
			"use one of: "+strings.Join(names, ", "))
	}
	return chosen, nil
}

func openEnvironment(_ Config, options azcore.ClientOptions, _ bool) (azcore.TokenCredential, error) {
	return azidentity.NewEnvironmentCredential(&azidentity.EnvironmentCredentialOptions{ClientOptions: options})
}

func openWorkloadIdentity(cfg Config, options azcore.ClientOptions, _ bool) (azcore.TokenCredential, error) {
	return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: options,
		ClientID:      cfg.ManagedIdentityClientID,
		TenantID:      cfg.WorkloadIdentityTenantID,
	})
}

func openManagedIdentity(cfg Config, options azcore.ClientOptions, alone bool) (azcore.TokenCredential, error) {
	o := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
	id := cfg.ManagedIdentityClientID
	if id == "" {
		// Every other credential of azidentity reads its variables itself; for this one DefaultAzureCredential does it.
		id = os.Getenv("AZURE_CLIENT_ID")
	}
	if id != "" {
		o.ID = azidentity.ClientID(id)
	}
	cred, err := azidentity.NewManagedIdentityCredential(o)
	if err != nil || alone {
		return cred, err
	}
	return probeFirst(cred, cfg.HTTPClient)
}

func openAzureCLI(Config, azcore.ClientOptions, bool) (azcore.TokenCredential, error) {
	return azidentity.NewAzureCLICredential(nil)
}

func openAzureDeveloperCLI(Config, azcore.ClientOptions, bool) (azcore.TokenCredential, error) {
	return azidentity.NewAzureDeveloperCLICredential(nil)
}

// source is a credential in the chain; it notes in the call's trace why it gave no token.
type source struct {
	name string
	cred azcore.TokenCredential

	// passesOn makes a failure one that passes on to the next credential: a developer who is not logged in to one tool
	// may be logged in to the other.
	passesOn bool
}

// GetToken implements azcore.TokenCredential.
func (s *source) GetToken(ctx context.Context, opts policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := s.cred.GetToken(ctx, opts)
	seen := traceOf(ctx)
	if err == nil {
		seen.attempts, seen.gave = nil, s.name
		return token, nil
	}
	seen.attempts = append(seen.attempts, attempt{credential: s.name, err: err})
	if s.passesOn {
		err = azidentity.NewCredentialUnavailableError(err.Error())
	}
	return azcore.AccessToken{}, err
}

// absent stands in for a credential that cannot be made here and says why.
type absent struct{ why error }

// GetToken implements azcore.TokenCredential.
func (a absent) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, azidentity.NewCredentialUnavailableError(a.why.Error())
}
