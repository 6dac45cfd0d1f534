package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

var forVault = policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}}

// login is one way to sign in.
type login struct {
	step       string
	client     string // whom the token must speak for
	credential credential
}

// credential makes a credential. It is a func so that what its constructor refuses is the step's failure too.
type credential func() (azcore.TokenCredential, error)

// signIn is a step for each login: it signs in, looks whom the token speaks for, and shows it to the vault.
func (w *walk) signIn(ctx context.Context, logins ...login) error {
	for _, l := range logins {
		err := w.step(l.step, func() error {
			credential, err := l.credential()
			if err != nil {
				return err
			}
			token, err := credential.GetToken(ctx, forVault)
			if err != nil {
				return err
			}
			client, err := appID(token.Token)
			if err != nil {
				return err
			}
			secrets, err := azsecrets.NewClient(w.vaultURL, credential, nil)
			if err != nil {
				return err
			}
			if _, err := secrets.NewListSecretPropertiesPager(nil).NextPage(ctx); err != nil {
				return err
			}
			return differ(fact{"who is signed in", client != "" && client == l.client})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// refused is a step whose login must fail for the reason.
func (w *walk) refused(ctx context.Context, reason string, l login) error {
	return w.step(l.step, func() error {
		credential, err := l.credential()
		if err != nil {
			return err
		}
		_, err = credential.GetToken(ctx, forVault)
		return differ(fact{"the refusal " + reason, err != nil && strings.Contains(err.Error(), reason)})
	})
}

// appID reads the claim of an access token that says for which client it speaks. Programs have no business to look into
// tokens; this one does, because the SDK does not tell which identity a credential found.
func appID(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("the access token is not a JWT")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", errors.New("the access token's claims are not base64")
	}
	var claims struct {
		AppID string `json:"appid"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		return "", errors.New("the access token's claims are not JSON")
	}
	return claims.AppID, nil
}

func byDefault() (azcore.TokenCredential, error) { return azidentity.NewDefaultAzureCredential(nil) }

func signInBySecret(ctx context.Context, w *walk) error {
	tenant, client := os.Getenv("AZURE_TENANT_ID"), os.Getenv("AZURE_CLIENT_ID")
	with := func(secret string) credential {
		return func() (azcore.TokenCredential, error) {
			return azidentity.NewClientSecretCredential(tenant, client, secret, nil)
		}
	}
	if err := w.signIn(ctx, login{"client-secret", client, with(os.Getenv("AZURE_CLIENT_SECRET"))}); err != nil {
		return err
	}
	if err := w.refused(ctx, "AADSTS7000215", login{"wrong-client-secret", "", with("not-the-secret")}); err != nil {
		return err
	}
	return w.signIn(ctx, login{"default-credential", client, byDefault})
}

func signInByCertificate(ctx context.Context, w *walk) error {
	client := os.Getenv("AZURE_CLIENT_ID")
	with := func(options *azidentity.ClientCertificateCredentialOptions) credential {
		return func() (azcore.TokenCredential, error) {
			pem, err := os.ReadFile(os.Getenv("AZURE_CLIENT_CERTIFICATE_PATH"))
			if err != nil {
				return nil, err
			}
			chain, key, err := azidentity.ParseCertificates(pem, nil)
			if err != nil {
				return nil, err
			}
			return azidentity.NewClientCertificateCredential(os.Getenv("AZURE_TENANT_ID"), client, chain, key, options)
		}
	}
	sendChain := &azidentity.ClientCertificateCredentialOptions{SendCertificateChain: true}
	return w.signIn(ctx,
		login{"client-certificate", client, with(nil)},
		login{"client-certificate-chain", client, with(sendChain)},
		login{"default-credential", client, byDefault},
	)
}

func signInInPod(ctx context.Context, w *walk) error {
	client := os.Getenv("AZURE_CLIENT_ID")
	byTokenFile := func() (azcore.TokenCredential, error) { return azidentity.NewWorkloadIdentityCredential(nil) }
	if err := w.signIn(ctx, login{"workload-identity", client, byTokenFile}); err != nil {
		return err
	}
	w.lacks("managed-identity", "this SDK's ManagedIdentityCredential does not look for a pod's token file")
	return w.signIn(ctx, login{"default-credential", client, byDefault})
}

// signInByManagedIdentity goes by the refusal of an identity that the machine has not got: each source has its own.
func signInByManagedIdentity(unknown string) func(context.Context, *walk) error {
	return func(ctx context.Context, w *walk) error {
		system, user := os.Getenv("WALK_SYSTEM_CLIENT_ID"), os.Getenv("WALK_USER_CLIENT_ID")
		of := func(id azidentity.ManagedIDKind) credential {
			return func() (azcore.TokenCredential, error) {
				return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: id})
			}
		}
		err := w.signIn(ctx,
			login{"system-assigned", system, of(nil)},
			login{"user-assigned-by-client-id", user, of(azidentity.ClientID(user))},
			login{"user-assigned-by-object-id", user, of(azidentity.ObjectID(os.Getenv("WALK_USER_OBJECT_ID")))},
			login{"user-assigned-by-resource-id", user, of(azidentity.ResourceID(os.Getenv("WALK_USER_RESOURCE_ID")))},
		)
		if err != nil {
			return err
		}
		stranger := of(azidentity.ClientID("00000000-0000-0000-0000-00000000dead"))
		if err := w.refused(ctx, unknown, login{"unknown-identity", "", stranger}); err != nil {
			return err
		}
		return w.signIn(ctx, login{"default-credential", os.Getenv("WALK_DEFAULT_CLIENT_ID"), byDefault})
	}
}
