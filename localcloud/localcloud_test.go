package localcloud_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/localcloud"
)

func TestOpenRefuses(t *testing.T) {
	for _, row := range []struct {
		name string
		cfg  localcloud.Config
		want []string
	}{
		{"every interface", localcloud.Config{Listen: ":0"}, []string{`Listen = ":0"`, "loopback only"}},
		{"another host", localcloud.Config{Listen: "192.0.2.1:80"}, []string{`Listen = "192.0.2.1:80"`, "loopback only"}},
		{"no port", localcloud.Config{Listen: "127.0.0.1"}, []string{`Listen = "127.0.0.1"`, "missing port"}},
		{"a folder that is a file", localcloud.Config{Dir: "localcloud_test.go"}, []string{`Dir = "localcloud_test.go"`}},
		{"all problems at once", localcloud.Config{Provision: localcloud.Provision{
			Tenants:    []string{"a/b"},
			Apps:       []localcloud.App{{TenantID: tenant, ClientSecret: appSecret}},
			Identities: []localcloud.ManagedIdentity{{TenantID: tenant, ClientID: "x"}, {TenantID: tenant, ClientID: "X"}},
			Vaults: []localcloud.Vault{
				{URL: "http://airlock-dev.vault.azure.net"}, {URL: "https://example.com/", TenantID: tenant},
				{URL: "https://a_b.vault.azure.net", TenantID: tenant, RetentionDays: 3},
			},
		}}, []string{
			`Provision.Tenants[0]: TenantID = "a/b"`, `Provision.Apps[0]: ClientID = ""`,
			`Provision.Identities[1]: ClientID = "X": given twice`, `Provision.Vaults[0]: URL = "http://`,
			`Provision.Vaults[1]: URL = "https://example.com/"`, `Provision.Vaults[2]: URL = "https://a_b.`, "RetentionDays = 3",
		}},
		{"a vault of nobody", localcloud.Config{Provision: localcloud.Provision{Vaults: []localcloud.Vault{{URL: vaultURL}}}},
			[]string{"no TenantID, which stands for the only tenant, but there are 0"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := localcloud.Open(row.cfg)
			if err == nil {
				_ = c.Close()
				t.Fatal("it opened")
			}
			for _, want := range row.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %s:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), appSecret) {
				t.Error("the error holds a client secret")
			}
		})
	}
}

func TestAddressInUse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	if _, err := localcloud.Open(localcloud.Config{Listen: listener.Addr().String()}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("err = %v", err)
	}
}

func TestHermetic(t *testing.T) {
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "from outside")
	}))
	defer outside.Close()
	for _, hermetic := range []bool{false, true} {
		c := localcloud.Start(t, localcloud.Config{Hermetic: hermetic, Provision: provision()})
		proxy, err := url.Parse(c.ProxyURL())
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}}
		response, err := client.Get(outside.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		want, status := "from outside", http.StatusOK
		if hermetic {
			want, status = "127.0.0.1 is not emulated, and the local cloud is hermetic", http.StatusForbidden
		}
		if response.StatusCode != status || !strings.Contains(string(body), want) {
			t.Errorf("hermetic %v: %d %s", hermetic, response.StatusCode, body)
		}
		if seen := c.Requests(); len(seen) != 1 || seen[0].Service != "proxy" || seen[0].Status != status {
			t.Errorf("hermetic %v: seen %+v", hermetic, seen)
		}
	}
}

func TestTunnel(t *testing.T) {
	outside := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "from outside")
	}))
	defer outside.Close()
	c := localcloud.Start(t, localcloud.Config{})
	proxy, err := url.Parse(c.ProxyURL())
	if err != nil {
		t.Fatal(err)
	}
	transport := outside.Client().Transport.(*http.Transport).Clone()
	transport.Proxy = http.ProxyURL(proxy)
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	response, err := client.Get(outside.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if body, _ := io.ReadAll(response.Body); string(body) != "from outside" {
		t.Errorf("body = %s", body)
	}
	seen := c.Requests()
	if len(seen) != 1 || seen[0].Method != http.MethodConnect || seen[0].Host != "127.0.0.1" {
		t.Errorf("seen %+v", seen)
	}
}

func TestSetSecrets(t *testing.T) {
	c := start(t)
	client := secretsClient(t, c, vaultURL, clientSecret(t, c, appSecret))
	for range 2 { // the same values again make no new versions
		if err := c.SetSecrets(vaultURL, map[string]string{"a": "1", "B": ""}); err != nil {
			t.Fatal(err)
		}
	}
	if get(t, client, "a", "") != "1" || get(t, client, "b", "") != "" {
		t.Error("the values are not there")
	}
	if _, err := client.DeleteSecret(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if err := c.SetSecrets(vaultURL, map[string]string{"a": "2"}); err != nil || get(t, client, "a", "") != "2" {
		t.Errorf("a deleted secret: %v", err)
	}
	const canary = "canary-value"
	for _, row := range []struct {
		vault   string
		secrets map[string]string
		want    string
	}{
		{"https://nobody.vault.azure.net", nil, "is not provisioned"},
		{"nonsense", nil, `vault "nonsense"`},
		{vaultURL, map[string]string{"ok": canary, "a_b": canary}, `secret "a_b": a name has`},
		{vaultURL, map[string]string{"ok": canary, "long": strings.Repeat(canary, 3000)}, `secret "long": the value has 36000 bytes`},
		{vaultURL, map[string]string{"ok": canary, "OK": canary}, "names ignore case"},
	} {
		err := c.SetSecrets(row.vault, row.secrets)
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), canary) {
			t.Errorf("err = %v, want %s", err, row.want)
		}
	}
	_, err := client.GetSecret(t.Context(), "ok", "", nil)
	wantCode(t, err, http.StatusNotFound, "SecretNotFound")
}

func TestRequests(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	c := localcloud.Start(t, localcloud.Config{Hermetic: true, Provision: provision(), Now: func() time.Time { return at }})
	if err := c.SetSecrets(vaultURL, map[string]string{"a": "1"}); err != nil {
		t.Fatal(err)
	}
	get(t, secretsClient(t, c, vaultURL, clientSecret(t, c, appSecret)), "a", "")
	var lines []string
	for _, r := range c.Requests() {
		if !r.Time.Equal(at) {
			t.Errorf("time %v", r.Time)
		}
		lines = append(lines, strings.Join([]string{r.Service, r.Method, r.Host, r.Path, http.StatusText(r.Status)}, " "))
	}
	want := []string{
		"keyvault GET airlock-dev.vault.azure.net /secrets/a/ Unauthorized",
		"entra GET login.microsoftonline.com /common/discovery/instance OK",
		"entra GET login.microsoftonline.com /" + tenant + "/v2.0/.well-known/openid-configuration OK",
		"entra POST login.microsoftonline.com /" + tenant + "/oauth2/v2.0/token OK",
		"keyvault GET airlock-dev.vault.azure.net /secrets/a/ OK",
	}
	// The SDK is free in the order of what it asks about the tenant, so the lines between are a set.
	if len(lines) != len(want) || lines[0] != want[0] || lines[4] != want[4] {
		t.Fatalf("requests:\n%s", strings.Join(lines, "\n"))
	}
	for _, line := range want {
		if !strings.Contains(strings.Join(lines, "\n"), line) {
			t.Errorf("%s was not seen in:\n%s", line, strings.Join(lines, "\n"))
		}
	}
}

func TestNothingIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	c, err := localcloud.Open(localcloud.Config{Hermetic: true, Provision: provision()})
	if err != nil {
		t.Fatal(err)
	}
	set(t, secretsClient(t, c, vaultURL, clientSecret(t, c, appSecret)), "a", "1")
	dir := filepath.Dir(c.CAFile())
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of certificates is left: %v", err)
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(c.ProxyURL(), "http://")); err == nil {
		_ = conn.Close()
		t.Error("the port is still open")
	}
	// net/http ends the goroutines of closed connections in its own time, within milliseconds.
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// Closing must not wait for connections that clients keep open.
func TestCloseIsQuick(t *testing.T) {
	c, err := localcloud.Open(localcloud.Config{Provision: provision()})
	if err != nil {
		t.Fatal(err)
	}
	set(t, secretsClient(t, c, vaultURL, clientSecret(t, c, appSecret)), "a", "1")
	began := time.Now()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("closing took %v", took)
	}
}
