// Package rest is what the local cloud's services have in common as HTTP APIs: answers in JSON, and a table of routes from
// which both the service and its page of documentation are made. What an answer says is each service's own.
package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// Format is how a service writes its JSON. The zero value is the most frequent one: <, > and & escaped, nothing after
// the value.
type Format struct {
	ContentType string // "" is application/json; charset=utf-8
	PlainHTML   bool   // <, > and & stand as they are
	Newline     bool   // a line break follows the value
}

// Write answers with a status and a body.
func (f Format) Write(w http.ResponseWriter, status int, body any) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(!f.PlainHTML)
	if err := encoder.Encode(body); err != nil {
		http.Error(w, "the local cloud could not encode its answer", http.StatusInternalServerError)
		return
	}
	raw := buffer.Bytes() // which end with a line break
	if !f.Newline {
		raw = raw[:len(raw)-1]
	}
	if f.ContentType == "" {
		f.ContentType = "application/json; charset=utf-8"
	}
	w.Header().Set("Content-Type", f.ContentType)
	w.WriteHeader(status)
	_, _ = w.Write(raw)
}

// Table is what a service serves: Run answers one kind of request. The zero value is empty.
type Table[Run any] struct{ rows []row[Run] }

type row[Run any] struct {
	pattern, about string
	run            Run
}

// Add adds a route: a pattern of http.ServeMux with a method, and what it does, for the documentation.
func (t *Table[Run]) Add(pattern, about string, run Run) {
	t.rows = append(t.rows, row[Run]{pattern, about, run})
}

// Endpoint is one row of what the local cloud serves, for the documentation.
type Endpoint struct{ Method, Path, About string }

// Endpoints lists what the table serves, in its order.
func (t *Table[Run]) Endpoints() []Endpoint {
	var all []Endpoint
	for _, row := range t.rows {
		method, path, _ := strings.Cut(row.pattern, " ")
		all = append(all, Endpoint{method, path, row.about})
	}
	return all
}

// Mux serves the table: serve gets each request with the Run of its route, or with otherwise where no route fits.
func (t *Table[Run]) Mux(otherwise Run, serve func(http.ResponseWriter, *http.Request, Run)) *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, run Run) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { serve(w, r, run) })
	}
	for _, row := range t.rows {
		handle(row.pattern, row.run)
	}
	handle("/", otherwise)
	return mux
}
