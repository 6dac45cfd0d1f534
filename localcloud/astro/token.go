package astro

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Scope says of what a token is.
type Scope string

// The scopes of tokens.
const (
	OrganizationScope Scope = "ORGANIZATION"
	WorkspaceScope    Scope = "WORKSPACE"
	DeploymentScope   Scope = "DEPLOYMENT"
)

// Token is an API token of an Organization, a Workspace or a Deployment.
type Token struct {
	ID    string
	Scope Scope // "" is OrganizationScope
	// EntityID is the Workspace or the Deployment; "" with OrganizationScope.
	EntityID string `yaml:"entityId"`
	// Role is a role of the scope, such as ORGANIZATION_OWNER, WORKSPACE_OPERATOR or DEPLOYMENT_ADMIN; any other may only
	// read. "" is the one with all rights in the scope.
	Role    string
	Expires time.Time // zero: never
	Revoked bool
}

// token is a Token with the Organization that it is in.
type token struct {
	Token
	organization string
}

// writers are the roles that may change a Deployment and environment objects.
// Source: https://www.astronomer.io/docs/astro/user-permissions
var writers = map[Scope][]string{
	OrganizationScope: {"ORGANIZATION_OWNER"},
	WorkspaceScope:    {"WORKSPACE_OWNER", "WORKSPACE_OPERATOR"},
	DeploymentScope:   {"DEPLOYMENT_ADMIN"},
}

// claims of a token. Clients read permissions in order to find out where it belongs.
// Source: the Astro CLI, which looks for workspaceId, organizationId and apiTokenId.
type claims struct {
	Issuer      string           `json:"iss"`
	Subject     string           `json:"sub"`
	Audience    string           `json:"aud"`
	Expires     *jwt.NumericDate `json:"exp,omitempty"`
	TokenID     string           `json:"apiTokenId"`
	Generated   bool             `json:"isAstronomerGenerated"`
	Permissions []string         `json:"permissions"`
	Scope       string           `json:"scope"`
	Version     string           `json:"version"`
}

// keyID names the key in the header of its tokens.
const keyID = "airlock-local-cloud"

func (s *Service) newSigner() (err error) {
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", keyID)
	s.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: s.key}, options)
	return err
}

// Token gives the token that was provisioned under an id, the value of ASTRO_API_TOKEN. It is the same each time.
func (s *Service) Token(id string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, known := s.tokens[id]
	if !known {
		return "", fmt.Errorf("no Astro token has the id %q", id)
	}
	c := claims{
		Issuer: "https://auth.astronomer.io/", Subject: "apiTokenId|" + id, Audience: "astronomer-ee", TokenID: id,
		Generated: true, Version: "v1", Permissions: []string{"apiTokenId:" + id, "organizationId:" + t.organization},
	}
	if !t.Expires.IsZero() {
		c.Expires = jwt.NewNumericDate(t.Expires)
	}
	switch t.Scope {
	case WorkspaceScope:
		c.Permissions = append(c.Permissions, "workspaceId:"+t.EntityID)
	case DeploymentScope:
		c.Permissions = append(c.Permissions, "deploymentId:"+t.EntityID)
		if d := s.deployments[t.EntityID]; d != nil {
			c.Permissions = append(c.Permissions, "workspaceId:"+d.Workspace)
		}
	}
	raw, err := jwt.Signed(s.signer).Claims(c).Serialize()
	if err != nil {
		return "", errors.New("the token could not be signed")
	}
	return raw, nil
}

// caller is who makes a request.
type caller struct {
	tokenID      string
	organization string
	scope        Scope
	entity       string
	writes       bool
}

// authenticate finds out whose token a request has.
func (s *Service) authenticate(header string) (caller, error) {
	scheme, raw, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return caller{}, errUnauthorized()
	}
	parsed, err := jwt.ParseSigned(strings.TrimSpace(raw), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return caller{}, errUnauthorized()
	}
	var c claims
	if parsed.Claims(s.key.Public(), &c) != nil {
		return caller{}, errUnauthorized()
	}
	t, known := s.tokens[c.TokenID]
	if !known || t.Revoked || !t.Expires.IsZero() && !s.cfg.Now().Before(t.Expires) {
		return caller{}, errUnauthorized()
	}
	return caller{
		tokenID: t.ID, organization: t.organization, scope: t.Scope, entity: t.EntityID,
		writes: t.Role == "" || slices.Contains(writers[t.Scope], t.Role),
	}, nil
}

// sees says whether a Deployment is in the caller's scope.
func (c caller) sees(d *deployment) bool {
	switch c.scope {
	case WorkspaceScope:
		return d.Workspace == c.entity
	case DeploymentScope:
		return d.ID == c.entity
	}
	return d.Organization == c.organization
}

// seesWorkspace says whether a Workspace is in the caller's scope; the one around its Deployment is.
func (s *Service) seesWorkspace(c caller, id string) bool {
	switch c.scope {
	case WorkspaceScope:
		return id == c.entity
	case DeploymentScope:
		d := s.deployments[c.entity]
		return d != nil && d.Workspace == id
	}
	w := s.workspaces[id]
	return w != nil && w.organization == c.organization
}
