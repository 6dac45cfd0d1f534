package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/audit"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/peer"
	"github.com/airlock-secrets/airlock/internal/policy"
)

// broken is a disk without room.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// guarded starts an agent on a real socket, so that the caller is the kernel's word.
func guarded(t *testing.T, v *vault, guard Guard) *running {
	t.Helper()
	return startDaemon(t, v, nil, func(c *DaemonConfig) { c.Plan.Guard = guard })
}

func TestPolicyOnTheSocket(t *testing.T) {
	v := &vault{secrets: map[string]string{"airflow-variables-mine": canary, "airflow-variables-theirs": canary}}
	own := uint32(os.Geteuid())
	r := guarded(t, v, Guard{Policy: policy.Policy{Rules: []policy.Rule{
		{UIDs: []uint32{own}, Scope: airflow.Scope{IDs: patterns(t, "mine")}},
		{UIDs: []uint32{own + 1}},
	}}})
	if got, err := r.Get(t.Context(), variable("mine")); err != nil || string(got.Value.Reveal()) != canary {
		t.Errorf("what is allowed: %v", err)
	}
	if _, err := r.Get(t.Context(), variable("theirs")); !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "policy") {
		t.Errorf("what is not allowed: %v", err)
	}
	body := `{"lookups": [{"kind": "variable", "id": "mine"}, {"kind": "variable", "id": "theirs"}]}`
	if got := raw(t, r.path, "POST /v1/lookup HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body); strings.Count(got, canary) != 1 || !strings.Contains(got, `"kind":"forbidden"`) {
		t.Errorf("a batch: %s", got)
	}
	if got := v.requests(); got != "airflow-variables-mine" {
		t.Errorf("the vault was asked for %q", got)
	}
}

func TestAudit(t *testing.T) {
	var to syncBuffer
	v := &vault{secrets: map[string]string{"airflow-variables-hello": canary}}
	r := guarded(t, v, Guard{Audit: audit.New(&to)})
	_, _ = r.Get(t.Context(), variable("hello"))
	_ = raw(t, r.path, "GET /v1/variables/hello HTTP/1.1\r\nHost: a\r\nAirlock-Dag: my%20dag\r\nAirlock-Task: t%0a1\r\nConnection: close\r\n\r\n")
	_, _ = r.Get(t.Context(), variable("absent"))
	_, _ = r.Get(t.Context(), variable("a.b"))
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(to.String(), canary) {
		t.Fatalf("the audit holds a value: %s", to.String())
	}
	exe, _ := os.Executable()
	decoder := json.NewDecoder(bytes.NewReader(to.Bytes()))
	for i, want := range []audit.Line{
		{ID: "hello", Secret: "airflow-variables-hello", Vault: "v", Outcome: "found", Source: "vault"},
		{ID: "hello", Secret: "airflow-variables-hello", Vault: "v", Outcome: "found", Source: "cache", DAG: "my dag", Task: "t\n1"},
		{ID: "absent", Secret: "airflow-variables-absent", Vault: "v", Outcome: "not_found", Source: "vault"},
		{ID: "a.b", Vault: "v", Outcome: "usage"},
	} {
		var got audit.Line
		if err := decoder.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if got.Time.IsZero() || got.Peer == nil || got.PID != int32(os.Getpid()) || got.Exe != "" && got.Exe != exe {
			t.Errorf("line %d: %+v", i, got)
		}
		want.Time, want.Age, want.Via, want.Kind = got.Time, got.Age, audit.Unix, "variable"
		want.Peer = &audit.Peer{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), PID: got.PID, Exe: got.Exe}
		if !cmp.Equal(got, want) {
			t.Errorf("line %d: %+v, want %+v", i, got, want)
		}
	}
}

// TestUnwritten: what cannot be written down is not answered, from the cache neither.
func TestUnwritten(t *testing.T) {
	r := guarded(t, &vault{secrets: map[string]string{"airflow-variables-hello": canary}}, Guard{Audit: audit.New(broken{})})
	for range 2 {
		got, err := r.Get(t.Context(), variable("hello"))
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "audit line") || got.Value.Len() > 0 {
			t.Errorf("%v", err)
		}
	}
	if err := r.Health(t.Context()); err != nil {
		t.Error(err)
	}
}

// ownUser is a caller that may do everything.
func ownUser() *caller { return &caller{Cred: peer.Cred{UID: uint32(os.Getuid())}} }
