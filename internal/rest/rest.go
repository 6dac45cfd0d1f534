// Package rest is what the clients of JSON APIs have in common: an exchange with a service that asks for a token, and
// trying again what may pass.
package rest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

const (
	firstGap = 500 * time.Millisecond
	maxGap   = 30 * time.Second
)

// Config is a service and how to ask it.
type Config struct {
	Base   string // what the paths of requests follow
	Token  secret.Value
	Header http.Header // of each request, beside the token

	HTTPClient *http.Client // nil is http.DefaultClient
	MaxBody    int64        // of an answer, in bytes; more is cut off
	Attempts   int          // at most, for one request; 0 is one
	// Wait waits between two attempts; nil does so by the clock.
	Wait func(context.Context, time.Duration) error

	// What errors call the service, and what they say of an answer that is not the JSON that it should be.
	Name, NotJSON string
	// Refused puts an answer that refuses into words. Cause and time to wait are added to what it returns.
	Refused func(Refusal) *fault.Error
}

// Refusal is an answer that refuses.
type Refusal struct {
	Status     int
	Header     http.Header
	Body       []byte
	RetryAfter time.Duration // what the service asks for; 0: it does not say
}

// Client asks a service. Its methods are safe for concurrent use.
type Client struct{ cfg Config }

// New returns a client; it does not ask yet.
func New(cfg Config) *Client {
	if cfg.Wait == nil {
		cfg.Wait = wait
	}
	cfg.HTTPClient = cmp.Or(cfg.HTTPClient, http.DefaultClient)
	return &Client{cfg}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Request is what a service is asked.
type Request struct {
	Method, Path string
	Body, Into   any // as JSON; nil is none
	// Again says whether a failed attempt may be made once more; nil is Passes, for requests that mean the same twice.
	Again func(error) bool
}

// Passes says whether an error may pass: a limit of requests, a server's failure, a network that was away.
func Passes(err error) bool { return fault.Is(err, fault.Unavailable) }

// Limited says whether a service answered that there are too many requests, and so did nothing.
func Limited(err error) bool {
	var refused *refusedError
	return errors.As(err, &refused) && refused.status == http.StatusTooManyRequests
}

// refusedError is the cause of an error that a service answered.
type refusedError struct{ status int }

func (e *refusedError) Error() string { return "status " + strconv.Itoa(e.status) }

// Do makes a request, and again where it may be. It waits as long as the service asks for, or else longer each time, with
// some chance in it, so that many clients do not come back at once; where the service asks for very long, it gives up. An
// error is Refused's; or of kind Unavailable where nobody answers, Internal where the answer is not understood, Canceled.
func (c *Client) Do(ctx context.Context, r Request) error {
	again := r.Again
	if again == nil {
		again = Passes
	}
	gap := firstGap
	for attempt := 1; ; attempt++ {
		err := c.once(ctx, r)
		if err == nil || attempt >= c.cfg.Attempts || !again(err) {
			return err
		}
		d := gap/2 + rand.N(gap)
		gap = min(gap*2, maxGap)
		if asked := fault.RetryAfter(err); asked > maxGap {
			return err
		} else if asked > 0 {
			d = asked
		}
		if c.cfg.Wait(ctx, d) != nil {
			return interrupted(ctx)
		}
	}
}

func (c *Client) once(ctx context.Context, r Request) error {
	body, err := Body(r.Body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, c.cfg.Base+r.Path, body)
	if err != nil {
		return err
	}
	maps.Copy(request.Header, c.cfg.Header)
	request.Header.Set("Authorization", "Bearer "+string(c.cfg.Token.Reveal()))
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.cfg.HTTPClient.Do(request)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(response.Body, c.cfg.MaxBody))
	if err != nil {
		return c.unreachable(ctx, err)
	}
	if response.StatusCode >= 300 {
		after := RetryAfter(response.Header)
		e := c.cfg.Refused(Refusal{response.StatusCode, response.Header, raw, after})
		e.Err, e.RetryAfter = &refusedError{response.StatusCode}, after
		return e
	}
	if r.Into != nil && json.Unmarshal(raw, r.Into) != nil {
		return fault.New(fault.Internal, c.cfg.NotJSON) // the cause would quote the answer
	}
	return nil
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return interrupted(ctx)
	}
	return fault.Wrap(fault.Unavailable, err, c.cfg.Name+" cannot be reached: "+Cause(err).Error(),
		"check the network, and HTTPS_PROXY if a proxy is needed")
}

func interrupted(ctx context.Context) error {
	return fault.Wrap(fault.Canceled, ctx.Err(), "interrupted")
}

// RetryAfter reads the header of that name, a number of seconds or a date (RFC 9110, section 10.2.3); 0 when it is not there
// or odd.
func RetryAfter(h http.Header) time.Duration {
	header := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(header); err == nil {
		return time.Duration(max(0, min(seconds, 1e9))) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// Body is a request's body in JSON; nil for nil.
func Body(v any) (io.Reader, error) {
	if v == nil {
		return nil, nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return bytes.NewReader(raw), nil
}

// Cause is what failed in an exchange, without method and URL: the URL may hold what is nobody's business.
func Cause(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
