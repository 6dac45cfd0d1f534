// Package audit writes down who looked up what: one JSON object a line, appended and never changed. There is no place in
// a line for a value.
package audit

import (
	"encoding/json"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// Line is one lookup.
type Line struct {
	Time time.Time `json:"time"`

	Via   string `json:"via"` // Unix or TCP
	*Peer        // who asked; nil for callers by TCP, of whom only the token is known

	Kind string `json:"kind"`
	ID   string `json:"id"`
	Team string `json:"team,omitempty"`

	Secret string `json:"secret,omitempty"` // the last that was asked for
	Vault  string `json:"vault,omitempty"`

	Outcome string  `json:"outcome"`          // found, or the kind of the error
	Source  string  `json:"source,omitempty"` // vault, cache or stale; of an answer that there is none, too
	Age     float64 `json:"age"`              // seconds since the vault said so

	// What the caller says of itself; nobody vouches for it.
	DAG  string `json:"dag,omitempty"`
	Task string `json:"task,omitempty"`
}

// The ways by which a question comes.
const (
	Unix = "unix"
	TCP  = "tcp"
)

// Peer is a process, by the kernel's word.
type Peer struct {
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
	PID int32  `json:"pid"`           // 0 where the kernel does not tell
	Exe string `json:"exe,omitempty"` // the program, where it could be seen
}

// Log is where lines go. Make one with Open or New. It is safe for concurrent use.
type Log struct {
	mu    sync.Mutex
	to    io.Writer
	torn  bool // the last line was cut short, and the next begins on a new one
	close func() error
}

// Open appends to a file, which it makes if it is missing, for its owner alone. The error is of kind Usage.
func Open(path string) (*Log, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	return &Log{to: f, close: f.Close}, nil
}

func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "cannot open the audit file: "+err.Error())
	}
	return f, nil
}

// Move goes on in the file that the path leads to now, as after a rotation. When it cannot be opened nothing changes; the
// error is Open's.
func (l *Log) Move(path string) error {
	f, err := open(path)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.close()
	l.to, l.close, l.torn = f, f.Close, false
	return nil
}

// New writes to w, one call a line.
func New(w io.Writer) *Log { return &Log{to: w, close: func() error { return nil }} }

// Write appends one line. It returns when the kernel has taken it, and with an error of kind Unavailable when it has not:
// then what the line is about must not happen.
func (l *Log) Write(line Line) error {
	raw, err := json.Marshal(line)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "the audit line cannot be encoded")
	}
	raw = append(raw, '\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.torn {
		raw = append([]byte{'\n'}, raw...)
	}
	n, err := l.to.Write(raw)
	if n > 0 {
		l.torn = n < len(raw)
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the audit line cannot be written, and nothing is answered without one",
			"look at the disk that the agent's audit file is on")
	}
	return nil
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.close()
}
