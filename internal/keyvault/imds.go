package keyvault

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"
)

const (
	// imdsTokens is where a virtual machine of Azure gets its tokens
	// (https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token).
	imdsTokens = "http://" + imdsHost + "/metadata/identity/oauth2/token"
	imdsHost   = "169.254.169.254"

	// imdsTimeout is how long the first answer may take; azidentity's DefaultAzureCredential gives it the same.
	imdsTimeout = time.Second
)

// imds is a managed identity behind a probe. Off Azure nothing answers at IMDS's address, and a token request there
// would keep a laptop waiting for a minute before the Azure CLI has its turn.
type imds struct {
	cred   azcore.TokenCredential
	client *http.Client
	there  atomic.Bool
}

// probeFirst puts a probe before a managed identity that would come from IMDS; others, such as App Service's, are known
// by their environment variables and need none.
func probeFirst(cred *azidentity.ManagedIdentityCredential, client *http.Client) (azcore.TokenCredential, error) {
	// Being in a chain makes the credential "unavailable" instead of "failed" when something else than IMDS answers
	// there. It only learns of a chain that holds it directly, and ours holds it through a probe.
	if _, err := azidentity.NewChainedTokenCredential([]azcore.TokenCredential{cred}, nil); err != nil {
		return nil, err
	}
	from, err := managedidentity.GetSource()
	if err != nil || from != managedidentity.DefaultToIMDS {
		return cred, err
	}
	return &imds{cred: cred, client: client}, nil
}

// GetToken implements azcore.TokenCredential.
func (i *imds) GetToken(ctx context.Context, opts policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if !i.there.Load() {
		if err := i.probe(ctx); err != nil {
			return azcore.AccessToken{}, err
		}
		i.there.Store(true)
	}
	return i.cred.GetToken(ctx, opts)
}

// probe asks without the header that IMDS demands: any answer, its refusal too, shows that it is there.
func (i *imds) probe(ctx context.Context) error {
	probing, cancel := context.WithTimeout(ctx, imdsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(probing, http.MethodGet, imdsTokens, nil)
	if err != nil {
		return err
	}
	resp, err := i.client.Do(req)
	if err == nil {
		return resp.Body.Close()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return azidentity.NewCredentialUnavailableError("no identity endpoint is set and nothing answers at " + imdsHost)
}
