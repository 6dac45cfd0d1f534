package faults

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Plan is everything that goes wrong.
type Plan struct {
	// Seed decides what chance decides; 0 takes one at random, which Injector.Plan then tells.
	Seed  uint64
	Rules []Fault
	// Throttle limits each vault; the zero value does not.
	Throttle Throttle
}

// Injector applies a plan to requests. Its methods are safe for concurrent use.
type Injector struct {
	// Refuse answers for a service with an error in its shape.
	Refuse func(service string, w http.ResponseWriter, r *http.Request, status int)
	Now    func() time.Time

	mu      sync.Mutex
	plan    Plan
	chances []*rand.Rand // one for each fault, so that one does not shift the others
	hits    []int
	limiter limiter
}

// Set puts a plan in force, in place of the one before. An error leaves the one before.
func (i *Injector) Set(p Plan) error {
	for _, f := range p.Rules {
		if err := f.Check(); err != nil {
			return err
		}
	}
	if err := p.Throttle.check(); err != nil {
		return err
	}
	for p.Seed == 0 {
		p.Seed = rand.Uint64()
	}
	p.Rules = slices.Clone(p.Rules)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.plan, i.hits, i.chances = p, make([]int, len(p.Rules)), nil
	for n := range p.Rules {
		i.chances = append(i.chances, rand.New(rand.NewPCG(p.Seed, uint64(n))))
	}
	i.limiter = limiter{limits: p.Throttle}
	return nil
}

// Plan is the plan in force, with its seed. The zero Plan is none.
func (i *Injector) Plan() Plan {
	i.mu.Lock()
	defer i.mu.Unlock()
	p := i.plan
	p.Rules = slices.Clone(p.Rules)
	return p
}

// choose rolls the dice for a request: it returns the fault that hits it, and how long to wait first.
func (i *Injector) choose(service, host string, r *http.Request) (hit Fault, wait time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, f := range i.plan.Rules {
		// The first fault that ends a request does; latencies add up.
		if !f.chooses(service, host, r) || f.Times > 0 && i.hits[n] >= f.Times || f.ends() && hit.ends() {
			continue
		}
		if f.Rate > 0 && i.chances[n].Float64() >= f.Rate {
			continue
		}
		i.hits[n]++
		wait += f.Latency
		if f.Jitter > 0 {
			wait += time.Duration(i.chances[n].Int64N(int64(f.Jitter)))
		}
		if f.ends() {
			hit = f
		}
	}
	return hit, wait
}

// Wrap puts what goes wrong before a service.
func (i *Injector) Wrap(service, host string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault, wait := i.choose(service, host, r)
		if wait > 0 {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done(): // the client went away, or the cloud closes
				panic(http.ErrAbortHandler)
			}
		}
		switch {
		case fault.Drop:
			panic(http.ErrAbortHandler) // net/http then closes the connection, or resets the stream
		case fault.Truncate:
			truncate(w, r, next)
		case fault.Status != 0:
			if fault.RetryAfter > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(fault.RetryAfter/time.Second)))
			}
			i.Refuse(service, w, r, fault.Status)
		case service == "keyvault" && !i.withinLimits(host, r):
			i.Refuse(service, w, r, http.StatusTooManyRequests)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// truncate sends the first half of an answer under the length of the whole, and closes.
func truncate(w http.ResponseWriter, r *http.Request, next http.Handler) {
	whole := &buffer{header: w.Header(), status: http.StatusOK}
	next.ServeHTTP(whole, r)
	w.Header().Set("Content-Length", strconv.Itoa(len(whole.body)))
	w.WriteHeader(whole.status)
	_, _ = w.Write(whole.body[:len(whole.body)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

type buffer struct {
	header http.Header
	status int
	body   []byte
}

func (b *buffer) Header() http.Header { return b.header }

func (b *buffer) WriteHeader(status int) { b.status = status }

func (b *buffer) Write(p []byte) (int, error) {
	b.body = append(b.body, p...)
	return len(p), nil
}
