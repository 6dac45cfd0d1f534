package localcloud

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.yaml.in/yaml/v3"
)

// document is a Provision as people write it down, in YAML or JSON. Fields mean what the fields of Provision mean.
type document struct {
	Tenants    []string           `yaml:"tenants"`
	Apps       []appDocument      `yaml:"apps"`
	Identities []identityDocument `yaml:"managed_identities"`
	Vaults     []vaultDocument    `yaml:"vaults"`
}

type appDocument struct {
	TenantID      string              `yaml:"tenant_id"`
	ClientID      string              `yaml:"client_id"`
	ClientSecret  string              `yaml:"client_secret"`
	SecretExpires time.Time           `yaml:"secret_expires"`
	ObjectID      string              `yaml:"object_id"`
	Disabled      bool                `yaml:"disabled"`
	Certificates  []string            `yaml:"certificates"` // PEM files
	Federated     []federatedDocument `yaml:"federated"`
}

type federatedDocument struct {
	Issuer   string `yaml:"issuer"`
	Subject  string `yaml:"subject"`
	Audience string `yaml:"audience"`
	Keys     string `yaml:"keys"` // file with a JSON Web Key Set
}

type identityDocument struct {
	TenantID       string              `yaml:"tenant_id"`
	ClientID       string              `yaml:"client_id"`
	SystemAssigned bool                `yaml:"system_assigned"`
	ObjectID       string              `yaml:"object_id"`
	ResourceID     string              `yaml:"resource_id"`
	Federated      []federatedDocument `yaml:"federated"`
}

type vaultDocument struct {
	URL             string               `yaml:"url"`
	TenantID        string               `yaml:"tenant_id"`
	Location        string               `yaml:"location"`
	RetentionDays   int                  `yaml:"retention_days"`
	PurgeProtection bool                 `yaml:"purge_protection"`
	ResourceID      string               `yaml:"resource_id"`
	Permissions     *permissionsDocument `yaml:"permissions"`
}

type permissionsDocument struct {
	Policies []struct {
		Principal string   `yaml:"principal"`
		Secrets   []string `yaml:"secrets"`
		Template  string   `yaml:"template"`
	} `yaml:"access_policies"`
	Roles []struct {
		Principal string `yaml:"principal"`
		Role      string `yaml:"role"`
		Secret    string `yaml:"secret"`
	} `yaml:"roles"`
	Network struct {
		Disabled bool     `yaml:"disabled"`
		Deny     bool     `yaml:"deny"`
		Allowed  []string `yaml:"allowed"`
	} `yaml:"network"`
}

// ReadProvision reads a YAML or JSON file that says what exists in a cloud:
//
//	apps:
//	  - {tenant_id: GUID, client_id: GUID, client_secret: text, certificates: [app.pem]}
//	managed_identities:
//	  - {tenant_id: GUID, client_id: GUID, system_assigned: true}
//	vaults:
//	  - url: https://NAME.vault.azure.net/
//	    tenant_id: GUID
//	    permissions:
//	      roles: [{principal: GUID, role: Key Vault Secrets User}]
//
// Permissions with roles are RBAC, others with access_policies are access policies; a vault without either lets
// everyone of its tenant do everything. Files that it names are looked for beside it. Errors name file and line or
// field, never a value; unknown fields are errors.
func ReadProvision(file string) (Provision, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return Provision{}, err
	}
	p, err := parseProvision(raw, filepath.Dir(file))
	if err != nil {
		return Provision{}, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}

// AddDocument provisions what a document of [ReadProvision]'s form says, while the cloud runs. Files that it names are
// looked for in the working directory.
func (c *Cloud) AddDocument(raw []byte) error {
	p, err := parseProvision(raw, "")
	if err != nil {
		return err
	}
	return c.Add(p)
}

// parseProvision reads a document whose files lie in dir.
func parseProvision(raw []byte, dir string) (Provision, error) {
	var d document
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	decoder.KnownFields(true)
	if err := decoder.Decode(&d); err != nil {
		return Provision{}, yamlError(err)
	}
	var problems []error
	p := Provision{Tenants: d.Tenants}
	for i, app := range d.Apps {
		certificates, err := readCertificates(dir, app.Certificates)
		problems = append(problems, within("apps", i, err))
		federated, err := readFederated(dir, app.Federated)
		problems = append(problems, within("apps", i, err))
		p.Apps = append(p.Apps, App{
			TenantID: app.TenantID, ClientID: app.ClientID, ClientSecret: app.ClientSecret, SecretExpires: app.SecretExpires,
			ObjectID: app.ObjectID, Disabled: app.Disabled, Certificates: certificates, Federated: federated,
		})
	}
	for i, id := range d.Identities {
		federated, err := readFederated(dir, id.Federated)
		problems = append(problems, within("managed_identities", i, err))
		p.Identities = append(p.Identities, ManagedIdentity{
			TenantID: id.TenantID, ClientID: id.ClientID, SystemAssigned: id.SystemAssigned, ObjectID: id.ObjectID,
			ResourceID: id.ResourceID, Federated: federated,
		})
	}
	for i, v := range d.Vaults {
		permissions, err := v.Permissions.read()
		problems = append(problems, within("vaults", i, err))
		p.Vaults = append(p.Vaults, Vault{
			URL: v.URL, TenantID: v.TenantID, Location: v.Location, RetentionDays: v.RetentionDays,
			PurgeProtection: v.PurgeProtection, ResourceID: v.ResourceID, Permissions: permissions,
		})
	}
	return p, errors.Join(problems...)
}

func within(list string, i int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s[%d]: %w", list, i, err)
}

func (d *permissionsDocument) read() (Permissions, error) {
	if d == nil {
		return Permissions{}, nil
	}
	p := Permissions{Network: NetworkRules{Disabled: d.Network.Disabled, Deny: d.Network.Deny, Allowed: d.Network.Allowed}}
	switch {
	case d.Policies != nil && d.Roles != nil:
		return p, errors.New("permissions: a vault has either access_policies or roles")
	case d.Policies != nil:
		p.Model = AccessPolicies
	case d.Roles != nil:
		p.Model = RBAC
	}
	for _, policy := range d.Policies {
		p.Policies = append(p.Policies, AccessPolicy{Principal: policy.Principal, Secrets: policy.Secrets, Template: policy.Template})
	}
	for _, role := range d.Roles {
		p.Roles = append(p.Roles, RoleAssignment{Principal: role.Principal, Role: role.Role, Secret: role.Secret})
	}
	return p, nil
}

func readCertificates(dir string, files []string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for _, file := range files {
		rest, err := os.ReadFile(beside(dir, file))
		if err != nil {
			return nil, err
		}
		found := false
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			if block.Type != "CERTIFICATE" { // the private key may stand in the same file, as the SDKs want it
				continue
			}
			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("certificate in %s: %w", file, err)
			}
			all, found = append(all, certificate), true
		}
		if !found {
			return nil, fmt.Errorf("%s holds no certificate", file)
		}
	}
	return all, nil
}

func readFederated(dir string, credentials []federatedDocument) ([]FederatedCredential, error) {
	var all []FederatedCredential
	for _, f := range credentials {
		var keys jose.JSONWebKeySet
		if f.Keys != "" {
			raw, err := os.ReadFile(beside(dir, f.Keys))
			if err != nil {
				return nil, err
			}
			if err := json.Unmarshal(raw, &keys); err != nil {
				return nil, fmt.Errorf("%s is not a JSON Web Key Set", f.Keys)
			}
		}
		all = append(all, FederatedCredential{Issuer: f.Issuer, Subject: f.Subject, Audience: f.Audience, Keys: keys})
	}
	return all, nil
}

func beside(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}

var (
	yamlLine  = regexp.MustCompile(`line (\d+)`)
	yamlField = regexp.MustCompile(`field (\w+) not found`)
)

// yamlError keeps the lines and the unknown fields of a parser's error; the rest could show a value.
func yamlError(err error) error {
	text := err.Error()
	var problems []error
	var types *yaml.TypeError
	if errors.As(err, &types) {
		for _, one := range types.Errors {
			line := firstNumber(one)
			if field := yamlField.FindStringSubmatch(one); field != nil {
				problems = append(problems, fmt.Errorf("line %d: no field is called %q", line, field[1]))
			} else {
				problems = append(problems, fmt.Errorf("line %d: not the kind of value that belongs here", line))
			}
		}
		return errors.Join(problems...)
	}
	return fmt.Errorf("line %d: not valid YAML", firstNumber(text))
}

func firstNumber(text string) int {
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 1
}
