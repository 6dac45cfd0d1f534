package control

import (
	"sync"
	"time"
)

// Request is one request that the cloud answered. It holds no query, header or body, which may be secret.
type Request struct {
	Time    time.Time `json:"time"`    // when it came, by the cloud's clock
	Service string    `json:"service"` // keyvault, entra, identity, astro, github, or proxy for what it tunnelled or refused
	Method  string    `json:"method"`
	Host    string    `json:"host"`   // lower-case, without a port
	Path    string    `json:"path"`   // "" for a tunnel
	Status  int       `json:"status"` // 0: closed without a whole answer
}

// Kept is how many requests a Log remembers.
const Kept = 4096

// Log remembers the last requests. The zero value is ready, and its methods are safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	kept []Request
	next int // where the next one goes once all places are taken
}

// Add remembers a request, and forgets the oldest if there is no place.
func (l *Log) Add(r Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) < Kept {
		l.kept = append(l.kept, r)
		return
	}
	l.kept[l.next] = r
	l.next = (l.next + 1) % Kept
}

// All lists what is remembered, oldest first.
func (l *Log) All() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(append([]Request{}, l.kept[l.next:]...), l.kept[:l.next]...)
}

// Clear forgets everything.
func (l *Log) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept, l.next = nil, 0
}
