// Package control is how a local cloud is watched and disturbed while it runs: the requests that it saw, its clock, and
// what goes wrong in it. It has a listener of its own, because the emulated services must not have routes that the real
// ones have not.
package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/airlock-secrets/airlock/localcloud/faults"
	"github.com/airlock-secrets/airlock/localcloud/internal/rest"
	"github.com/airlock-secrets/airlock/localcloud/keyvault"
)

// Faults is what goes wrong in a cloud. The zero value is nothing.
type Faults struct {
	Seed          uint64              // decides what chance decides; 0 takes one at random, which the cloud then tells
	Rules         []faults.Fault      // what goes wrong with single requests
	Throttle      faults.Throttle     // limits of each vault; the zero value has none
	Visibility    keyvault.Visibility // how long changes take to be seen
	TokenLifetime time.Duration       // of the tokens that are issued from now on; 0: as long as the real ones
}

// Cloud is what the server controls.
type Cloud interface {
	Faults() Faults
	SetFaults(Faults) error
}

// Config is what the server needs.
type Config struct {
	Cloud    Cloud
	Clock    *Clock
	Requests *Log
	// Provision adds what a file of localcloud.ReadProvision would describe.
	Provision func(body []byte) error
	// AstroToken gives the token that was provisioned under an id.
	AstroToken func(id string) (string, error)
}

const maxBody = 1 << 20

// Handler serves the control API; its answers are JSON.
//
//	GET, DELETE       /v1/requests   the requests seen, oldest first; forget them
//	GET, PUT, DELETE  /v1/clock      {"now":TIME} or {"advance":"90m"}; go with the real clock again
//	GET, PUT, DELETE  /v1/faults     what goes wrong; nothing
//	POST              /v1/provision  more apps, identities and vaults; YAML or JSON, as in a file
//	GET               /v1/astro/tokens/{id}  {"token":TOKEN}, the value of ASTRO_API_TOKEN for a provisioned token
func Handler(cfg Config) http.Handler {
	s := server(cfg)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/requests", func(w http.ResponseWriter, _ *http.Request) {
		answers.Write(w, http.StatusOK, s.Requests.All())
	})
	mux.HandleFunc("DELETE /v1/requests", func(w http.ResponseWriter, _ *http.Request) {
		s.Requests.Clear()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /v1/clock", s.clock)
	mux.HandleFunc("PUT /v1/clock", s.setClock)
	mux.HandleFunc("DELETE /v1/clock", func(w http.ResponseWriter, r *http.Request) {
		s.Clock.Reset()
		s.clock(w, r)
	})
	mux.HandleFunc("GET /v1/faults", s.faults)
	mux.HandleFunc("PUT /v1/faults", s.setFaults)
	mux.HandleFunc("DELETE /v1/faults", func(w http.ResponseWriter, r *http.Request) {
		if err := s.Cloud.SetFaults(Faults{}); err != nil {
			refuse(w, err)
			return
		}
		s.faults(w, r)
	})
	mux.HandleFunc("POST /v1/provision", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = s.Provision(body)
		}
		if err != nil {
			refuse(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /v1/astro/tokens/{id}", func(w http.ResponseWriter, r *http.Request) {
		token, err := s.AstroToken(r.PathValue("id"))
		if err != nil {
			refuse(w, err)
			return
		}
		answers.Write(w, http.StatusOK, map[string]string{"token": token})
	})
	return local(mux)
}

type server Config

// local refuses what a web page could send: pages know neither the address as a host name of ours, nor how to leave the
// header Origin out of a request that changes something.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		ip := net.ParseIP(host)
		if r.Header.Get("Origin") != "" || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			answers.Write(w, http.StatusForbidden, failure{"the control API is not for web pages"})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

type clockState struct {
	Now   time.Time `json:"now"`
	Moved string    `json:"moved"` // from the real time
}

func (s server) clock(w http.ResponseWriter, _ *http.Request) {
	answers.Write(w, http.StatusOK, clockState{s.Clock.Now(), s.Clock.Moved().String()})
}

func (s server) setClock(w http.ResponseWriter, r *http.Request) {
	var wanted struct {
		Now     *time.Time `json:"now"`
		Advance Duration   `json:"advance"`
	}
	if err := read(r, &wanted); err != nil {
		refuse(w, err)
		return
	}
	switch {
	case (wanted.Now == nil) == (wanted.Advance == 0):
		refuse(w, errors.New(`want either "now" or "advance"`))
		return
	case wanted.Now != nil:
		s.Clock.Set(*wanted.Now)
	default:
		s.Clock.Advance(time.Duration(wanted.Advance))
	}
	s.clock(w, r)
}

// Duration is a time.Duration that JSON has as "90m".
type Duration time.Duration

// MarshalText writes "90m".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads "90m".
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// wire is the JSON of Faults.
type wire struct {
	Seed       uint64         `json:"seed,omitzero"`
	Rules      []faults.Fault `json:"rules"` // in their written form
	Throttle   wireThrottle   `json:"throttle,omitzero"`
	Visibility wireVisibility `json:"visibility,omitzero"`
	Lifetime   Duration       `json:"tokenLifetime,omitzero"`
}

type wireThrottle struct {
	Window       Duration `json:"window"`
	Requests     int      `json:"requests,omitzero"`
	Creates      int      `json:"creates,omitzero"`
	Subscription int      `json:"subscription,omitzero"`
}

type wireVisibility struct {
	Deleted     Duration `json:"deleted,omitzero"`
	Recovered   Duration `json:"recovered,omitzero"`
	Purged      Duration `json:"purged,omitzero"`
	Permissions Duration `json:"permissions,omitzero"`
}

// MarshalJSON writes durations as "5s" and rules in their written form.
func (f Faults) MarshalJSON() ([]byte, error) {
	t, v := f.Throttle, f.Visibility
	return json.Marshal(wire{
		Seed:       f.Seed,
		Rules:      append([]faults.Fault{}, f.Rules...),
		Throttle:   wireThrottle{Duration(t.Window), t.Requests, t.Creates, t.Subscription},
		Visibility: wireVisibility{Duration(v.Deleted), Duration(v.Recovered), Duration(v.Purged), Duration(v.Permissions)},
		Lifetime:   Duration(f.TokenLifetime),
	})
}

// UnmarshalJSON reads what MarshalJSON writes, and refuses fields that it does not know.
func (f *Faults) UnmarshalJSON(raw []byte) error {
	var w wire
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&w); err != nil {
		return err
	}
	t, v := w.Throttle, w.Visibility
	*f = Faults{
		Seed:  w.Seed,
		Rules: w.Rules,
		Throttle: faults.Throttle{
			Window: time.Duration(t.Window), Requests: t.Requests, Creates: t.Creates, Subscription: t.Subscription,
		},
		Visibility: keyvault.Visibility{
			Deleted: time.Duration(v.Deleted), Recovered: time.Duration(v.Recovered), Purged: time.Duration(v.Purged),
			Permissions: time.Duration(v.Permissions),
		},
		TokenLifetime: time.Duration(w.Lifetime),
	}
	return nil
}

func (s server) faults(w http.ResponseWriter, _ *http.Request) {
	answers.Write(w, http.StatusOK, s.Cloud.Faults())
}

func (s server) setFaults(w http.ResponseWriter, r *http.Request) {
	var f Faults
	if err := read(r, &f); err != nil {
		refuse(w, err)
		return
	}
	if err := s.Cloud.SetFaults(f); err != nil {
		refuse(w, err)
		return
	}
	s.faults(w, r)
}

// read reads a body of one JSON value without unknown fields.
func read(r *http.Request, into any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("the body is not what is wanted: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the body holds more than one value")
	}
	return nil
}

// answers is how the API writes JSON: with a line break, for people who call it from a shell.
var answers = rest.Format{Newline: true}

type failure struct {
	Error string `json:"error"`
}

func refuse(w http.ResponseWriter, err error) {
	answers.Write(w, http.StatusBadRequest, failure{err.Error()})
}
