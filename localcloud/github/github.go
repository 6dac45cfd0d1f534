// Package github is the local cloud's GitHub: the Actions secrets of repositories, sealed for their public keys as the
// real ones are.
//
// Source of requests and answers: https://docs.github.com/rest/actions/secrets.
package github

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/nacl/box"

	"github.com/airlock-secrets/airlock/localcloud/internal/rest"
	"github.com/airlock-secrets/airlock/localcloud/store"
)

// Host is where GitHub's REST API is.
const Host = "api.github.com"

// Limits of secrets. Source: https://docs.github.com/actions/security-guides/using-secrets-in-github-actions#limits-for-secrets
const (
	maxSecrets = 100
	maxValue   = 48 << 10
	maxBody    = 128 << 10 // a value of 48 KiB in base64, with what is around it
)

// Config is what the service needs.
type Config struct {
	Store store.Documents
	Now   func() time.Time
	Log   *slog.Logger
}

// Repository is a repository with the tokens that may use it.
type Repository struct {
	Name   string // OWNER/NAME
	Tokens []Token
}

// Token is what GITHUB_TOKEN may be.
type Token struct {
	Token string
	// Secrets is the permission for the repository's secrets: write, read, or none; "" is write.
	Secrets string
}

// Service answers for GitHub's API. Its methods are safe for concurrent use.
type Service struct {
	cfg Config
	mux *http.ServeMux

	mu           sync.Mutex // of what follows, and of the order of writes to the store
	repositories map[string]*repository
	tokens       map[string]bool // those that are good for any repository
}

// repository is a repository as the store keeps it.
type repository struct {
	Name, KeyID     string
	Public, Private [32]byte
	Secrets         map[string]secret // by name, in capitals

	permissions map[string]string // of tokens
}

type secret struct {
	Name             string
	Value            []byte
	Created, Updated time.Time
}

// New returns a service without repositories; what the store holds of one is there once it is added.
func New(cfg Config) *Service {
	s := &Service{cfg: cfg, repositories: map[string]*repository{}, tokens: map[string]bool{}}
	s.mux = routes.Mux(func(*Service, *call) (int, any, error) { return 0, nil, errNoRoute() }, s.answer)
	return s
}

var repositoryName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}$`)

// Add makes a repository, or takes the place of the one with its name; what it holds stays.
func (s *Service) Add(r Repository) error {
	if !repositoryName.MatchString(r.Name) {
		return fmt.Errorf("field Name = %q: want OWNER/NAME", r.Name)
	}
	permissions := map[string]string{}
	for i, t := range r.Tokens {
		t.Secrets = cmp.Or(t.Secrets, "write")
		if !slices.Contains([]string{"write", "read", "none"}, t.Secrets) {
			return fmt.Errorf("field Tokens[%d].Secrets = %q: it is write, read or none", i, t.Secrets)
		}
		if t.Token == "" {
			return fmt.Errorf("field Tokens[%d].Token: is empty", i)
		}
		permissions[t.Token] = t.Secrets
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, err := s.kept(r.Name)
	if err != nil {
		return err
	}
	kept.permissions = permissions
	s.repositories[store.Fold(r.Name)] = kept
	for token := range permissions {
		s.tokens[token] = true
	}
	return nil
}

// kept is what the store holds of a repository, or a new one with a new key.
func (s *Service) kept(name string) (*repository, error) {
	all, err := s.collection().Get()
	if err != nil {
		return nil, err
	}
	if r := all[store.Fold(name)]; r != nil {
		return r, nil
	}
	public, private, err := box.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // does not fail
	r := &repository{
		Name: name, KeyID: "33801857" + strconv.FormatUint(uint64(id[0])<<8|uint64(id[1]), 10), Public: *public, Private: *private,
		Secrets: map[string]secret{},
	}
	return r, s.save(r)
}

func (s *Service) save(r *repository) error { return s.collection().Put(store.Fold(r.Name), r) }

func (s *Service) collection() store.Collection[repository] {
	return store.Collection[repository]{In: s.cfg.Store, Name: "github-repositories"}
}

// Secrets are a repository's secrets with their values, as a workflow gets them. An unknown repository has none.
func (s *Service) Secrets(name string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]string{}
	if r := s.repositories[store.Fold(name)]; r != nil {
		for _, one := range r.Secrets {
			all[one.Name] = string(one.Value)
		}
	}
	return all
}

// Any says whether there is a repository.
func (s *Service) Any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.repositories) > 0
}

// call is one request on its way to a handler, under the service's lock.
type call struct {
	*http.Request
	repository *repository
	now        time.Time
	header     http.Header // of the answer
}

// handler answers one kind of request; a body of nil is none.
type handler func(*Service, *call) (status int, body any, err error)

// routes is the table of what is served. It is filled by init, because the handlers refer to it.
var routes rest.Table[handler]

func init() {
	const secrets = "/repos/{owner}/{repo}/actions/secrets"
	routes.Add("GET "+secrets, "list a repository's secrets", (*Service).list)
	routes.Add("GET "+secrets+"/public-key", "get a repository's public key", (*Service).publicKey)
	routes.Add("GET "+secrets+"/{name}", "get a secret, without its value", (*Service).get)
	routes.Add("PUT "+secrets+"/{name}", "set a secret", (*Service).put)
	routes.Add("DELETE "+secrets+"/{name}", "delete a secret", (*Service).drop)
}

// Endpoints lists what is served.
func Endpoints() []rest.Endpoint { return routes.Endpoints() }

// ServeHTTP answers a request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Service) answer(w http.ResponseWriter, r *http.Request, run handler) {
	w.Header().Set("X-GitHub-Request-Id", strings.ToUpper(uuid.NewString()))
	w.Header().Set("X-GitHub-Media-Type", "github.v3; format=json")
	w.Header().Set("X-GitHub-Api-Version-Selected", "2022-11-28")
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mu.Lock()
	status, body, err := s.serve(w, r, run)
	s.mu.Unlock()
	var refusal *Error
	switch {
	case errors.As(err, &refusal):
		writeError(w, refusal)
	case err != nil:
		s.cfg.Log.Error("github request failed", "error", err)
		writeError(w, &Error{Status: http.StatusInternalServerError, Message: "Server Error"})
	case body == nil:
		w.WriteHeader(status)
	default:
		answers.Write(w, status, body)
	}
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request, run handler) (int, any, error) {
	// Both words are taken: "token" is the older one.
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch known := s.tokens[token]; {
	case token == "":
		return 0, nil, errNoToken()
	case !known || !strings.EqualFold(scheme, "token") && !strings.EqualFold(scheme, "Bearer"):
		return 0, nil, errBadToken()
	}
	c := &call{Request: r, now: s.cfg.Now().UTC().Truncate(time.Second), header: w.Header()}
	if r.PathValue("repo") != "" {
		c.repository = s.repositories[store.Fold(r.PathValue("owner")+"/"+r.PathValue("repo"))]
		if c.repository == nil || c.repository.permissions[token] == "" {
			return 0, nil, errNotFound() // GitHub does not tell whether there is one
		}
		if !permits(c.repository.permissions[token], r.Method) {
			return 0, nil, errNoPermission()
		}
	}
	return run(s, c)
}

// permits says whether a permission is enough for a request.
func permits(permission, method string) bool {
	return permission == "write" || permission == "read" && method == http.MethodGet
}

// Refuse answers with an error that was not the request's fault.
func (s *Service) Refuse(w http.ResponseWriter, _ *http.Request, status int) {
	writeError(w, &Error{Status: status, Message: http.StatusText(status)})
}

func (s *Service) publicKey(c *call) (int, any, error) {
	return http.StatusOK, map[string]string{
		"key_id": c.repository.KeyID, "key": base64.StdEncoding.EncodeToString(c.repository.Public[:]),
	}, nil
}

func (s *Service) list(c *call) (int, any, error) {
	number := func(name string, otherwise, most int) int {
		n, err := strconv.Atoi(c.URL.Query().Get(name))
		if err != nil || n < 1 {
			return otherwise
		}
		return min(n, most)
	}
	size, at := number("per_page", 30, 100), number("page", 1, 1<<20)
	names := make([]string, 0, len(c.repository.Secrets))
	for name := range c.repository.Secrets {
		names = append(names, name)
	}
	slices.Sort(names)
	from := min((at-1)*size, len(names))
	to := min(from+size, len(names))
	if to < len(names) {
		c.header.Set("Link", fmt.Sprintf(`<https://%s%s?per_page=%d&page=%d>; rel="next"`, Host, c.URL.Path, size, at+1))
	}
	bodies := []any{}
	for _, name := range names[from:to] {
		bodies = append(bodies, secretBody(c.repository.Secrets[name]))
	}
	return http.StatusOK, map[string]any{"total_count": len(names), "secrets": bodies}, nil
}

func secretBody(one secret) any {
	return map[string]string{
		"name": one.Name, "created_at": one.Created.Format(time.RFC3339), "updated_at": one.Updated.Format(time.RFC3339),
	}
}

func (s *Service) get(c *call) (int, any, error) {
	one, found := c.repository.Secrets[strings.ToUpper(c.PathValue("name"))]
	if !found {
		return 0, nil, errNotFound()
	}
	return http.StatusOK, secretBody(one), nil
}

// Source: https://docs.github.com/actions/security-guides/using-secrets-in-github-actions#naming-your-secrets
var secretName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

func (s *Service) put(c *call) (int, any, error) {
	name := strings.ToUpper(c.PathValue("name"))
	if !secretName.MatchString(name) || strings.HasPrefix(name, "GITHUB_") {
		return 0, nil, errInvalid("Secret names can only contain alphanumeric characters ([a-z], [A-Z], [0-9]) or underscores (_). " +
			"Spaces are not allowed. Must start with a letter ([a-z], [A-Z]) or underscores (_), and not with GITHUB_.")
	}
	var r struct {
		Value string `json:"encrypted_value"`
		KeyID string `json:"key_id"`
	}
	raw, err := io.ReadAll(c.Body)
	if err != nil || json.Unmarshal(raw, &r) != nil {
		return 0, nil, errParse()
	}
	if r.KeyID == "" {
		return 0, nil, errInvalid(`Invalid request.` + "\n\n" + `"key_id" wasn't supplied.`)
	}
	sealed, err := base64.StdEncoding.DecodeString(r.Value)
	if err != nil || r.KeyID != c.repository.KeyID {
		return 0, nil, errInvalid("Invalid request: the value is not base64, or the key is not the repository's")
	}
	value, ok := box.OpenAnonymous(nil, sealed, &c.repository.Public, &c.repository.Private)
	old, found := c.repository.Secrets[name]
	switch {
	case !ok:
		return 0, nil, errInvalid("Bad request - improperly encrypted secret")
	case len(value) > maxValue:
		return 0, nil, errInvalid("Secret is too big: the maximum is 48 KB")
	case !found && len(c.repository.Secrets) >= maxSecrets:
		return 0, nil, errInvalid("The maximum number of secrets has been reached")
	}
	one, status := secret{Name: name, Value: value, Created: c.now, Updated: c.now}, http.StatusCreated
	if found {
		one.Created, status = old.Created, http.StatusNoContent
	}
	c.repository.Secrets[name] = one
	if err := s.save(c.repository); err != nil {
		return 0, nil, err
	}
	if found {
		return status, nil, nil
	}
	return status, struct{}{}, nil
}

func (s *Service) drop(c *call) (int, any, error) {
	name := strings.ToUpper(c.PathValue("name"))
	if _, found := c.repository.Secrets[name]; !found {
		return 0, nil, errNotFound()
	}
	delete(c.repository.Secrets, name)
	return http.StatusNoContent, nil, s.save(c.repository)
}
