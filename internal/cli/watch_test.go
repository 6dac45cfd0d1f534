package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

// watched runs a live view for some seconds: a first look at one agent, then at none, then at the one again.
func watched(t *testing.T, env Env, asJSON bool) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		env.Stdout = &out
		looks := 0
		ask := func(context.Context) ([]agentStatus, error) {
			if looks++; looks == 2 {
				return nil, fault.New(fault.Unavailable, "no agent is running", "start one")
			}
			return []agentStatus{{Socket: "/s", Status: agentapi.Status{
				PID: 7, Lookups: int64(looks), Vaults: []agentapi.VaultStatus{{URL: "https://v"}}, Entries: []agentapi.Entry{
					{Kind: airflow.Variable, ID: "id-1\x1b[31m\n", Outcome: "found", Lookups: 5},
					{Kind: airflow.Variable, ID: "id-2", Outcome: "not_found", Lookups: 6},
				},
			}}}, nil
		}
		if err := (&app{env: env}).watchStatus(ctx, ask, asJSON); err != nil {
			t.Error(err)
		}
		if looks != 3 {
			t.Errorf("%d looks in 2.5 seconds", looks)
		}
	})
	return out.String()
}

func TestWatchOnATerminal(t *testing.T) {
	size := func() (int, int, error) { return 80, 7, nil }
	got := watched(t, Env{StdoutTerminal: true, StdoutSize: size}, false)
	inner, ok := strings.CutPrefix(got, "\x1b[?1049h\x1b[?25l\x1b[?7l")
	inner, closed := strings.CutSuffix(inner, "\x1b[?7h\x1b[?25h\x1b[?1049l")
	if !ok || !closed {
		t.Fatalf("the terminal is not left as it was: %q", got)
	}
	frames := strings.Split(inner, "\x1b[H")[1:]
	if len(frames) != 3 || !strings.Contains(frames[1], "airlock: error: no agent is running") {
		t.Fatalf("%q", frames)
	}
	for i, frame := range []string{frames[0], frames[2]} {
		lines := strings.Split(frame, "\n")
		if len(lines) != 7 || !strings.Contains(lines[2], fmt.Sprint(1+2*i, " lookup")) || !strings.HasPrefix(lines[6], "... and 2 more lines") {
			t.Errorf("frame %d: %q", i, lines)
		}
		if strings.Contains(frame, "\x1b[31m") {
			t.Errorf("an id steers the terminal: %q", frame)
		}
	}
}

func TestWatchInAPipe(t *testing.T) {
	got := watched(t, Env{}, false)
	if strings.ContainsAny(got, "\x1b\r") || strings.Count(got, "agent 7 on /s") != 2 || strings.Count(got, "id-2\tnot_found") != 2 {
		t.Errorf("%q", got)
	}
}

func TestWatchAsJSON(t *testing.T) {
	got := watched(t, Env{StdoutTerminal: true}, true)
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if len(lines) != 3 || lines[1] != "[]" {
		t.Fatalf("%q", lines)
	}
	for i, line := range lines {
		var all []agentStatus
		if err := json.Unmarshal([]byte(line), &all); err != nil || i != 1 && (len(all) != 1 || all[0].Lookups != int64(i+1)) {
			t.Errorf("line %d: %+v, %v", i, all, err)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Errorf("control characters: %q", got)
	}
}
