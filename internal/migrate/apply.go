package migrate

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/keyvault"
)

// writer changes a vault. It keeps to the vault's limits by itself.
type writer interface {
	getter
	Set(ctx context.Context, name string, content keyvault.Content) (keyvault.Properties, error)
	Retag(ctx context.Context, name string, tags map[string]string) error
	Recover(ctx context.Context, name string) error
	Delete(ctx context.Context, name string) error
}

// Outcome is what became of a step.
type Outcome string

// The outcomes.
const (
	Done     Outcome = "done"
	Failed   Outcome = "failed"    // refused: the vault holds what it held, or held before it was deleted
	Unknown  Outcome = "unknown"   // no answer that tells: it may have been done
	NotTried Outcome = "not-tried" // the vault holds what it held
)

// Result is a step and what became of it.
type Result struct {
	Step
	Outcome Outcome `json:"outcome"`
	Err     error   `json:"-"` // of Failed and Unknown
}

// Options says how a plan is carried out. The zero value is useful.
type Options struct {
	// Patience is how long a vault may refuse everything for the moment, such as with 429, before we give up. 0: 2 minutes.
	Patience time.Duration
	// Progress is told how many steps are over, by one goroutine at a time. Nil: nobody is.
	Progress func(over int)
}

const (
	writers         = 8
	defaultPatience = 2 * time.Minute
	// grace is how long a step that has begun may go on after an interruption, so that we can tell what became of it.
	grace = 10 * time.Second

	firstPause, longestPause = time.Second, 16 * time.Second // between tries; https://learn.microsoft.com/azure/key-vault/general/overview-throttling
)

// Apply carries out steps, several at a time, and says what became of each, in their order. It stops early when the context
// ends, when the vault refuses us, and when patience is over; the error is then the reason. A step that fails by itself
// stops no other; the error is then that of the first one.
func Apply(ctx context.Context, v writer, steps []Step, o Options) ([]Result, error) {
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	stop, halt := context.WithCancelCause(ctx)
	defer halt(nil)
	a := applier{vault: v, stop: stop, halt: halt, options: o, answered: time.Now()}
	results := make([]Result, len(steps))
	var group errgroup.Group
	group.SetLimit(writers)
	for i, step := range steps {
		results[i] = Result{Step: step, Outcome: NotTried}
		if stop.Err() != nil {
			continue
		}
		group.Go(func() error {
			if stop.Err() == nil {
				results[i].Outcome, results[i].Err = a.step(step)
			}
			a.over()
			return nil
		})
	}
	_ = group.Wait()
	if err := ctx.Err(); err != nil && anyLeft(results) {
		return results, fault.Wrap(fault.Canceled, err, "interrupted")
	}
	if stop.Err() != nil && ctx.Err() == nil {
		return results, context.Cause(stop)
	}
	for _, r := range results {
		if r.Err != nil {
			return results, r.Err
		}
	}
	return results, nil
}

func anyLeft(results []Result) bool {
	for _, r := range results {
		if r.Outcome != Done {
			return true
		}
	}
	return false
}

// applier is one run of Apply.
type applier struct {
	vault   writer
	stop    context.Context // no new step is begun after its end
	halt    context.CancelCauseFunc
	options Options

	mu       sync.Mutex
	answered time.Time // when the vault last took something
	finished int
}

func (a *applier) over() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.finished++
	if a.options.Progress != nil {
		a.options.Progress(a.finished)
	}
}

// step does one step, again and again while the vault asks for patience.
func (a *applier) step(s Step) (Outcome, error) {
	// An interruption leaves it some time to end by itself.
	ctx, cancel := context.WithCancel(context.WithoutCancel(a.stop))
	defer cancel()
	defer context.AfterFunc(a.stop, func() { time.AfterFunc(grace, cancel) })()

	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := a.once(ctx, s)
		switch {
		case err == nil:
			a.mu.Lock()
			a.answered = time.Now()
			a.mu.Unlock()
			return Done, nil
		case fault.Is(err, fault.Unavailable), fault.Is(err, fault.Canceled):
			if !a.wait(max(pause, fault.RetryAfter(err))) {
				a.halt(err)
				return Unknown, err
			}
		case fault.Is(err, fault.Forbidden):
			a.halt(err)
			return Failed, err
		case fault.Is(err, fault.Internal):
			return Unknown, err
		default:
			return Failed, err
		}
	}
}

// wait waits before the next try; false when there shall be none.
func (a *applier) wait(pause time.Duration) bool {
	a.mu.Lock()
	silent := time.Since(a.answered)
	a.mu.Unlock()
	if silent+pause > a.options.Patience {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.stop.Done():
		return false
	}
}

// once tries a step. To try it again does no harm: at worst, a version more has the same value.
func (a *applier) once(ctx context.Context, s Step) error {
	switch s.Action {
	case Tag:
		return a.vault.Retag(ctx, s.Secret, s.content.Tags)
	case Delete:
		err := a.vault.Delete(ctx, s.Secret)
		if fault.Is(err, fault.NotFound) {
			return nil // somebody else did it, or the try before, whose answer was lost
		}
		return err
	case Recover:
		// Not found: it is back already, by the try before or by somebody else.
		if err := a.vault.Recover(ctx, s.Secret); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	_, err := a.vault.Set(ctx, s.Secret, s.content)
	return err
}
