package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/keyvault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// memory is a vault in which every call takes a second. What internal/keyvault makes of the real wire is shown there, and by
// the tests of the command, against the local cloud; here it is about when to go on, to wait and to stop.
type memory struct {
	mu     sync.Mutex
	values map[string]string
	calls  int
	answer func(call int, verb, name string) error // before the deed; nil: all is well
}

func (m *memory) do(ctx context.Context, verb, name string, deed func()) error {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return fault.Wrap(fault.Canceled, ctx.Err(), "canceled")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if m.answer != nil {
		if err := m.answer(m.calls, verb, name); err != nil {
			return err
		}
	}
	deed()
	return nil
}

func (m *memory) Get(ctx context.Context, name string) (keyvault.Secret, error) {
	var got keyvault.Secret
	err := m.do(ctx, "get", name, func() { got.Value = secret.FromString(m.values[name]) })
	return got, err
}

func (m *memory) Set(ctx context.Context, name string, content keyvault.Content) (keyvault.Properties, error) {
	return keyvault.Properties{}, m.do(ctx, "set", name, func() { m.values[name] = string(content.Value.Reveal()) })
}

func (m *memory) Retag(ctx context.Context, name string, _ map[string]string) error {
	return m.do(ctx, "retag", name, func() {})
}

func (m *memory) Recover(ctx context.Context, name string) error {
	return m.do(ctx, "recover", name, func() {})
}

func (m *memory) Delete(ctx context.Context, name string) error {
	return m.do(ctx, "delete", name, func() { delete(m.values, name) })
}

func steps(n int, action Action) []Step {
	var all []Step
	for i := range n {
		all = append(all, Step{Action: action, Kind: airflow.Variable, ID: fmt.Sprintf("v%d", i), Secret: fmt.Sprintf("v%d", i),
			content: keyvault.Content{Value: secret.FromString("new")}})
	}
	return all
}

var (
	busy    = &fault.Error{Kind: fault.Unavailable, Msg: "throttled"}
	patient = &fault.Error{Kind: fault.Unavailable, Msg: "throttled", RetryAfter: 30 * time.Second}
	refused = fault.New(fault.Forbidden, "refused")
	wrong   = fault.New(fault.Usage, "wrong")
	missing = fault.New(fault.NotFound, "missing")
)

func TestApply(t *testing.T) {
	for _, row := range []struct {
		name   string
		n      int
		action Action
		answer func(call int, verb, name string) error
		want   string // how many of each outcome
		err    error
		within time.Duration
	}{
		{"all is well", 100, Create, nil, "done 100", nil, 14 * time.Second},
		{"tags", 8, Tag, nil, "done 8", nil, time.Second},
		{"taken back, then written", 8, Recover, nil, "done 8", nil, 2 * time.Second},
		{"taken back by somebody else", 8, Recover, func(_ int, verb, _ string) error {
			if verb == "recover" {
				return missing
			}
			return nil
		}, "done 8", nil, 2 * time.Second},
		{"deleted by somebody else", 8, Delete, func(int, string, string) error { return missing }, "done 8", nil, time.Second},
		{"throttled at times", 40, Create, func(call int, _, _ string) error {
			if call%3 == 0 {
				return busy
			}
			return nil
		}, "done 40", nil, 30 * time.Second},
		{"asked to wait", 1, Create, func(call int, _, _ string) error {
			if call == 1 {
				return patient
			}
			return nil
		}, "done 1", nil, 32 * time.Second},
		{"throttled for good", 100, Create, func(call int, _, _ string) error {
			if call > 50 {
				return busy
			}
			return nil
		}, "done 50 unknown 8 not-tried 42", busy, 3 * time.Minute},
		{"refused half way", 100, Create, func(call int, _, _ string) error {
			if call > 50 {
				return refused
			}
			return nil
		}, "", refused, time.Minute},
		{"one is wrong", 100, Create, func(_ int, _, name string) error {
			if name == "v7" {
				return wrong
			}
			return nil
		}, "done 99 failed 1", wrong, 14 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &memory{values: map[string]string{}, answer: row.answer}
				progress := 0
				begun := time.Now()
				results, err := Apply(t.Context(), v, steps(row.n, row.action), Options{Progress: func(over int) { progress = max(progress, over) }})
				if !errors.Is(err, row.err) || (err == nil) != (row.err == nil) {
					t.Errorf("err = %v, want %v", err, row.err)
				}
				if got := outcomes(results); row.want != "" && got != row.want {
					t.Errorf("outcomes: %s, want %s", got, row.want)
				}
				if took := time.Since(begun); took > row.within {
					t.Errorf("took %v, want at most %v", took, row.within)
				}
				if row.err == nil && progress != row.n {
					t.Errorf("progress ended at %d", progress)
				}
				v.holds(t, results)
			})
		})
	}
}

// holds compares what is said to have been done with what was done.
func (m *memory) holds(t *testing.T, results []Result) {
	t.Helper()
	for _, r := range results {
		_, there := m.values[r.Secret]
		writes := r.Action == Create || r.Action == Recover
		switch r.Outcome {
		case Done:
			if there != writes {
				t.Errorf("%s is said to be done, and is not", r.ID)
			}
		case Failed, NotTried:
			if there && writes {
				t.Errorf("%s is said to be %s, and was written", r.ID, r.Outcome)
			}
		}
	}
}

func outcomes(results []Result) string {
	counts := map[Outcome]int{}
	for _, r := range results {
		counts[r.Outcome]++
	}
	var words []string
	for _, o := range []Outcome{Done, Failed, Unknown, NotTried} {
		if counts[o] > 0 {
			words = append(words, fmt.Sprintf("%s %d", o, counts[o]))
		}
	}
	return strings.Join(words, " ")
}

// TestApplyInterrupted: what has begun is brought to its end, nothing new is begun, and each step's outcome is known; a second
// run does what is left.
func TestApplyInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &memory{values: map[string]string{}}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2500*time.Millisecond, cancel)
		results, err := Apply(ctx, v, steps(100, Create), Options{})
		if !fault.Is(err, fault.Canceled) || outcomes(results) != "done 24 not-tried 76" {
			t.Errorf("%s, %v", outcomes(results), err)
		}
		v.holds(t, results)
		var left []Step
		for _, r := range results {
			if r.Outcome != Done {
				left = append(left, r.Step)
			}
		}
		if _, err := Apply(t.Context(), v, left, Options{}); err != nil || len(v.values) != 100 {
			t.Errorf("then %d are there: %v", len(v.values), err)
		}
	})
}

// TestApplyInterruptedWhileItWaits: nobody waits out a pause after Ctrl-C.
func TestApplyInterruptedWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &memory{values: map[string]string{}, answer: func(int, string, string) error { return patient }}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		begun := time.Now()
		results, err := Apply(ctx, v, steps(20, Create), Options{})
		if !fault.Is(err, fault.Canceled) || outcomes(results) != "unknown 8 not-tried 12" || time.Since(begun) > 6*time.Second {
			t.Errorf("%s after %v, %v", outcomes(results), time.Since(begun), err)
		}
	})
}
