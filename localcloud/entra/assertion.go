package entra

import (
	"bytes"
	"crypto/sha1" // a thumbprint, not a protection
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/airlock-secrets/airlock/localcloud/clouds"
)

const (
	// LocalIssuer is the issuer of the tokens that FederatedToken makes.
	LocalIssuer = "https://oidc.airlock.localhost"

	federatedAudience = "api://AzureADTokenExchange"
	assertionType     = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523, 2.2
	assertionSkew     = 5 * time.Minute
)

// assertionAlgorithms are what Entra ID takes: PS256 from new clients, RS256 from older ones and from clusters, and the
// elliptic curve that some issuers of federated tokens have.
var assertionAlgorithms = []jose.SignatureAlgorithm{jose.PS256, jose.RS256, jose.ES256}

// checkAssertion checks a signed statement instead of a secret. One that the app itself issued is signed with one of its
// certificates; any other is a federated token.
func (s *Service) checkAssertion(r *http.Request, app App, form url.Values) *Error {
	if form.Get("client_assertion_type") != assertionType {
		return errMissing("client_assertion_type")
	}
	// Programs send the file of a federated token as they read it, with its line break.
	token, err := jwt.ParseSigned(strings.TrimSpace(form.Get("client_assertion")), assertionAlgorithms)
	if err != nil {
		return errAssertion()
	}
	var unverified jwt.Claims
	if err := token.UnsafeClaimsWithoutVerification(&unverified); err != nil {
		return errAssertion()
	}
	if strings.EqualFold(unverified.Issuer, app.ClientID) {
		return s.checkCertificate(r, app, token)
	}
	return s.checkFederated(app, token, unverified)
}

// checkCertificate checks an assertion that a certificate signed.
// Source: https://learn.microsoft.com/entra/identity-platform/certificate-credentials
func (s *Service) checkCertificate(r *http.Request, app App, token *jwt.JSONWebToken) *Error {
	certificate, thumbprint := certificateOf(token.Headers[0], app.Certificates)
	if certificate == nil {
		return errCertificateUnknown(app.ClientID, thumbprint)
	}
	var c jwt.Claims
	if err := token.Claims(certificate.PublicKey, &c); err != nil {
		return errCertificateSignature(thumbprint, "The provided signature value did not match the expected signature value.")
	}
	if now := s.now(); now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
		return errCertificateSignature(thumbprint, "The key used is expired.")
	}
	switch {
	case !slices.ContainsFunc(c.Audience, func(audience string) bool { return audienceOf(r, audience) }):
		return errAssertionAudience()
	case !strings.EqualFold(c.Subject, app.ClientID):
		return errAssertionSubject()
	}
	return s.checkTimes(c)
}

// certificateOf finds the certificate that the header of an assertion names by a thumbprint.
func certificateOf(header jose.Header, certificates []*x509.Certificate) (*x509.Certificate, string) {
	var wanted []byte
	for _, name := range []jose.HeaderKey{"x5t#S256", "x5t"} {
		if text, ok := header.ExtraHeaders[name].(string); ok && wanted == nil {
			// RFC 7515 says base64url; MSAL for Go writes plain base64, and Entra ID takes it.
			wanted, _ = base64.RawURLEncoding.DecodeString(plainToURL.Replace(text))
		}
	}
	if wanted == nil {
		wanted, _ = hex.DecodeString(header.KeyID)
	}
	for _, certificate := range certificates {
		long, short := sha256.Sum256(certificate.Raw), sha1.Sum(certificate.Raw)
		if bytes.Equal(wanted, long[:]) || bytes.Equal(wanted, short[:]) {
			return certificate, strings.ToUpper(hex.EncodeToString(wanted))
		}
	}
	return nil, strings.ToUpper(hex.EncodeToString(wanted))
}

var plainToURL = strings.NewReplacer("+", "-", "/", "_", "=", "")

// audienceOf says whether an assertion is meant for the tenant that the request went to: its token endpoints, its issuer,
// on any host of a cloud.
func audienceOf(r *http.Request, audience string) bool {
	u, err := url.Parse(audience)
	if err != nil || u.Scheme != "https" {
		return false
	}
	if _, known := clouds.OfLogin(strings.ToLower(u.Hostname())); !known && u.Host != r.Host {
		return false
	}
	tenant, rest, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	return strings.EqualFold(tenant, r.PathValue("tenant")) &&
		slices.Contains([]string{"oauth2/v2.0/token", "oauth2/token", "v2.0", ""}, rest)
}

func (s *Service) checkTimes(c jwt.Claims) *Error {
	now := s.now()
	from, to := time.Unix(0, 0), time.Unix(0, 0)
	if c.NotBefore != nil {
		from = c.NotBefore.Time()
	}
	if c.Expiry != nil {
		to = c.Expiry.Time()
	}
	if now.Before(from.Add(-assertionSkew)) || now.After(to.Add(assertionSkew)) {
		return errAssertionTimes(now, from, to)
	}
	return nil
}

// checkFederated checks the token of another issuer against the app's federated credentials.
func (s *Service) checkFederated(app App, token *jwt.JSONWebToken, unverified jwt.Claims) *Error {
	matching := slices.Clone(app.Federated)
	for _, step := range []struct {
		code        int
		what, found string
		matches     func(FederatedCredential) bool
	}{
		{700211, "issuer", unverified.Issuer, func(f FederatedCredential) bool { return f.Issuer == unverified.Issuer }},
		{700213, "subject", unverified.Subject, func(f FederatedCredential) bool { return f.Subject == unverified.Subject }},
		{700212, "audience", strings.Join(unverified.Audience, ", "), func(f FederatedCredential) bool {
			return unverified.Audience.Contains(f.Audience)
		}},
	} {
		matching = slices.DeleteFunc(matching, func(f FederatedCredential) bool { return !step.matches(f) })
		if len(matching) == 0 {
			return errFederated(step.code, step.what, step.found)
		}
	}
	for _, f := range matching {
		keys := f.Keys
		if f.Issuer == LocalIssuer {
			own, err := s.Keys()
			if err != nil {
				return errFederatedSignature()
			}
			keys = own
		}
		var c jwt.Claims
		if token.Claims(keys, &c) == nil {
			return s.checkTimes(c)
		}
	}
	return errFederatedSignature()
}

// FederatedToken makes a token as a cluster gives to its workloads, from [LocalIssuer]. It is good for an hour.
func (s *Service) FederatedToken(subject string) (string, error) {
	key, err := s.key()
	if err != nil {
		return "", err
	}
	now := s.now()
	return jwt.Signed(key.signer).Claims(jwt.Claims{
		Issuer: LocalIssuer, Subject: subject, Audience: jwt.Audience{federatedAudience},
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Hour)),
		ID: uniqueID(),
	}).Serialize()
}
