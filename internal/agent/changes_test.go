package agent

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/cache"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// listing is a vault with a list, in pages of 25.
type listing struct {
	mu      sync.Mutex
	secrets map[string]dated
	names   []string // in the order of the list
	getErr  error
	listErr error
	gets    []string
	pages   []time.Time // when pages were read
}

type dated struct {
	value   string
	updated time.Time
}

func (v *listing) set(name, value string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.secrets == nil {
		v.secrets = map[string]dated{}
	}
	if _, known := v.secrets[name]; !known {
		v.names = append(v.names, name)
	}
	v.secrets[name] = dated{value, time.Now().Truncate(time.Second)}
}

func (v *listing) fail(get, list error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.getErr, v.listErr = get, list
}

func (v *listing) get(_ context.Context, name string) (cache.Answer, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.gets = append(v.gets, name)
	if v.getErr != nil {
		return cache.Answer{}, v.getErr
	}
	for n, d := range v.secrets { // case is nothing, as in the real one
		if strings.EqualFold(n, name) {
			return cache.Answer{Value: secret.FromString(d.value), Updated: d.updated, Asked: time.Now().Truncate(time.Second)}, nil
		}
	}
	return cache.Answer{}, fault.New(fault.NotFound, "no such secret")
}

func (v *listing) list(context.Context) iter.Seq2[[]Listed, error] {
	return func(yield func([]Listed, error) bool) {
		for from := 0; ; from += 25 {
			v.mu.Lock()
			v.pages = append(v.pages, time.Now())
			err, to := v.listErr, min(from+25, len(v.names))
			var page []Listed
			for _, name := range v.names[min(from, to):to] {
				page = append(page, Listed{Name: name, Updated: v.secrets[name].updated})
			}
			last := to == len(v.names)
			v.mu.Unlock()
			if !yield(page, err) || err != nil || last {
				return
			}
		}
	}
}

// looks is how often pages were read since the last call.
func (v *listing) looks() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, v.pages = len(v.pages), nil
	return n
}

func (v *listing) asked() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, v.gets = len(v.gets), nil
	return n
}

// watched runs an agent with a list in a bubble, for as long as do takes.
func watched(t *testing.T, v *listing, do func(t *testing.T, a *Agent, log *syncBuffer), change func(*Config)) {
	synctest.Test(t, func(t *testing.T) {
		var log syncBuffer
		config := Config{
			Naming: airflow.DefaultKwargs().Naming,
			Vault:  v.get, List: v.list, ListInterval: 30 * time.Second,
			Cache: cache.Options{
				TTL: 24 * time.Hour, NegativeTTL: time.Hour, MaxStale: 48 * time.Hour, Backoff: time.Second, MaxBackoff: time.Minute,
				MaxEntries: 1000,
			},
			Log: textLog(&log),
		}
		if change != nil {
			change(&config)
		}
		a := New(config)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- NewDaemon(DaemonConfig{Plan: Alone(a)}).Serve(ctx, &listener{closed: make(chan struct{})})
		}()
		do(t, a, &log)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// lookup looks a variable up and shortens what came: value and source, or the kind of error.
func lookup(a *Agent, id string) string {
	answer, err := a.Lookup(context.Background(), variable(id))
	synctest.Wait()
	if err != nil {
		return fault.KindOf(err).String()
	}
	return answer.Value + " " + string(answer.Source)
}

func want(t *testing.T, a *Agent, id, want string) {
	t.Helper()
	if got := lookup(a, id); got != want {
		t.Fatalf("%s: %s, want %s", id, got, want)
	}
}

func TestRotationIsSeen(t *testing.T) {
	v := &listing{}
	watched(t, v, func(t *testing.T, a *Agent, _ *syncBuffer) {
		for i := range 60 {
			v.set(fmt.Sprintf("airflow-variables-other-%02d", i), "x")
		}
		v.set("airflow-variables-Key", "one") // in another spelling
		time.Sleep(time.Minute)
		want(t, a, "key", "one vault")
		want(t, a, "new", "not_found")
		want(t, a, "kEY", "one cache")
		if v.asked() != 2 {
			t.Error("two spellings are asked for twice")
		}

		// A rotation and a new secret are seen within 30 s, in the middle of everything.
		for i := range 20 {
			value := fmt.Sprint("value-", i)
			time.Sleep(17 * time.Second)
			v.set("airflow-variables-Key", value)
			time.Sleep(30 * time.Second)
			if got, _, _ := strings.Cut(lookup(a, "key"), " "); got != value {
				t.Fatalf("30 s after the rotation: %s, want %s", got, value)
			}
		}
		v.set("airflow-variables-new", "born")
		time.Sleep(30 * time.Second)
		want(t, a, "new", "born vault")

		// Nothing changes: it costs one look in 24 to 30 seconds, of three pages, and no question.
		time.Sleep(time.Minute)
		want(t, a, "key", "value-19 cache")
		want(t, a, "new", "born cache")
		v.asked()
		v.looks()
		for range 20 {
			time.Sleep(time.Minute)
			want(t, a, "key", "value-19 cache")
		}
		if n := v.looks(); n < 3*40 || n > 3*51 || n%3 != 0 {
			t.Errorf("%d pages in twenty minutes", n)
		}
		if n := v.asked(); n != 0 {
			t.Errorf("%d questions, though nothing changed", n)
		}
		s := a.Status().Changes
		if s.Interval != 30 || s.Seen < 21 || s.Problem != "" || s.Listed == nil || time.Since(*s.Listed) > 30*time.Second {
			t.Errorf("%+v", s)
		}
	}, nil)
}

// TestIdleAgentDoesNotLook: nobody pays for looks that nobody needs, and nobody gets what was not looked after.
func TestIdleAgentDoesNotLook(t *testing.T) {
	v := &listing{}
	watched(t, v, func(t *testing.T, a *Agent, _ *syncBuffer) {
		v.set("airflow-variables-key", "one")
		time.Sleep(time.Hour)
		if n := v.looks(); n != 0 {
			t.Errorf("%d looks for an empty cache", n)
		}
		want(t, a, "key", "one vault")
		time.Sleep(idleAfter + time.Minute)
		v.looks()
		v.set("airflow-variables-key", "two")
		time.Sleep(10 * time.Hour)
		if n := v.looks(); n != 0 {
			t.Errorf("%d looks, though nobody asks", n)
		}
		want(t, a, "key", "two vault")
		time.Sleep(time.Minute)
		if n := v.looks(); n == 0 {
			t.Error("no look, though somebody asks again")
		}
		// During an outage after a night, the value of yesterday is there.
		time.Sleep(10 * time.Hour)
		v.fail(fault.New(fault.Unavailable, "down"), fault.New(fault.Unavailable, "down"))
		want(t, a, "key", "two stale")
	}, nil)
}

func TestListIsRefused(t *testing.T) {
	v := &listing{}
	watched(t, v, func(t *testing.T, a *Agent, log *syncBuffer) {
		v.set("airflow-variables-key", "one")
		v.fail(nil, fault.New(fault.Forbidden, "may not list", "give it the role"))
		v.looks()
		for range 60 { // six hours
			time.Sleep(6 * time.Minute)
			if got := lookup(a, "key"); !strings.HasPrefix(got, "one ") {
				t.Fatal(got)
			}
		}
		if n := v.looks(); n < 11 || n > 17 {
			t.Errorf("%d tries in six hours", n)
		}
		if n := strings.Count(log.text(), "cannot be seen"); n != 1 || !strings.Contains(log.text(), "give it the role") {
			t.Errorf("it was told %d times: %s", n, log.text())
		}
		if s := a.Status().Changes; s.Problem != "may not list" || s.Listed != nil {
			t.Errorf("%+v", s)
		}
		v.fail(nil, nil)
		time.Sleep(rarely)
		if s := a.Status().Changes; s.Problem != "" || s.Listed == nil || !strings.Contains(log.text(), "can be seen again") {
			t.Errorf("%+v: %s", s, log.text())
		}
	}, nil)
}

func TestListFails(t *testing.T) {
	for _, row := range []struct {
		name      string
		err       error
		low, most int // looks in ten minutes
	}{
		{"down", fault.New(fault.Unavailable, "down"), 20, 26},
		{"odd", errors.New("odd"), 20, 26},
		{"asks to wait", &fault.Error{Kind: fault.Unavailable, Msg: "throttled", RetryAfter: 2 * time.Minute}, 5, 8},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := &listing{}
			watched(t, v, func(t *testing.T, a *Agent, log *syncBuffer) {
				v.set("airflow-variables-key", "one")
				want(t, a, "key", "one vault")
				v.fail(nil, row.err)
				for range 10 {
					time.Sleep(time.Minute)
					want(t, a, "key", "one cache")
				}
				if n := v.looks(); n < row.low || n > row.most {
					t.Errorf("%d looks", n)
				}
				if n := strings.Count(log.text(), "cannot be seen"); n != 1 {
					t.Errorf("it was told %d times", n)
				}
			}, nil)
		})
	}
}

// TestLargeVault: the more pages, the fewer looks, and from some point on none.
func TestLargeVault(t *testing.T) {
	for _, row := range []struct {
		secrets   int
		low, most int // pages in an hour
	}{
		{25 * 100, 12000, 15100}, // a look each 30 s
		{25 * 400, 14400, 18400}, // each 100 s
		{25*400 + 1, 401, 3 * 401},
	} {
		t.Run(fmt.Sprint(row.secrets), func(t *testing.T) {
			v := &listing{}
			watched(t, v, func(t *testing.T, a *Agent, _ *syncBuffer) {
				for i := range row.secrets {
					v.set(fmt.Sprintf("airflow-variables-%05d", i), "x")
				}
				for range 12 {
					_ = lookup(a, "00001")
					time.Sleep(5 * time.Minute)
				}
				if n := v.looks(); n < row.low || n > row.most {
					t.Errorf("%d pages", n)
				}
			}, nil)
		})
	}
}

func TestPrefetch(t *testing.T) {
	const prefetchSpread = 10 * time.Second
	prefetch := func(c *Config) { c.Prefetch, c.PrefetchSpread, c.ListInterval = true, prefetchSpread, 0 }
	fill := func(v *listing) {
		for i := range 300 {
			v.set(fmt.Sprintf("airflow-variables-v-%03d", i), "x")
			v.set(fmt.Sprintf("airflow-connections-c-%03d", i), "x")
			v.set(fmt.Sprintf("somebody-elses-%03d", i), "x")
		}
	}
	t.Run("all of ours", func(t *testing.T) {
		v := &listing{}
		watched(t, v, func(t *testing.T, a *Agent, _ *syncBuffer) {
			fill(v)
			time.Sleep(prefetchSpread)
			synctest.Wait()
			if n := v.asked(); n != 600 || a.cache.Len() != 600 || v.looks() != 36 {
				t.Errorf("%d were read, %d are held", n, a.cache.Len())
			}
			want(t, a, "v_007", "x cache")
			time.Sleep(time.Hour)
			if n := v.asked() + v.looks(); n != 0 {
				t.Errorf("%d more requests", n)
			}
		}, prefetch)
	})
	t.Run("as many as fit", func(t *testing.T) {
		v := &listing{}
		watched(t, v, func(t *testing.T, a *Agent, _ *syncBuffer) {
			fill(v)
			time.Sleep(prefetchSpread)
			synctest.Wait()
			if n := v.asked(); n != 100 || a.cache.Len() != 100 {
				t.Errorf("%d were read, %d are held", n, a.cache.Len())
			}
		}, func(c *Config) { prefetch(c); c.Cache.MaxEntries = 100 })
	})
	t.Run("refused", func(t *testing.T) {
		v := &listing{}
		watched(t, v, func(t *testing.T, a *Agent, log *syncBuffer) {
			fill(v)
			v.fail(nil, fault.New(fault.Forbidden, "may not list"))
			time.Sleep(prefetchSpread)
			synctest.Wait()
			if n := v.asked(); n != 0 || !strings.Contains(log.text(), "nothing is read ahead") {
				t.Errorf("%d were read: %s", n, log.text())
			}
		}, prefetch)
	})
	t.Run("the vault goes away", func(t *testing.T) {
		v := &listing{}
		watched(t, v, func(t *testing.T, a *Agent, log *syncBuffer) {
			fill(v)
			v.fail(fault.New(fault.Unavailable, "down"), nil)
			time.Sleep(prefetchSpread)
			synctest.Wait()
			if n := v.asked(); n == 0 || n > 2*prefetchers || !strings.Contains(log.text(), "complete=false") {
				t.Errorf("%d were asked for: %s", n, log.text())
			}
		}, prefetch)
	})
	t.Run("single refusals", func(t *testing.T) {
		v := &listing{}
		watched(t, v, func(t *testing.T, a *Agent, _ *syncBuffer) {
			fill(v)
			v.fail(fault.New(fault.Forbidden, "not this one"), nil)
			time.Sleep(prefetchSpread)
			synctest.Wait()
			if n := v.asked(); n != 600 {
				t.Errorf("%d were asked for", n)
			}
		}, prefetch)
	})
}

// TestStartsAreSpread: agents that start together do not read the list together.
func TestStartsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &listing{}
		v.set("airflow-variables-key", "one")
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for range 100 {
			a := New(Config{Naming: airflow.DefaultKwargs().Naming, Vault: v.get, List: v.list, Prefetch: true, PrefetchSpread: 10 * time.Second,
				ListInterval: 30 * time.Second, Cache: cache.Options{TTL: time.Hour}})
			running.Go(func() { _ = NewDaemon(DaemonConfig{Plan: Alone(a)}).Serve(ctx, &listener{closed: make(chan struct{})}) })
		}
		time.Sleep(40 * time.Second)
		cancel()
		running.Wait()
		inSecond, most := map[time.Time]int{}, 0
		for _, at := range v.pages {
			second := at.Truncate(time.Second)
			inSecond[second]++
			most = max(most, inSecond[second])
		}
		if len(v.pages) < 200 || most > 40 {
			t.Errorf("%d looks, up to %d in one second", len(v.pages), most)
		}
	})
}
