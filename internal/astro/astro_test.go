package astro_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/internal/astro"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
	"github.com/airlock-secrets/airlock/localcloud"
)

const canary = "canary-9f2c"

func start(t *testing.T) *localcloud.Cloud {
	t.Helper()
	return localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: localcloud.Provision{Astro: []localcloud.AstroOrganization{{
		ID: "org",
		Workspaces: []localcloud.AstroWorkspace{
			{ID: "ws", Deployments: []localcloud.AstroDeployment{
				{ID: "prod", Name: "Production", Variables: []localcloud.AstroVariable{
					{Key: "OTHER", Value: "o"}, {Key: "PLAIN", Value: "p"}, {Key: "SECRET", Value: canary, Secret: true}, {Key: "SECRET2", Value: canary, Secret: true},
				}},
				{ID: "night", Name: "Night", Hibernating: true}, {ID: "twin-a", Name: "Twin"},
			}},
			{ID: "other", Deployments: []localcloud.AstroDeployment{{ID: "hybrid", Type: "HYBRID"}, {ID: "twin-b", Name: "Twin"}}},
		},
		Tokens: []localcloud.AstroToken{
			{ID: "owner"}, {ID: "operator", Scope: localcloud.AstroWorkspaceScope, EntityID: "ws", Role: "WORKSPACE_OPERATOR"},
			{ID: "member", Scope: localcloud.AstroWorkspaceScope, EntityID: "ws", Role: "WORKSPACE_MEMBER"},
			{ID: "deployer", Scope: localcloud.AstroDeploymentScope, EntityID: "prod", Role: "DEPLOYMENT_ADMIN"},
			{ID: "revoked", Revoked: true},
		},
	}}}})
}

// client is one with a token of the cloud; it counts waits instead of waiting.
func client(t *testing.T, c *localcloud.Cloud, token string, waits *[]time.Duration) *astro.Client {
	t.Helper()
	return clientThrough(t, c, token, c.HTTPClient(), waits)
}

func clientThrough(t *testing.T, c *localcloud.Cloud, token string, through *http.Client, waits *[]time.Duration) *astro.Client {
	t.Helper()
	raw, err := c.AstroToken(token)
	if err != nil {
		t.Fatal(err)
	}
	login, err := astro.FindLogin(astro.Sources{Getenv: environ{astro.EnvToken: raw}.get, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return astro.New(astro.Config{Login: login, HTTPClient: through, Wait: func(_ context.Context, d time.Duration) error {
		if waits != nil {
			*waits = append(*waits, d)
		}
		return nil
	}})
}

type environ map[string]string

func (e environ) get(key string) string { return e[key] }

func find(t *testing.T, c *astro.Client, name string) astro.Deployment {
	t.Helper()
	d, err := c.Find(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func plain(key, value string) astro.Wanted {
	return astro.Wanted{Key: key, Value: secret.FromString(value)}
}

func hidden(key, value string) astro.Wanted {
	return astro.Wanted{Key: key, Value: secret.FromString(value), Secret: true}
}

func fails(t *testing.T, c *localcloud.Cloud, lines ...string) {
	t.Helper()
	var f localcloud.Faults
	for _, line := range lines {
		rule, err := localcloud.ParseFault(line)
		if err != nil {
			t.Fatal(err)
		}
		f.Rules = append(f.Rules, rule)
	}
	if err := c.SetFaults(f); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	c := start(t)
	for _, row := range []struct {
		token, name, want string
		kind              fault.Kind
		says              string
	}{
		{token: "owner", name: "prod", want: "prod"}, {token: "owner", name: "Production", want: "prod"},
		{token: "operator", name: "Night", want: "night"}, {token: "deployer", name: "Production", want: "prod"},
		{token: "operator", name: "Twin", want: "twin-a"}, // it sees only one of them
		{token: "owner", name: "Twin", kind: fault.Usage, says: "2 Deployments have the name"},
		{token: "deployer", name: "Night", kind: fault.NotFound, says: `no Deployment has the id or name "Night"`},
		{token: "owner", name: "production", kind: fault.NotFound, says: "no Deployment has"},
		{token: "revoked", name: "prod", kind: fault.Forbidden, says: "does not accept the token of ASTRO_API_TOKEN"},
	} {
		d, err := client(t, c, row.token, nil).Find(t.Context(), row.name)
		switch {
		case row.want != "" && (err != nil || d.ID != row.want):
			t.Errorf("%s %s: %q, %v", row.token, row.name, d.ID, err)
		case row.want == "" && (!fault.Is(err, row.kind) || !strings.Contains(err.Error(), row.says) || len(fault.HintsOf(err)) == 0):
			t.Errorf("%s %s: %v %v", row.token, row.name, err, fault.HintsOf(err))
		}
	}
	if d := find(t, client(t, c, "owner", nil), "night"); !d.Hibernating() {
		t.Errorf("status %s", d.Status)
	}
}

// A list longer than a page is read to its end.
func TestPages(t *testing.T) {
	org := localcloud.AstroOrganization{ID: "org", Tokens: []localcloud.AstroToken{{ID: "owner"}}, Workspaces: []localcloud.AstroWorkspace{{ID: "ws"}}}
	for i := range 1001 {
		org.Workspaces[0].Deployments = append(org.Workspaces[0].Deployments, localcloud.AstroDeployment{ID: fmt.Sprintf("d%04d", i)})
	}
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: localcloud.Provision{Astro: []localcloud.AstroOrganization{org}}})
	all, err := client(t, c, "owner", nil).Deployments(t.Context())
	if err != nil || len(all) != 1001 || len(c.Requests()) != 2 {
		t.Fatalf("%d Deployments with %d requests, %v", len(all), len(c.Requests()), err)
	}
	if d := find(t, client(t, c, "owner", nil), "d1000"); d.ID != "d1000" {
		t.Errorf("%+v", d.ID)
	}
}

func TestPlan(t *testing.T) {
	c := start(t)
	d := find(t, client(t, c, "owner", nil), "prod")
	p := astro.NewPlan(d, []astro.Wanted{
		plain("NEW", "n"), plain("PLAIN", "p"), plain("OTHER", "x"), hidden("SECRET", canary), plain("SECRET2", "v"),
	})
	want := []astro.Change{
		{Key: "NEW", Action: astro.Create}, {Key: "PLAIN", Action: astro.Same}, {Key: "OTHER", Action: astro.Replace},
		{Key: "SECRET", Action: astro.Unknown, Secret: true, WasSecret: true},
		{Key: "SECRET2", Action: astro.Unknown, Secret: true, WasSecret: true}, // a mark is never taken away
	}
	if diff := cmp.Diff(want, p.Changes); diff != "" {
		t.Error(diff)
	}
	if marked := astro.NewPlan(d, []astro.Wanted{hidden("PLAIN", "p")}); marked.Changes[0].Action != astro.Replace || !marked.Changes[0].Secret {
		t.Errorf("a mark: %+v", marked.Changes)
	}
	if p.Nothing() || !astro.NewPlan(d, []astro.Wanted{plain("PLAIN", "p")}).Nothing() {
		t.Error("what is nothing")
	}
}

// Nothing but what is wanted changes: other variables, secrets that nobody may read, and every setting of the Deployment.
func TestApplyKeepsTheRest(t *testing.T) {
	for _, row := range []struct{ token, deployment string }{{"owner", "prod"}, {"operator", "prod"}, {"deployer", "prod"}, {"operator", "night"}, {"owner", "hybrid"}} {
		c := start(t)
		api := client(t, c, row.token, nil)
		d := find(t, api, row.deployment)
		want := map[string]string{"NEW": "n", "HIDDEN": "h"}
		for key, value := range c.DeploymentEnvironment(row.deployment) {
			want[key] = value
		}
		result, err := api.Apply(t.Context(), astro.NewPlan(d, []astro.Wanted{plain("NEW", "n"), hidden("HIDDEN", "h")}))
		if err != nil || result.State != astro.AsPlanned || len(result.Warnings) > 0 {
			t.Fatalf("%v: %s, %v, %v", row, result.State, result.Warnings, err)
		}
		if diff := cmp.Diff(want, c.DeploymentEnvironment(row.deployment)); diff != "" {
			t.Errorf("%v: %s", row, diff)
		}
		if result.Deployment.Status != d.Status {
			t.Errorf("%v: status %s", row, result.Deployment.Status)
		}
		again := astro.NewPlan(result.Deployment, []astro.Wanted{plain("NEW", "n"), hidden("HIDDEN", "h")})
		if again.Changes[0].Action != astro.Same || again.Changes[1].Action != astro.Unknown {
			t.Errorf("%v: the second plan: %+v", row, again.Changes)
		}
	}
}

// What somebody else writes between plan and write stops the write.
func TestApplyRefusesAnOldPlan(t *testing.T) {
	c := start(t)
	api := client(t, c, "owner", nil)
	old := find(t, api, "prod")
	mine := astro.NewPlan(old, []astro.Wanted{hidden("MINE", "m")})
	if _, err := api.Apply(t.Context(), astro.NewPlan(old, []astro.Wanted{plain("PLAIN", "theirs"), hidden("SECRET", "theirs")})); err != nil {
		t.Fatal(err)
	}
	result, err := api.Apply(t.Context(), mine)
	if err == nil || result.State != astro.AsBefore || !strings.Contains(err.Error(), "changed since the plan was made: PLAIN, SECRET;") {
		t.Fatalf("%s, %v", result.State, err)
	}
	if env := c.DeploymentEnvironment("prod"); env["PLAIN"] != "theirs" || env["SECRET"] != "theirs" || env["MINE"] != "" {
		t.Errorf("%v", env)
	}
}

// between runs something before the first request of a method reaches the service, as somebody else would.
type between struct {
	http.RoundTripper
	method string
	run    func()
}

func (b *between) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == b.method && b.run != nil {
		run := b.run
		b.run = nil
		run()
	}
	return b.RoundTripper.RoundTrip(r)
}

// A write of somebody else in the last instant is lost, for the API knows no condition; it is told where it left a trace.
func TestApplyTellsALostUpdate(t *testing.T) {
	c := start(t)
	other := client(t, c, "owner", nil)
	theirs := func() {
		if _, err := other.Apply(t.Context(), astro.NewPlan(find(t, other, "prod"), []astro.Wanted{plain("PLAIN", "theirs")})); err != nil {
			t.Error(err)
		}
	}
	through := &http.Client{Transport: &between{c.HTTPClient().Transport, http.MethodPost, theirs}}
	api := clientThrough(t, c, "owner", through, nil)
	result, err := api.Apply(t.Context(), astro.NewPlan(find(t, api, "prod"), []astro.Wanted{hidden("MINE", "m")}))
	if err != nil || result.State != astro.AsPlanned {
		t.Fatalf("%s, %v", result.State, err)
	}
	if len(result.Warnings) != 1 || !strings.HasPrefix(result.Warnings[0], "PLAIN was written by somebody else meanwhile") {
		t.Errorf("warnings: %q", result.Warnings)
	}
	// And one who writes right after us is seen.
	get := 0
	late := clientThrough(t, c, "owner", &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodGet {
			if get++; get == 3 { // to find, before the write, after it
				if _, err := other.Apply(t.Context(), astro.NewPlan(find(t, other, "prod"), []astro.Wanted{plain("LATE", "l"), plain("OTHER", "theirs")})); err != nil {
					t.Error(err)
				}
			}
		}
		return c.HTTPClient().Transport.RoundTrip(r)
	})}, nil)
	result, err = late.Apply(t.Context(), astro.NewPlan(find(t, late, "prod"), []astro.Wanted{plain("MINE2", "m")}))
	if err == nil || result.State != astro.Changed || !strings.Contains(strings.Join(result.Warnings, "\n"), "OTHER is another now") ||
		!strings.Contains(strings.Join(result.Warnings, "\n"), "LATE is new") {
		t.Errorf("%s, %q, %v", result.State, result.Warnings, err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The network dies at each point of a write; the state is what the Deployment then is.
func TestApplyWhenTheNetworkDies(t *testing.T) {
	for _, row := range []struct {
		about, fault string
		wanted       astro.Wanted
		state        astro.State
		fails        bool
	}{
		{"before the write", "service=astro method=POST drop=true times=1", hidden("NEW", "n"), astro.AsBefore, true},
		{"before the write of a secret that is there", "service=astro method=POST drop=true times=1", hidden("SECRET", "n"), astro.AsBefore, true},
		{"in the answer to the write", "service=astro method=POST truncate=true times=1", hidden("NEW", "n"), astro.AsPlanned, false},
		{"in the answer to the write of a secret that is there", "service=astro method=POST truncate=true times=1", hidden("SECRET", "n"), astro.AsPlanned, false},
		{"a server's failure", "service=astro method=POST status=502 times=1", hidden("NEW", "n"), astro.AsBefore, true},
		{"when it reads again, for a moment", "service=astro method=GET drop=true times=3", hidden("NEW", "n"), astro.AsPlanned, false},
	} {
		c := start(t)
		api := client(t, c, "owner", nil)
		p := astro.NewPlan(find(t, api, "prod"), []astro.Wanted{row.wanted})
		fails(t, c, row.fault)
		result, err := api.Apply(t.Context(), p)
		if result.State != row.state || (err != nil) != row.fails {
			t.Errorf("%s: %s, %v, %v", row.about, result.State, result.Warnings, err)
		}
		written := c.DeploymentEnvironment("prod")[row.wanted.Key] == "n"
		if written != (row.state == astro.AsPlanned) {
			t.Errorf("%s: %q and written=%v", row.about, result.State, written)
		}
	}
	// It dies for good while the write is under way.
	c := start(t)
	down := false
	api := clientThrough(t, c, "owner", &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if down = down || r.Method == http.MethodPost; down {
			return nil, errors.New("network is unreachable")
		}
		return c.HTTPClient().Transport.RoundTrip(r)
	})}, nil)
	result, err := api.Apply(t.Context(), astro.NewPlan(find(t, api, "prod"), []astro.Wanted{hidden("NEW", "n")}))
	if result.State != astro.NotKnown || !fault.Is(err, fault.Unavailable) {
		t.Errorf("%s, %v", result.State, err)
	}
}

// Who is interrupted in the middle of a write still learns what it did.
func TestApplyInterrupted(t *testing.T) {
	c := start(t)
	ctx, interrupt := context.WithCancel(t.Context())
	api := clientThrough(t, c, "owner", &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodPost {
			return c.HTTPClient().Transport.RoundTrip(r)
		}
		response, err := c.HTTPClient().Transport.RoundTrip(r.WithContext(t.Context()))
		if err == nil {
			err = response.Body.Close()
		}
		interrupt()
		return nil, errors.Join(err, context.Canceled)
	})}, nil)
	result, err := api.Apply(ctx, astro.NewPlan(find(t, api, "prod"), []astro.Wanted{hidden("NEW", "n")}))
	if err != nil || result.State != astro.AsPlanned || len(result.Warnings) != 1 {
		t.Errorf("%s, %v, %v", result.State, result.Warnings, err)
	}
}

// Variables of the Environment Manager reach a Deployment by its Workspace, too.
func TestShared(t *testing.T) {
	c := start(t)
	for _, key := range []string{"AIRFLOW__SECRETS__BACKEND", "OTHER"} {
		post(t, c, "environment-objects", `{"objectKey":"`+key+`","objectType":"ENVIRONMENT_VARIABLE","scope":"WORKSPACE","scopeEntityId":"ws",`+
			`"environmentVariable":{"value":"canary","isSecret":true},"links":[{"scope":"DEPLOYMENT","scopeEntityId":"prod"}]}`)
	}
	api := client(t, c, "deployer", nil)
	d := find(t, api, "prod")
	shared, err := api.Shared(t.Context(), d)
	if diff := cmp.Diff([]string{"AIRFLOW__SECRETS__BACKEND", "OTHER"}, shared); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if shared, err := client(t, c, "operator", nil).Shared(t.Context(), find(t, client(t, c, "operator", nil), "night")); err != nil || len(shared) > 0 {
		t.Errorf("%v, %v", shared, err)
	}
}

// post makes a request that our client has no use for, as the Organization's owner.
func post(t *testing.T, c *localcloud.Cloud, path, body string) {
	t.Helper()
	raw, err := c.AstroToken("owner")
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), "POST", "https://api.astronomer.io/v1/organizations/org/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+raw)
	response, err := c.HTTPClient().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if _ = response.Body.Close(); response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
}

// Remote Execution and a workload identity of the user's own outlive a push, and so does what is 0, false or unusual.
func TestApplyKeepsUnusualSettings(t *testing.T) {
	c := start(t)
	post(t, c, "deployments/prod", `{"name":"Production","type":"STANDARD","workspaceId":"ws","executor":"ASTRO","schedulerSize":"LARGE","isCicdEnforced":true,
		"isDagDeployEnabled":false,"isHighAvailability":true,"isDevelopmentMode":false,"contactEmails":[],"description":"","workloadIdentity":"mine",
		"remoteExecution":{"enabled":true,"allowedIpAddressRanges":["10.0.0.0/8"],"taskLogBucket":"b"},
		"workerQueues":[{"id":"q","name":"default","isDefault":true,"maxWorkerCount":0,"minWorkerCount":0,"workerConcurrency":1,"podEphemeralStorage":"10Gi"}],
		"environmentVariables":[]}`)
	api := client(t, c, "owner", nil)
	d := find(t, api, "prod")
	if !d.RemoteExecution || d.EffectiveWorkloadIdentity != "mine" {
		t.Fatalf("%+v", d)
	}
	result, err := api.Apply(t.Context(), astro.NewPlan(d, []astro.Wanted{hidden("NEW", "n")}))
	if err != nil || result.State != astro.AsPlanned || len(result.Warnings) > 0 {
		t.Errorf("%s, %q, %v", result.State, result.Warnings, err)
	}
	if got := result.Deployment; !got.RemoteExecution || got.EffectiveWorkloadIdentity != "mine" {
		t.Errorf("%+v", got)
	}
}

func TestRetries(t *testing.T) {
	for _, row := range []struct {
		about, fault string
		waits        int
		kind         fault.Kind // of the error; Internal stands for none
	}{
		{"a limit", "service=astro status=429 retry-after=3s times=2", 2, fault.Internal},
		{"a server's failure", "service=astro status=503 times=3", 3, fault.Internal},
		{"a dropped connection", "service=astro drop=true times=1", 1, fault.Internal},
		{"no end of it", "service=astro status=503", 4, fault.Unavailable},
		{"asked to wait too long", "service=astro status=429 retry-after=120s", 0, fault.Unavailable},
		{"a refusal", "service=astro status=403", 0, fault.Forbidden},
	} {
		c := start(t)
		var waits []time.Duration
		api := client(t, c, "owner", &waits)
		fails(t, c, row.fault)
		_, err := api.Find(t.Context(), "prod")
		if len(waits) != row.waits || (err == nil) != (row.kind == fault.Internal) || err != nil && !fault.Is(err, row.kind) {
			t.Errorf("%s: waits %v, %v", row.about, waits, err)
		}
		if strings.Contains(row.fault, "retry-after=3s") && !slices.Equal(waits, []time.Duration{3 * time.Second, 3 * time.Second}) {
			t.Errorf("%s: waits %v", row.about, waits)
		}
	}
	// A write that was limited was not done, and is done again.
	c := start(t)
	var waits []time.Duration
	api := client(t, c, "owner", &waits)
	p := astro.NewPlan(find(t, api, "prod"), []astro.Wanted{hidden("NEW", "n")})
	fails(t, c, "service=astro method=POST status=429 retry-after=1s times=2")
	if result, err := api.Apply(t.Context(), p); err != nil || result.State != astro.AsPlanned || len(waits) != 2 {
		t.Errorf("%s, %v, waits %v", result.State, err, waits)
	}
}

func TestApplyWithoutRights(t *testing.T) {
	c := start(t)
	api := client(t, c, "member", nil)
	result, err := api.Apply(t.Context(), astro.NewPlan(find(t, api, "prod"), []astro.Wanted{hidden("NEW", canary)}))
	if !fault.Is(err, fault.Forbidden) || result.State != astro.AsBefore || len(fault.HintsOf(err)) == 0 {
		t.Errorf("%s, %v", result.State, err)
	}
}

// A refusal of the content is told by field, never by value.
func TestApplyRefused(t *testing.T) {
	c := start(t)
	api := client(t, c, "owner", nil)
	_, err := api.Apply(t.Context(), astro.NewPlan(find(t, api, "prod"), []astro.Wanted{hidden("BAD-KEY", canary)}))
	if err == nil || !strings.Contains(err.Error(), "environmentVariables[4].key: pattern") || strings.Contains(fault.Detail(err), canary) {
		t.Errorf("%s", fault.Detail(err))
	}
}

func TestFindLogin(t *testing.T) {
	c := start(t)
	token, err := c.AstroToken("deployer")
	if err != nil {
		t.Fatal(err)
	}
	config := "context: astronomer.io\ncontexts:\n  astronomer_io:\n    domain: astronomer.io\n    organization: org\n    token: Bearer " + token + "\n"
	// A person's token says nothing of Astro's objects.
	const person = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSIsImV4cCI6NDEwMjQ0NDgwMH0.x"
	const expired = "eyJhbGciOiJub25lIn0.eyJleHAiOjE2MDAwMDAwMDB9.x"
	for _, row := range []struct {
		about        string
		env          environ
		files        map[string]string
		organization string
		scope        string
		kind         fault.Kind
		says         string
	}{
		{about: "an API token", env: environ{astro.EnvToken: token + "\n"}, organization: "org", scope: "deployment"},
		{about: "it stands before the CLI's", env: environ{astro.EnvToken: token, "HOME": "/h"}, files: map[string]string{"/h/.astro/config.yaml": "{"},
			organization: "org", scope: "deployment"},
		{about: "the CLI's login", env: environ{"HOME": "/h"}, files: map[string]string{"/h/.astro/config.yaml": config}, organization: "org", scope: "deployment"},
		{about: "the CLI's folder", env: environ{"HOME": "/h", "ASTRO_HOME": "/a"}, files: map[string]string{"/a/.astro/config.yaml": strings.Replace(config, token, person, 1)},
			organization: "org"},
		{about: "none", env: environ{"HOME": "/h"}, kind: fault.Usage, says: "no login to Astro"},
		{about: "logged out", env: environ{"HOME": "/h"}, files: map[string]string{"/h/.astro/config.yaml": "context: astronomer.io\n"}, kind: fault.Usage, says: "no login"},
		{about: "broken", env: environ{"HOME": "/h"}, files: map[string]string{"/h/.astro/config.yaml": "token: [" + canary}, kind: fault.Usage, says: "is not the YAML"},
		{about: "no token", env: environ{astro.EnvToken: canary}, kind: fault.Usage, says: "is no Astro token"},
		{about: "expired", env: environ{astro.EnvToken: expired}, kind: fault.Forbidden, says: "expired on 2020-09-13"},
	} {
		login, err := astro.FindLogin(astro.Sources{Getenv: row.env.get, Now: time.Now(), ReadFile: func(name string) ([]byte, error) {
			if text, found := row.files[name]; found {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		}})
		switch {
		case row.says == "" && (err != nil || login.Organization != row.organization || login.Scope != row.scope || login.Domain != "astronomer.io"):
			t.Errorf("%s: %+v, %v", row.about, login, err)
		case row.says != "" && (!fault.Is(err, row.kind) || !strings.Contains(err.Error(), row.says) || strings.Contains(fault.Detail(err), canary)):
			t.Errorf("%s: %v", row.about, err)
		}
	}
}

// A login that does not say its Organization finds it.
func TestOrganization(t *testing.T) {
	c := start(t)
	raw, err := c.AstroToken("owner")
	if err != nil {
		t.Fatal(err)
	}
	api := astro.New(astro.Config{Login: astro.Login{Token: secret.FromString(raw)}, HTTPClient: c.HTTPClient()})
	if d := find(t, api, "prod"); d.Organization != "org" {
		t.Errorf("%+v", d.Organization)
	}
}
