package keyvault

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// Right is something that a login may do with the secrets of a vault, by its name among the permissions of an access
// policy (https://learn.microsoft.com/azure/key-vault/general/assign-access-policy).
type Right string

// The rights that can be tried. Restore is left out: it has no request that asks for nothing.
const (
	RightGet     Right = "get"
	RightList    Right = "list"
	RightSet     Right = "set"
	RightDelete  Right = "delete"
	RightRecover Right = "recover"
	RightBackup  Right = "backup"
	RightPurge   Right = "purge"
)

// tries are the requests that try a right. None can change anything or read a value: each but the list names a secret
// that does not exist, because its name has 128 random bits and nothing makes it. Key Vault decides about permission
// first and answers 403 without it, and 404 with it.
//
// Set is tried by an update, since the request that sets makes what it names: it is of the same permission in an access
// policy, and the built-in roles give both or neither
// (https://learn.microsoft.com/azure/key-vault/general/rbac-guide).
var tries = map[Right]struct {
	verb verb
	call func(ctx context.Context, sdk *azsecrets.Client, name string) error
}{
	RightGet: {verb{"read secrets", "get", get.role}, func(ctx context.Context, sdk *azsecrets.Client, name string) error {
		_, err := sdk.GetSecret(ctx, name, "", nil)
		return err
	}},
	RightList: {list, func(ctx context.Context, sdk *azsecrets.Client, _ string) error {
		_, err := sdk.NewListSecretPropertiesPager(nil).NextPage(ctx)
		return err
	}},
	RightSet: {verb{"change secrets", "set", set.role}, func(ctx context.Context, sdk *azsecrets.Client, name string) error {
		_, err := sdk.UpdateSecretProperties(ctx, name, "", azsecrets.UpdateSecretPropertiesParameters{}, nil)
		return err
	}},
	RightDelete: {verb{"delete secrets", "delete", del.role}, func(ctx context.Context, sdk *azsecrets.Client, name string) error {
		_, err := sdk.DeleteSecret(ctx, name, nil)
		return err
	}},
	RightRecover: {verb{"recover secrets", "recover", del.role}, func(ctx context.Context, sdk *azsecrets.Client, name string) error {
		_, err := sdk.RecoverDeletedSecret(ctx, name, nil)
		return err
	}},
	RightBackup: {verb{"back secrets up", "backup", del.role}, func(ctx context.Context, sdk *azsecrets.Client, name string) error {
		_, err := sdk.BackupSecret(ctx, name, nil)
		return err
	}},
	RightPurge: {verb{"purge secrets", "purge", "Key Vault Purge Operator"}, func(ctx context.Context, sdk *azsecrets.Client, name string) error {
		_, err := sdk.PurgeDeletedSecret(ctx, name, nil)
		return err
	}},
}

// Try asks whether the login has a right, by a request that has no effect. Nil is yes. No is of kind fault.Forbidden, as
// are the refusals of a firewall, which have a case of their own.
func (c *Client) Try(ctx context.Context, right Right) error {
	try, known := tries[right]
	if !known {
		return fault.New(fault.Internal, "there is no way to try the right "+string(right))
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // does not fail
	name := "airlock-doctor-" + hex.EncodeToString(random[:])
	err := c.do(ctx, operation{verb: try.verb}, func(ctx context.Context, sdk *azsecrets.Client) error {
		return try.call(ctx, sdk, name)
	})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// Cases of errors that say at which link of the way to a secret it went wrong: rows of the table of remedies.
const (
	CaseUnknownVault  = "unknown vault"  // nobody knows the name
	CaseProxy         = "proxy"          // the proxy is away, or refuses
	CaseWrongTenant   = "wrong tenant"   // the token is of another tenant than the vault
	CaseWrongAudience = "wrong audience" // it is for another service
	CaseTokenRefused  = "token refused"  // another reason to refuse it
	CaseFirewall      = "firewall"       // the vault is closed to this address
	CasePrivate       = "private"        // the vault is closed to public networks
	CaseRBAC          = "rbac"           // no role allows it
)

// caseOtherTenant is azidentity's word of it: it does not even ask for a token of the vault's tenant.
const caseOtherTenant = "other tenant"
