package localcloud_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/localcloud"
)

const astroAPI = "https://api.astronomer.io/v1/organizations"

// astroProvision is two Workspaces, three Deployments, and a token of each scope.
func astroProvision() localcloud.Provision {
	return localcloud.Provision{Astro: []localcloud.AstroOrganization{{
		ID: "org", Name: "Acme", ShowSecrets: true,
		Workspaces: []localcloud.AstroWorkspace{
			{ID: "ws", Name: "Data", Deployments: []localcloud.AstroDeployment{
				{ID: "prod", Name: "Production", Variables: []localcloud.AstroVariable{
					{Key: "PLAIN", Value: "seen"}, {Key: "HIDDEN", Value: "canary", Secret: true},
				}},
				{ID: "night", Name: "Night", Hibernating: true},
			}},
			{ID: "other", Deployments: []localcloud.AstroDeployment{{ID: "hybrid", Type: "HYBRID"}}},
		},
		Tokens: []localcloud.AstroToken{
			{ID: "owner"},
			{ID: "operator", Scope: localcloud.AstroWorkspaceScope, EntityID: "ws", Role: "WORKSPACE_OPERATOR"},
			{ID: "member", Scope: localcloud.AstroWorkspaceScope, EntityID: "ws", Role: "WORKSPACE_MEMBER"},
			{ID: "deployer", Scope: localcloud.AstroDeploymentScope, EntityID: "prod", Role: "DEPLOYMENT_ADMIN"},
			{ID: "revoked", Revoked: true},
			{ID: "expired", Expires: time.Now().Add(-time.Hour)},
		},
	}, {ID: "second", Tokens: []localcloud.AstroToken{{ID: "stranger"}}}}}
}

func startAstro(t *testing.T) *localcloud.Cloud {
	t.Helper()
	return localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: astroProvision()})
}

// onAstro makes a request with a provisioned token and checks the status; the answer is decoded.
func onAstro(t *testing.T, c *localcloud.Cloud, token, request, body string, status int) map[string]any {
	t.Helper()
	raw, err := c.AstroToken(token)
	if err != nil {
		t.Fatal(err)
	}
	method, path, _ := strings.Cut(request, " ")
	response, text := send(t, c.HTTPClient(), method, astroAPI+path, body, "Authorization", "Bearer "+raw)
	if response.StatusCode != status {
		t.Fatalf("%s as %s: %d %s", request, token, response.StatusCode, text)
	}
	if text == "" {
		return nil
	}
	var all map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("%s: %v in %s", request, err, text)
	}
	if status >= 400 && (all["message"] == "" || all["requestId"] == "" || all["statusCode"] != float64(status)) {
		t.Errorf("%s: an error without its fields: %s", request, text)
	}
	return all
}

// names takes one field out of a list of objects.
func names(t *testing.T, answer map[string]any, list, name string) []string {
	t.Helper()
	found := []string{}
	objects, ok := answer[list].([]any)
	if !ok {
		t.Fatalf("no list %s in %v", list, answer)
	}
	for _, o := range objects {
		found = append(found, fmt.Sprint(o.(map[string]any)[name]))
	}
	return found
}

func TestAstroTokens(t *testing.T) {
	c := startAstro(t)
	for _, row := range []struct {
		token, request string
		status         int
	}{
		{"owner", "GET ", 200}, {"stranger", "GET ", 200}, {"revoked", "GET ", 401}, {"expired", "GET ", 401},
		{"stranger", "GET /org", 403}, {"owner", "GET /org", 200}, {"owner", "GET /nowhere", 404},
		{"operator", "GET /org/workspaces/ws", 200}, {"operator", "GET /org/workspaces/other", 403}, {"owner", "GET /org/workspaces/x", 404},
		{"deployer", "GET /org/workspaces/ws", 200}, {"deployer", "GET /org/deployments/prod", 200}, {"deployer", "GET /org/deployments/night", 403},
		{"operator", "GET /org/deployments/hybrid", 403}, {"operator", "GET /org/deployments/nowhere", 404},
		{"member", "GET /org/deployments/prod", 200}, {"member", "POST /org/deployments/prod", 403},
		{"owner", "GET /org/deployments?limit=1001", 400}, {"owner", "GET /org/deployments?offset=-1", 400}, {"owner", "GET /org/clusters", 404},
	} {
		onAstro(t, c, row.token, row.request, "", row.status)
	}
	for _, header := range []string{"", "Bearer ", "Bearer eyJh.eyJh.eyJh", "Basic eDp5"} {
		if response, body := send(t, c.HTTPClient(), "GET", astroAPI, "", "Authorization", header); response.StatusCode != 401 {
			t.Errorf("Authorization %q: %d %s", header, response.StatusCode, body)
		}
	}
	// Another cloud's token is signed with another key.
	foreign, err := startAstro(t).AstroToken("owner")
	if err != nil {
		t.Fatal(err)
	}
	if response, _ := send(t, c.HTTPClient(), "GET", astroAPI, "", "Authorization", "Bearer "+foreign); response.StatusCode != 401 {
		t.Errorf("a foreign token: %d", response.StatusCode)
	}
}

// A client reads the permissions in the token in order to find out where it belongs.
func TestAstroTokenClaims(t *testing.T) {
	c := startAstro(t)
	for token, want := range map[string][]string{
		"owner":    {"apiTokenId:owner", "organizationId:org"},
		"operator": {"apiTokenId:operator", "organizationId:org", "workspaceId:ws"},
		"deployer": {"apiTokenId:deployer", "organizationId:org", "deploymentId:prod", "workspaceId:ws"},
	} {
		raw, err := c.AstroToken(token)
		if err != nil {
			t.Fatal(err)
		}
		var claims struct{ Permissions []string }
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
		if err != nil || json.Unmarshal(payload, &claims) != nil {
			t.Fatalf("%s: %v", token, err)
		}
		if diff := cmp.Diff(want, claims.Permissions); diff != "" {
			t.Errorf("%s: %s", token, diff)
		}
	}
	if _, err := c.AstroToken("nobody"); err == nil {
		t.Error("a token that was not provisioned")
	}
}

func TestAstroLists(t *testing.T) {
	c := startAstro(t)
	for _, row := range []struct{ token, query, want string }{
		{"owner", "", "hybrid,night,prod"}, {"operator", "", "night,prod"}, {"deployer", "", "prod"},
		{"owner", "?names=Production", "prod"}, {"owner", "?names=Production&names=Night", "night,prod"},
		{"owner", "?deploymentIds=prod,hybrid", "hybrid,prod"}, {"owner", "?workspaceIds=other", "hybrid"},
		{"owner", "?limit=2", "hybrid,night"}, {"owner", "?limit=2&offset=2", "prod"}, {"owner", "?offset=9", ""}, {"owner", "?names=production", ""},
	} {
		got := onAstro(t, c, row.token, "GET /org/deployments"+row.query, "", 200)
		if found := strings.Join(names(t, got, "deployments", "id"), ","); found != row.want {
			t.Errorf("%s %s: %q, want %q", row.token, row.query, found, row.want)
		}
		if row.token == "owner" && strings.Contains(row.query, "limit") && got["totalCount"] != 3.0 {
			t.Errorf("%s: totalCount %v", row.query, got["totalCount"])
		}
	}
	if got := names(t, onAstro(t, c, "owner", "GET /org/workspaces", "", 200), "workspaces", "name"); !slices.Equal(got, []string{"Data", "other"}) {
		t.Errorf("workspaces %v", got)
	}
	if got := names(t, onAstro(t, c, "stranger", "GET ", "", 200), "organizations", "id"); !slices.Equal(got, []string{"second"}) {
		t.Errorf("organizations %v", got)
	}
}

// wholeUpdate is a whole update of a hosted Deployment; pairs of words replace parts of it.
func wholeUpdate(variables string, replace ...string) string {
	const whole = `{"executor":"CELERY","isCicdEnforced":false,"isDagDeployEnabled":true,"isHighAvailability":false,"name":"Production",` +
		`"schedulerSize":"SMALL","type":"STANDARD","workspaceId":"ws","environmentVariables":VARIABLES}`
	return strings.NewReplacer(replace...).Replace(strings.ReplaceAll(whole, "VARIABLES", variables))
}

// The whole list is replaced; a secret without a value stays, an empty value empties it; a secret is never given away.
func TestAstroVariables(t *testing.T) {
	c := startAstro(t)
	before := onAstro(t, c, "deployer", "GET /org/deployments/prod", "", 200)
	for _, row := range []struct {
		about, variables string
		want             map[string]string
	}{
		{"a secret without its value stays", `[{"key":"PLAIN","value":"seen","isSecret":false},{"key":"HIDDEN","isSecret":true}]`,
			map[string]string{"PLAIN": "seen", "HIDDEN": "canary"}},
		{"a plain one without its value is emptied", `[{"key":"PLAIN","isSecret":false},{"key":"HIDDEN","isSecret":true}]`,
			map[string]string{"PLAIN": "", "HIDDEN": "canary"}},
		{"what is left out is gone", `[{"key":"HIDDEN","isSecret":true},{"key":"NEW","value":"n","isSecret":true}]`,
			map[string]string{"NEW": "n", "HIDDEN": "canary"}},
		{"an empty value blanks a secret", `[{"key":"HIDDEN","value":"","isSecret":true}]`, map[string]string{"HIDDEN": ""}},
		{"nothing", `[]`, map[string]string{}},
	} {
		answer := onAstro(t, c, "deployer", "POST /org/deployments/prod", wholeUpdate(row.variables), 200)
		if diff := cmp.Diff(row.want, c.DeploymentEnvironment("prod")); diff != "" {
			t.Errorf("%s: %s", row.about, diff)
		}
		if text := fmt.Sprint(answer); strings.Contains(text, "canary") {
			t.Errorf("%s: the answer tells a secret: %s", row.about, text)
		}
		if answer["updatedAt"].(string) <= before["updatedAt"].(string) {
			t.Errorf("%s: updatedAt %v after %v", row.about, answer["updatedAt"], before["updatedAt"])
		}
		before = answer
	}
}

// Settings that an update leaves out are gone, as the whole object is replaced; the workload identity alone stays.
func TestAstroUpdateReplacesSettings(t *testing.T) {
	c := startAstro(t)
	if got := onAstro(t, c, "owner", "GET /org/deployments/prod", "", 200); got["workerQueues"] == nil || got["resourceQuotaCpu"] != "10" {
		t.Fatalf("%v", got)
	}
	onAstro(t, c, "owner", "POST /org/deployments/prod", wholeUpdate("[]", `"name"`, `"workloadIdentity":"mine","name"`), 200)
	got := onAstro(t, c, "owner", "POST /org/deployments/prod", wholeUpdate("[]"), 200)
	if got["effectiveWorkloadIdentity"] != "mine" || got["workloadIdentity"] != nil {
		t.Errorf("the workload identity: %v", got)
	}
	if got["workerQueues"] != nil || got["resourceQuotaCpu"] != nil {
		t.Errorf("settings outlive an update without them: %v", got)
	}
}

func TestAstroUpdateRefuses(t *testing.T) {
	c := startAstro(t)
	for _, row := range []struct{ about, body, field string }{
		{"no body", ``, ""}, {"no JSON", `{`, ""}, {"a list", `[]`, ""},
		{"no list", `{"name":"x"}`, "environmentVariables"},
		{"no name", wholeUpdate(`[]`, `"name":"Production",`, ``), "name"},
		{"another type", wholeUpdate(`[]`, `STANDARD`, `HYBRID`), "type"},
		{"another Workspace", wholeUpdate(`[]`, `"ws"`, `"other"`), "workspaceId"},
		{"an unknown field", wholeUpdate(`[]`, `"name"`, `"status":"HEALTHY","name"`), "status"},
		{"a field of an answer inside", wholeUpdate(`[]`, `"name"`, `"workerQueues":[{"name":"default","podCpu":"1"}],"name"`), "workerQueues"},
		{"an unknown executor", wholeUpdate(`[]`, `CELERY`, `LOCAL`), "executor"},
		{"a wrong type", wholeUpdate(`[]`, `"isCicdEnforced":false`, `"isCicdEnforced":"no"`), "isCicdEnforced"},
		{"a bad key", wholeUpdate(`[{"key":"1A","value":"v","isSecret":false}]`), "environmentVariables[0].key"},
		{"a key twice", wholeUpdate(`[{"key":"A","value":"v","isSecret":false},{"key":"A","value":"v","isSecret":false}]`), "environmentVariables[1].key"},
		{"no secret any more", wholeUpdate(`[{"key":"HIDDEN","value":"v","isSecret":false}]`), "environmentVariables[0].isSecret"},
		{"an unknown field of a variable", wholeUpdate(`[{"key":"A","updatedAt":"x","isSecret":false}]`), "environmentVariables"},
	} {
		answer := onAstro(t, c, "owner", "POST /org/deployments/prod", row.body, 400)
		if row.field != "" && !slices.Contains(names(t, answer, "fieldErrors", "field"), row.field) {
			t.Errorf("%s: %v", row.about, answer)
		}
	}
	if got := c.DeploymentEnvironment("prod"); got["HIDDEN"] != "canary" || len(got) != 2 {
		t.Errorf("a refused update changed something: %v", got)
	}
}

func TestAstroHibernating(t *testing.T) {
	c := startAstro(t)
	got := onAstro(t, c, "operator", "GET /org/deployments/night", "", 200)
	if got["status"] != "HIBERNATING" || got["scalingStatus"] == nil {
		t.Errorf("%v", got)
	}
}

// A Deployment of a hybrid cluster names its scheduler in one way in requests and in another in answers.
func TestAstroHybrid(t *testing.T) {
	c := startAstro(t)
	got := onAstro(t, c, "owner", "POST /org/deployments/hybrid", `{"executor":"CELERY","isCicdEnforced":false,"isDagDeployEnabled":true,`+
		`"name":"hybrid","scheduler":{"au":7,"replicas":2},"type":"HYBRID","workspaceId":"other","environmentVariables":[]}`, 200)
	if got["schedulerAu"] != 7.0 || got["schedulerReplicas"] != 2.0 || got["scheduler"] != nil {
		t.Errorf("%v", got)
	}
}

// What was changed is there when the cloud is started again in the same folder, and the token still good.
func TestAstroAndGitHubOutliveARestart(t *testing.T) {
	cfg := localcloud.Config{Dir: t.TempDir(), Hermetic: true, Provision: astroProvision()}
	cfg.Provision.GitHub = githubProvision().GitHub
	first := localcloud.Start(t, cfg)
	onAstro(t, first, "owner", "POST /org/deployments/prod", wholeUpdate(`[{"key":"KEPT","value":"k","isSecret":true}]`), 200)
	created := onAstro(t, first, "owner", "POST /org/environment-objects", airflowVariable, 200)
	onGitHub(t, first, "writer", "PUT /acme/dags/actions/secrets/KEPT", sealed(t, first, "k"), 201)
	token, err := first.AstroToken("owner")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := localcloud.Start(t, cfg)
	if diff := cmp.Diff(map[string]string{"KEPT": "k"}, second.DeploymentEnvironment("prod")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"KEPT": "k"}, second.GitHubSecrets("acme/dags")); diff != "" {
		t.Error(diff)
	}
	response, body := send(t, second.HTTPClient(), "GET", astroAPI+"/org/environment-objects/"+created["id"].(string), "", "Authorization", "Bearer "+token)
	if response.StatusCode != 200 {
		t.Errorf("%d %s", response.StatusCode, body)
	}
}

const airflowVariable = `{"objectKey":"hello","objectType":"AIRFLOW_VARIABLE","scope":"WORKSPACE","scopeEntityId":"ws",` +
	`"airflowVariable":{"value":"canary","isSecret":true},"links":[{"scope":"DEPLOYMENT","scopeEntityId":"prod"}]}`

func TestAstroObjects(t *testing.T) {
	c := startAstro(t)
	id := onAstro(t, c, "operator", "POST /org/environment-objects", airflowVariable, 200)["id"].(string)
	onAstro(t, c, "operator", "POST /org/environment-objects", airflowVariable, 409)
	at := "/org/environment-objects/" + id
	value := func(answer map[string]any) any { return answer["airflowVariable"].(map[string]any)["value"] }

	hidden := onAstro(t, c, "member", "GET "+at, "", 200)
	if value(hidden) != "" || !cmp.Equal(hidden["setFields"], []any{"value"}) {
		t.Errorf("a secret: %v", hidden)
	}
	if shown := onAstro(t, c, "operator", "GET "+at+"?showSecrets=true", "", 200); value(shown) != "canary" {
		t.Errorf("showSecrets: %v", shown)
	}
	// A linked Deployment sees it without an id, unless links are not to be resolved.
	lists := func(query, want string) {
		t.Helper()
		got := onAstro(t, c, "operator", "GET /org/environment-objects"+query, "", 200)
		if found := strings.Join(names(t, got, "environmentObjects", "objectKey"), ","); found != want {
			t.Errorf("%s: %q, want %q", query, found, want)
		}
	}
	lists("?workspaceId=ws", "hello")
	lists("?deploymentId=prod", "hello")
	lists("?deploymentId=prod&resolveLinked=false", "")
	lists("?deploymentId=night", "")
	lists("?deploymentId=prod&objectType=CONNECTION", "")
	lists("?deploymentId=prod&objectKey=hello", "hello")
	resolved := onAstro(t, c, "operator", "GET /org/environment-objects?deploymentId=prod", "", 200)["environmentObjects"].([]any)[0].(map[string]any)
	if resolved["id"] != nil || resolved["sourceScope"] != "WORKSPACE" || resolved["scopeEntityId"] != "prod" {
		t.Errorf("resolved: %v", resolved)
	}
	// An update keeps the secret that it leaves out, and drops the links that it leaves out.
	onAstro(t, c, "operator", "POST "+at, `{"description":"d","airflowVariable":{}}`, 200)
	if shown := onAstro(t, c, "operator", "GET "+at+"?showSecrets=true", "", 200); value(shown) != "canary" || shown["description"] != "d" {
		t.Errorf("after an update: %v", shown)
	}
	lists("?deploymentId=prod", "")
	onAstro(t, c, "operator", "POST "+at, `{"autoLinkDeployments":true,"links":[{"scope":"DEPLOYMENT","scopeEntityId":"prod",`+
		`"overrides":{"airflowVariable":{"value":"mine"}}}]}`, 200)
	lists("?deploymentId=night", "hello")
	own := onAstro(t, c, "operator", "GET /org/environment-objects?deploymentId=prod&showSecrets=true", "", 200)
	if got := value(own["environmentObjects"].([]any)[0].(map[string]any)); got != "mine" {
		t.Errorf("an override: %v", got)
	}
	onAstro(t, c, "operator", "POST "+at+"/exclude-linking", `{"scope":"DEPLOYMENT","scopeEntityId":"night"}`, 204)
	lists("?deploymentId=night", "")
	onAstro(t, c, "operator", "DELETE "+at, "", 204)
	onAstro(t, c, "operator", "GET "+at, "", 404)
	lists("?workspaceId=ws", "")
}

// The secrets of a connection are its password and what its extra calls one.
func TestAstroConnection(t *testing.T) {
	c := startAstro(t)
	id := onAstro(t, c, "owner", "POST /org/environment-objects", `{"objectKey":"db","objectType":"CONNECTION","scope":"DEPLOYMENT",`+
		`"scopeEntityId":"prod","connection":{"type":"postgres","host":"h","port":5432,"password":"canary","extra":{"aws_secret":"canary","region":"eu"}}}`, 200)["id"].(string)
	got := onAstro(t, c, "deployer", "GET /org/environment-objects/"+id, "", 200)
	if strings.Contains(fmt.Sprint(got), "canary") {
		t.Errorf("it tells a secret: %v", got)
	}
	want := []any{"extra.aws_secret", "extra.region", "host", "password", "port", "type"}
	if diff := cmp.Diff(want, got["setFields"]); diff != "" {
		t.Error(diff)
	}
	onAstro(t, c, "owner", "POST /org/environment-objects/"+id, `{"connection":{"type":"postgres","host":"other","extra":{"region":"us"}}}`, 200)
	got = onAstro(t, c, "owner", "GET /org/environment-objects/"+id+"?showSecrets=true", "", 200)["connection"].(map[string]any)
	if got["password"] != "canary" || got["host"] != "other" || got["port"] != nil || got["extra"].(map[string]any)["aws_secret"] != "canary" {
		t.Errorf("after an update: %v", got)
	}
}

func TestAstroObjectsRefuse(t *testing.T) {
	p := astroProvision()
	p.Astro[0].ShowSecrets = false
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: p})
	id := onAstro(t, c, "owner", "POST /org/environment-objects", airflowVariable, 200)["id"].(string)
	for _, row := range []struct {
		token, request, body string
		status               int
	}{
		{"owner", "GET /org/environment-objects", "", 400},
		{"owner", "GET /org/environment-objects?workspaceId=ws&deploymentId=prod", "", 400},
		{"owner", "GET /org/environment-objects?workspaceId=x", "", 404},
		{"operator", "GET /org/environment-objects?workspaceId=other", "", 403},
		{"owner", "GET /org/environment-objects?workspaceId=ws&showSecrets=true", "", 403},
		{"owner", "GET /org/environment-objects/" + id + "?showSecrets=true", "", 403},
		{"stranger", "GET /second/environment-objects/" + id, "", 404},
		{"member", "POST /org/environment-objects/" + id, "{}", 403},
		{"member", "DELETE /org/environment-objects/" + id, "", 403},
		{"owner", "POST /org/environment-objects/" + id, `{"airflowVariable":{"value":"v","isSecret":false}}`, 400},
		{"owner", "POST /org/environment-objects/" + id, `{"objectKey":"other"}`, 400},
		{"owner", "POST /org/environment-objects/" + id, `{"links":[{"scope":"DEPLOYMENT","scopeEntityId":"hybrid"}]}`, 400},
		{"owner", "POST /org/environment-objects", `{"objectKey":"a","objectType":"AIRFLOW_VARIABLE","scope":"WORKSPACE","scopeEntityId":"ws"}`, 400},
		{"owner", "POST /org/environment-objects", `{"objectKey":"a","objectType":"POOL","scope":"WORKSPACE","scopeEntityId":"ws"}`, 400},
		{"owner", "POST /org/environment-objects", strings.Replace(airflowVariable, `"ws"`, `"x"`, 1), 404},
		{"member", "POST /org/environment-objects", strings.Replace(airflowVariable, `"hello"`, `"new"`, 1), 403},
	} {
		onAstro(t, c, row.token, row.request, row.body, row.status)
	}
}

// Faults answer in the service's own shape.
func TestAstroAndGitHubFaults(t *testing.T) {
	p := astroProvision()
	p.GitHub = githubProvision().GitHub
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: p})
	fault(t, c, "service=astro status=429 retry-after=2s times=1", "service=github status=503 times=1")
	raw, err := c.AstroToken("owner")
	if err != nil {
		t.Fatal(err)
	}
	response, body := send(t, c.HTTPClient(), "GET", astroAPI, "", "Authorization", "Bearer "+raw)
	if response.StatusCode != 429 || response.Header.Get("Retry-After") != "2" || !strings.Contains(body, `"statusCode":429`) {
		t.Errorf("%d %v %s", response.StatusCode, response.Header, body)
	}
	if got := seen(c, "astro"); got != "429" {
		t.Errorf("requests seen: %q", got)
	}
	onGitHub(t, c, "writer", "GET /acme/dags/actions/secrets", "", 503)
	if got := seen(c, "github"); got != "503" {
		t.Errorf("requests seen: %q", got)
	}
}

func TestAstroProvisionRefuses(t *testing.T) {
	for _, row := range []struct {
		astro localcloud.AstroOrganization
		want  string
	}{
		{localcloud.AstroOrganization{ID: "a b"}, `Astro[0]: ID = "a b"`},
		{localcloud.AstroOrganization{ID: "a", Workspaces: []localcloud.AstroWorkspace{{}}}, `Workspaces[0].ID`},
		{localcloud.AstroOrganization{ID: "a", Workspaces: []localcloud.AstroWorkspace{{ID: "w", Deployments: []localcloud.AstroDeployment{
			{ID: "d", Type: "SHARED", Variables: []localcloud.AstroVariable{{Key: "a-b"}}}}}}}, `Workspaces[0].Deployments[0].Type = "SHARED"`},
		{localcloud.AstroOrganization{ID: "a", Tokens: []localcloud.AstroToken{{ID: "t", Scope: "TEAM"}}}, `Tokens[0].Scope = "TEAM"`},
		{localcloud.AstroOrganization{ID: "a", Tokens: []localcloud.AstroToken{{ID: "t", Scope: localcloud.AstroWorkspaceScope}}}, `Tokens[0].EntityID`},
	} {
		_, err := localcloud.Open(localcloud.Config{Provision: localcloud.Provision{Astro: []localcloud.AstroOrganization{row.astro}}})
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v, want %s", err, row.want)
		}
	}
}
