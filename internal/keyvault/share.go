package keyvault

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"golang.org/x/time/rate"

	"github.com/airlock-secrets/airlock/internal/rest"
)

// The limits of a vault, for all its clients together: one of requests that set a secret, one of the others
// (https://learn.microsoft.com/azure/key-vault/general/service-limits).
const (
	limitRequests = 4000
	limitCreates  = 300
	limitWindow   = 10 * time.Second
)

// DefaultCreates is how many secrets a client sets in a second if it is not told otherwise. With the few that may go at once,
// a window holds 280 at most, of the 300 that a vault allows.
const DefaultCreates = 27

const createsAtOnce = 10

const (
	// longestPause bounds what a vault may ask for: a gateway's odd Retry-After must not silence us for a day.
	longestPause = 10 * time.Minute

	// pauseSpread is the longest that we stay away beyond what the vault asked for, so that all whom it sent away in one
	// instant do not return in another.
	pauseSpread = time.Second
)

// share keeps a client to its share of the vault's limit, and away from a vault that asks to be left alone. It sees every
// single request, those that the SDK repeats too. Turns are given in the order of asking; whoever asks for one secret
// after another is behind everybody else with each.
type share struct {
	requests, creates *rate.Limiter

	mu    sync.Mutex
	until time.Time // the vault asked to be left alone until then
}

// newShare makes a bucket that holds half of what the share allows in a window and fills at the pace of the other half:
// no window then sees more than the share. Without a part there is no limit. Secrets are set in long rows, so that their
// bucket is small and fills at nearly the whole pace: creates in a second, DefaultCreates for 0.
func newShare(part, creates float64) *share {
	if creates <= 0 {
		creates = DefaultCreates
	}
	s := &share{requests: rate.NewLimiter(rate.Inf, 0), creates: rate.NewLimiter(rate.Limit(creates), createsAtOnce)}
	if part > 0 {
		half := part * limitRequests / 2
		s.requests = rate.NewLimiter(rate.Limit(half/limitWindow.Seconds()), max(1, int(half)))
	}
	return s
}

// Do implements policy.Policy.
func (s *share) Do(req *policy.Request) (*http.Response, error) {
	limiter := s.requests
	if req.Raw().Method == http.MethodPut {
		limiter = s.creates
	}
	if err := s.turn(req.Raw().Context(), limiter); err != nil {
		return nil, err
	}
	resp, err := req.Next()
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		s.pause(min(rest.RetryAfter(resp.Header), longestPause))
	}
	return resp, err
}

// turn waits until it is our turn, or says at once that this is too far off.
func (s *share) turn(ctx context.Context, limiter *rate.Limiter) error {
	place, wait, err := s.reserve(limiter)
	if wait <= 0 {
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		place.Cancel()
		return ctx.Err()
	}
}

// reserve takes the next place, and says how far off it is. It is done by one at a time: a place that is given back while
// another one behind it is taken is lost.
func (s *share) reserve(limiter *rate.Limiter) (place *rate.Reservation, wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	place = limiter.Reserve()
	wait, paused := place.Delay(), time.Until(s.until)
	switch {
	case max(wait, paused) > maxRetryDelay:
		place.Cancel()
		if paused > wait {
			return nil, 0, &heldBack{wait: paused, reason: errPaused}
		}
		return nil, 0, &heldBack{wait: wait}
	case paused > wait:
		wait = paused + rand.N(pauseSpread)
	}
	return place, wait, nil
}

func (s *share) pause(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until := time.Now().Add(d); until.After(s.until) {
		s.until = until
	}
}

// heldBack is the error of a request that we did not make.
type heldBack struct {
	wait   time.Duration // until it would have been its turn
	reason error         // errPaused, or nil for our own share
}

var errPaused = errors.New("the vault asked for a pause")

// Error implements error.
func (e *heldBack) Error() string { return "held back for " + e.wait.String() }

// Unwrap gives the reason.
func (e *heldBack) Unwrap() error { return e.reason }

// NonRetriable tells azcore that trying again is of no use.
func (e *heldBack) NonRetriable() {}
