// Package astro is the local cloud's Astro API, version 1: Organizations, Workspaces, Deployments with their environment
// variables, and environment objects, as far as pushing configuration to a Deployment and the Astro CLI need them.
//
// Source of requests and answers: the published specification, https://api.astronomer.io/spec/v1.0. No recording of the
// service was found: statuses and fields are the specification's, the text of errors is ours. Where the specification is
// silent, the service is stricter than need be: it refuses fields that it does not know.
package astro

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/airlock-secrets/airlock/localcloud/internal/rest"
	"github.com/airlock-secrets/airlock/localcloud/store"
)

// Host is where the service is. Source: the specification's server.
const Host = "api.astronomer.io"

const maxBody = 1 << 20

// Config is what the service needs.
type Config struct {
	Store store.Documents
	// Seed has 32 bytes; tokens are good where it is the same.
	Seed []byte
	Now  func() time.Time
	Log  *slog.Logger
}

// Service answers for the Astro API. Its methods are safe for concurrent use.
type Service struct {
	cfg    Config
	key    ed25519.PrivateKey
	signer jose.Signer
	mux    *http.ServeMux
	kept   struct { // in the store
		deployments store.Collection[deployment]
		objects     store.Collection[object]
	}

	mu            sync.Mutex // of what follows, and of the order of writes to the store
	organizations map[string]*organization
	workspaces    map[string]*workspace
	deployments   map[string]*deployment
	objects       map[string]*object
	tokens        map[string]token // by id
}

// New returns a service with what the store holds; what is in it becomes visible when its Organization is added.
func New(cfg Config) (*Service, error) {
	s := &Service{
		cfg: cfg, key: ed25519.NewKeyFromSeed(cfg.Seed),
		organizations: map[string]*organization{}, workspaces: map[string]*workspace{},
		tokens: map[string]token{},
	}
	s.kept.deployments = store.Collection[deployment]{In: cfg.Store, Name: "astro-deployments"}
	s.kept.objects = store.Collection[object]{In: cfg.Store, Name: "astro-objects"}
	var errs [3]error
	errs[0] = s.newSigner()
	s.deployments, errs[1] = s.kept.deployments.Get()
	s.objects, errs[2] = s.kept.objects.Get()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	s.mux = routes.Mux(func(*Service, *call) (any, error) { return nil, errNoRoute() }, s.answer)
	return s, nil
}

// handler answers one kind of request; a body of nil is status 204.
type handler func(*Service, *call) (any, error)

// routes is the table of what is served. It is filled by init, because the handlers refer to it.
var routes rest.Table[handler]

func init() {
	const org = "/v1/organizations/{organization}"
	routes.Add("GET /v1/organizations", "list Organizations", (*Service).listOrganizations)
	routes.Add("GET "+org, "get an Organization", (*Service).getOrganization)
	routes.Add("GET "+org+"/workspaces", "list Workspaces", (*Service).listWorkspaces)
	routes.Add("GET "+org+"/workspaces/{workspace}", "get a Workspace", (*Service).getWorkspace)
	routes.Add("GET "+org+"/deployments", "list Deployments", (*Service).listDeployments)
	routes.Add("GET "+org+"/deployments/{deployment}", "get a Deployment", (*Service).getDeployment)
	routes.Add("POST "+org+"/deployments/{deployment}", "update a Deployment, the whole of it", (*Service).updateDeployment)
	routes.Add("GET "+org+"/environment-objects", "list environment objects", (*Service).listObjects)
	routes.Add("POST "+org+"/environment-objects", "create an environment object", (*Service).createObject)
	routes.Add("GET "+org+"/environment-objects/{object}", "get an environment object", (*Service).getObject)
	routes.Add("POST "+org+"/environment-objects/{object}", "update an environment object", (*Service).updateObject)
	routes.Add("DELETE "+org+"/environment-objects/{object}", "delete an environment object", (*Service).deleteObject)
	routes.Add("POST "+org+"/environment-objects/{object}/exclude-linking", "exclude a Deployment from a link", (*Service).excludeLinking)
}

// Endpoints lists what is served.
func Endpoints() []rest.Endpoint { return routes.Endpoints() }

// call is one request on its way to a handler, under the service's lock.
type call struct {
	*http.Request
	caller       caller
	organization *organization // nil where the route has none
	now          time.Time
}

// ServeHTTP answers a request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Service) answer(w http.ResponseWriter, r *http.Request, run handler) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mu.Lock()
	body, err := s.serve(r, run)
	s.mu.Unlock()
	var refusal *Error
	switch {
	case errors.As(err, &refusal):
		writeError(w, refusal)
	case err != nil:
		s.cfg.Log.Error("astro request failed", "error", err)
		writeError(w, &Error{Status: http.StatusInternalServerError, Message: "An internal server error occurred"})
	case body == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		answers.Write(w, http.StatusOK, body)
	}
}

func (s *Service) serve(r *http.Request, run handler) (any, error) {
	caller, err := s.authenticate(r.Header.Get("Authorization"))
	if err != nil {
		return nil, err
	}
	c := &call{Request: r, caller: caller, now: s.cfg.Now().UTC().Truncate(time.Millisecond)}
	if id := r.PathValue("organization"); id != "" {
		if c.organization = s.organizations[id]; c.organization == nil {
			return nil, errNotFound("Organization", id)
		}
		if caller.organization != id {
			return nil, errForbidden()
		}
	}
	return run(s, c)
}

// Refuse answers with an error that was not the request's fault.
func (s *Service) Refuse(w http.ResponseWriter, _ *http.Request, status int) {
	writeError(w, &Error{Status: status, Message: http.StatusText(status)})
}

// read reads a body without fields that the request does not have.
func (c *call) read(into any) error {
	raw, err := io.ReadAll(c.Body)
	if err != nil {
		return errTooLarge()
	}
	return strictly(raw, into)
}

func strictly(raw []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	var wrongType *json.UnmarshalTypeError
	if name, unknown := unknownField(err); unknown {
		return errFields(field(name, "unknown", "is not a field of this request"))
	}
	if errors.As(err, &wrongType) {
		return errFields(field(wrongType.Field, "type", "has the wrong type"))
	}
	if err != nil {
		return errBody()
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errBody()
	}
	return nil
}

// unknownField takes the name out of the decoder's complaint about a field that is not known.
func unknownField(err error) (string, bool) {
	if err == nil {
		return "", false
	}
	quoted, found := strings.CutPrefix(err.Error(), "json: unknown field ")
	if !found {
		return "", false
	}
	name, err := strconv.Unquote(quoted)
	return name, err == nil
}

const (
	defaultPage = 20
	maxPage     = 1000
)

// page cuts the part out of a list that a request wants.
func page[T any](c *call, all []T) (part []T, offset, limit int, err error) {
	limit = defaultPage
	for _, parameter := range []struct {
		name     string
		into     *int
		min, max int
	}{{"offset", &offset, 0, 1 << 30}, {"limit", &limit, 1, maxPage}} {
		text := c.URL.Query().Get(parameter.name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < parameter.min || n > parameter.max {
			return nil, 0, 0, errFields(field(parameter.name, "range",
				fmt.Sprintf("must be from %d to %d", parameter.min, parameter.max)))
		}
		*parameter.into = n
	}
	from := min(offset, len(all))
	return append([]T{}, all[from:min(from+limit, len(all))]...), offset, limit, nil
}
