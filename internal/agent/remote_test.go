package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/audit"
	"github.com/airlock-secrets/airlock/internal/client"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/policy"
	"github.com/airlock-secrets/airlock/internal/secret"
)

const remoteToken = "canary-token-0123456789-0123456789-abc"

// byTCP is an agent that answers on loopback, too.
type byTCP struct {
	*running
	address string
	written *syncBuffer // the audit
}

// startTCP starts an agent whose callers by TCP may look up what rules say.
func startTCP(t *testing.T, v *vault, rules ...policy.Rule) *byTCP {
	t.Helper()
	l, err := ListenTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	written := &syncBuffer{}
	r := startDaemon(t, v, nil, func(c *DaemonConfig) {
		c.Plan.Guard = Guard{
			Policy: policy.Policy{Rules: rules},
			Audit:  audit.New(written),
			Remote: Remote{Token: secret.FromString(remoteToken), Hosts: []string{"airlock.internal"}},
		}
	}, l)
	return &byTCP{r, l.Addr().String(), written}
}

// ask sends one request by TCP with the headers, written as they are, and returns the answer.
func (r *byTCP) ask(t *testing.T, target string, headers ...string) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\n"+strings.Join(headers, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for name := range response.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("a page may read the answer: %s", name)
		}
	}
	return response.StatusCode, string(all)
}

func TestTCP(t *testing.T) {
	v := &vault{secrets: map[string]string{"airflow-variables-team-a-x": canary, "airflow-variables-secret": canary}}
	r := startTCP(t, v, policy.Rule{TCP: true, Scope: airflow.Scope{IDs: patterns(t, "team_a_*")}}, policy.Rule{UIDs: []uint32{0}})
	c := client.NewTCP(r.address, secret.FromString(remoteToken))
	defer c.Close()
	if got, err := c.Get(t.Context(), variable("team_a_x")); err != nil || string(got.Value.Reveal()) != canary {
		t.Errorf("what is allowed: %v", err)
	}
	if _, err := c.Get(t.Context(), variable("secret")); !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "not allow it to callers by TCP") {
		t.Errorf("what is not allowed: %v", err)
	}
	// They are nobody's own user, and what rules say of users is not about them.
	if _, err := c.Status(t.Context()); !fault.Is(err, fault.Forbidden) {
		t.Errorf("status: %v", err)
	}
	if err := c.Refresh(t.Context(), airflow.Variable, "team_a_x"); !fault.Is(err, fault.Forbidden) {
		t.Errorf("refresh: %v", err)
	}
	if err := c.Health(t.Context()); err != nil {
		t.Errorf("health: %v", err)
	}
	if got := v.requests(); got != "airflow-variables-team-a-x" {
		t.Errorf("the vault was asked for %q", got)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.DialTimeout("tcp", r.address, time.Second); err == nil {
		t.Error("a stopped agent listens")
	}
	decoder := json.NewDecoder(bytes.NewReader(r.written.Bytes()))
	for _, outcome := range []string{"found", "forbidden"} {
		var line map[string]any
		if err := decoder.Decode(&line); err != nil || line["via"] != "tcp" || line["outcome"] != outcome {
			t.Errorf("%v, %v", line, err)
		}
		for _, key := range []string{"uid", "gid", "pid", "exe"} {
			if _, there := line[key]; there {
				t.Errorf("the audit claims to know the %s of a caller by TCP: %v", key, line)
			}
		}
	}
	if all := r.log.String() + r.written.String(); strings.Contains(all, canary) || strings.Contains(all, remoteToken) {
		t.Errorf("a secret is told: %s", all)
	}
}

// TestTCPOperators: a rule can let a monitoring system look, which then reads no secret.
func TestTCPOperators(t *testing.T) {
	r := startTCP(t, &vault{secrets: map[string]string{"airflow-variables-x": canary}}, policy.Rule{TCP: true, Operate: true})
	c := client.NewTCP(r.address, secret.FromString(remoteToken))
	defer c.Close()
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("status: %v", err)
	}
	if _, err := c.Get(t.Context(), variable("x")); !fault.Is(err, fault.Forbidden) {
		t.Errorf("a lookup: %v", err)
	}
}

// TestTCPRefused: who does not know the token, or may have been made to ask by somebody else, learns nothing.
func TestTCPRefused(t *testing.T) {
	v := &vault{secrets: map[string]string{"airflow-variables-x": canary}}
	r := startTCP(t, v, policy.Rule{TCP: true})
	const auth = "Authorization: Bearer " + remoteToken
	const ours = "Host: localhost:8130"
	for _, host := range []string{ours, "Host: LOCALHOST", "Host: 127.0.0.1:1", "Host: 127.9.9.9", "Host: [::1]:5", "Host: [::1]", "Host: airlock.internal:80"} {
		if status, body := r.ask(t, "/v1/variables/x", host, auth); status != http.StatusOK || !strings.Contains(body, canary) {
			t.Errorf("%s: %d %s", host, status, body)
		}
	}
	if status, body := r.ask(t, "/v1/variables/x", ours, "authorization: bearer "+remoteToken); status != http.StatusOK {
		t.Errorf("in lower case: %d %s", status, body)
	}
	asked := len(v.requests())
	counted := map[string]int{}
	tokenAnswers := map[string]bool{}
	for _, row := range []struct {
		reason  string
		headers []string
	}{
		{"token", nil},
		{"token", []string{"Authorization: Bearer"}},
		{"token", []string{"Authorization: Bearer "}},
		{"token", []string{"Authorization: Bearer " + remoteToken[:len(remoteToken)-1]}},
		{"token", []string{"Authorization: Bearer " + remoteToken + "x"}},
		{"token", []string{"Authorization: Bearer  " + remoteToken}},
		{"token", []string{"Authorization: Bearer " + strings.ToUpper(remoteToken)}},
		{"token", []string{"Authorization: Basic " + remoteToken}},
		{"token", []string{"Authorization: " + remoteToken}},
		{"token", []string{auth, auth}},
		{"forwarded", []string{auth, "X-Forwarded-For: 127.0.0.1"}},
		{"forwarded", []string{auth, "x-forwarded-proto: http"}},
		{"forwarded", []string{auth, "Forwarded: for=127.0.0.1"}},
		{"forwarded", []string{auth, "Via: 1.1 proxy"}},
		{"forwarded", []string{auth, "X-Real-IP: 127.0.0.1"}},
		{"browser", []string{auth, "Origin: http://localhost:8130"}},
		{"browser", []string{auth, "Origin: null"}},
		{"browser", []string{auth, "Sec-Fetch-Site: same-origin"}},
		{"host", []string{auth, "Host: evil.example:8130"}},
		{"host", []string{auth, "Host: localhost.evil.example"}},
		{"host", []string{auth, "Host: 10.0.0.1"}},
		{"host", []string{auth, "Host: 0.0.0.0"}},
		{"host", []string{auth, "Host: "}},
	} {
		headers := row.headers
		if row.reason != "host" {
			headers = append([]string{ours}, headers...)
		}
		counted[row.reason]++
		for _, target := range []string{"/v1/variables/x", "/v1/status", "/v1/health", "/metrics", "/nothing"} {
			status, body := r.ask(t, target, headers...)
			if status != http.StatusForbidden || strings.Contains(body, canary) || strings.Contains(body, remoteToken) {
				t.Errorf("%s %q: %d %s", target, row.headers, status, body)
			}
			if row.reason == "token" {
				tokenAnswers[body] = true
			}
		}
	}
	if len(tokenAnswers) != 1 {
		t.Errorf("the answer tells what is wrong with a token: %v", tokenAnswers)
	}
	if got := len(v.requests()); got != asked || strings.Contains(r.written.String(), "forbidden") {
		t.Error("a request that was refused went further")
	}
	page := metricsPage(t, r.path)
	for reason, n := range counted {
		if want := fmt.Sprintf("airlock_tcp_refused_total{reason=%q} %d", reason, 5*n); !strings.Contains(page, want) {
			t.Errorf("the metrics do not say %s", want)
		}
	}
	// What asks for another host than it names, as a client of a proxy does.
	if status, _ := r.ask(t, "http://evil.example/v1/variables/x", ours, auth); status != http.StatusForbidden {
		t.Errorf("a request to a proxy: %d", status)
	}
}

// TestTokenRotation: a new plan's token is the only one from then on, on connections that are kept, too.
func TestTokenRotation(t *testing.T) {
	r := startTCP(t, &vault{secrets: map[string]string{"airflow-variables-x": canary}}, policy.Rule{TCP: true})
	before, after := client.NewTCP(r.address, secret.FromString(remoteToken)), client.NewTCP(r.address, secret.FromString("new-"+remoteToken))
	defer before.Close()
	defer after.Close()
	get := func(c *client.Client) error {
		_, err := c.Get(t.Context(), variable("x"))
		return err
	}
	if get(before) != nil || !fault.Is(get(after), fault.Forbidden) {
		t.Error("before the rotation")
	}
	plan := *r.daemon.plan.Load()
	plan.Guard.Remote.Token = secret.FromString("new-" + remoteToken)
	r.daemon.Use(plan)
	if get(after) != nil || !fault.Is(get(before), fault.Forbidden) {
		t.Error("after the rotation")
	}
	plan.Guard.Remote = Remote{} // no token is no way in
	r.daemon.Use(plan)
	if status, _ := r.ask(t, "/v1/variables/x", "Host: localhost", "Authorization: Bearer "); status != http.StatusForbidden {
		t.Errorf("an agent without a token: %d", status)
	}
}

// TestStrangersOnLoopback: whoever can connect, but has no token, takes nothing from those on the socket.
func TestStrangersOnLoopback(t *testing.T) {
	r := startTCP(t, &vault{secrets: map[string]string{"airflow-variables-x": canary}}, policy.Rule{UIDs: []uint32{uint32(os.Geteuid())}})
	var strangers []net.Conn
	defer func() {
		for _, conn := range strangers {
			conn.Close()
		}
	}()
	for range maxRemote + 50 { // the kernel's own queue takes those that the agent does not
		conn, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		strangers = append(strangers, conn)
	}
	if _, err := r.Get(t.Context(), variable("x")); err != nil {
		t.Errorf("on the socket: %v", err)
	}
	served := func(conn net.Conn) error {
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		_, err := conn.Read(make([]byte, 1))
		return err
	}
	last := strangers[len(strangers)-1]
	if _, err := io.WriteString(last, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = last.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := last.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one too many is served: %v", err)
	}
	for _, conn := range strangers[:100] {
		conn.Close()
	}
	if err := served(last); err != nil {
		t.Errorf("one after others have gone: %v", err)
	}
}

func TestListenTCP(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":0", "10.0.0.1:0", "localhost:0", "127.0.0.1", ""} {
		l, err := ListenTCP(address)
		if err == nil {
			l.Close()
		}
		if !fault.Is(err, fault.Usage) {
			t.Errorf("%s: %v", address, err)
		}
	}
	l, err := ListenTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := ListenTCP(l.Addr().String()); !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a port in use: %v", err)
	}
}
