package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func ok(context.Context) Result { return Result{State: OK, Found: "fine"} }

// TestOrder: results are told in the order of the chain, whichever check is done first, and those that do not need one
// another run at once.
func TestOrder(t *testing.T) {
	both := make(chan struct{})
	var waiting atomic.Int32
	meet := func(context.Context) Result {
		if waiting.Add(1) == 2 {
			close(both)
		}
		<-both // would wait in vain if they ran one after the other
		return Result{State: OK}
	}
	var told []string
	report := examine(t.Context(), []check{
		{id: "last", title: "a", after: []string{"first"}, run: meet},
		{id: "first", title: "b", run: ok},
		{id: "other", title: "c", run: meet},
	}, Listener{Hears: func(r Result) { told = append(told, r.Check) }})
	if want := []string{"last", "first", "other"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	if report.State != OK || len(report.Checks) != 3 || report.Checks[1].Title != "b" {
		t.Errorf("report: %+v", report)
	}
}

// TestSkipping: what needs a broken check is skipped because of it, over several links, and a warning breaks nothing.
func TestSkipping(t *testing.T) {
	is := func(s State) func(context.Context) Result {
		return func(context.Context) Result { return Result{State: s} }
	}
	report := examine(t.Context(), []check{
		{id: "warned", run: is(Warning)},
		{id: "behind a warning", needs: []string{"warned"}, run: is(OK)},
		{id: "broken", run: is(Broken)},
		{id: "next", needs: []string{"warned", "broken"}, run: is(OK)},
		{id: "one more", needs: []string{"next"}, run: is(OK)},
		{id: "after", after: []string{"broken"}, run: is(OK)},
	}, Listener{})
	want := map[string]string{"behind a warning": "", "next": "broken", "one more": "broken", "after": ""}
	for _, r := range report.Checks {
		if because, listed := want[r.Check]; listed && (r.Because != because || (r.State == Skipped) != (because != "")) {
			t.Errorf("%s is %s because of %q, want because of %q", r.Check, r.State, r.Because, because)
		}
	}
	if report.State != Broken {
		t.Errorf("the report is %s", report.State)
	}
}

// TestDeadline: a check that minds nothing is given up, and the rest goes on.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		defer close(never)
		begun := time.Now()
		report := examine(t.Context(), []check{
			{id: "stuck", limit: time.Minute, run: func(context.Context) Result { <-never; return Result{} }},
			{id: "polite", limit: time.Hour, run: func(ctx context.Context) Result {
				<-ctx.Done()
				return Result{State: Broken, Found: "says why"}
			}},
			{id: "fine", run: ok},
		}, Listener{})
		if took := time.Since(begun); took > time.Hour+2*time.Second {
			t.Errorf("took %s", took)
		}
		for i, want := range []string{"took longer than 1m0s", "says why", "fine"} {
			if report.Checks[i].Found != want {
				t.Errorf("%s: %q, want %q", report.Checks[i].Check, report.Checks[i].Found, want)
			}
		}
	})
}

// TestInterrupted: the end of the context ends all that waits, and keeps what is known.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	never := make(chan struct{})
	defer close(never)
	report := examine(ctx, []check{
		{id: "done", run: ok},
		{id: "stuck", after: []string{"done"}, run: func(context.Context) Result { cancel(); <-never; return Result{} }},
		{id: "behind", needs: []string{"stuck"}, run: ok},
	}, Listener{})
	for i, want := range []State{OK, Skipped, Skipped} {
		if report.Checks[i].State != want {
			t.Errorf("%s is %s, want %s", report.Checks[i].Check, report.Checks[i].State, want)
		}
	}
}

func TestResultOfSeveralFindings(t *testing.T) {
	r := Result{State: OK, Found: "all is well"}
	r.warn("odd", "mend it")
	r.broke("wrong", "replace it")
	r.warn("odd, too", "mend that")
	if r.State != Broken || r.Found != "wrong" || strings.Join(r.Notes, "; ") != "odd; all is well; odd, too" ||
		strings.Join(r.Remedies, "; ") != "replace it; mend it; mend that" {
		t.Errorf("%+v", r)
	}
	if lines := linesOf(errors.Join(errors.New("a"), errors.Join(errors.New("b"), errors.New("c")))); !slices.Equal(lines, []string{"a", "b", "c"}) {
		t.Errorf("lines: %q", lines)
	}
}
