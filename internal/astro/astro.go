// Package astro is a client of the Astro API, version 1, for Deployments and their environment variables. The API
// replaces a Deployment as a whole and without a condition; package astro makes of that a plan, a write that leaves
// everything else as it is, and a look afterwards.
//
// Source: the specification, https://api.astronomer.io/spec/v1.0, and the Astro CLI's own client.
package astro

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/rest"
	"github.com/airlock-secrets/airlock/internal/secret"
)

const (
	pageSize = 1000
	maxPages = 100
	maxBody  = 32 << 20
	attempts = 5
	notJSON  = "astro's answer is not the JSON that its specification says"
)

// Config is what a client needs.
type Config struct {
	Login      Login
	HTTPClient *http.Client
	// Wait waits between two attempts; nil does so by the clock.
	Wait func(context.Context, time.Duration) error
}

// Client asks the Astro API as one login. Its methods are safe for concurrent use.
type Client struct {
	login Login
	api   *rest.Client
}

// New returns a client; it does not ask yet.
func New(cfg Config) *Client {
	host := "api." + cmp.Or(cfg.Login.Domain, defaultDomain)
	return &Client{cfg.Login, rest.New(rest.Config{
		Base: "https://" + host + "/v1", Token: cfg.Login.Token,
		Header:     http.Header{"Accept": {"application/json"}, "X-Astro-Client-Identifier": {"airlock"}},
		HTTPClient: cfg.HTTPClient, MaxBody: maxBody, Attempts: attempts, Wait: cfg.Wait,
		Name: "the Astro API at " + host, NotJSON: notJSON,
		Refused: func(r rest.Refusal) *fault.Error { return refused(r, cfg.Login.Source) },
	})}
}

// Deployment is a Deployment as it was read.
type Deployment struct {
	ID, Name, Status, Type         string
	WorkspaceID, WorkspaceName     string
	Organization                   string
	EffectiveWorkloadIdentity, URL string
	RemoteExecution                bool
	Updated                        time.Time
	Variables                      []Variable

	raw map[string]json.RawMessage // all of the answer
}

// Hibernating says whether the Deployment sleeps: what is written takes effect when it wakes.
func (d Deployment) Hibernating() bool { return d.Status == "HIBERNATING" }

// Variable is an environment variable of a Deployment. Its value may hold a credential even where nobody marked it.
type Variable struct {
	Key     string
	Value   secret.Value
	Known   bool // the API told the value, which it does unless it is secret
	Secret  bool
	Updated time.Time
}

// Find finds a Deployment by its id, or else by its name, which must be that of one only.
func (c *Client) Find(ctx context.Context, idOrName string) (Deployment, error) {
	all, err := c.Deployments(ctx)
	if err != nil {
		return Deployment{}, err
	}
	var named []Deployment
	var known []string
	for _, d := range all {
		if d.ID == idOrName {
			return d, nil
		}
		if d.Name == idOrName {
			named = append(named, d)
		}
		known = append(known, fmt.Sprintf("%s (%s)", d.Name, d.ID))
	}
	switch len(named) {
	case 1:
		return named[0], nil
	case 0:
		hint := "the login sees no Deployment at all"
		if len(known) > 0 {
			slices.Sort(known)
			if hint = "the login sees: " + strings.Join(known[:min(len(known), 10)], ", "); len(known) > 10 {
				hint += fmt.Sprintf(" and %d more", len(known)-10)
			}
		}
		return Deployment{}, fault.New(fault.NotFound, fmt.Sprintf("no Deployment has the id or name %q", idOrName), hint)
	}
	ids := make([]string, len(named))
	for i, d := range named {
		ids[i] = fmt.Sprintf("%s (Workspace %s)", d.ID, cmp.Or(d.WorkspaceName, d.WorkspaceID))
	}
	return Deployment{}, fault.New(fault.Usage, fmt.Sprintf("%d Deployments have the name %q", len(named), idOrName),
		"name one by its id: "+strings.Join(ids, ", "))
}

// Deployments lists those that the login sees.
func (c *Client) Deployments(ctx context.Context) ([]Deployment, error) {
	org, err := c.organization(ctx)
	if err != nil {
		return nil, err
	}
	var all []Deployment
	for range maxPages {
		var page struct {
			Deployments []json.RawMessage `json:"deployments"`
			Total       int               `json:"totalCount"`
		}
		query := url.Values{"limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(len(all))}}
		if err := c.get(ctx, "/organizations/"+url.PathEscape(org)+"/deployments?"+query.Encode(), &page); err != nil {
			return nil, err
		}
		for _, raw := range page.Deployments {
			d, err := parse(raw)
			if err != nil {
				return nil, err
			}
			all = append(all, d)
		}
		if len(page.Deployments) == 0 || len(all) >= page.Total {
			return all, nil
		}
	}
	return nil, fault.New(fault.Internal, "astro's list of Deployments does not end")
}

// Deployment reads one again.
func (c *Client) Deployment(ctx context.Context, d Deployment) (Deployment, error) {
	var raw json.RawMessage
	if err := c.get(ctx, path(d), &raw); err != nil {
		return Deployment{}, err
	}
	return parse(raw)
}

// Shared names the environment variables that a Deployment has from Astro's Environment Manager, its own and those of its
// Workspace that are linked to it. They are apart from Variables.
func (c *Client) Shared(ctx context.Context, d Deployment) ([]string, error) {
	var keys []string
	for range maxPages {
		var page struct {
			Objects []struct {
				Key string `json:"objectKey"`
			} `json:"environmentObjects"`
			Total int `json:"totalCount"`
		}
		query := url.Values{
			"deploymentId": {d.ID}, "objectType": {"ENVIRONMENT_VARIABLE"},
			"limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(len(keys))},
		}
		if err := c.get(ctx, "/organizations/"+url.PathEscape(d.Organization)+"/environment-objects?"+query.Encode(), &page); err != nil {
			return nil, err
		}
		for _, o := range page.Objects {
			keys = append(keys, o.Key)
		}
		if len(page.Objects) == 0 || len(keys) >= page.Total {
			return keys, nil
		}
	}
	return nil, fault.New(fault.Internal, "astro's list of environment objects does not end")
}

func path(d Deployment) string {
	return "/organizations/" + url.PathEscape(d.Organization) + "/deployments/" + url.PathEscape(d.ID)
}

// organization is the id of the login's Organization.
func (c *Client) organization(ctx context.Context) (string, error) {
	if c.login.Organization != "" {
		return c.login.Organization, nil
	}
	var list struct {
		Organizations []struct{ ID, Name string } `json:"organizations"`
	}
	if err := c.get(ctx, "/organizations", &list); err != nil {
		return "", err
	}
	switch len(list.Organizations) {
	case 0:
		return "", fault.New(fault.Forbidden, "the login belongs to no Organization of Astro")
	case 1:
		return list.Organizations[0].ID, nil
	}
	return "", fault.New(fault.Usage, "the login belongs to more than one Organization of Astro",
		"choose one with the Astro CLI: astro organization switch", "or put an API token into "+EnvToken)
}

func parse(raw json.RawMessage) (Deployment, error) {
	var body struct {
		ID, Name, Status, Type, WorkspaceID, WorkspaceName, OrganizationID string
		EffectiveWorkloadIdentity, WebServerURL                            string
		RemoteExecution                                                    struct{ Enabled bool }
		UpdatedAt                                                          time.Time
		EnvironmentVariables                                               []struct {
			Key       string
			Value     *string
			IsSecret  bool
			UpdatedAt time.Time
		}
	}
	d := Deployment{}
	if json.Unmarshal(raw, &body) != nil || json.Unmarshal(raw, &d.raw) != nil || body.ID == "" {
		// The cause would quote the answer, which holds values.
		return Deployment{}, fault.New(fault.Internal, "astro's answer does not describe a Deployment")
	}
	d.ID, d.Name, d.Status, d.Type, d.Updated = body.ID, body.Name, body.Status, body.Type, body.UpdatedAt
	d.WorkspaceID, d.WorkspaceName, d.Organization = body.WorkspaceID, body.WorkspaceName, body.OrganizationID
	d.EffectiveWorkloadIdentity, d.URL = body.EffectiveWorkloadIdentity, body.WebServerURL
	d.RemoteExecution = body.RemoteExecution.Enabled
	for _, v := range body.EnvironmentVariables {
		one := Variable{Key: v.Key, Secret: v.IsSecret, Updated: v.UpdatedAt}
		if v.Value != nil && !v.IsSecret {
			one.Value, one.Known = secret.FromString(*v.Value), true
		}
		d.Variables = append(d.Variables, one)
	}
	return d, nil
}

// get reads, and tries again what may pass.
func (c *Client) get(ctx context.Context, path string, into any) error {
	return c.api.Do(ctx, rest.Request{Method: http.MethodGet, Path: path, Into: into})
}

// post writes. Only a refusal that says that nothing was done is tried again.
func (c *Client) post(ctx context.Context, path string, body any) error {
	return c.api.Do(ctx, rest.Request{Method: http.MethodPost, Path: path, Body: body, Again: rest.Limited})
}

// quoted matches what an answer quotes, which may be what we sent.
var quoted = regexp.MustCompile("\"[^\"]*\"|'[^']*'|`[^`]*`")

// refused puts an answer into words. Fields are told by name and code, because the message of one may hold a value.
func refused(r rest.Refusal, source string) *fault.Error {
	var body struct {
		Message   string `json:"message"`
		RequestID string `json:"requestId"`
		Fields    []struct {
			Field string `json:"field"`
			Code  string `json:"code"`
		} `json:"fieldErrors"`
	}
	_ = json.Unmarshal(r.Body, &body) // whoever answers without JSON is told by the status
	said := printable(quoted.ReplaceAllString(body.Message, "..."))
	for _, f := range body.Fields {
		said += fmt.Sprintf("; %s: %s", printable(f.Field), printable(f.Code))
	}
	if said == "" {
		said = http.StatusText(r.Status)
	}
	if body.RequestID != "" {
		said += " (request " + printable(body.RequestID) + ")"
	}
	e := &fault.Error{}
	switch r.Status {
	case http.StatusUnauthorized:
		e.Kind, e.Msg = fault.Forbidden, fmt.Sprintf("Astro does not accept the token of %s: %s", source, said)
		e.Hints = []string{"it may be expired or revoked; log in again with astro login, or put a new token into " + EnvToken}
	case http.StatusForbidden:
		e.Kind, e.Msg = fault.Forbidden, fmt.Sprintf("the token of %s may not do this: %s", source, said)
		e.Hints = []string{
			"it takes Workspace Operator, Deployment Admin, or a role with the permission to update the Deployment",
			"an allow list of IP addresses in Astro's Organization settings refuses in the same way",
		}
	case http.StatusNotFound:
		e.Kind, e.Msg = fault.NotFound, "Astro has nothing there: "+said
	case http.StatusTooManyRequests:
		e.Kind, e.Msg, e.Hints = fault.Unavailable, "the Astro API limits the requests: "+said, []string{"try again in a while"}
	default:
		e.Kind, e.Msg = fault.Internal, fmt.Sprintf("the Astro API refuses with status %d: %s", r.Status, said)
		if r.Status >= 500 {
			e.Kind, e.Hints = fault.Unavailable, []string{"try again in a while", "see https://status.astronomer.io"}
		}
	}
	return e
}

// printable bounds what a server says, and keeps it on one line.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	return s[:min(len(s), 300)]
}
