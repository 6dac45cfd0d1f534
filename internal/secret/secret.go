// Package secret holds the one type that carries a secret through Airlock.
package secret

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"unsafe"
)

// redacted is what every way of printing a Value shows.
const redacted = "[secret]"

// Value is the content of one secret. It hides its bytes behind a func, because fmt and slog print the unexported
// fields of a struct without asking its methods; a func prints as an address. The zero Value holds nothing and
// reveals an empty slice. A Value is immutable and safe to share between goroutines.
type Value struct{ reveal func() []byte }

// New copies b into a Value. The copy is overwritten once nobody can reach it any more, neither through a Value nor through
// what Reveal gave, when the garbage collector comes by: within two of its rounds, and it comes every two minutes at the
// latest. Copies that a reader made, such as a string, are the reader's own.
func New(b []byte) Value {
	kept := make([]byte, len(b), max(len(b), ownBlock))
	n := copy(kept, b)
	runtime.SetFinalizer(unsafe.SliceData(kept), func(first *byte) { clear(unsafe.Slice(first, n)) })
	return Value{reveal: func() []byte { return kept }}
}

// ownBlock is the size from which on Go gives an allocation a block of its own. Smaller ones may share one, and may never
// be finalized (runtime.SetFinalizer).
const ownBlock = 16

// FromString makes a Value of s.
func FromString(s string) Value { return New([]byte(s)) }

// Reveal returns the bytes: the one door, so that a review can find every use. The caller must not change them.
func (v Value) Reveal() []byte {
	if v.reveal == nil {
		return nil
	}
	return v.reveal()
}

// IsZero tells whether v is the zero Value, which was never given a content. An empty content is another thing.
func (v Value) IsZero() bool { return v.reveal == nil }

// Len is the length in bytes.
func (v Value) Len() int { return len(v.Reveal()) }

// String hides the content.
func (Value) String() string { return redacted }

// GoString hides the content from %#v.
func (Value) GoString() string { return redacted }

// Format hides the content from every verb, %x and %d too.
func (Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the content from slog.
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON refuses: a secret leaves the process only through code that reveals it on purpose.
func (Value) MarshalJSON() ([]byte, error) {
	return nil, errors.New("refusing to encode a secret value")
}

// MarshalText refuses for the same reason.
func (Value) MarshalText() ([]byte, error) {
	return nil, errors.New("refusing to encode a secret value")
}
