// Package fault holds Airlock's errors: a kind that decides exit code and HTTP status, a message that is safe to show,
// hints that say what to do next, and a cause for the log.
package fault

import (
	"errors"
	"strings"
	"time"
)

// Kind says what sort of failure an error is. Exit codes (internal/cli) and HTTP statuses (internal/agentapi) are
// tables over it.
type Kind int

const (
	// Internal is a failure that nobody foresaw. It is the zero value, so a forgotten kind is never mistaken for a
	// harmless one.
	Internal Kind = iota
	// Usage is a command, a configuration or an id that is wrong in itself.
	Usage
	// NotFound is an id that no vault has.
	NotFound
	// Forbidden is a refusal: by the vault, by Entra ID, or by the agent's policy.
	Forbidden
	// Unavailable is a vault, an identity service or an agent that did not answer in time.
	Unavailable
	// Canceled is work that was interrupted.
	Canceled
)

var kindNames = [...]string{"internal", "usage", "not_found", "forbidden", "unavailable", "canceled"}

// String is the kind's name on the wire.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return kindNames[Internal]
	}
	return kindNames[k]
}

// ParseKind is the inverse of String; an unknown name is Internal.
func ParseKind(s string) Kind {
	for i, name := range kindNames {
		if name == s {
			return Kind(i)
		}
	}
	return Internal
}

// Kinds lists every kind, for the tables that must cover them all.
func Kinds() []Kind {
	all := make([]Kind, len(kindNames))
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Error is one failure. Msg and Hints are shown to people and sent over the socket: they say where, never what. Err is
// the cause; it goes to the log and a local terminal only, and holds no secret either.
type Error struct {
	Kind  Kind
	Msg   string   // lower case, no final period
	Hints []string // what to type or change next; may be empty
	Err   error    // may be nil

	RetryAfter time.Duration // how long the other side asks to be left alone; 0: it does not say

	// Case names a failure that the package which made it knows by name, for those who must tell it from others of the
	// same kind; "" is none. The text is that package's.
	Case string
}

// New makes an error with hints.
func New(kind Kind, msg string, hints ...string) *Error {
	return &Error{Kind: kind, Msg: msg, Hints: hints}
}

// Wrap makes an error with a cause.
func Wrap(kind Kind, cause error, msg string, hints ...string) *Error {
	return &Error{Kind: kind, Msg: msg, Hints: hints, Err: cause}
}

// Error is the safe message alone; the cause is reached with errors.Unwrap.
func (e *Error) Error() string { return e.Msg }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf finds the kind of the first Error in err's chain; Internal when there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is tells whether err is of the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// RetryAfter is how long the first Error in err's chain asks to wait; 0 when it does not say.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// CaseOf is the case of the first Error in err's chain; "" when it has none.
func CaseOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Case
	}
	return ""
}

// HintsOf collects the hints of every Error in err's chain and in what it joins, outermost first, each once.
func HintsOf(err error) []string {
	var all []string
	seen := map[string]bool{}
	var walk func(error)
	walk = func(err error) {
		if e, ok := err.(*Error); ok {
			for _, h := range e.Hints {
				if !seen[h] {
					seen[h] = true
					all = append(all, h)
				}
			}
		}
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			if next := u.Unwrap(); next != nil {
				walk(next)
			}
		case interface{ Unwrap() []error }:
			for _, next := range u.Unwrap() {
				walk(next)
			}
		}
	}
	if err != nil {
		walk(err)
	}
	return all
}

// Detail is the whole chain on one line, for a log: message, then each cause that adds something.
func Detail(err error) string {
	var parts []string
	for err != nil {
		msg := err.Error()
		if len(parts) == 0 || !strings.Contains(parts[len(parts)-1], msg) {
			parts = append(parts, msg)
		}
		if _, ok := err.(*Error); !ok {
			break // a foreign error already prints its own chain
		}
		err = errors.Unwrap(err)
	}
	return strings.Join(parts, ": ")
}
