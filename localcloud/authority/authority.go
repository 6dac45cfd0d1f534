// Package authority is the local cloud's certificate authority. It is short-lived and can speak only for the domains
// that it was made for: even if its key were stolen, a client that trusts it would not accept it for another host.
package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	lifetime     = 30 * 24 * time.Hour
	renewBefore  = 3 * 24 * time.Hour // an authority with less left is replaced when the next cloud starts
	leafLifetime = 7 * 24 * time.Hour
	backdate     = time.Hour // for clients whose clock is behind
	cachedLeaves = 1024      // strangers choose the names, so the cache has an end
)

// Config says where an authority lives and what it may certify.
type Config struct {
	Dir     string   // existing folder for key, certificate and bundle; a valid authority found there is used again
	Domains []string // what it may certify: these names and all below them
	Roots   string   // PEM file of the roots that the bundle holds besides ours; "" looks where systems keep theirs
}

// Authority mints certificates. Its methods are safe for concurrent use. The clock is the real one, never an emulated
// one, because the clients that check the certificates have no other.
type Authority struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	leaf   *ecdsa.PrivateKey // one key serves all leaves of a process
	file   string
	bundle string
	rooted bool

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

// New reads the authority in cfg.Dir, or makes one there.
func New(cfg Config) (*Authority, error) {
	a := &Authority{
		file:   filepath.Join(cfg.Dir, "ca.pem"),
		bundle: filepath.Join(cfg.Dir, "ca-bundle.pem"),
		leaves: map[string]*tls.Certificate{},
	}
	var err error
	if a.leaf, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	keyFile := filepath.Join(cfg.Dir, "ca.key")
	if a.cert, a.key, err = load(a.file, keyFile); err != nil || !usable(a.cert, cfg.Domains) {
		if a.cert, a.key, err = create(cfg.Domains); err != nil {
			return nil, fmt.Errorf("make a certificate authority: %w", err)
		}
		key, err := x509.MarshalPKCS8PrivateKey(a.key)
		if err != nil {
			return nil, err
		}
		// The key first: a certificate without its key would be replaced, a key without its certificate too.
		if err := writeFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})); err != nil {
			return nil, err
		}
		if err := writeFile(a.file, a.pem()); err != nil {
			return nil, err
		}
	}
	roots, err := systemRoots(cfg.Roots)
	if err != nil {
		return nil, err
	}
	a.rooted = len(roots) > 0
	if len(roots) > 0 && !bytes.HasSuffix(roots, []byte("\n")) {
		roots = append(roots, '\n')
	}
	return a, writeFile(a.bundle, append(roots, a.pem()...))
}

// CertificateFile is the path of the authority's own certificate, in PEM.
func (a *Authority) CertificateFile() string { return a.file }

// BundleFile is the path of a PEM file with the system's roots and the authority's certificate. Programs that are
// pointed to it replace their roots by it, so it must hold both.
func (a *Authority) BundleFile() string { return a.bundle }

// HasSystemRoots says whether the bundle holds other roots than ours. Without them hosts that are not emulated do not
// verify.
func (a *Authority) HasSystemRoots() bool { return a.rooted }

// Root is the authority's certificate.
func (a *Authority) Root() *x509.Certificate { return a.cert }

// Certificate returns a certificate for a host, minted when it is asked for the first time. The host must lie in one of
// the authority's domains.
func (a *Authority) Certificate(host string) (*tls.Certificate, error) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !within(host, a.cert.PermittedDNSDomains) {
		return nil, fmt.Errorf("%q is not among the hosts that the local cloud stands in for", host)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if leaf := a.leaves[host]; leaf != nil && time.Until(leaf.Leaf.NotAfter) > time.Hour {
		return leaf, nil
	}
	leaf, err := a.mint(host)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	if len(a.leaves) >= cachedLeaves {
		clear(a.leaves)
	}
	a.leaves[host] = leaf
	return leaf, nil
}

func (a *Authority) mint(host string) (*tls.Certificate, error) {
	now := time.Now()
	end := now.Add(leafLifetime)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{Organization: []string{"Airlock local cloud, not the real service"}},
		DNSNames:     []string{host},
		NotBefore:    now.Add(-backdate),
		NotAfter:     end,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.leaf.Public(), a.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: a.leaf, Leaf: parsed}, nil
}

func (a *Authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func create(domains []string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(lifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// Name constraints (RFC 5280, 4.2.1.10). Kinds of names that are not listed would be free, so addresses are
		// excluded by name.
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         domains,
		ExcludedIPRanges:            []*net.IPNet{everything(net.IPv4len), everything(net.IPv6len)},
	}
	// Each authority has a name of its own: with two of one name in a trust store, clients may pick the wrong one.
	sum := sha256.Sum256(template.SerialNumber.Bytes())
	template.Subject = pkix.Name{
		Organization: []string{"Airlock local cloud"},
		CommonName:   fmt.Sprintf("Airlock local cloud development CA %x", sum[:4]),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

func everything(size int) *net.IPNet {
	return &net.IPNet{IP: make(net.IP, size), Mask: make(net.IPMask, size)}
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return n.Add(n, big.NewInt(1))
}

var errNotOurs = errors.New("not a certificate authority with its key")

func load(certFile, keyFile string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, nil, errNotOurs
	}
	return pair.Leaf, key, nil
}

// usable says whether an authority that was found has time left and speaks for exactly the domains that are wanted.
func usable(cert *x509.Certificate, domains []string) bool {
	return time.Until(cert.NotAfter) > renewBefore && slices.Equal(cert.PermittedDNSDomains, domains)
}

func within(host string, domains []string) bool {
	return slices.ContainsFunc(domains, func(domain string) bool {
		return host == domain || strings.HasSuffix(host, "."+domain)
	})
}

// writeFile writes in one step, so that a reader never sees half a file, and for the owner only.
func writeFile(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}

// rootFiles are the places where systems keep their roots as one PEM file: those that Go's crypto/x509 looks at on
// Linux and the BSDs, and macOS's /etc/ssl/cert.pem.
var rootFiles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

func systemRoots(file string) ([]byte, error) {
	if file != "" {
		return os.ReadFile(file)
	}
	for _, candidate := range rootFiles {
		roots, err := os.ReadFile(candidate)
		if err == nil {
			return roots, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
	}
	return nil, nil
}
