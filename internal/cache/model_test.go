package cache

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// world is a source with several keys, and all that was ever true of it.
type world struct {
	secrets map[string]version
	past    map[string][]version
	made    int           // versions so far
	fails   error         // what it says instead of an answer; nil: it answers
	asked   int           // how often
	clock   time.Duration // how far its clock is from ours
}

// version is a value, or that there is none, and since when, by our clock and by the source's.
type version struct {
	value   string // "": there is none
	since   time.Time
	updated time.Time
}

func (w *world) now() time.Time { return time.Now().Add(w.clock).Truncate(time.Second) }

func (w *world) put(key string, exists bool) {
	v := version{since: time.Now(), updated: w.now()}
	if w.made++; exists {
		v.value = fmt.Sprintf("%s-%d", key, w.made)
	}
	w.secrets[key] = v
	w.past[key] = append(w.past[key], v)
}

func (w *world) fetch(_ context.Context, key string) (Answer, error) {
	w.asked++
	v := w.secrets[key]
	switch {
	case w.fails != nil:
		return Answer{}, w.fails
	case v.value == "":
		return Answer{}, notFound
	}
	return Answer{Value: secret.FromString(v.value), Updated: v.updated, Asked: w.now()}, nil
}

func (w *world) list(key string) (time.Time, bool) {
	v := w.secrets[key]
	return v.updated, v.value != ""
}

// trueAt tells whether a key had a value at some time from then on.
func (w *world) trueAt(key, value string, from time.Time) bool {
	for i, v := range w.past[key] {
		if v.value == value && (i+1 == len(w.past[key]) || !w.past[key][i+1].since.Before(from)) {
			return true
		}
	}
	return false
}

// model is design.md, section 6, for one key: what the source said last, and when.
type model struct {
	told    bool
	version           // that was told
	at      time.Time // when
	asked   time.Time // when, by the source's clock
	expired bool      // by a comparison
	failed  error     // what came since then
	until   time.Time // nobody asks before
	backoff time.Duration
}

func (m *model) fresh() bool {
	life := calm.TTL
	if m.value == "" {
		life = calm.NegativeTTL
	}
	return m.told && !m.expired && time.Since(m.at) < life
}

// ask is what a question does to the model.
func (m *model) ask(w *world, key string) {
	if w.fails == nil {
		*m = model{told: true, version: w.secrets[key], at: time.Now(), asked: w.now()}
		return
	}
	if fault.Is(w.fails, fault.Forbidden) {
		m.told = false
	}
	m.backoff = min(max(2*m.backoff, calm.Backoff), calm.MaxBackoff)
	if m.failed == nil && fault.Is(w.fails, fault.Forbidden) {
		m.backoff = 0
	}
	m.failed = w.fails
	m.until = time.Now().Add(max(m.backoff*3/4, fault.RetryAfter(w.fails)))
}

// get is what a lookup gets, and whether the source is asked.
func (m *model) get(w *world, key string) (value string, state State, err error, asks bool) {
	mayAsk := !time.Now().Before(m.until)
	if m.fresh() {
		life := calm.TTL
		if value = m.value; value == "" {
			life, err = calm.NegativeTTL, notFound
		}
		if asks = mayAsk && time.Since(m.at) >= life*85/100; asks {
			m.ask(w, key)
		}
		return value, Fresh, err, asks
	}
	if mayAsk {
		m.ask(w, key)
		if w.fails == nil {
			if m.value == "" {
				err = notFound
			}
			return m.value, Fetched, err, true
		}
	}
	if m.told && m.value != "" && time.Since(m.at) < calm.MaxStale {
		return m.value, Stale, nil, mayAsk
	}
	return "", Fetched, m.failed, mayAsk
}

// compare is what a look at the list does.
func (m *model) compare(w *world, key string) {
	listed := w.secrets[key]
	switch {
	case !m.told:
	case (m.value == "") != (listed.value == ""):
		*m = model{}
	case m.value == "":
	case !m.updated.Equal(listed.updated):
		m.expired, m.failed, m.until, m.backoff = true, nil, time.Time{}, 0
	case m.asked.Sub(m.updated) < settleTime:
		m.expired = true
	}
}

// TestModel does things at random to a cache and to the model, and wants the same of both. Beside it, and without the model,
// it checks what nobody may ever see: a value that is too old, that access was taken from, or that a list showed to be gone.
func TestModel(t *testing.T) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue { // which is over in an instant
		if err := flag.Set("rapid.checks", "2000"); err != nil {
			t.Fatal(err)
		}
	}
	throttled := &fault.Error{Kind: fault.Unavailable, Msg: "throttled", RetryAfter: 20 * time.Second}
	rapid.Check(t, func(t *rapid.T) {
		clock := time.Duration(rapid.IntRange(-600, 600).Draw(t, "clock")) * time.Second
		rapid.SyncTest(t, func(t *rapid.T) {
			w := &world{secrets: map[string]version{}, past: map[string][]version{}, clock: clock}
			c := New(w.fetch, calm)
			c.random = func() float64 { return 0.5 }
			keys := rapid.SampledFrom([]string{"a", "b", "c"})
			models := map[string]*model{"a": {}, "b": {}, "c": {}}
			for key := range models {
				w.put(key, false)
			}
			compared := time.Time{}          // when a list was last seen
			denied := map[string]time.Time{} // when a lookup was last refused

			get := func(t *rapid.T) {
				key := keys.Draw(t, "key")
				before := w.asked
				wantValue, wantState, wantErr, asks := models[key].get(w, key)
				got, err := c.Get(t.Context(), key)
				synctest.Wait()
				value := string(got.Value.Reveal())
				if value != wantValue || got.State != wantState || err != wantErr || (w.asked > before) != asks || w.asked > before+1 {
					t.Fatalf("Get(%s) = %q, state %d, %v, asked %d times; the model has %q, state %d, %v, asks: %v",
						key, value, got.State, err, w.asked-before, wantValue, wantState, wantErr, asks)
				}
				switch age := time.Since(got.Fetched); {
				case fault.Is(err, fault.Forbidden):
					denied[key] = time.Now()
				case err != nil && !fault.Is(err, fault.NotFound):
				case got.State == Fetched && !w.trueAt(key, value, time.Now()):
					t.Fatalf("Get(%s) = %q, which is not what the source has", key, value)
				case !w.trueAt(key, value, got.Fetched):
					t.Fatalf("Get(%s) = %q, which was not so when it was fetched", key, value)
				case got.State == Fresh && age >= calm.TTL, got.State == Stale && (age >= calm.MaxStale || w.fails == nil && !models[key].until.After(time.Now())):
					t.Fatalf("Get(%s): state %d after %v", key, got.State, age)
				case got.Fetched.Before(denied[key]):
					t.Fatalf("Get(%s): a value from before a refusal", key)
				case got.State == Fresh && !w.trueAt(key, value, compared):
					t.Fatalf("Get(%s) = %q, though a list has shown it to be gone", key, value)
				}
			}
			advance := func(by ...time.Duration) func(*rapid.T) {
				return func(t *rapid.T) {
					time.Sleep(rapid.SampledFrom(by).Draw(t, "for") + time.Duration(rapid.IntRange(-1, 1).Draw(t, "and")))
				}
			}
			say := func(err error) func(*rapid.T) { return func(*rapid.T) { w.fails = err } }
			t.Repeat(map[string]func(*rapid.T){
				"get":             get,
				"get again":       get,
				"a moment":        advance(time.Millisecond, 500*time.Millisecond, 750*time.Millisecond, time.Second, 1500*time.Millisecond),
				"some seconds":    advance(3*time.Second, 5*time.Second, 15*time.Second, 20*time.Second, 30*time.Second, 51*time.Second),
				"some minutes":    advance(time.Minute, 4*time.Minute, due, calm.TTL),
				"some hours":      advance(time.Hour, calm.MaxStale-calm.TTL, calm.MaxStale),
				"change":          func(t *rapid.T) { w.put(keys.Draw(t, "key"), true) },
				"delete":          func(t *rapid.T) { w.put(keys.Draw(t, "key"), false) },
				"outage":          say(unavailable),
				"throttle":        say(throttled),
				"deny":            say(forbidden),
				"come back":       say(nil),
				"come back again": say(nil),
				"drop": func(t *rapid.T) {
					key := keys.Draw(t, "key")
					c.Drop(key)
					*models[key] = model{}
				},
				"compare": func(t *rapid.T) {
					if w.fails != nil {
						t.Skip("the list is not to be had")
					}
					c.Compare(w.list)
					for key, m := range models {
						m.compare(w, key)
					}
					compared = time.Now()
				},
				"expire": func(*rapid.T) {
					c.Expire()
					for _, m := range models {
						m.expired = true
					}
				},
			})
		})
	})
}
