package control

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// What is read, written and read again is the same.
func FuzzFaults(f *testing.F) {
	f.Add([]byte(`{"seed":7,"rules":["service=keyvault rate=0.5 status=429"],"throttle":{"window":"10s","requests":1},"visibility":{"deleted":"2s"},"tokenLifetime":"1m"}`))
	f.Add([]byte(`{"rules":null}`))
	f.Add([]byte(`{"rules":["drop=true","latency=1ms jitter=2ms"]}{}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var first, second Faults
		if json.Unmarshal(raw, &first) != nil {
			return
		}
		written, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("%s was read and cannot be written: %v", raw, err)
		}
		if err := json.Unmarshal(written, &second); err != nil {
			t.Fatalf("%s was read, written as %s, and cannot be read: %v", raw, written, err)
		}
		if diff := cmp.Diff(first, second, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", raw, diff)
		}
	})
}
