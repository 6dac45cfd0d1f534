// Package client asks an agent over its socket.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Dial connects to the agent.
type Dial func(ctx context.Context) (net.Conn, error)

// Client asks one agent. Make one with New. It is safe for concurrent use.
type Client struct{ http *http.Client }

// New makes a client that reaches its agent through dial.
func New(dial Dial) *Client {
	return &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}}
}

// Close lets go of the kept connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Answer is what a lookup found.
type Answer struct {
	Value  secret.Value
	Source agentapi.Source
	Age    float64 // seconds
}

// Get looks one id up. The error has the agent's own kind, message and hints.
func (c *Client) Get(ctx context.Context, l agentapi.Lookup) (Answer, error) {
	var found agentapi.Answer
	if err := c.do(ctx, http.MethodGet, agentapi.LookupPath(l.Kind, l.ID, l.Team), nil, &found); err != nil {
		return Answer{}, err
	}
	return Answer{Value: secret.FromString(found.Value), Source: found.Source, Age: found.Age}, nil
}

// Refresh makes the agent forget what it holds of some ids, or of all when none is given, so that the next lookup asks the
// vault.
func (c *Client) Refresh(ctx context.Context, lookups ...agentapi.Lookup) error {
	request := agentapi.RefreshRequest{Lookups: lookups}
	return c.do(ctx, http.MethodPost, agentapi.PathRefresh, request, &agentapi.RefreshAnswer{})
}

// Status asks the agent about itself.
func (c *Client) Status(ctx context.Context) (agentapi.Status, error) {
	var status agentapi.Status
	err := c.do(ctx, http.MethodGet, agentapi.PathStatus, nil, &status)
	return status, err
}

// Health returns nil when the agent answers.
func (c *Client) Health(ctx context.Context) error {
	return c.do(ctx, http.MethodGet, agentapi.PathHealth, nil, &struct{}{})
}

func (c *Client) do(ctx context.Context, method, path string, body, into any) error {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://airlock"+path, reader)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return failed(ctx, err)
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	if response.StatusCode >= 400 {
		var refused agentapi.Error
		if err := decoder.Decode(&refused); err != nil || refused.Error.Message == "" {
			return fault.New(fault.Internal, fmt.Sprintf("the agent answered with status %d and no reason", response.StatusCode))
		}
		return refused.Error.Fault()
	}
	if err := decoder.Decode(into); err != nil {
		return fault.New(fault.Internal, "the agent's answer is not what this version understands",
			"are airlock and its agent of the same version? see: airlock version")
	}
	return nil
}

// failed sorts an exchange that did not come about. The dialer's own fault is kept.
func failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fault.Wrap(fault.Canceled, ctx.Err(), "interrupted while asking the agent")
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return known
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // without the URL, which holds the id
	}
	return fault.Wrap(fault.Unavailable, err, "the agent hung up")
}
