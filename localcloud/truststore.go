package localcloud

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"software.sslmate.com/src/go-pkcs12"
)

// JavaTrustStore writes the certificates of CAFile as a PKCS #12 trust store, and returns its path and its password, for
// the properties javax.net.ssl.trustStore and javax.net.ssl.trustStorePassword. The password protects nothing: it is the
// one that every Java installation has.
func (c *Cloud) JavaTrustStore() (file, password string, err error) {
	rest, err := os.ReadFile(c.CAFile())
	if err != nil {
		return "", "", err
	}
	var certificates []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue // roots of the system that Go does not take; others do not need it to
		}
		certificates = append(certificates, certificate)
	}
	if len(certificates) == 0 {
		return "", "", errors.New("the bundle holds no certificate")
	}
	store, err := pkcs12.Modern.EncodeTrustStore(certificates, pkcs12.DefaultPassword)
	if err != nil {
		return "", "", fmt.Errorf("make a trust store: %w", err)
	}
	file = filepath.Join(c.dir, "ca-truststore.p12")
	return file, pkcs12.DefaultPassword, writeKey(file, store)
}

// JavaOptions are the options for java, or the words of JAVA_TOOL_OPTIONS, that have the effect of Env.
func (c *Cloud) JavaOptions() ([]string, error) {
	file, password, err := c.JavaTrustStore()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(c.proxy.Addr().String())
	if err != nil {
		return nil, err
	}
	return []string{
		"-Djavax.net.ssl.trustStore=" + file, "-Djavax.net.ssl.trustStorePassword=" + password,
		"-Djavax.net.ssl.trustStoreType=PKCS12",
		"-Dhttps.proxyHost=" + host, "-Dhttps.proxyPort=" + port, "-Dhttp.proxyHost=" + host, "-Dhttp.proxyPort=" + port,
		"-Dhttp.nonProxyHosts=localhost|127.*|[::1]",
	}, nil
}
