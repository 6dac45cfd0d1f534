package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// How long checks may take. None is waited for longer, whatever it does.
const (
	patience   = 10 * time.Second
	wayTime    = 25 * time.Second // name, connection, TLS and first answer, each with a bound of its own
	loginTime  = 45 * time.Second // several credentials, one of them the Azure CLI, and the retries of the SDK
	listTime   = time.Minute      // pages of 25
	importTime = time.Minute      // Airflow takes its time on a busy machine
)

// check is one link of the chain.
type check struct {
	id, title string
	needs     []string      // those without which there is nothing to look at
	after     []string      // those whose findings are used if there are any
	limit     time.Duration // 0: patience
	run       func(context.Context) Result
}

// examine runs the checks, each as soon as those before it have ended.
func examine(ctx context.Context, checks []check, listener Listener) Report {
	type link struct {
		result Result
		ended  chan struct{}
	}
	links, titles := map[string]*link{}, map[string]string{}
	for _, c := range checks {
		titles[c.id] = c.title
		links[c.id] = &link{ended: make(chan struct{})}
	}
	for _, c := range checks {
		go func() {
			own := links[c.id]
			defer close(own.ended)
			because := ""
			for i, id := range append(c.needs, c.after...) {
				<-links[id].ended
				if before := links[id].result; i < len(c.needs) && because == "" && before.State != OK && before.State != Warning {
					because = before.Because
					if because == "" {
						because = before.Check
					}
				}
			}
			if because != "" && ctx.Err() == nil {
				own.result = Result{State: Skipped, Because: because}
			} else {
				own.result = c.bounded(ctx)
			}
			if before := own.result.Because; before != "" {
				own.result.Found = "not looked at, because of: " + titles[before]
			}
			own.result.Check, own.result.Title = c.id, c.title
		}()
	}
	report := Report{State: OK, Checks: []Result{}}
	for _, c := range checks {
		if listener.Waits != nil {
			listener.Waits(c.title)
		}
		<-links[c.id].ended
		result := links[c.id].result
		if rank[result.State] > rank[report.State] {
			report.State = result.State
		}
		report.Checks = append(report.Checks, result)
		if listener.Hears != nil {
			listener.Hears(result)
		}
	}
	return report
}

// bounded runs a check within its time, even if it does not mind its context.
func (c check) bounded(ctx context.Context) Result {
	if ctx.Err() != nil {
		return interrupted
	}
	limit := c.limit
	if limit == 0 {
		limit = patience
	}
	bound, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ended := make(chan Result, 1)
	go func() { ended <- c.run(bound) }()
	select {
	case result := <-ended:
		if ctx.Err() != nil && result.State == Broken {
			return interrupted
		}
		return result
	case <-ctx.Done():
		return interrupted
	case <-bound.Done():
	}
	select { // it may be about to say why
	case result := <-ended:
		return result
	case <-ctx.Done():
		return interrupted
	case <-time.After(time.Second):
		return Result{State: Broken, Found: fmt.Sprintf("took longer than %s", limit)}
	}
}

var interrupted = Result{State: Skipped, Found: "interrupted"}

// brokenBy is the result of an error: each part of a joined one is a line.
func brokenBy(err error) Result {
	lines := linesOf(err)
	return Result{State: Broken, Found: lines[0], Notes: lines[1:], Remedies: fault.HintsOf(err)}
}

// linesOf takes joined errors apart.
func linesOf(err error) []string {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []string{err.Error()}
	}
	var lines []string
	for _, one := range joined.Unwrap() {
		lines = append(lines, linesOf(one)...)
	}
	return lines
}

// warn makes a result at least a warning; the first finding of the worst state is the one of the headline.
func (r *Result) warn(found string, remedies ...string) { r.add(Warning, found, remedies) }

// broke is warn for what does not work.
func (r *Result) broke(found string, remedies ...string) { r.add(Broken, found, remedies) }

func (r *Result) add(state State, found string, remedies []string) {
	if rank[state] > rank[r.State] {
		if r.Found != "" {
			r.Notes = append([]string{r.Found}, r.Notes...)
		}
		r.State, r.Found = state, found
		r.Remedies = append(append([]string{}, remedies...), r.Remedies...)
		return
	}
	r.Notes = append(r.Notes, found)
	r.Remedies = append(r.Remedies, remedies...)
}
