package keyvault

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// epochs is a fake whose vault takes only tokens that were made since the last revoke.
type epochs struct {
	*cloudFake
	logins, since atomic.Int64
}

func newEpochs(t *testing.T) *epochs {
	e := &epochs{}
	keep := memory(map[string]string{"a": "value", "b": "value", "c": "value"})
	e.cloudFake = newFake(t, &cloudFake{
		login: func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, fmt.Sprintf(`{"token_type":"Bearer","expires_in":3599,"access_token":"token-%d"}`, e.logins.Add(1)))
		},
		vault: func(w http.ResponseWriter, r *http.Request) {
			_, number, _ := strings.Cut(r.Header.Get("Authorization"), "token-")
			if n, err := strconv.ParseInt(number, 10, 64); err != nil || n <= e.since.Load() {
				w.Header().Set("WWW-Authenticate", realChallenge)
				answer(w, http.StatusUnauthorized, vaultError("Unauthorized", "", "[TokenExpired] Error validating token: 'S2S12086'."))
				return
			}
			keep(w, r)
		},
	})
	return e
}

// revoke makes all tokens worthless that there are, or for ever.
func (e *epochs) revoke(forever bool) {
	e.since.Store(e.logins.Load())
	if forever {
		e.since.Store(1 << 40)
	}
}

// TestExpiredTokenIsReplaced: the SDK takes its token for good, and the vault does not.
func TestExpiredTokenIsReplaced(t *testing.T) {
	e := newEpochs(t)
	c := open(t, e.config())
	use := func() error {
		var running sync.WaitGroup
		errs := make(chan error, 21)
		for range 20 {
			running.Go(func() {
				_, err := c.Get(t.Context(), "a")
				errs <- err
			})
		}
		running.Wait()
		errs <- listAll(t.Context(), c)
		close(errs)
		for err := range errs {
			if err != nil {
				return err
			}
		}
		return nil
	}
	for i := range 3 {
		before := e.logins.Load()
		if err := use(); err != nil {
			t.Fatal(err)
		}
		if n := e.logins.Load() - before; n != 1 {
			t.Errorf("round %d: %d logins, want 1", i, n)
		}
		e.revoke(false)
	}
	// The list alone, from its first page on.
	if err := listAll(t.Context(), c); err != nil {
		t.Error(err)
	}
}

// TestRefusedTokenIsNotReplacedForever: a vault that takes no token at all gets one more, and then no more.
func TestRefusedTokenIsNotReplacedForever(t *testing.T) {
	e := newEpochs(t)
	c := open(t, e.config())
	if _, err := c.Get(t.Context(), "nothing"); !fault.Is(err, fault.NotFound) { // an answer, too
		t.Fatal(err)
	}
	e.revoke(true)
	for range 10 {
		if _, err := c.Get(t.Context(), "a"); !fault.Is(err, fault.Forbidden) {
			t.Fatal(err)
		}
	}
	if n := e.logins.Load(); n > 3 {
		t.Errorf("%d logins", n)
	}
}
