package keyvault

import (
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/airlock-secrets/airlock/localcloud/entra"
)

// Caller is who a checked token speaks for.
type Caller struct {
	AppID    string
	ObjectID string
	Issuer   string
	TenantID string
}

type tokenClaims struct {
	Issuer    string           `json:"iss"`
	Audience  jwt.Audience     `json:"aud"`
	NotBefore *jwt.NumericDate `json:"nbf"`
	Expires   *jwt.NumericDate `json:"exp"`
	AppID     string           `json:"appid"`
	ObjectID  string           `json:"oid"`
	TenantID  string           `json:"tid"`
}

// clockSkew is how far a token's times may be off. It is that of Microsoft's own middleware.
const clockSkew = 5 * time.Minute

// verified remembers tokens whose signature was found good: the check costs more than all the rest of a read.
type verified struct {
	mu     sync.Mutex
	claims map[[sha256.Size]byte]tokenClaims
}

const maxVerified = 1024

func (v *verified) get(sum [sha256.Size]byte) (tokenClaims, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, found := v.claims[sum]
	return c, found
}

func (v *verified) put(sum [sha256.Size]byte, c tokenClaims) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.claims) >= maxVerified {
		clear(v.claims)
	}
	v.claims[sum] = c
}

// authenticate checks the token of a request to v: signature, audience, issuer, times.
func (s *Service) authenticate(v *vault, authorization string) (Caller, error) {
	scheme, raw, _ := strings.Cut(authorization, " ")
	raw = strings.TrimSpace(raw)
	if !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return Caller{}, errNoToken()
	}
	c, err := s.signed(raw)
	if err != nil {
		return Caller{}, err
	}
	if !slices.ContainsFunc(c.Audience, func(found string) bool {
		return strings.EqualFold(strings.TrimSuffix(found, "/"), v.resource) || strings.EqualFold(found, entra.VaultAppID)
	}) {
		return Caller{}, errAudience(v.resource, strings.Join(c.Audience, ", "))
	}
	if !slices.ContainsFunc(v.issuers, func(issuer string) bool { return strings.EqualFold(issuer, c.Issuer) }) {
		return Caller{}, errIssuer(strings.Join(v.issuers, ", "), c.Issuer)
	}
	now := s.cfg.Now()
	if c.Expires == nil || now.After(c.Expires.Time().Add(clockSkew)) {
		return Caller{}, errExpired()
	}
	if c.NotBefore != nil && now.Before(c.NotBefore.Time().Add(-clockSkew)) {
		return Caller{}, errNotAToken()
	}
	return Caller{AppID: c.AppID, ObjectID: c.ObjectID, Issuer: c.Issuer, TenantID: c.TenantID}, nil
}

// signed checks the signature and reads the claims.
func (s *Service) signed(raw string) (tokenClaims, error) {
	sum := sha256.Sum256([]byte(raw))
	if c, found := s.verified.get(sum); found {
		return c, nil
	}
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return tokenClaims{}, errNotAToken()
	}
	keys, err := s.cfg.Keys()
	if err != nil {
		return tokenClaims{}, err
	}
	var c tokenClaims
	if err := token.Claims(keys, &c); err != nil {
		header, _, _ := strings.Cut(raw, ".")
		return tokenClaims{}, errSignature(header)
	}
	s.verified.put(sum, c)
	return c, nil
}
