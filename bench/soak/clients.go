package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// conn is a kept connection to the agent.
type conn struct {
	net.Conn
	reader *bufio.Reader
}

func dial(socket string) (*conn, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	return &conn{c, bufio.NewReader(c)}, nil
}

func (c *conn) exchange(method, path, body string) (int, []byte, error) {
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: airlock\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
	if err != nil {
		return 0, nil, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	return response.StatusCode, raw, err
}

// get looks a variable up.
func (c *conn) get(id string) (status int, value string, err error) {
	status, raw, err := c.exchange(http.MethodGet, "/v1/variables/"+id, "")
	if err != nil || status != http.StatusOK {
		return status, "", err
	}
	var answer struct{ Value string }
	err = json.Unmarshal(raw, &answer)
	return status, answer.Value, err
}

// load asks from many sides until ctx ends.
func (s *soak) load(ctx context.Context, phase phase) {
	var clients sync.WaitGroup
	for range goClients {
		clients.Go(func() { s.client(ctx, phase) })
	}
	if s.python != "" {
		for range pyClients {
			clients.Go(func() { s.pythonClient(ctx, phase) })
		}
	}
	clients.Wait()
}

// client is a task: it asks for what is there, now and then for what is not, for several things at once, or for how the
// agent does; sometimes it ends, in the middle of a request even, and another one connects.
func (s *soak) client(ctx context.Context, phase phase) {
	var c *conn
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for ctx.Err() == nil {
		if c == nil {
			dialed, err := dial(s.socket)
			if err != nil {
				s.note(phase, "cannot connect", err.Error())
				return
			}
			c = dialed
		}
		i := rand.N(secrets)
		switch n := rand.N(200); {
		case n == 0:
			_, _ = io.WriteString(c, "GET /v1/variables/"+variable(i)+" HTTP/1.1\r\nHost:")
			c.Close()
			c = nil
			continue
		case n < 10 && phase.fault == "": // with a fault, all tries of the SDK would have to be waited for
			status, _, err := c.get(fmt.Sprintf("missing_%d", rand.N(missing)))
			if err != nil || status == http.StatusOK {
				s.note(phase, "wrong answer for what is missing", fmt.Sprint(status, " ", err))
			} else {
				s.note(phase, "missing", "")
			}
		case n < 14:
			status, raw, err := c.exchange(http.MethodPost, "/v1/lookup", fmt.Sprintf(
				`{"lookups":[{"kind":"variable","id":%q},{"kind":"variable","id":%q}]}`, variable(i), variable((i+1)%secrets)))
			if err != nil || status != http.StatusOK || bytes.Contains(raw, []byte(`"error"`)) {
				s.note(phase, "failed batch", fmt.Sprint(status, " ", err, " ", string(raw)))
			} else {
				s.note(phase, "batch", "")
			}
		case n == 15:
			for _, path := range []string{"/v1/status", "/metrics", "/v1/health"} {
				if status, _, err := c.exchange(http.MethodGet, path, ""); err != nil || status != http.StatusOK {
					s.note(phase, "failed "+path, fmt.Sprint(status, " ", err))
				}
			}
		default:
			status, got, err := c.get(variable(i))
			if err != nil || status != http.StatusOK || !strings.Contains(got, fmt.Sprintf(" of %d ", i)) {
				s.note(phase, "failed", fmt.Sprint(variable(i), ": ", status, " ", err))
			} else {
				s.note(phase, "found", "")
			}
		}
		time.Sleep(rand.N(4 * time.Millisecond)) // a task has other things to do
	}
}

// pythonClient asks through the package's own client.
func (s *soak) pythonClient(ctx context.Context, phase phase) {
	end, _ := ctx.Deadline()
	process := exec.Command(s.python, "bench/soak/lookups.py", s.socket, fmt.Sprint(secrets), fmt.Sprint(time.Until(end).Seconds()))
	var said, complaints bytes.Buffer
	process.Stdout, process.Stderr = &said, &complaints
	_ = process.Run() // what it says counts
	var told struct {
		Found int `json:"found"`
	}
	if err := json.Unmarshal(said.Bytes(), &told); err != nil {
		s.note(phase, "failed in Python", complaints.String())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked["found, by Python"] += told.Found
}

// note counts what came of a lookup; with a reason it is one that must not be.
func (s *soak) note(phase phase, what, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[what]++
	if reason != "" && len(s.wrong) < 20 {
		s.wrong = append(s.wrong, phase.name+": "+what+": "+reason)
	} else if reason != "" {
		s.wrong[len(s.wrong)-1] = "and more"
	}
}
