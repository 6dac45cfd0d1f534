package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/keyvault"
)

// personal are the credentials of whoever sits here; what they may do says nothing of the Deployment's identity.
var personal = map[string]bool{"AzureCLICredential": true, "AzureDeveloperCLICredential": true}

func (v *visit) checkToken(ctx context.Context) Result {
	login, err := v.road.Vault.Login(ctx, v.way.challenge)
	if err != nil {
		return brokenBy(err)
	}
	v.login = login
	r := Result{State: OK, Found: fmt.Sprintf("%s gives one for %s", login.Credential, whose(login))}
	r.Notes = append(r.Notes, fmt.Sprintf("tenant %s, audience %s, good for another %s",
		orUnknown(login.TenantID), orUnknown(login.Audience), roughly(login.Expires.Sub(v.Now()))))
	switch {
	case login.TenantID != "" && !strings.EqualFold(login.TenantID, v.way.challenge.TenantID):
		r.broke(fmt.Sprintf("it is of tenant %s, and the vault belongs to tenant %s", login.TenantID, v.way.challenge.TenantID),
			fmt.Sprintf("set tenant_id or AZURE_TENANT_ID to %s, with an app of that tenant", v.way.challenge.TenantID))
	case login.Expires.Before(v.Now()):
		r.broke("it has expired already: is this machine's clock right?", "sudo timedatectl set-ntp true")
	case personal[login.Credential]:
		r.Notes = append(r.Notes, "this is your own login: it says nothing of what a Deployment's identity may do")
	}
	return r
}

func whose(l keyvault.Login) string {
	if l.User != "" {
		return l.User
	}
	return fmt.Sprintf("app %s, object %s", orUnknown(l.AppID), orUnknown(l.ObjectID))
}

func orUnknown(text string) string {
	if text == "" {
		return "unknown"
	}
	return text
}

// checkFirewall makes the first request with a token: whatever it may do, only a network's refusal counts here.
func (v *visit) checkFirewall(ctx context.Context) Result {
	err := v.road.Vault.Try(ctx, keyvault.RightGet)
	switch fault.CaseOf(err) {
	case keyvault.CaseFirewall, keyvault.CasePrivate:
		r := brokenBy(err)
		if seen := v.way.challenge.Seen; seen != "" && !strings.Contains(r.Found, seen) {
			r.Notes = append(r.Notes, "the vault sees us as "+seen)
		}
		return r
	}
	if err != nil && (!fault.Is(err, fault.Forbidden) || refusesToken[fault.CaseOf(err)]) {
		return brokenBy(err)
	}
	return Result{State: OK, Found: "the vault lets this address in"}
}

// refusesToken are the cases in which the vault never got as far as to ask who may do what.
var refusesToken = map[string]bool{keyvault.CaseWrongTenant: true, keyvault.CaseWrongAudience: true, keyvault.CaseTokenRefused: true}
