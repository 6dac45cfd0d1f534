package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/localcloud"
)

// moreProvisions adds to a plan what the flags name.
func (a *app) moreProvisions(p *devPlan, f devFlags) error {
	for _, v := range f.vaults {
		url := v
		if !strings.Contains(v, "://") {
			url = "https://" + v + ".vault.azure.net/"
		}
		p.provision.Vaults = append(p.provision.Vaults, localcloud.Vault{URL: url, TenantID: p.tenantID})
	}
	for _, file := range f.provision {
		more, err := a.readProvision(file)
		if err != nil {
			return fault.Wrap(fault.Usage, err, fmt.Sprintf("%s: %v", file, err), "see docs/localcloud.md for what such a file holds")
		}
		p.provision.Tenants = append(p.provision.Tenants, more.Tenants...)
		p.provision.Apps = append(p.provision.Apps, more.Apps...)
		p.provision.Identities = append(p.provision.Identities, more.Identities...)
		p.provision.Vaults = append(p.provision.Vaults, more.Vaults...)
		p.provision.Astro = append(p.provision.Astro, more.Astro...)
		p.provision.GitHub = append(p.provision.GitHub, more.GitHub...)
	}
	return nil
}

func (a *app) readProvision(file string) (localcloud.Provision, error) {
	path := a.path(file)
	f, err := os.Open(path)
	if err != nil {
		return localcloud.Provision{}, err
	}
	defer f.Close()
	return localcloud.ReadProvision(f, filepath.Dir(path))
}

func (a *app) devProvisionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "provision FILE|-",
		Short: "Add apps, identities, vaults, Deployments and repositories to the running dev",
		Long: `Add what a YAML or JSON file names to the local cloud of this folder's dev: tenants, apps, managed identities, vaults and
their permissions, Astro's Organizations and Deployments, GitHub's repositories. What is there already under the same ids is
replaced; what a vault, a Deployment or a repository holds stays. A file that is named in
it, a certificate for example, is read only by airlock dev --provision.`,
		Example: `  airlock dev provision permissions.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var document []byte
			var err error
			if args[0] == "-" {
				document, err = io.ReadAll(io.LimitReader(a.env.Stdin, config.MaxFile))
			} else {
				document, err = os.ReadFile(a.path(args[0]))
			}
			if err != nil {
				return fault.Wrap(fault.Usage, err, "cannot read what to provision: "+err.Error())
			}
			return a.controlRaw(c.Context(), http.MethodPost, "/v1/provision", bytes.NewReader(document), nil)
		},
	}
}
