package keyvault

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/airlock-secrets/airlock/localcloud/clouds"
	"github.com/airlock-secrets/airlock/localcloud/entra"
)

// Vault is a vault to provision.
type Vault struct {
	URL             string // https://NAME.vault.azure.net/ or the same in a sovereign cloud
	TenantID        string `yaml:"tenantId"` // whose tokens it takes
	Location        string // Azure region that error texts name; "": eastus
	RetentionDays   int    `yaml:"retentionDays"`   // how long a deleted secret can be recovered, 7 to 90; 0: 90
	PurgeProtection bool   `yaml:"purgeProtection"` // nobody can purge a deleted secret before its time
	ResourceID      string `yaml:"resourceId"`      // in Azure Resource Manager, which error texts name; "": made up
	Permissions     Permissions
}

// vault is a provisioned Vault, with what follows from it.
type vault struct {
	Vault
	name  string
	host  string
	cloud clouds.Cloud
	face

	before Permissions // that were in force until since
	since  time.Time
}

// face is how a vault shows itself: with its own name, or with that of the direct listener when it was asked there.
type face struct {
	base     string   // before the path of an id
	links    string   // before the path of a link to the next page, always with a port
	login    string   // host of Entra ID
	resource string   // audience that it wants tokens for
	issuers  []string // of the tokens that it takes
}

func (v *vault) ownFace() face {
	return face{
		base: "https://" + v.host, links: "https://" + v.host + ":443",
		login: v.cloud.Login, resource: "https://" + v.cloud.VaultSuffix,
		issuers: []string{v.cloud.Issuer + v.TenantID + "/", "https://" + v.cloud.Login + "/" + v.TenantID + "/v2.0"},
	}
}

// direct gives the vault the face that it has on the direct listener, where hosts have a port. SDKs want the resource to
// be the host without its first label, and some of them with the port.
func (v *vault) direct(port string) *vault {
	shown := *v
	base := "https://" + v.name + "." + clouds.DirectSuffix + port
	shown.face = face{base: base, links: base, login: clouds.DirectLogin + port, resource: "https://" + clouds.DirectSuffix + port}
	for _, c := range clouds.All { // the direct Entra ID is of no cloud, so any will do
		shown.issuers = append(shown.issuers, c.Issuer+v.TenantID+"/")
	}
	return &shown
}

// permissionsAt gives the permissions that are in force. Azure needs minutes until changed ones are.
func (v *vault) permissionsAt(at time.Time) Permissions {
	if at.Before(v.since) {
		return v.before
	}
	return v.Permissions
}

// Vault names have 3 to 24 letters, digits and hyphens, begin with a letter, end with no hyphen and have no two in a row.
// Source: https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#vault-name-and-object-name
var vaultName = regexp.MustCompile(`^[a-z](-?[a-z0-9])*$`)

// ParseURL finds the host in a vault's URL, and refuses what is not one. Case, a trailing slash and the port 443 mean
// nothing.
func ParseURL(raw string) (host string, err error) {
	_, _, host, err = parseURL(raw)
	return host, err
}

func parseURL(raw string) (cloud clouds.Cloud, name, host string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return cloud, "", "", errors.New("is not a URL; want https://NAME.vault.azure.net/")
	}
	host = strings.ToLower(u.Hostname())
	cloud, known := clouds.OfVault(host)
	name = strings.TrimSuffix(host, "."+cloud.VaultSuffix)
	switch {
	case u.Scheme != "https", u.Path != "" && u.Path != "/", u.RawQuery != "", u.User != nil, u.Fragment != "":
		return cloud, "", "", errors.New("want nothing but https://NAME.vault.azure.net/")
	case !known:
		return cloud, "", "", fmt.Errorf("is not the URL of a vault; want https://NAME.SUFFIX/ with a suffix of %s", suffixes())
	case u.Port() != "" && u.Port() != "443":
		return cloud, "", "", errors.New("a vault has no port of its own; leave it out")
	case len(name) < 3 || len(name) > 24 || !vaultName.MatchString(name):
		return cloud, "", "", errors.New("the name must have 3 to 24 letters, digits and single hyphens, " +
			"begin with a letter and not end with a hyphen")
	}
	return cloud, name, host, nil
}

func suffixes() string {
	var all []string
	for _, c := range clouds.All {
		all = append(all, c.VaultSuffix)
	}
	return strings.Join(all, ", ")
}

// AddVault makes a vault known, in place of the one with the same host. What it holds stays. Changed permissions may
// need their time: see Visibility.
func (s *Service) AddVault(v Vault) error {
	var problems []error
	cloud, name, host, err := parseURL(v.URL)
	if err != nil {
		problems = append(problems, fmt.Errorf("URL = %q: %w", v.URL, err))
	}
	if err := entra.CheckID(v.TenantID); err != nil {
		problems = append(problems, fmt.Errorf("TenantID = %q: %w", v.TenantID, err))
	}
	if v.RetentionDays == 0 {
		v.RetentionDays = 90
	}
	if v.RetentionDays < 7 || v.RetentionDays > 90 {
		problems = append(problems, fmt.Errorf("RetentionDays = %d: want 7 to 90", v.RetentionDays))
	}
	v.Location = cmp.Or(v.Location, "eastus")
	if err := v.Permissions.check(); err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	added := &vault{Vault: v, name: name, host: host, cloud: cloud}
	added.face = added.ownFace()
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.vaults[host]; old != nil {
		added.before, added.since = old.permissionsAt(now), now.Add(s.Visibility().Permissions)
	}
	s.vaults[host] = added
	return nil
}

// vaultOf finds the vault that a request is for, nil if there is none.
func (s *Service) vaultOf(r *http.Request) *vault {
	host := hostOf(r)
	name, isDirect := clouds.DirectVault(host)
	if !isDirect {
		return s.vaultOrNew(host)
	}
	port := strings.TrimPrefix(strings.ToLower(r.Host), host)
	for _, c := range clouds.All {
		if v := s.vault(name + "." + c.VaultSuffix); v != nil {
			return v.direct(port)
		}
	}
	if v := s.vaultOrNew(name + "." + clouds.All[0].VaultSuffix); v != nil {
		return v.direct(port)
	}
	return nil
}

// vaultOrNew finds a vault, and makes it where all that are asked for are to be made.
func (s *Service) vaultOrNew(host string) *vault {
	v := s.vault(host)
	if v == nil && s.cfg.NewVault != nil {
		if made, ok := s.cfg.NewVault(host); ok && s.AddVault(made) == nil {
			v = s.vault(host)
		}
	}
	return v
}

func (s *Service) vault(host string) *vault {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.vaults[host]
}

// recoveryLevel is how the vault describes what can become of its deleted secrets.
// Source: https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret#deletionrecoverylevel
func (v *vault) recoveryLevel() string {
	level := "Recoverable"
	if v.RetentionDays < 90 {
		level = "CustomizedRecoverable"
	}
	if !v.PurgeProtection {
		level += "+Purgeable"
	}
	return level
}
