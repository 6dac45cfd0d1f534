// Package github puts Actions secrets into a repository, sealed for its public key, so that only GitHub can open them.
//
// Source: https://docs.github.com/rest/actions/secrets. The API is three requests, which is why there is no SDK here.
package github

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"golang.org/x/crypto/nacl/box"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/rest"
	"github.com/airlock-secrets/airlock/internal/secret"
)

const (
	host     = "api.github.com"
	maxBody  = 4 << 20
	pageSize = 100
	maxPages = 10 // a repository has 100 secrets at most
	attempts = 4
	maxValue = 48 << 10 // what GitHub takes
)

// Config is what a client needs.
type Config struct {
	Repository string // OWNER/NAME
	Token      secret.Value
	// TokenSource says where the token was found, for people: GITHUB_TOKEN, for example.
	TokenSource string
	HTTPClient  *http.Client
	// Wait waits between two attempts; nil does so by the clock.
	Wait func(context.Context, time.Duration) error
}

// Client writes the secrets of one repository. Its methods are safe for concurrent use.
type Client struct{ api *rest.Client }

// Source: https://docs.github.com/rest/repos/repos; owners have letters, digits and -, names _ and dots, too.
var repositoryName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9_.-]{1,100}$`)

// New returns a client; it does not ask yet. An error is of kind Usage.
func New(cfg Config) (*Client, error) {
	if _, name, _ := strings.Cut(cfg.Repository, "/"); !repositoryName.MatchString(cfg.Repository) || name == "." || name == ".." {
		return nil, fault.New(fault.Usage, fmt.Sprintf("%q is not the name of a GitHub repository", cfg.Repository),
			"write it as OWNER/REPOSITORY")
	}
	if cfg.Token.Len() == 0 {
		return nil, fault.New(fault.Usage, "there is no token for GitHub",
			"put one into GITHUB_TOKEN; with gh it is: export GITHUB_TOKEN=\"$(gh auth token)\"",
			"a fine-grained token needs the repository permission Secrets: read and write")
	}
	return &Client{rest.New(rest.Config{
		Base: "https://" + host + "/repos/" + cfg.Repository + "/actions/secrets", Token: cfg.Token,
		Header: http.Header{
			"Accept":               {"application/vnd.github+json"},
			"X-Github-Api-Version": {"2022-11-28"},
			"User-Agent":           {"airlock"}, // GitHub refuses requests without
		},
		HTTPClient: cfg.HTTPClient, MaxBody: maxBody, Attempts: attempts, Wait: cfg.Wait,
		Name: host, NotJSON: "github's answer is not the JSON that its documentation says",
		Refused: cfg.refused,
	})}, nil
}

// Source: https://docs.github.com/actions/security-guides/using-secrets-in-github-actions#naming-your-secrets
var secretName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// CheckName says what is wrong with the name of a secret, as GitHub would.
func CheckName(name string) error {
	if !secretName.MatchString(name) || strings.HasPrefix(strings.ToUpper(name), "GITHUB_") {
		return fault.New(fault.Usage, fmt.Sprintf("%q cannot be the name of a GitHub secret", name),
			"a name has letters, digits and _, begins with no digit, and not with GITHUB_")
	}
	return nil
}

// Secret is a secret of the repository. GitHub never gives values back.
type Secret struct {
	Name    string // in capitals
	Updated time.Time
}

// Secrets lists the repository's secrets.
func (c *Client) Secrets(ctx context.Context) ([]Secret, error) {
	var all []Secret
	for page := 1; page <= maxPages; page++ {
		var body struct {
			Total   int `json:"total_count"`
			Secrets []struct {
				Name    string    `json:"name"`
				Updated time.Time `json:"updated_at"`
			} `json:"secrets"`
		}
		query := fmt.Sprintf("?per_page=%d&page=%d", pageSize, page)
		if err := c.api.Do(ctx, rest.Request{Method: http.MethodGet, Path: query, Into: &body}); err != nil {
			return nil, err
		}
		for _, s := range body.Secrets {
			all = append(all, Secret{s.Name, s.Updated})
		}
		if len(body.Secrets) == 0 || len(all) >= body.Total {
			return all, nil
		}
	}
	return nil, fault.New(fault.Internal, "github's list of secrets does not end")
}

// Key is a repository's public key.
type Key struct {
	id     string
	public [32]byte
}

// Key asks for the repository's public key. Whoever may read it need not be allowed to write.
func (c *Client) Key(ctx context.Context) (Key, error) {
	var body struct {
		ID  string `json:"key_id"`
		Key []byte `json:"key"`
	}
	if err := c.api.Do(ctx, rest.Request{Method: http.MethodGet, Path: "/public-key", Into: &body}); err != nil {
		return Key{}, err
	}
	if len(body.Key) != 32 || body.ID == "" {
		return Key{}, fault.New(fault.Internal, "github's public key of the repository is not one")
	}
	return Key{body.ID, [32]byte(body.Key)}, nil
}

// Put seals a value for the repository and sets the secret, over the one there was.
func (c *Client) Put(ctx context.Context, key Key, s NamedValue) error {
	if err := CheckName(s.Name); err != nil {
		return err
	}
	if s.Value.Len() > maxValue {
		return fault.New(fault.Usage, fmt.Sprintf("the value of %s has more than 48 KB, the most that GitHub keeps in a secret", s.Name))
	}
	sealed, err := box.SealAnonymous(nil, s.Value.Reveal(), &key.public, rand.Reader)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "cannot seal the value of "+s.Name)
	}
	body := map[string]string{"encrypted_value": base64.StdEncoding.EncodeToString(sealed), "key_id": key.id}
	return c.api.Do(ctx, rest.Request{Method: http.MethodPut, Path: "/" + url.PathEscape(s.Name), Body: body})
}

// NamedValue is a secret to set.
type NamedValue struct {
	Name  string
	Value secret.Value
}

// refused puts an answer into words of our own: GitHub's may quote what was sent.
func (c Config) refused(r rest.Refusal) *fault.Error {
	e := &fault.Error{}
	repository, source := c.Repository, c.TokenSource
	limited := r.Header.Get("X-RateLimit-Remaining") == "0" || r.RetryAfter > 0
	switch status := r.Status; {
	case status == http.StatusTooManyRequests, status == http.StatusForbidden && limited:
		e.Kind, e.Msg, e.Hints = fault.Unavailable, "github limits the requests", []string{"try again in a while"}
	case status == http.StatusUnauthorized:
		e.Kind, e.Msg = fault.Forbidden, "github does not accept the token of "+source
		e.Hints = []string{"it may be expired or revoked; make a new one, and put it into GITHUB_TOKEN"}
		if r.Header.Get("X-Airlock-Local-Cloud") != "" {
			e.Hints = []string{"this is airlock's local cloud, which has tokens of its own: airlock dev env --tokens"}
		}
	case status == http.StatusForbidden:
		e.Kind, e.Msg = fault.Forbidden, fmt.Sprintf("the token of %s may not use the secrets of %s", source, repository)
		e.Hints = []string{"a fine-grained token needs the repository permission Secrets: read and write; a classic one the scope repo"}
	case status == http.StatusNotFound:
		e.Kind, e.Msg = fault.NotFound, fmt.Sprintf("github has no repository %s, or does not show it to the token of %s", repository, source)
		e.Hints = []string{"check the name; for a private repository the token must have access to it"}
	case status == http.StatusUnprocessableEntity:
		e.Kind, e.Msg = fault.Internal, "github refuses the secret (status 422): its name, its size, or the number of secrets in "+repository
		e.Hints = []string{"a repository has 100 secrets at most"}
	case status >= 500:
		e.Kind, e.Msg = fault.Unavailable, fmt.Sprintf("github answers with status %d", status)
		e.Hints = []string{"try again in a while", "see https://www.githubstatus.com"}
	default:
		e.Kind, e.Msg = fault.Internal, fmt.Sprintf("github answers with status %d", status)
	}
	return e
}
