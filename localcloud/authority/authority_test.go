package authority

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var domains = []string{"vault.azure.net", "login.microsoftonline.com"}

func open(t *testing.T, dir string) *Authority {
	t.Helper()
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, []byte("# the system's"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{Dir: dir, Domains: domains, Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func verify(a *Authority, leaf *x509.Certificate, host string) error {
	pool := x509.NewCertPool()
	pool.AddCert(a.Root())
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: pool})
	return err
}

func TestCertificate(t *testing.T) {
	a := open(t, t.TempDir())
	for _, host := range []string{"login.microsoftonline.com", "my-vault.vault.azure.net", "MY-VAULT.vault.azure.net."} {
		leaf, err := a.Certificate(host)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(a, leaf.Leaf, host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		if again, _ := a.Certificate(host); again != leaf {
			t.Errorf("%s: minted twice", host)
		}
	}
	for _, host := range []string{"", "example.com", "vault.azure.net.example.com", "evilvault.azure.net", "127.0.0.1"} {
		if _, err := a.Certificate(host); err == nil {
			t.Errorf("%q was certified", host)
		}
	}
}

// The constraint is in the certificate, so that it holds for whoever gets hold of the key.
func TestStolenKeyIsBoundToTheDomains(t *testing.T) {
	a := open(t, t.TempDir())
	for _, template := range []*x509.Certificate{
		{DNSNames: []string{"example.com"}},
		{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}},
	} {
		template.SerialNumber = serial()
		template.Subject = pkix.Name{CommonName: "x"}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.leaf.Public(), a.key)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(a, leaf, ""); err == nil {
			t.Errorf("%v %v was accepted", leaf.DNSNames, leaf.IPAddresses)
		}
	}
}

func TestUsedAgainWhileValid(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	if second := open(t, dir); !second.cert.Equal(first.cert) {
		t.Error("a valid authority was replaced")
	}
	for _, name := range []string{"ca.key", "ca.pem", "ca-bundle.pem"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	other, err := New(Config{Dir: dir, Domains: []string{"vault.azure.cn"}})
	if err != nil {
		t.Fatal(err)
	}
	if other.cert.Equal(first.cert) {
		t.Error("an authority for other domains was used again")
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.key"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if third := open(t, dir); third.cert.Equal(other.cert) {
		t.Error("an authority without its key was used again")
	}
}

func TestUsable(t *testing.T) {
	fresh := time.Now().Add(lifetime)
	for _, row := range []struct {
		end     time.Time
		domains []string
		want    bool
	}{
		{fresh, domains, true},
		{fresh, domains[:1], false},
		{time.Now().Add(renewBefore / 2), domains, false},
	} {
		cert := &x509.Certificate{NotAfter: row.end, PermittedDNSDomains: row.domains}
		if got := usable(cert, domains); got != row.want {
			t.Errorf("usable(%v, %v) = %v", row.end, row.domains, got)
		}
	}
}

func TestBundleHoldsBoth(t *testing.T) {
	a := open(t, t.TempDir())
	bundle, err := os.ReadFile(a.BundleFile())
	if err != nil {
		t.Fatal(err)
	}
	if want := "# the system's\n" + string(a.pem()); string(bundle) != want {
		t.Errorf("bundle: %s", bundle)
	}
	block, _ := pem.Decode(bundle)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || !a.HasSystemRoots() {
		t.Errorf("%T, %v", cert.PublicKey, a.HasSystemRoots())
	}
	if _, err := New(Config{Dir: t.TempDir(), Domains: domains, Roots: "absent"}); err == nil {
		t.Error("a file of roots that is not there was ignored")
	}
}
