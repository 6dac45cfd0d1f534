// Package faults makes the local cloud fail as the real one does: slowly, with errors, with half an answer, with none,
// or by the limits of Key Vault. What chance decides, a seed decides, so that a run can be repeated.
package faults

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is what goes wrong with some requests. Written down it is a line of KEY=VALUE, for example
//
//	service=keyvault status=429 retry-after=2s rate=0.05
//
// The fields that choose requests come first; with none of them, all requests of all services are chosen.
type Fault struct {
	Service string // one of Services; "": all
	Host    string // such as airlock-dev.vault.azure.net; "": all
	Method  string // of HTTP; "": all
	Path    string // what the path begins with; "": all
	Rate    float64
	Times   int // it ends after so many requests; 0: never

	Latency    time.Duration // wait before the answer
	Jitter     time.Duration // wait at most so much longer, evenly spread
	Status     int           // answer with this error, 400 to 599, in the shape of the service; 0: with what the service says
	RetryAfter time.Duration // the header Retry-After of an error, in whole seconds; 0: none
	Drop       bool          // close the connection without an answer
	Truncate   bool          // close the connection in the middle of the answer
}

// Services are the names that Fault.Service takes.
var Services = []string{"keyvault", "entra", "identity", "astro", "github"}

// ErrSyntax is the error of a line that does not describe a fault.
var ErrSyntax = errors.New("not a fault")

// field is a key of the written form. Fields are written in the order of this table.
type field struct {
	key, want string
	get       func(*Fault) string
	set       func(*Fault, string) bool
}

var fields = []field{
	textField("service", "one of "+strings.Join(Services, ", "), func(f *Fault) *string { return &f.Service },
		func(v string) bool { return slices.Contains(Services, v) }),
	textField("host", "a host name", func(f *Fault) *string { return &f.Host },
		func(v string) bool { return v == strings.ToLower(v) }),
	textField("method", "a method such as GET", func(f *Fault) *string { return &f.Method },
		func(v string) bool { return v == strings.ToUpper(v) }),
	textField("path", "the beginning of a path, with its slash", func(f *Fault) *string { return &f.Path },
		func(v string) bool { return strings.HasPrefix(v, "/") }),
	{
		"rate", "a share above 0, up to 1",
		func(f *Fault) string {
			if f.Rate == 0 {
				return ""
			}
			return strconv.FormatFloat(f.Rate, 'g', -1, 64)
		},
		func(f *Fault, v string) (ok bool) {
			rate, err := strconv.ParseFloat(v, 64)
			f.Rate = rate
			return err == nil && rate > 0 && rate <= 1
		},
	},
	numberField("times", "a number above 0", func(f *Fault) *int { return &f.Times }, func(n int) bool { return n > 0 }),
	durationField("latency", func(f *Fault) *time.Duration { return &f.Latency }),
	durationField("jitter", func(f *Fault) *time.Duration { return &f.Jitter }),
	numberField("status", "a status from 400 to 599", func(f *Fault) *int { return &f.Status },
		func(n int) bool { return n >= 400 && n <= 599 }),
	durationField("retry-after", func(f *Fault) *time.Duration { return &f.RetryAfter }),
	flagField("drop", func(f *Fault) *bool { return &f.Drop }),
	flagField("truncate", func(f *Fault) *bool { return &f.Truncate }),
}

func textField(key, want string, of func(*Fault) *string, valid func(string) bool) field {
	return field{key, want, func(f *Fault) string { return *of(f) }, func(f *Fault, v string) bool {
		*of(f) = v
		return v != "" && valid(v)
	}}
}

func numberField(key, want string, of func(*Fault) *int, valid func(int) bool) field {
	return field{key, want,
		func(f *Fault) string {
			if *of(f) == 0 {
				return ""
			}
			return strconv.Itoa(*of(f))
		},
		func(f *Fault, v string) bool {
			n, err := strconv.Atoi(v)
			*of(f) = n
			return err == nil && valid(n)
		},
	}
}

// maxWait bounds waiting: longer than any client's patience, shorter than the proxy's.
const maxWait = 4 * time.Minute

func durationField(key string, of func(*Fault) *time.Duration) field {
	return field{key, "a time such as 250ms or 2s, up to " + maxWait.String(),
		func(f *Fault) string {
			if *of(f) == 0 {
				return ""
			}
			return of(f).String()
		},
		func(f *Fault, v string) bool {
			d, err := time.ParseDuration(v)
			*of(f) = d
			return err == nil && d > 0 && d <= maxWait
		},
	}
}

func flagField(key string, of func(*Fault) *bool) field {
	return field{key, "true",
		func(f *Fault) string {
			if *of(f) {
				return "true"
			}
			return ""
		},
		func(f *Fault, v string) bool {
			*of(f) = v == "true"
			return v == "true"
		},
	}
}

// Parse reads the written form of a fault. Its errors are [ErrSyntax] and say what the key takes.
func Parse(line string) (Fault, error) {
	var f Fault
	seen := map[string]bool{}
	for word := range strings.FieldsSeq(line) {
		key, value, _ := strings.Cut(word, "=")
		at := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
		switch {
		case at < 0:
			return Fault{}, fmt.Errorf("%w: no key is called %q; there are %s", ErrSyntax, key, keys())
		case seen[key]:
			return Fault{}, fmt.Errorf("%w: %s is given twice", ErrSyntax, key)
		case !fields[at].set(&f, value):
			return Fault{}, fmt.Errorf("%w: %s=%q: want %s", ErrSyntax, key, value, fields[at].want)
		}
		seen[key] = true
	}
	return f, f.Check()
}

func keys() string {
	var all []string
	for _, f := range fields {
		all = append(all, f.key)
	}
	return strings.Join(all, ", ")
}

// Check finds what makes no sense.
func (f Fault) Check() error {
	for _, field := range fields {
		if value := field.get(&f); value != "" && (strings.ContainsAny(value, " \t\r\n") || !field.set(new(Fault), value)) {
			return fmt.Errorf("%w: %s=%q: want %s", ErrSyntax, field.key, value, field.want)
		}
	}
	switch {
	case f.Latency == 0 && f.Jitter == 0 && !f.ends():
		return fmt.Errorf("%w: nothing happens; give latency, jitter, status, drop or truncate", ErrSyntax)
	case f.Drop && (f.Truncate || f.Status != 0) || f.Truncate && f.Status != 0:
		return fmt.Errorf("%w: only one of status, drop and truncate can be", ErrSyntax)
	case f.RetryAfter != 0 && f.Status == 0:
		return fmt.Errorf("%w: retry-after needs a status", ErrSyntax)
	case f.RetryAfter%time.Second != 0:
		return fmt.Errorf("%w: retry-after=%s: want whole seconds", ErrSyntax, f.RetryAfter)
	}
	return nil
}

// String is the written form.
func (f Fault) String() string {
	var words []string
	for _, field := range fields {
		if value := field.get(&f); value != "" {
			words = append(words, field.key+"="+value)
		}
	}
	return strings.Join(words, " ")
}

// MarshalText gives the written form.
func (f Fault) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads the written form.
func (f *Fault) UnmarshalText(text []byte) (err error) {
	*f, err = Parse(string(text))
	return err
}

// ends says whether the fault takes the place of the service's answer, and does not only delay it.
func (f Fault) ends() bool { return f.Status != 0 || f.Drop || f.Truncate }

// chooses says whether a request is one that the fault may hit.
func (f Fault) chooses(service, host string, r *http.Request) bool {
	return (f.Service == "" || f.Service == service) && (f.Host == "" || f.Host == host) &&
		(f.Method == "" || f.Method == r.Method) && strings.HasPrefix(r.URL.Path, f.Path)
}
