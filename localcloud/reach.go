package localcloud

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net"
	"net/http"
	"net/url"

	"github.com/airlock-secrets/airlock/localcloud/clouds"
	"github.com/airlock-secrets/airlock/localcloud/identity"
)

// DirectVaultURL is the URL at which the direct listener serves the vault of a name, "" without Config.Direct. Its Entra
// ID is [Cloud.DirectAuthority].
func (c *Cloud) DirectVaultURL(name string) string {
	if c.directPort == "" {
		return ""
	}
	return "https://" + name + "." + clouds.DirectSuffix + ":" + c.directPort + "/"
}

// DirectAuthority is the value of AZURE_AUTHORITY_HOST for the direct listener, "" without Config.Direct.
func (c *Cloud) DirectAuthority() string {
	if c.directPort == "" {
		return ""
	}
	return "https://" + clouds.DirectLogin + ":" + c.directPort + "/"
}

// ProxyURL is the value for HTTPS_PROXY and HTTP_PROXY.
func (c *Cloud) ProxyURL() string { return "http://" + c.proxy.Addr().String() }

// CAFile is the path of a PEM file with the system's roots and our own. It holds both because SSL_CERT_FILE and its like
// replace the roots, and hosts that are tunnelled must still verify.
func (c *Cloud) CAFile() string { return c.authority.BundleFile() }

// Env is what a program needs in its environment to use the cloud; what it needs in order to sign in is its own affair.
func (c *Cloud) Env() map[string]string {
	const direct = "localhost,127.0.0.1,::1"
	return map[string]string{
		"HTTPS_PROXY": c.ProxyURL(), "https_proxy": c.ProxyURL(),
		"HTTP_PROXY": c.ProxyURL(), "http_proxy": c.ProxyURL(),
		"NO_PROXY": direct, "no_proxy": direct,
		"SSL_CERT_FILE":       c.CAFile(), // Go on Linux, OpenSSL, .NET on Linux
		"REQUESTS_CA_BUNDLE":  c.CAFile(), // Python requests, Azure CLI
		"CURL_CA_BUNDLE":      c.CAFile(),
		"NODE_EXTRA_CA_CERTS": c.authority.CertificateFile(), // adds to Node's own roots
	}
}

// HTTPClient trusts the cloud and goes through its proxy, except to loopback. It is one client, shared by all callers.
func (c *Cloud) HTTPClient() *http.Client { return c.client }

func (c *Cloud) newClient() *http.Client {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	roots.AddCert(c.authority.Root())
	through := &url.URL{Scheme: "http", Host: c.proxy.Addr().String()}
	return &http.Client{Transport: &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) { // as Env says it, with NO_PROXY
			if ip := net.ParseIP(r.URL.Hostname()); ip != nil && ip.IsLoopback() || r.URL.Hostname() == "localhost" {
				return nil, nil
			}
			return through, nil
		},
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
	}}
}

// IdentityEndpoint gives the values of IDENTITY_ENDPOINT and IDENTITY_HEADER, App Service's protocol of managed identity.
func (c *Cloud) IdentityEndpoint() (endpoint, header string) {
	return c.ProxyURL() + identity.AppServicePath, c.header
}

func newHeader() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // does not fail
	return hex.EncodeToString(raw)
}
