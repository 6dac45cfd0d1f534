package agent

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/cache"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/policy"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// FuzzSocket: whatever bytes somebody sends, the agent answers in HTTP or hangs up, goes on answering others, makes no
// mistake, and shows nothing that its policy does not allow.
func FuzzSocket(f *testing.F) {
	v := &vault{secrets: map[string]string{"airflow-variables-hello": canary, "airflow-variables-open": "open"}}
	r := startDaemon(f, v, nil, func(c *DaemonConfig) {
		c.Plan.Guard.Policy.Rules = []policy.Rule{{Scope: airflow.Scope{IDs: patterns(f, "open")}}}
	})
	const head = " HTTP/1.1\r\nHost: a\r\n"
	for _, seed := range []string{
		"", "\x00", "\x16\x03\x01\x02\x00\x01", "GET", "GET /v1/variables/open" + head + "\r\n", "GET /v1/variables/hello" + head + "\r\n",
		"GET /v1/variables/open" + head + "\r\nGET /v1/variables/hello" + head + "\r\n",
		"GET /v1/variables/open/../hello" + head + "\r\n", "GET /v1/variables/open%2f..%2fhello" + head + "\r\n",
		"GET /v1/variables/hello%00open" + head + "\r\n", "GET http://hello/v1/variables/hello" + head + "\r\n",
		"GET /v1/variables/open?team=../hello" + head + "\r\n", "GET //v1/variables/hello" + head + "\r\n",
		"GET /v1/variables/" + strings.Repeat("a", 10<<10) + head + "\r\n", "GET /" + strings.Repeat("a", 100<<10) + head + "\r\n",
		"POST /v1/lookup" + head + "Content-Length: 49\r\n\r\n" + `{"lookups":[{"kind":"variable","id":"hello"}]}   `,
		"POST /v1/lookup" + head + "Content-Length: 99999999999\r\n\r\n{", "POST /v1/lookup" + head + "Content-Length: -1\r\n\r\n",
		"POST /v1/lookup" + head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "POST /v1/refresh" + head + "Content-Length: 2\r\n\r\n{}",
		"POST /v1/lookup" + head + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nGET /v1/variables/hello" + head + "\r\n",
		"CONNECT hello:443" + head + "\r\n", "OPTIONS *" + head + "\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /v1/status" + head + "Expect: 100-continue\r\n\r\n",
		"GET /v1/variables/open" + head + "Airlock-Dag: %zz\r\nAirlock-Task: %00\r\n\r\n", "GET /metrics" + head + "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		conn, err := net.Dial("unix", r.path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		go func() {
			_, _ = conn.Write(sent) // who hangs up before the end has answered
			_ = conn.(*net.UnixConn).CloseWrite()
		}()
		answered, _ := io.ReadAll(conn)
		if len(answered) > 0 && !strings.HasPrefix(string(answered), "HTTP/1.") {
			t.Errorf("%.200q", answered)
		}
		if strings.Contains(string(answered), canary) {
			t.Errorf("it shows what it must not: %.300q", answered)
		}
		if err := r.Health(t.Context()); err != nil {
			t.Errorf("and then: %v", err)
		}
		if strings.Contains(r.log.String(), "made a mistake") {
			t.Error(r.log.String())
		}
	})
}

// FuzzID: whatever is asked for, the vault is asked only for names that it can have, and its answer belongs to the question.
func FuzzID(f *testing.F) {
	naming := airflow.DefaultKwargs().Naming
	wrong := make(chan string, 1)
	r := start(f, &vault{}, func(c *Config) {
		c.Vault = func(_ context.Context, name string) (cache.Answer, error) {
			if !airflow.ValidName(name) {
				select {
				case wrong <- name:
				default:
				}
			}
			return cache.Answer{Value: secret.FromString("the value of " + name)}, nil
		}
	})
	for _, id := range []string{
		"", "a", "my_db", "A-b", "a/b", "/", "//", "a//b", "..", ".", "../../etc/passwd", "a.b", "a\x00b", "a b", "a%2fb", "%", "%zz", "?x", "a?team=b",
		"#", "a#b", "ü", "日本", "\U0001f680", "\xff\xfe", "a\r\nHost: b", "a\tb", "\u202e", strings.Repeat("a", 127), strings.Repeat("a", 10<<10),
		strings.Repeat("../", 4000), strings.Repeat("ü", 5<<10),
	} {
		f.Add(uint8(len(id)), id, "")
		f.Add(uint8(0), "a", id)
	}
	kinds := airflow.Kinds()
	f.Fuzz(func(t *testing.T, kind uint8, id, team string) {
		l := agentapi.Lookup{Kind: kinds[int(kind)%len(kinds)], ID: id, Team: team}
		answer, err := r.Get(t.Context(), l)
		select {
		case name := <-wrong:
			t.Fatalf("%.60q: the vault was asked for %q", id, name)
		default:
		}
		names, nameErr := naming.Names(l.Kind, id, team)
		switch {
		case err == nil:
			if nameErr != nil || len(names) == 0 || string(answer.Value.Reveal()) != "the value of "+fold(names[0]) {
				t.Errorf("%.60q: %.60q, want that of %.60q (%v)", id, answer.Value.Reveal(), names, nameErr)
			}
		case !fault.Is(err, fault.Usage) && !fault.Is(err, fault.NotFound):
			t.Errorf("%.60q: %v", id, err)
		case nameErr == nil && len(names) > 0 && len(id) <= agentapi.MaxIDBytes && len(team) <= agentapi.MaxIDBytes:
			t.Errorf("%.60q is refused: %v", id, err)
		}
	})
}
