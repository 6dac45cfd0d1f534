package localcloud

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/localcloud/entra"
)

// provisionFile is a Provision written down. Certificates and keys are files.
type provisionFile struct {
	Tenants    []string
	Apps       []appEntry
	Identities []identityEntry
	Vaults     []Vault
	Astro      []AstroOrganization
	GitHub     []GitHubRepository `yaml:"github"`
}

type appEntry struct {
	App              `yaml:",inline"`
	CertificateFiles []string         `yaml:"certificates"` // PEM
	Federated        federatedEntries `yaml:"federated"`
}

type identityEntry struct {
	ManagedIdentity `yaml:",inline"`
	Federated       federatedEntries `yaml:"federated"`
}

type federatedEntries []struct {
	FederatedCredential `yaml:",inline"`
	KeysFile            string `yaml:"keys"` // a JSON Web Key Set; "" for tokens of LocalIssuer
}

// ReadProvision reads a Provision from YAML, or JSON, which is YAML too:
//
//	apps:
//	  - {tenantId: TENANT, clientId: APP, clientSecret: SECRET, certificates: [app.pem]}
//	identities:
//	  - {tenantId: TENANT, clientId: IDENTITY, systemAssigned: true}
//	vaults:
//	  - url: https://my-vault.vault.azure.net/
//	    permissions:
//	      roles: [{principal: APP, role: Key Vault Secrets User}]
//	astro:
//	  - id: ORGANIZATION
//	    workspaces: [{id: WORKSPACE, deployments: [{id: DEPLOYMENT, name: production}]}]
//	    tokens: [{id: TOKEN, scope: WORKSPACE, entityId: WORKSPACE, role: WORKSPACE_OPERATOR}]
//	github:
//	  - {name: OWNER/REPOSITORY, tokens: [{token: TOKEN}]}
//
// Fields are those of the types, with a small first letter; certificates and the keys of federated credentials are the
// names of files, which lie in dir if they are relative. With dir "" there can be none. Unknown fields are errors, and
// errors say where, not what. A vault with roles is of the model RBAC, one with policies of the model AccessPolicies, if it
// names none.
func ReadProvision(r io.Reader, dir string) (Provision, error) {
	var file provisionFile
	decoder := yaml.NewDecoder(r)
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return Provision{}, yamlError(err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Provision{}, errors.New("provision file: there is more than one document")
	}
	for i := range file.Vaults {
		if err := chooseModel(&file.Vaults[i].Permissions); err != nil {
			return Provision{}, fmt.Errorf("provision file: vaults[%d].permissions: %w", i, err)
		}
	}
	p := Provision{Tenants: file.Tenants, Vaults: file.Vaults, Astro: file.Astro, GitHub: file.GitHub}
	for i, entry := range file.Apps {
		app := entry.App
		for _, name := range entry.CertificateFiles {
			certificates, err := readCertificates(name, dir)
			if err != nil {
				return Provision{}, fmt.Errorf("provision file: apps[%d].certificates: %w", i, err)
			}
			app.Certificates = append(app.Certificates, certificates...)
		}
		var err error
		if app.Federated, err = entry.Federated.read(dir); err != nil {
			return Provision{}, fmt.Errorf("provision file: apps[%d].%w", i, err)
		}
		p.Apps = append(p.Apps, app)
	}
	for i, entry := range file.Identities {
		id := entry.ManagedIdentity
		var err error
		if id.Federated, err = entry.Federated.read(dir); err != nil {
			return Provision{}, fmt.Errorf("provision file: identities[%d].%w", i, err)
		}
		p.Identities = append(p.Identities, id)
	}
	return p, nil
}

// chooseModel takes the model that the permissions are written for, so that nobody lists roles in vain.
func chooseModel(p *Permissions) error {
	switch {
	case p.Model != Everyone:
	case len(p.Roles) > 0 && len(p.Policies) > 0:
		return errors.New("both roles and policies, and no model that says which of them count")
	case len(p.Roles) > 0:
		p.Model = RBAC
	case len(p.Policies) > 0:
		p.Model = AccessPolicies
	}
	return nil
}

func (entries federatedEntries) read(dir string) (all []entra.FederatedCredential, err error) {
	for i, entry := range entries {
		f := entry.FederatedCredential
		if entry.KeysFile != "" {
			raw, err := readBeside(entry.KeysFile, dir)
			if err == nil && json.Unmarshal(raw, &f.Keys) != nil {
				err = fmt.Errorf("%s is not a JSON Web Key Set", entry.KeysFile)
			}
			if err != nil {
				return nil, fmt.Errorf("federated[%d].keys: %w", i, err)
			}
		}
		all = append(all, f)
	}
	return all, nil
}

func readCertificates(name, dir string) (all []*x509.Certificate, err error) {
	rest, err := readBeside(name, dir)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue // a file may hold the key too
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s holds a damaged certificate", name)
		}
		all = append(all, certificate)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM", name)
	}
	return all, nil
}

func readBeside(name, dir string) ([]byte, error) {
	if dir == "" {
		return nil, errors.New("files cannot be named here")
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	return os.ReadFile(name)
}

// unsaid is what the YAML library says too much: what it could not read, which may be a secret, and the names of our types.
var unsaid = regexp.MustCompile("(?s) ?`.*?`| (in type|into) [\\w.\\[\\]]+")

func yamlError(err error) error {
	lines := []string{err.Error()}
	var types *yaml.TypeError
	if errors.As(err, &types) {
		lines = types.Errors
	}
	var problems []error
	for _, line := range lines {
		problems = append(problems, fmt.Errorf("provision file: %s", unsaid.ReplaceAllString(line, "")))
	}
	return errors.Join(problems...)
}
