package config

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
)

const goodToken = "canary-0123456789-0123456789-0123456789"

// remote is a document that is right but for what a test adds.
func remote(listen, policy string) string {
	return minimal + "policy:\n" + policy + "listen: {" + listen + "}\n"
}

const (
	forTCP   = "- {uids: [self]}\n- {tcp: true}\n"
	forUsers = "- {uids: [self, 7]}\n"
)

func TestListen(t *testing.T) {
	a, err := load(t, remote("socket: /run/x/a.sock, group: 54321, tcp: \"[::1]:0\", token_file: made, hosts: [Airlock.Internal]",
		forTCP+"- {tcp: true, operate: true}\n"), env())
	if err != nil {
		t.Fatal(err)
	}
	if a.Listen != (Listen{Socket: "/run/x/a.sock", Group: 54321, TCP: "[::1]:0"}) || !filepath.IsAbs(a.Remote.TokenFile) ||
		a.Remote.Token.Len() > 0 || !slices.Equal(a.Remote.Hosts, []string{"airlock.internal"}) ||
		!a.Policy[1].TCP || a.Policy[1].Operate || !a.Policy[2].Operate {
		t.Errorf("%+v %+v %+v", a.Listen, a.Remote, a.Policy)
	}
	if _, err := os.Lstat(a.Remote.TokenFile); err == nil {
		t.Error("a look at the configuration makes the token")
	}
	shown, err := a.Document()
	for _, want := range []string{"group: 54321", "tcp: '[::1]:0'", "hosts: [airlock.internal]", "operate: true"} {
		if !strings.Contains(string(shown), want) {
			t.Errorf("%s: no %s", shown, want)
		}
	}
	if err != nil || strings.Contains(string(shown), "false\n  - tcp") {
		t.Errorf("%s, %v", shown, err)
	}
}

func TestListenProblems(t *testing.T) {
	const tcp = "tcp: \"127.0.0.1:8130\", token_file: t"
	for _, row := range []struct{ listen, policy, want string }{
		{"socket: /x/s, group: 7", "", "airlock.yaml:4: listen.group lets others ask, and no rule says what"},
		{"group: 7", forUsers, "listen.group wants a socket in a folder of its own"},
		{"socket: /x/s, group: 0", forUsers, "listen.group must not be root's group"},
		{"socket: /x/s, group: -1", forUsers, "listen.group must be a group's name or number"},
		{"socket: /x/s, group: 4294967295", forUsers, "listen.group must be a group's name or number"},
		{"socket: /x/s, group: canary-nobody", forUsers, "listen.group is no group of this machine"},
		{tcp, "", "listen.tcp lets others ask, and no rule says what"},
		{tcp, forUsers, "listen.tcp lets others ask, and no rule says what"},
		{"tcp: \"127.0.0.1:8130\"", forTCP, "listen.token_file is missing"},
		{"token_file: t", forUsers, "listen.tcp is missing"},
		{"hosts: [a]", forUsers, "listen.tcp is missing"},
		{"socket: /x/s", forTCP, "policy[1] is for callers by TCP, and listen.tcp is not set"},
		{tcp, "- {tcp: true, uids: [1]}\n", "policy[0] is for callers by TCP, who have neither"},
		{tcp, forTCP + "- {uids: [1], operate: true, ids: [x]}\n", "policy[2] allows status, metrics and refresh"},
		{"tcp: \"0.0.0.0:8130\", token_file: t", forTCP, "listen.tcp must be a loopback address with a port"},
		{"tcp: \"[::]:8130\", token_file: t", forTCP, "listen.tcp must be a loopback address"},
		{"tcp: \":8130\", token_file: t", forTCP, "listen.tcp must be a loopback address"},
		{"tcp: \"10.0.0.1:8130\", token_file: t", forTCP, "listen.tcp must be a loopback address"},
		{"tcp: \"localhost:8130\", token_file: t", forTCP, "listen.tcp must be a loopback address"},
		{"tcp: 127.0.0.1, token_file: t", forTCP, "listen.tcp must be a loopback address"},
		{tcp + ", hosts: [\"a:1\"]", forTCP, "listen.hosts[0] must be a host's name"},
		{tcp + ", hosts: [\"*\"]", forTCP, "listen.hosts[0] must be a host's name"},
	} {
		document := remote(row.listen, row.policy)
		if row.policy == "" {
			document = minimal + "\nlisten: {" + row.listen + "}\n"
		}
		if _, err := load(t, document, env()); !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s%s: %v\nwants %q", row.listen, row.policy, err, row.want)
		}
	}
}

// TestAgentThatAsksItself: no vault and no way to one may lead to the agent's own address.
func TestAgentThatAsksItself(t *testing.T) {
	document := func(url, address string) string {
		return "vaults:\n- url: " + url + "\npolicy: [{tcp: true}]\nlisten: {tcp: \"" + address + "\", token_file: t}\n"
	}
	const good, own = "https://prod.vault.azure.net", "127.0.0.1:8130"
	for _, row := range []struct {
		url, address string
		env          Getenv
		want         string // "": it is accepted
	}{
		{"https://127.0.0.1:8130", own, env(), "url leads to listen.tcp"},
		{"https://localhost:8130/", own, env(), "url leads to listen.tcp"},
		{"https://vault.LOCALHOST.:8130/", own, env(), "url leads to listen.tcp"},
		{"https://[::1]:8130", own, env(), "url leads to listen.tcp"},
		{"https://[::ffff:127.0.0.1]:8130", own, env(), "url leads to listen.tcp"},
		{"https://0.0.0.0:8130", own, env(), "url leads to listen.tcp"},
		{"https://127.0.0.1", "127.0.0.1:443", env(), "url leads to listen.tcp"},
		{good, own, env("HTTPS_PROXY", "http://127.0.0.1:8130"), "HTTPS_PROXY leads"},
		{good, own, env("https_proxy", "localhost:8130"), "HTTPS_PROXY leads"},
		{good, own, env("HTTP_PROXY", "http://[::1]:8130/"), "HTTP_PROXY leads"},
		{good, own, env("AZURE_AUTHORITY_HOST", "https://127.1.2.3:8130/"), "AZURE_AUTHORITY_HOST leads"},
		{"https://127.0.0.1:8131", own, env(), ""}, // a local cloud beside it
		{good, own, env("HTTPS_PROXY", "http://127.0.0.1:3128"), ""},
		{good, own, env("HTTPS_PROXY", "http://proxy.example:8130"), ""},
	} {
		_, err := load(t, document(row.url, row.address), row.env)
		if row.want == "" && err != nil || row.want != "" && (!fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), "make the agent ask itself: "+row.want)) {
			t.Errorf("%s at %s: %v, want %q", row.url, row.address, err, row.want)
		}
	}
}

func TestToken(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "airlock.yaml")
	token := filepath.Join(dir, "t")
	if err := os.WriteFile(path, []byte(remote("tcp: \"127.0.0.1:0\", token_file: t", forTCP)), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func() (Agent, error) { return LoadAgent(Source{File: path, Getenv: env()}) }

	made, err := read()
	if err != nil {
		t.Fatal(err)
	}
	if err := made.MakeToken(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(token); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(string(made.Remote.Token.Reveal())); err != nil || len(raw) != 32 {
		t.Errorf("the token holds %d bytes, %v", len(raw), err)
	}
	if made.Changed() {
		t.Error("what the agent made itself counts as a change of its configuration")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".airlock-token-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	client, err := ReadToken(token)
	if err != nil || string(client.Reveal()) != string(made.Remote.Token.Reveal()) {
		t.Errorf("a client reads another token: %v", err)
	}
	again, err := read()
	if err != nil || string(again.Remote.Token.Reveal()) != string(made.Remote.Token.Reveal()) || again.MakeToken() != nil {
		t.Errorf("the second start has another token: %v", err)
	}

	// Somebody else's, and a new one.
	if err := os.WriteFile(token, []byte(goodToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !made.Changed() {
		t.Error("another token is not seen")
	}
	if again, err = read(); err != nil || string(again.Remote.Token.Reveal()) != goodToken {
		t.Errorf("another token: %v", err)
	}
	if err := os.Remove(token); err != nil {
		t.Fatal(err)
	}
	if again, err = read(); err != nil || again.MakeToken() != nil || again.Remote.Token.Len() != 43 || string(again.Remote.Token.Reveal()) == string(made.Remote.Token.Reveal()) {
		t.Errorf("a deleted token: %v", err)
	}

	// Two agents that make it at once have one.
	if err := os.Remove(token); err != nil {
		t.Fatal(err)
	}
	first, _ := read()
	second, _ := read()
	if first.MakeToken() != nil || second.MakeToken() != nil || string(first.Remote.Token.Reveal()) != string(second.Remote.Token.Reveal()) {
		t.Error("two agents made two tokens of one file")
	}

	for name, row := range map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"open":      {goodToken, 0o644, "can be read by other users (mode 0644)"},
		"short":     {"canary", 0o600, "must hold a token of 32 to 1024 characters"},
		"empty":     {"", 0o600, "must hold a token"},
		"long":      {strings.Repeat("canary", 200), 0o600, "must hold a token"},
		"two words": {goodToken + " " + goodToken, 0o600, "one word of visible ASCII"},
		"two lines": {goodToken + "\r\n" + goodToken, 0o600, "one word of visible ASCII"},
	} {
		if err := os.WriteFile(token, []byte(row.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(token, row.mode); err != nil {
			t.Fatal(err)
		}
		_, agentErr := read()
		_, clientErr := ReadToken(token)
		for who, err := range map[string]error{"agent": agentErr, "client": clientErr} {
			if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s, to the %s: %v, want %s", name, who, err, row.want)
			}
		}
	}
}

func TestWhichAgent(t *testing.T) {
	const url, file = "http://127.0.0.1:8130", "/run/t"
	for _, row := range []struct {
		kwargs       string
		env          Getenv
		socket, want string // the URL, or a part of the error
	}{
		{`{"agent_url": "http://127.0.0.1:8130", "agent_token_file": "/run/t"}`, env(EnvAgentSocket, "/s"), "", url},
		{`{"agent_socket": "/k"}`, env(EnvAgentURL, url, EnvAgentTokenFile, file), "/k", ""},
		{`{}`, env(EnvAgentURL, url, EnvAgentTokenFile, file), "", url},
		{`{}`, env(EnvAgentURL, url, EnvAgentTokenFile, file, EnvAgentSocket, "/s"), "", "named twice"},
		{`{"agent_socket": "/k", "agent_url": "http://127.0.0.1:8130"}`, env(), "", "named twice"},
		{`{}`, env(EnvAgentURL, url), "", "wants agent_token_file"},
		{`{}`, env(EnvAgentURL, "https://127.0.0.1:8130", EnvAgentTokenFile, file), "", "not the URL of an agent"},
		{`{}`, env(EnvAgentURL, "http://127.0.0.1", EnvAgentTokenFile, file), "", "not the URL of an agent"},
		{`{}`, env(EnvAgentURL, "http://u:p@127.0.0.1:1", EnvAgentTokenFile, file), "", "not the URL of an agent"},
		{`{}`, env(EnvAgentURL, "127.0.0.1:8130", EnvAgentTokenFile, file), "", "not the URL of an agent"},
	} {
		c, err := FromKwargs([]byte(row.kwargs), row.env)
		switch {
		case err != nil:
			if row.want == "" || row.want == url || !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%s: %v, want %s", row.kwargs, err, row.want)
			}
		case c.AgentSocket != row.socket || c.AgentURL != row.want && row.socket == "" || c.AgentURL != "" && c.AgentTokenFile != file:
			t.Errorf("%s: %q, %q, %q", row.kwargs, c.AgentSocket, c.AgentURL, c.AgentTokenFile)
		}
	}
}
