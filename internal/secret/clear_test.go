package secret

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// TestClearedWhenDropped looks at a value's memory after nobody holds it any more, by its address alone.
func TestClearedWhenDropped(t *testing.T) {
	for _, text := range []string{"short", strings.Repeat("long", 5000)} {
		v := FromString(text)
		revealed := v.Reveal()
		v = Value{}
		for range 3 {
			runtime.GC()
		}
		if string(revealed) != text {
			t.Fatal("cleared while somebody holds what was revealed")
		}
		address, n := uintptr(unsafe.Pointer(unsafe.SliceData(revealed))), len(revealed)
		runtime.KeepAlive(revealed)
		revealed = nil
		// The first round finds the value unreachable and has it cleared; only the next one frees the memory. Reading it
		// in between is what a core dump would do.
		cleared := false
		for deadline := time.Now().Add(30 * time.Second); !cleared && time.Now().Before(deadline); {
			runtime.GC()
			runtime.Gosched()
			cleared = !bytes.Contains(peek(address, n), []byte(text))
		}
		if !cleared {
			t.Errorf("%d bytes are still there", n)
		}
	}
}

// peek reads memory that nothing refers to.
//
//go:nocheckptr
func peek(address uintptr, n int) []byte {
	return bytes.Clone(unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&address))), n))
}

func TestEmptyValue(t *testing.T) {
	if v := New(nil); v.Len() != 0 || v.Reveal() == nil {
		t.Errorf("%q", v.Reveal())
	}
	runtime.GC()
}
