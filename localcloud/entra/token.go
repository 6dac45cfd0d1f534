package entra

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/airlock-secrets/airlock/localcloud/clouds"
)

// VaultAppID is Key Vault's own application id, which may stand for its audience.
// Source: the first-party application "Azure Key Vault".
const VaultAppID = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"

// Token is an access token with what an answer says about it.
type Token struct {
	Raw       string
	NotBefore time.Time
	Expires   time.Time
	Lifetime  time.Duration // from the moment of its issue to Expires
}

// signingKey is made at the first use: an RSA key costs a good part of a second.
type signingKey struct {
	signer jose.Signer
	public jose.JSONWebKeySet
}

func newSigningKey(key *rsa.PrivateKey) (*signingKey, error) {
	public := jose.JSONWebKey{Key: key.Public(), Use: "sig", Algorithm: string(jose.RS256)}
	thumbprint, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", public.KeyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, options)
	if err != nil {
		return nil, err
	}
	return &signingKey{signer, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}}}, nil
}

// Keys is the set that verifies the tokens issued here, as it is published at the jwks_uri.
func (s *Service) Keys() (jose.JSONWebKeySet, error) {
	key, err := s.key()
	if err != nil {
		return jose.JSONWebKeySet{}, err
	}
	return key.public, nil
}

// claims of an app-only v1 access token, the kind that Key Vault asks for.
// Source: https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
type claims struct {
	Audience   string           `json:"aud"`
	Issuer     string           `json:"iss"`
	IssuedAt   *jwt.NumericDate `json:"iat"`
	NotBefore  *jwt.NumericDate `json:"nbf"`
	Expires    *jwt.NumericDate `json:"exp"`
	AppID      string           `json:"appid"`
	AppIDACR   string           `json:"appidacr"`
	IDP        string           `json:"idp"`
	IDType     string           `json:"idtyp"`
	ObjectID   string           `json:"oid"`
	Subject    string           `json:"sub"`
	TenantID   string           `json:"tid"`
	UniqueID   string           `json:"uti"`
	Version    string           `json:"ver"`
	ResourceID string           `json:"xms_mirid,omitempty"`
}

// How a principal proved itself, as the claim appidacr says it.
const (
	bySecret    = "1"
	byAssertion = "2"
)

// Grant is what a token is asked for.
type Grant struct {
	Principal Principal
	Resource  string        // audience, such as https://vault.azure.net
	Lifetime  time.Duration // of the token
	proof     string        // appidacr; "" is byAssertion, which managed identities have
}

// Issue makes a token. An error that is an [*Error] is the caller's fault.
func (s *Service) Issue(cloud clouds.Cloud, g Grant) (Token, error) {
	tenant := s.directory.tenant(g.Principal.TenantID)
	if tenant == "" {
		return Token{}, errUnknownTenant(g.Principal.TenantID, "invalid_request")
	}
	if !s.knownResource(g.Resource) {
		return Token{}, errUnknownResource(g.Resource, tenant)
	}
	key, err := s.key()
	if err != nil {
		return Token{}, err
	}
	if g.proof == "" {
		g.proof = byAssertion
	}
	if lifetime := s.TokenLifetime(); lifetime > 0 {
		g.Lifetime = lifetime
	}
	now := s.now()
	// Entra ID backdates its tokens by five minutes, so that a service whose clock is behind takes them.
	notBefore, expires := now.Add(-5*time.Minute), now.Add(g.Lifetime)
	issuer := cloud.Issuer + tenant + "/"
	raw, err := jwt.Signed(key.signer).Claims(claims{
		Audience:   g.Resource,
		Issuer:     issuer,
		IssuedAt:   jwt.NewNumericDate(notBefore),
		NotBefore:  jwt.NewNumericDate(notBefore),
		Expires:    jwt.NewNumericDate(expires),
		AppID:      g.Principal.ClientID,
		AppIDACR:   g.proof,
		IDP:        issuer,
		IDType:     "app",
		ObjectID:   g.Principal.ObjectID,
		Subject:    g.Principal.ObjectID,
		TenantID:   tenant,
		UniqueID:   uniqueID(),
		Version:    "1.0",
		ResourceID: g.Principal.ResourceID,
	}).Serialize()
	if err != nil {
		return Token{}, errors.New("the token could not be signed")
	}
	return Token{Raw: raw, NotBefore: notBefore, Expires: expires, Lifetime: g.Lifetime}, nil
}

func uniqueID() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // does not fail
	return base64.RawURLEncoding.EncodeToString(raw)
}

// knownResource says whether a token may be asked for this audience: vaults of any cloud, and the services that SDKs ask
// tokens for beside them.
func (s *Service) knownResource(resource string) bool {
	if strings.EqualFold(resource, VaultAppID) {
		return true
	}
	host, isURL := strings.CutPrefix(strings.TrimSuffix(strings.ToLower(resource), "/"), "https://")
	if !isURL {
		return false
	}
	if u, err := url.Parse("https://" + host); err == nil && u.Hostname() == clouds.DirectSuffix && u.Path == "" {
		return true // with the port of the direct listener
	}
	return slices.ContainsFunc(clouds.All, func(c clouds.Cloud) bool {
		return host == c.VaultSuffix || host == c.Manager || host == c.Graph
	}) || host == "storage.azure.com" || host == "management.core.windows.net"
}
