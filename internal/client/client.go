// Package client asks an agent, over its socket or on loopback.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/rest"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Dial connects to the agent.
type Dial func(ctx context.Context) (net.Conn, error)

// Client asks one agent. Make one with New. It is safe for concurrent use.
type Client struct {
	http  *http.Client
	host  string       // what it calls the agent
	token secret.Value // what it shows it; empty on a socket
}

// New makes a client that reaches its agent through dial.
func New(dial Dial) *Client {
	return &Client{host: "airlock", http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}}
}

// NewTCP makes a client of the agent at an address on loopback, with the token that it wants to be shown. Where the address
// leads elsewhere, nothing is sent.
func NewTCP(address string, token secret.Value) *Client {
	c := New(func(ctx context.Context) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, fault.Wrap(fault.Unavailable, err, "no agent answers at "+address, "its configuration names the address: listen.tcp")
		}
		if err := onLoopback(conn.RemoteAddr()); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return conn, nil
	})
	c.host, c.token = address, token
	return c
}

// onLoopback refuses the other end of a connection that does not stay on this machine: what is said there is not encrypted.
func onLoopback(other net.Addr) error {
	if addr, ok := other.(*net.TCPAddr); ok && addr.IP.IsLoopback() {
		return nil
	}
	return fault.New(fault.Usage, other.String()+" is not on this machine's loopback, and anybody on the way could read secrets",
		"an agent answers on its own machine only; run one there")
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
	if len(l.ID) > agentapi.MaxIDBytes || len(l.Team) > agentapi.MaxIDBytes { // an agent's server does not even read much more
		return Answer{}, fault.New(fault.Usage, fmt.Sprintf("longer than %d bytes", agentapi.MaxIDBytes))
	}
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
	reader, err := rest.Body(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+c.host+path, reader)
	if err != nil {
		return err
	}
	if c.token.Len() > 0 {
		request.Header.Set("Authorization", "Bearer "+string(c.token.Reveal()))
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
	return fault.Wrap(fault.Unavailable, rest.Cause(err), "the agent hung up") // without the URL, which holds the id
}
