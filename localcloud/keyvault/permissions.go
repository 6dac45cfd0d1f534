package keyvault

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Permissions says who may do what in a vault. The zero value lets every principal of the vault's tenant do everything,
// which Azure never does; it is for those who do not test permissions.
type Permissions struct {
	Model    Model
	Policies []AccessPolicy   // of the model AccessPolicies
	Roles    []RoleAssignment // of the model RBAC
	Network  NetworkRules
}

// Model is how a vault decides.
type Model string

const (
	// Everyone of the tenant may do everything.
	Everyone Model = ""
	// AccessPolicies decide; who has none may do nothing.
	AccessPolicies Model = "access policies"
	// RBAC decides by role assignments; who has none may do nothing.
	RBAC Model = "RBAC"
)

// AccessPolicy gives a principal permissions on all secrets of a vault.
// Source: https://learn.microsoft.com/azure/key-vault/general/assign-access-policy
type AccessPolicy struct {
	Principal string   // object id or client id
	Secrets   []string // get, list, set, delete, recover, backup, restore, purge, or all
	Template  string   // one of the portal's, instead of Secrets or besides; see PolicyTemplates
}

// RoleAssignment gives a principal a role.
// Source: https://learn.microsoft.com/azure/key-vault/general/rbac-guide
type RoleAssignment struct {
	Principal string // object id or client id
	Role      string // name or id; see Roles
	Secret    string // name of the one secret that it is for; "": all of the vault
}

// NetworkRules say from where a vault can be reached. The zero value is from everywhere.
// Source: https://learn.microsoft.com/azure/key-vault/general/network-security
type NetworkRules struct {
	Disabled bool     // public access is disabled: from nowhere
	Deny     bool     // from Allowed only
	Allowed  []string // addresses or networks, such as 203.0.113.7 or 203.0.113.0/24
}

// The permissions of access policies, each the right to the operations that carry it.
const (
	permGet     = "get"
	permList    = "list"
	permSet     = "set"
	permDelete  = "delete"
	permRecover = "recover"
	permBackup  = "backup"
	permRestore = "restore"
	permPurge   = "purge"
)

var allPermissions = []string{permGet, permList, permSet, permDelete, permRecover, permBackup, permRestore, permPurge}

// PolicyTemplates are the permissions on secrets of the portal's templates for access policies. None gives purge, which
// the portal counts as privileged.
var PolicyTemplates = map[string][]string{
	"Key, Secret, & Certificate Management": allPermissions[:7],
	"Key & Secret Management":               allPermissions[:7],
	"Secret & Certificate Management":       allPermissions[:7],
	"Secret Management":                     allPermissions[:7],
	"Key Management":                        {},
	"Certificate Management":                {},
	"Key & Certificate Management":          {},
}

// Role is a built-in role with the actions on secrets that it allows; a star stands for any ending.
type Role struct {
	ID      string
	Actions []string
}

// The actions on the data of secrets.
const (
	actionPrefix   = "Microsoft.KeyVault/vaults/"
	actionGet      = "secrets/getSecret/action"
	actionSet      = "secrets/setSecret/action"
	actionMetadata = "secrets/readMetadata/action"
	actionUpdate   = "secrets/update/action"
	actionDelete   = "secrets/delete"
	actionRecover  = "secrets/recover/action"
	actionPurge    = "secrets/purge/action"
	actionBackup   = "secrets/backup/action"
	actionRestore  = "secrets/restore/action"
)

// Roles are the built-in roles that concern secrets, by name.
// Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/security
var Roles = map[string]Role{
	"Key Vault Administrator":   {"00482a5a-887f-4fb3-b363-3b7fe8e74483", []string{"*"}},
	"Key Vault Secrets Officer": {"b86a8fe4-44ce-4948-aee5-eccb2c155cd7", []string{"secrets/*"}},
	"Key Vault Secrets User":    {"4633458b-17de-408a-b874-0445c86b69e6", []string{actionGet, actionMetadata}},
	"Key Vault Reader":          {"21090545-7ca7-4776-b22c-e363652d74d2", []string{actionMetadata}},
}

func findRole(nameOrID string) (Role, bool) {
	for name, role := range Roles {
		if strings.EqualFold(name, nameOrID) || strings.EqualFold(role.ID, nameOrID) {
			return role, true
		}
	}
	return Role{}, false
}

func (r Role) allows(action string) bool {
	return slices.ContainsFunc(r.Actions, func(allowed string) bool {
		prefix, any := strings.CutSuffix(allowed, "*")
		return any && strings.HasPrefix(action, prefix) || allowed == action
	})
}

// check finds what is wrong with permissions, naming the field and what it may be.
func (p Permissions) check() error {
	var problems []error
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("permissions: "+format, args...))
	}
	switch p.Model {
	case Everyone, AccessPolicies, RBAC:
	default:
		add("Model = %q: want %q, %q or %q", p.Model, Everyone, AccessPolicies, RBAC)
	}
	for i, policy := range p.Policies {
		if policy.Principal == "" {
			add("Policies[%d].Principal must not be empty", i)
		}
		for _, permission := range policy.Secrets {
			if !slices.Contains(append([]string{"all"}, allPermissions...), strings.ToLower(permission)) {
				add("Policies[%d].Secrets: no permission is called %q; there are all, %s", i, permission,
					strings.Join(allPermissions, ", "))
			}
		}
		if _, known := PolicyTemplates[policy.Template]; policy.Template != "" && !known {
			add("Policies[%d].Template = %q: want one of %s", i, policy.Template, quoted(PolicyTemplates))
		}
	}
	for i, assignment := range p.Roles {
		if assignment.Principal == "" {
			add("Roles[%d].Principal must not be empty", i)
		}
		if _, known := findRole(assignment.Role); !known {
			add("Roles[%d].Role = %q: want one of %s, or its id", i, assignment.Role, quoted(Roles))
		}
		if assignment.Secret != "" && !secretName.MatchString(assignment.Secret) {
			add("Roles[%d].Secret = %q: is not the name of a secret", i, assignment.Secret)
		}
	}
	for i, network := range p.Network.Allowed {
		if _, err := parseNetwork(network); err != nil {
			add("Network.Allowed[%d] = %q: want an address or a network such as 203.0.113.0/24", i, network)
		}
	}
	return errors.Join(problems...)
}

func quoted[V any](m map[string]V) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		all = append(all, fmt.Sprintf("%q", name))
	}
	return strings.Join(all, ", ")
}

func parseNetwork(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// is says whether a policy or assignment for principal is one for the caller.
func (c Caller) is(principal string) bool {
	return strings.EqualFold(principal, c.ObjectID) || strings.EqualFold(principal, c.AppID)
}

// assignmentID makes up the id of a vault's role assignment: 32 hexadecimal digits, always the same.
func assignmentID(v *vault, index int) string {
	id := uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "%s/roleAssignments/%d", v.resourceID(""), index))
	return hex.EncodeToString(id[:])
}

// String describes a caller as the service's errors do.
func (c Caller) String() string {
	return "appid=" + c.AppID + ";oid=" + c.ObjectID + ";iss=" + c.Issuer
}

// authorize decides whether the caller may do what a request asks. It returns the id of the role assignment that allows
// it, "" where the vault has another model.
func (c *call) authorize(op operation) (assignment string, err error) {
	p := c.vault.permissionsAt(c.at)
	if err := c.checkNetwork(p.Network); err != nil {
		return "", err
	}
	switch p.Model {
	case AccessPolicies:
		for _, policy := range p.Policies {
			if c.caller.is(policy.Principal) && policy.allows(op.permission) {
				return "", nil
			}
		}
		return "", errAccessPolicy(c, op.permission)
	case RBAC:
		for i, assignment := range p.Roles {
			role, _ := findRole(assignment.Role)
			inScope := assignment.Secret == "" || c.name != "" && strings.EqualFold(assignment.Secret, c.name)
			if c.caller.is(assignment.Principal) && inScope && role.allows(op.action) {
				return assignmentID(c.vault, i), nil
			}
		}
		return "", errRBAC(c, op.action)
	}
	return "", nil
}

func (p AccessPolicy) allows(permission string) bool {
	return slices.Contains(PolicyTemplates[p.Template], permission) || slices.ContainsFunc(p.Secrets, func(given string) bool {
		return strings.EqualFold(given, permission) || strings.EqualFold(given, "all")
	})
}

func (c *call) checkNetwork(rules NetworkRules) error {
	if rules.Disabled {
		return errPublicAccess(c)
	}
	if !rules.Deny {
		return nil
	}
	address, err := netip.ParseAddr(c.address())
	if err == nil && slices.ContainsFunc(rules.Allowed, func(text string) bool {
		network, err := parseNetwork(text)
		return err == nil && network.Contains(address.Unmap())
	}) {
		return nil
	}
	return errFirewall(c)
}

// resourceID is the id of the vault, or of a secret in it, as Azure Resource Manager would have it.
func (v *vault) resourceID(secret string) string {
	const group = "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/airlock"
	id := cmp.Or(v.ResourceID, group+"/providers/microsoft.keyvault/vaults/"+v.name)
	if secret != "" {
		id += "/secrets/" + secret
	}
	return id
}
