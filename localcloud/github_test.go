package localcloud_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/nacl/box"

	"github.com/airlock-secrets/airlock/localcloud"
)

func githubProvision() localcloud.Provision {
	return localcloud.Provision{GitHub: []localcloud.GitHubRepository{
		{Name: "acme/dags", Tokens: []localcloud.GitHubToken{{Token: "writer"}, {Token: "reader", Secrets: "read"}, {Token: "nothing", Secrets: "none"}}},
		{Name: "acme/private", Tokens: []localcloud.GitHubToken{{Token: "elsewhere"}}},
	}}
}

func startGitHub(t *testing.T) *localcloud.Cloud {
	t.Helper()
	return localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: githubProvision()})
}

// onGitHub makes a request below /repos with a token, and checks the status.
func onGitHub(t *testing.T, c *localcloud.Cloud, token, request, body string, status int) string {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	response, text := send(t, c.HTTPClient(), method, "https://api.github.com/repos"+path, body, "Authorization", "token "+token)
	if response.StatusCode != status {
		t.Fatalf("%s as %s: %d %s", request, token, response.StatusCode, text)
	}
	return text
}

// sealed is the body that sets a secret: a sealed box of libsodium for the repository's key.
func sealed(t *testing.T, c *localcloud.Cloud, value string) string {
	t.Helper()
	var key struct {
		ID  string `json:"key_id"`
		Key []byte `json:"key"`
	}
	if err := json.Unmarshal([]byte(onGitHub(t, c, "writer", "GET /acme/dags/actions/secrets/public-key", "", 200)), &key); err != nil {
		t.Fatal(err)
	}
	box, err := box.SealAnonymous(nil, []byte(value), (*[32]byte)(key.Key), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"encrypted_value":%q,"key_id":%q}`, base64.StdEncoding.EncodeToString(box), key.ID)
}

func TestGitHubSecrets(t *testing.T) {
	c := startGitHub(t)
	const at = "/acme/dags/actions/secrets"
	onGitHub(t, c, "writer", "PUT "+at+"/azure_client_secret", sealed(t, c, "canary"), 201)
	onGitHub(t, c, "writer", "PUT "+at+"/AZURE_CLIENT_SECRET", sealed(t, c, "canary-2"), 204)
	onGitHub(t, c, "writer", "PUT "+at+"/OTHER", sealed(t, c, ""), 201)
	if diff := cmp.Diff(map[string]string{"AZURE_CLIENT_SECRET": "canary-2", "OTHER": ""}, c.GitHubSecrets("Acme/Dags")); diff != "" {
		t.Error(diff)
	}
	list := onGitHub(t, c, "reader", "GET "+at, "", 200)
	if !strings.Contains(list, `"total_count":2`) || !strings.Contains(list, `"AZURE_CLIENT_SECRET"`) || strings.Contains(list, "canary") {
		t.Error(list)
	}
	if one := onGitHub(t, c, "reader", "GET "+at+"/other", "", 200); !strings.Contains(one, `"name":"OTHER"`) {
		t.Error(one)
	}
	response, first := send(t, c.HTTPClient(), "GET", "https://api.github.com/repos"+at+"?per_page=1", "", "Authorization", "Bearer reader")
	if link := response.Header.Get("Link"); !strings.Contains(link, `page=2>; rel="next"`) || strings.Contains(first, "OTHER") {
		t.Errorf("%s, Link %s", first, link)
	}
	onGitHub(t, c, "writer", "DELETE "+at+"/other", "", 204)
	onGitHub(t, c, "writer", "DELETE "+at+"/other", "", 404)
}

func TestGitHubRefuses(t *testing.T) {
	c := startGitHub(t)
	const at = "/acme/dags/actions/secrets"
	good := sealed(t, c, "v")
	other := startGitHub(t)
	for _, row := range []struct {
		token, request, body string
		status               int
	}{
		{"", "GET " + at, "", 401}, {"unknown", "GET " + at, "", 401},
		{"elsewhere", "GET " + at, "", 404}, {"writer", "GET /acme/private/actions/secrets", "", 404}, {"writer", "GET /acme/nowhere/actions/secrets", "", 404},
		{"nothing", "GET " + at, "", 403}, {"reader", "PUT " + at + "/A", good, 403}, {"reader", "DELETE " + at + "/A", "", 403},
		{"writer", "PUT " + at + "/GITHUB_A", good, 422}, {"writer", "PUT " + at + "/1A", good, 422}, {"writer", "PUT " + at + "/A-B", good, 422},
		{"writer", "PUT " + at + "/A", `{`, 400}, {"writer", "PUT " + at + "/A", `{"encrypted_value":"eA=="}`, 422},
		{"writer", "PUT " + at + "/A", sealed(t, other, "v"), 422}, // for another repository's key
		{"writer", "PUT " + at + "/A", strings.Replace(good, `value":"`, `value":"AAAA`, 1), 422},
		{"writer", "GET /acme/dags", "", 501},
	} {
		onGitHub(t, c, row.token, row.request, row.body, row.status)
	}
	if got := c.GitHubSecrets("acme/dags"); len(got) != 0 {
		t.Errorf("a refused secret was kept: %v", got)
	}
	_, err := localcloud.Open(localcloud.Config{Provision: localcloud.Provision{GitHub: []localcloud.GitHubRepository{{Name: "dags"}}}})
	if err == nil || !strings.Contains(err.Error(), `GitHub[0]: field Name = "dags": want OWNER/NAME`) {
		t.Error(err)
	}
}

// Without a repository, or when it shall pass, GitHub is itself; a hermetic cloud lets nothing out to it.
func TestGitHubPasses(t *testing.T) {
	for _, cfg := range []localcloud.Config{{}, {Provision: githubProvision(), Pass: []string{"api.github.com"}}} {
		cfg.Hermetic = true
		c := localcloud.Start(t, cfg)
		if response, err := c.HTTPClient().Get("https://api.github.com/"); err == nil {
			t.Errorf("GitHub answered: %s", response.Status)
		} else if !strings.Contains(err.Error(), "Forbidden") {
			t.Error(err)
		}
	}
}

func TestPassRefuses(t *testing.T) {
	_, err := localcloud.Open(localcloud.Config{Pass: []string{"api.github.com", "github.com"}})
	if err == nil || err.Error() != `config: Pass = "github.com": the local cloud does not stand in for this host` {
		t.Error(err)
	}
}

// GitHub's own program lists what was set.
func TestGitHubsOwnProgram(t *testing.T) {
	program, err := exec.LookPath("gh")
	if err != nil {
		t.Skip("gh is not installed, and make did not fetch it")
	}
	c := startGitHub(t)
	onGitHub(t, c, "writer", "PUT /acme/dags/actions/secrets/AZURE_CLIENT_SECRET", sealed(t, c, "canary"), 201)
	run := func(input string, args ...string) string {
		t.Helper()
		command := exec.Command(program, args...)
		command.Stdin = strings.NewReader(input)
		command.Env = []string{"GH_TOKEN=writer", "GH_CONFIG_DIR=" + t.TempDir(), "GH_NO_UPDATE_NOTIFIER=1", "PATH=/usr/bin:/bin"}
		for key, value := range c.Env() {
			command.Env = append(command.Env, key+"="+value)
		}
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("gh %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	run("from gh", "secret", "set", "BY_GH", "--repo", "acme/dags")
	if got := c.GitHubSecrets("acme/dags")["BY_GH"]; got != "from gh" {
		t.Errorf("gh secret set: %q", got)
	}
	out := run("", "secret", "list", "--repo", "acme/dags")
	if !strings.Contains(out, "AZURE_CLIENT_SECRET") || !strings.Contains(out, "BY_GH") || strings.Contains(out, "canary") {
		t.Errorf("gh secret list: %s", out)
	}
	run("", "secret", "delete", "BY_GH", "--repo", "acme/dags")
	if _, left := c.GitHubSecrets("acme/dags")["BY_GH"]; left {
		t.Error("gh secret delete left it there")
	}
}
