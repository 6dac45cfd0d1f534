package doctor

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/keyvault"
)

func (v *visit) checkGet(ctx context.Context) Result {
	if err := v.road.Vault.Try(ctx, keyvault.RightGet); err != nil {
		r := brokenBy(err)
		if fault.CaseOf(err) == keyvault.CaseRBAC {
			r.Notes = append(r.Notes, "a role on single secrets does not count here: the question is about all of the vault")
		}
		return r
	}
	return Result{State: OK, Found: "the login may read secrets"}
}

func (v *visit) checkList(ctx context.Context) Result {
	secrets, err := readList(ctx, v.road.Vault)
	v.held = secrets
	switch {
	case fault.Is(err, fault.Forbidden):
		r := brokenBy(err)
		// Airflow itself never lists. What needs it is comfort, so that this is a warning, and yet nothing to go on with.
		r.State = Warning
		r.Notes = append(r.Notes, "Airflow works without; a rotation is seen later then, and airlock list and diff do not work")
		v.held = nil
		return r
	case err != nil:
		return brokenBy(err)
	}
	return Result{State: OK, Found: fmt.Sprintf("the login may list secrets: %s", count(len(secrets), "secret"))}
}

// beyond are the rights that Airflow never needs.
var beyond = []keyvault.Right{
	keyvault.RightSet, keyvault.RightDelete, keyvault.RightRecover, keyvault.RightBackup, keyvault.RightPurge,
}

func (v *visit) checkRights(ctx context.Context) Result {
	errs := make([]error, len(beyond))
	var asking errgroup.Group
	for i, right := range beyond {
		asking.Go(func() error {
			errs[i] = v.road.Vault.Try(ctx, right)
			return nil
		})
	}
	_ = asking.Wait()
	var may []string
	for i, right := range beyond {
		switch {
		case errs[i] == nil:
			may = append(may, string(right))
		case !fault.Is(errs[i], fault.Forbidden):
			return brokenBy(errs[i])
		}
	}
	if len(may) == 0 {
		return Result{State: OK, Found: "the login may not change, delete or back up secrets"}
	}
	found := fmt.Sprintf("the login may also %s; Airflow needs get, and list is useful", strings.Join(may, ", "))
	switch {
	case v.Dev:
		return Result{State: OK, Found: found, Notes: []string{"the local cloud lets everybody, unless its vault has permissions"}}
	case personal[v.login.Credential]:
		return Result{State: OK, Found: found, Notes: []string{"this is your own login, not the Deployment's"}}
	}
	name, who := vaultName(v.conf.VaultURL), orWord(v.login.ObjectID, "OBJECT_ID")
	return Result{State: Warning, Found: found, Remedies: []string{
		fmt.Sprintf("with access policies: az keyvault set-policy --name %s --object-id %s --secret-permissions get list", name, who),
		fmt.Sprintf(`with roles, give it "Key Vault Secrets User" alone; see what it has with: az role assignment list --assignee %s`+
			` --include-inherited --scope "$(az keyvault show --name %s --query id --output tsv)"`, who, name),
	}}
}

func orWord(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// vaultName is the first label of a vault's host, which the Azure CLI calls it by.
func vaultName(address string) string {
	name, _, _ := strings.Cut(hostOf(address), ".")
	return name
}
