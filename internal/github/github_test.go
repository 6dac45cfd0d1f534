package github_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/github"
	"github.com/airlock-secrets/airlock/internal/secret"
	"github.com/airlock-secrets/airlock/localcloud"
)

func start(t *testing.T) *localcloud.Cloud {
	t.Helper()
	return localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: localcloud.Provision{GitHub: []localcloud.GitHubRepository{
		{Name: "acme/dags", Tokens: []localcloud.GitHubToken{{Token: "writer"}, {Token: "reader", Secrets: "read"}, {Token: "nothing", Secrets: "none"}}},
	}}})
}

func client(t *testing.T, c *localcloud.Cloud, token, repository string) (*github.Client, *[]time.Duration) {
	t.Helper()
	waits := new([]time.Duration)
	api, err := github.New(github.Config{
		Repository: repository, Token: secret.FromString(token), TokenSource: "GITHUB_TOKEN", HTTPClient: c.HTTPClient(),
		Wait: func(_ context.Context, d time.Duration) error { *waits = append(*waits, d); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return api, waits
}

func put(t *testing.T, api *github.Client, name, value string) error {
	t.Helper()
	key, err := api.Key(t.Context())
	if err != nil {
		return err
	}
	return api.Put(t.Context(), key, github.NamedValue{Name: name, Value: secret.FromString(value)})
}

func TestPutAndList(t *testing.T) {
	c := start(t)
	api, _ := client(t, c, "writer", "acme/dags")
	for name, value := range map[string]string{"AZURE_CLIENT_SECRET": "first", "KWARGS": "{\"a\": \"é\"}\n", "EMPTY": "", "LONG": strings.Repeat("x", 48<<10)} {
		if err := put(t, api, name, value); err != nil {
			t.Fatal(name, err)
		}
	}
	if err := put(t, api, "AZURE_CLIENT_SECRET", "second"); err != nil {
		t.Fatal(err)
	}
	got := c.GitHubSecrets("acme/dags")
	if got["AZURE_CLIENT_SECRET"] != "second" || got["KWARGS"] != "{\"a\": \"é\"}\n" || len(got["LONG"]) != 48<<10 || len(got) != 4 {
		t.Errorf("%d secrets", len(got))
	}
	list, err := api.Secrets(t.Context())
	var names []string
	for _, s := range list {
		names = append(names, s.Name)
		if s.Updated.IsZero() {
			t.Errorf("%s has no time", s.Name)
		}
	}
	if diff := cmp.Diff([]string{"AZURE_CLIENT_SECRET", "EMPTY", "KWARGS", "LONG"}, names); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestRefusals(t *testing.T) {
	c := start(t)
	for _, row := range []struct {
		token, repository, name string
		kind                    fault.Kind
		says                    string
	}{
		{"unknown", "acme/dags", "A", fault.Forbidden, "does not accept the token of GITHUB_TOKEN"},
		{"nothing", "acme/dags", "A", fault.Forbidden, "may not use the secrets of acme/dags"},
		{"reader", "acme/dags", "A", fault.Forbidden, "may not use the secrets of acme/dags"},
		{"writer", "acme/other", "A", fault.NotFound, "no repository acme/other"},
		{"writer", "acme/dags", "GITHUB_A", fault.Usage, "cannot be the name"},
		{"writer", "acme/dags", "A-B", fault.Usage, "cannot be the name"},
	} {
		api, waits := client(t, c, row.token, row.repository)
		err := put(t, api, row.name, "canary")
		if !fault.Is(err, row.kind) || !strings.Contains(err.Error(), row.says) || len(fault.HintsOf(err)) == 0 || len(*waits) > 0 {
			t.Errorf("%+v: %v, waits %v", row, err, *waits)
		}
	}
	api, _ := client(t, c, "writer", "acme/dags")
	if err := put(t, api, "A", strings.Repeat("x", 48<<10+1)); !fault.Is(err, fault.Usage) {
		t.Errorf("too long: %v", err)
	}
	if got := c.GitHubSecrets("acme/dags"); len(got) > 0 {
		t.Errorf("%d secrets were set", len(got))
	}
	for _, name := range []string{"", "dags", "acme/", "a b/c", "acme/dags/x", "acme/..", "-a/b", "https://github.com/acme/dags"} {
		if _, err := github.New(github.Config{Repository: name, Token: secret.FromString("t")}); !fault.Is(err, fault.Usage) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := github.New(github.Config{Repository: "acme/dags"}); !fault.Is(err, fault.Usage) {
		t.Errorf("no token: %v", err)
	}
}

func TestRetries(t *testing.T) {
	for _, row := range []struct {
		rule  string
		waits int
		kind  fault.Kind // Internal stands for none
	}{
		{"service=github status=502 times=2", 2, fault.Internal},
		{"service=github drop=true times=1", 1, fault.Internal},
		{"service=github method=PUT truncate=true times=1", 0, fault.Internal}, // it has no body to be cut
		{"service=github status=403 retry-after=2s times=1", 1, fault.Internal},
		{"service=github status=503", 3, fault.Unavailable},
		{"service=github status=429 retry-after=120s", 0, fault.Unavailable},
	} {
		c := start(t)
		api, waits := client(t, c, "writer", "acme/dags")
		rule, err := localcloud.ParseFault(row.rule)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetFaults(localcloud.Faults{Rules: []localcloud.Fault{rule}}); err != nil {
			t.Fatal(err)
		}
		err = put(t, api, "A", "v")
		if (err == nil) != (row.kind == fault.Internal) || err != nil && !fault.Is(err, row.kind) {
			t.Errorf("%s: %v", row.rule, err)
		}
		if len(*waits) != row.waits && !strings.Contains(row.rule, "truncate") {
			t.Errorf("%s: waits %v", row.rule, *waits)
		}
		if written := c.GitHubSecrets("acme/dags")["A"] == "v"; written != (err == nil) {
			t.Errorf("%s: written=%v", row.rule, written)
		}
	}
}
