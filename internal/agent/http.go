package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/fault"
)

// ServeHTTP answers one request. It routes by hand: an id may hold dots and slashes, which http.ServeMux would tidy away.
func (d *Daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.used.begin()
	defer d.used.end()
	defer func() {
		if err := caught(d.log, recover(), nil); err != nil {
			fail(w, err)
		}
	}()
	from, err := callerOf(r.Context())
	guard := &d.plan.Load().Guard
	if err == nil && from.tcp {
		err = d.showsToken(w, r, &guard.Remote)
	}
	if err == nil {
		err = guard.Policy.Admit(from.policy())
	}
	if err != nil {
		fail(w, err)
		return
	}
	path := r.URL.EscapedPath()
	if kind, id, ok := agentapi.ParseLookupPath(path); ok {
		if wants(w, r, http.MethodGet) {
			l := agentapi.Lookup{Kind: kind, ID: id}
			if r.URL.RawQuery != "" {
				l.Team = r.URL.Query().Get("team")
			}
			f, err := d.lookup(r.Context(), question{l, from, r.Header})
			if err != nil {
				fail(w, err)
				return
			}
			give(w, f)
		}
		return
	}
	if path != agentapi.PathBatch && path != agentapi.PathHealth {
		if err := guard.Policy.Operate(from.policy()); err != nil {
			fail(w, err)
			return
		}
	}
	switch path {
	case agentapi.PathBatch:
		if wants(w, r, http.MethodPost) {
			answer, err := d.batch(r, from)
			reply(w, answer, err)
		}
	case agentapi.PathRefresh:
		if wants(w, r, http.MethodPost) {
			var request agentapi.RefreshRequest
			dropped, err := 0, decode(r, &request)
			if err == nil {
				dropped, err = d.plan.Load().refresh(request.Lookups)
			}
			reply(w, agentapi.RefreshAnswer{Dropped: dropped}, err)
		}
	case agentapi.PathStatus:
		if wants(w, r, http.MethodGet) {
			reply(w, d.Status(), nil)
		}
	case agentapi.PathHealth:
		if wants(w, r, http.MethodGet) {
			reply(w, struct{}{}, nil)
		}
	case agentapi.PathMetrics:
		if wants(w, r, http.MethodGet) {
			d.config.Metrics.ServeHTTP(w, r)
		}
	default:
		fail(w, fault.New(fault.Usage, "the agent has no such path", "see the agent's API in docs/agent.md"))
	}
}

func wants(w http.ResponseWriter, r *http.Request, method string) bool {
	if r.Method == method {
		return true
	}
	w.Header().Set("Allow", method)
	fail(w, fault.New(fault.Usage, fmt.Sprintf("this path takes %s", method)))
	return false
}

// batch answers several questions, side by side: each may wait for the vault.
func (d *Daemon) batch(r *http.Request, from *caller) (agentapi.BatchAnswer, error) {
	var request agentapi.BatchRequest
	if err := decode(r, &request); err != nil {
		return agentapi.BatchAnswer{}, err
	}
	if len(request.Lookups) > agentapi.MaxBatch {
		return agentapi.BatchAnswer{}, fault.New(fault.Usage, fmt.Sprintf("more than %d lookups in one batch", agentapi.MaxBatch))
	}
	results := make([]agentapi.BatchResult, len(request.Lookups))
	var wait sync.WaitGroup
	for i, l := range request.Lookups {
		wait.Go(func() { results[i] = d.batchResult(r.Context(), question{l, from, r.Header}) })
	}
	wait.Wait()
	return agentapi.BatchAnswer{Results: results}, nil
}

func (d *Daemon) batchResult(ctx context.Context, q question) agentapi.BatchResult {
	f, err := d.lookup(ctx, q)
	if err != nil {
		body := agentapi.BodyOf(err)
		return agentapi.BatchResult{Error: &body}
	}
	return agentapi.BatchResult{Answer: f.answer()}
}

// decode reads a request's body strictly.
func decode(r *http.Request, into any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(nil, r.Body, agentapi.MaxRequestBytes))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, more := decoder.Token(); errors.Is(more, io.EOF) {
			return nil
		}
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return fault.New(fault.Usage, fmt.Sprintf("the request has more than %d bytes", agentapi.MaxRequestBytes))
	}
	return fault.New(fault.Usage, "the request's body is not the JSON that this path takes")
}

func reply(w http.ResponseWriter, answer any, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	write(w, http.StatusOK, answer)
}

func fail(w http.ResponseWriter, err error) {
	write(w, agentapi.StatusOf(fault.KindOf(err)), agentapi.Error{Error: agentapi.BodyOf(err)})
}

func write(w http.ResponseWriter, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil { // nothing that is written here can fail to encode
		status, raw = http.StatusInternalServerError, []byte(`{"error":{"kind":"internal","message":"cannot encode the answer"}}`)
	}
	send(w, status, raw)
}

func send(w http.ResponseWriter, status int, raw []byte) {
	header := w.Header()
	header["Content-Type"] = contentType
	header["Date"] = nil // it costs a formatting for each answer, and nobody reads it
	if len(raw) > counted {
		header.Set("Content-Length", strconv.Itoa(len(raw)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(raw) // a caller that went away is no concern of ours
}

// counted is the size up to which net/http finds out an answer's length by itself, and cheaper.
const counted = 1024

// scratch lends the memory that answers are written in. What comes back holds nothing of a secret any more.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// give sends the one answer that is given all the time.
func give(w http.ResponseWriter, f found) {
	lent := scratch.Get().(*[]byte)
	size := f.value.Len() + answerFrame
	if cap(*lent) < size {
		*lent = make([]byte, 0, size)
	}
	raw := appendAnswer((*lent)[:0], f)
	defer func() {
		clear(raw)
		if cap(*lent) <= keptScratch {
			scratch.Put(lent)
		}
	}()
	send(w, http.StatusOK, raw)
}

const (
	answerFrame = 64       // bytes of an answer beside a plain value, at most
	keptScratch = 32 << 10 // more than that is not kept: a value has 25 KiB at most, and hardly any is longer than 1
)

// appendAnswer is json.Marshal of agentapi.Answer.
func appendAnswer(to []byte, f found) []byte {
	to = append(to, `{"value":`...)
	if value := f.value.Reveal(); plain(value) {
		to = append(append(append(to, '"'), value...), '"')
	} else if quoted, err := json.Marshal(string(value)); err == nil { // a string always encodes
		to = append(slices.Grow(to, len(quoted)+answerFrame), quoted...) // no further growth may leave a copy behind
		clear(quoted)
	}
	to = append(append(to, `,"source":"`...), f.source...)
	to = strconv.AppendFloat(append(to, `","age":`...), f.age.Seconds(), 'f', 3, 64)
	return append(to, '}')
}

// plain tells whether a text is its own JSON between quotes.
func plain(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// contentType is made once; the header of every answer shares it.
var contentType = []string{"application/json"}
