package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/smallstep/truststore"
	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/fault"
)

func (a *app) devTrustCommand() *cobra.Command {
	var uninstall, browsers, system bool
	c := &cobra.Command{
		Use:   "trust",
		Short: "Make browsers and the system trust this folder's dev, or stop it",
		Long: `Put the certificate authority of this folder's dev into the system's trust store, and into the one of Firefox and Chrome
where certutil is there, for programs that cannot run inside airlock dev run. --uninstall takes it out again.

The authority is constrained to the hosts that it stands in for and is valid for a short time. The system's store needs
root; sudo asks for it.`,
		Example: `  airlock dev trust
  airlock dev trust --uninstall`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !browsers && !system {
				browsers, system = true, true
			}
			if uninstall {
				return a.distrust(browsers, system)
			}
			return a.trust(browsers, system)
		},
	}
	flags := c.Flags()
	flags.BoolVar(&uninstall, "uninstall", false, "take it out again")
	flags.BoolVar(&browsers, "browsers", false, "only the store of Firefox and Chrome")
	flags.BoolVar(&system, "system", false, "only the system's store")
	return c
}

// trustedFile is a copy of the authority that was trusted: it is what must be taken out, whatever dev made since.
func (a *app) trustedFile() string { return filepath.Join(a.env.Dir, devDir, "trusted.pem") }

func (a *app) trust(browsers, system bool) error {
	pem, err := os.ReadFile(filepath.Join(a.env.Dir, devDir, "ca.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Usage, "this folder's dev has no certificate authority yet",
			"run airlock dev once, without --ephemeral and --data")
	}
	if err != nil {
		return fault.Wrap(fault.Usage, err, "cannot read the certificate authority: "+err.Error())
	}
	if _, err := os.Stat(a.trustedFile()); err == nil { // an older one would stay behind
		if err := a.distrust(browsers, system); err != nil {
			return err
		}
	}
	if err := writeFile(a.trustedFile(), pem); err != nil {
		return err
	}
	return a.eachStore(browsers, system, "trusts this folder's dev now", truststore.InstallFile)
}

func (a *app) distrust(browsers, system bool) error {
	if _, err := os.Stat(a.trustedFile()); err != nil {
		return fault.New(fault.NotFound, "nothing trusts this folder's dev")
	}
	if err := a.eachStore(browsers, system, "does not trust this folder's dev any more", truststore.UninstallFile); err != nil {
		return err
	}
	return os.Remove(a.trustedFile())
}

// eachStore changes the stores that there are, and says what became of each.
func (a *app) eachStore(browsers, system bool, done string, change func(string, ...truststore.Option) error) error {
	prefix := truststore.WithPrefix("airlock dev ")
	if system {
		if err := change(a.trustedFile(), prefix); err != nil {
			return fault.Wrap(fault.Forbidden, err, "cannot change the system's trust store: "+err.Error(),
				"it needs root; or use --browsers, or run programs with: airlock dev run -- CMD")
		}
		fmt.Fprintln(a.env.Stdout, "the system", done)
	}
	if browsers {
		nss, err := truststore.NewNSSTrust()
		if err == nil {
			err = nss.PreCheck()
		}
		if err != nil {
			a.say("airlock: hint: Firefox and Chrome are left out: %v; certutil is in Debian's libnss3-tools", err)
			return nil
		}
		if err := change(a.trustedFile(), prefix, truststore.WithNoSystem(), truststore.WithTrust(nss)); err != nil {
			return fault.Wrap(fault.Internal, err, "cannot change the browsers' trust store: "+err.Error())
		}
		fmt.Fprintln(a.env.Stdout, "Firefox and Chrome:", done)
	}
	return nil
}
