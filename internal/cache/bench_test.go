package cache

import (
	"testing"
	"time"
)

// BenchmarkHit is a fresh answer: what nearly every lookup is.
func BenchmarkHit(b *testing.B) {
	s := &source{value: "v"}
	c := New(s.fetch, Options{TTL: time.Hour})
	if _, err := c.Get(b.Context(), "k"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if r, err := c.Get(b.Context(), "k"); err != nil || r.State != Fresh {
				b.Error(r.State, err)
			}
		}
	})
}
