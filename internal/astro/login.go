package astro

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// EnvToken holds an API token; it stands before the Astro CLI's login.
const EnvToken = "ASTRO_API_TOKEN"

// defaultDomain is Astro's. Source: the Astro CLI.
const defaultDomain = "astronomer.io"

// Login is who asks, and where.
type Login struct {
	Token        secret.Value
	Domain       string // such as astronomer.io
	Organization string // id; "" where the token does not say
	Scope        string // organization, workspace or deployment; "" for a person's login
	Source       string // where the token was found, for people
}

// Sources are what a login is looked for in.
type Sources struct {
	Getenv   func(string) string
	ReadFile func(string) ([]byte, error)
	Now      time.Time
}

// FindLogin takes ASTRO_API_TOKEN, or else the token that the Astro CLI keeps in ASTRO_HOME or the home directory. An error
// is of kind Usage if there is none, and of kind Forbidden if it has expired.
func FindLogin(from Sources) (Login, error) {
	login, err := findToken(from)
	if err != nil {
		return Login{}, err
	}
	claims, err := peek(login.Token)
	if err != nil {
		return Login{}, fault.New(fault.Usage, "the token of "+login.Source+" is no Astro token",
			"make one in the Astro UI: Deployment, Workspace or Organization settings, API tokens")
	}
	for _, permission := range claims.Permissions {
		switch kind, id, _ := strings.Cut(permission, ":"); kind {
		case "organizationId":
			login.Organization = id
			if login.Scope == "" {
				login.Scope = "organization"
			}
		case "workspaceId":
			if login.Scope != "deployment" {
				login.Scope = "workspace"
			}
		case "deploymentId":
			login.Scope = "deployment"
		}
	}
	if end := time.Unix(claims.Expires, 0); claims.Expires > 0 && !from.Now.Before(end) {
		hint := "make a new one in the Astro UI, and put it into " + EnvToken
		if login.Source != EnvToken {
			hint = "log in again: astro login"
		}
		return Login{}, fault.New(fault.Forbidden,
			fmt.Sprintf("the token of %s expired on %s", login.Source, end.UTC().Format(time.DateOnly)), hint)
	}
	return login, nil
}

func findToken(from Sources) (Login, error) {
	domain := from.Getenv("ASTRO_DOMAIN")
	if domain == "" {
		domain = defaultDomain
	}
	if token := strings.TrimSpace(from.Getenv(EnvToken)); token != "" {
		return Login{Token: secret.FromString(token), Domain: domain, Source: EnvToken}, nil
	}
	home := from.Getenv("ASTRO_HOME")
	if home == "" {
		home = from.Getenv("HOME")
	}
	path := filepath.Join(home, ".astro", "config.yaml")
	none := fault.New(fault.Usage, "there is no login to Astro",
		"log in with the Astro CLI: astro login", "or put an API token with permission for the Deployment into "+EnvToken)
	raw, err := from.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Login{}, none
	}
	if err != nil {
		return Login{}, fault.Wrap(fault.Usage, err, "cannot read the Astro CLI's login in "+path)
	}
	var config struct {
		Context  string `yaml:"context"`
		Contexts map[string]struct {
			Domain       string `yaml:"domain"`
			Organization string `yaml:"organization"`
			Token        string `yaml:"token"`
		} `yaml:"contexts"`
	}
	if yaml.Unmarshal(raw, &config) != nil { // the cause would quote the file, which holds the token
		return Login{}, fault.New(fault.Usage, path+" is not the YAML that the Astro CLI writes", "log in again: astro login")
	}
	current := config.Contexts[strings.ReplaceAll(config.Context, ".", "_")]
	token := strings.TrimSpace(strings.TrimPrefix(current.Token, "Bearer "))
	if token == "" {
		return Login{}, none
	}
	if current.Domain != "" {
		domain = current.Domain
	}
	return Login{
		Token: secret.FromString(token), Domain: domain, Organization: current.Organization, Source: "the Astro CLI's login",
	}, nil
}

type claims struct {
	Permissions []string `json:"permissions"`
	Expires     int64    `json:"exp"`
}

// peek reads what a token says of itself, which Astro checks and we do not.
func peek(token secret.Value) (c claims, err error) {
	parts := strings.Split(string(token.Reveal()), ".")
	if len(parts) != 3 {
		return c, errors.New("no JSON Web Token")
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return c, errors.New("no JSON Web Token")
	}
	return c, json.Unmarshal(payload, &c)
}
