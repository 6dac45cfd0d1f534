package cache

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// TestBounds: what was asked for least recently goes, by number and by bytes.
func TestBounds(t *testing.T) {
	for _, row := range []struct {
		name    string
		options Options
		get     string // one key after another; a capital letter is a value of 100 bytes, a dash one that fails
		want    string // what is then held
	}{
		{"entries", Options{MaxEntries: 3}, "abcad", "acd"},
		{"a hit counts as use", Options{MaxEntries: 3}, "abcabe", "abe"},
		{"a failure goes first", Options{MaxEntries: 3}, "ab-c", "abc"},
		{"bytes", Options{MaxBytes: 10 * 2}, "abcdefghijkl", "cdefghijkl"},
		{"a large value drives out many", Options{MaxBytes: 110}, "abcdefA", "cdefA"},
		{"larger than all", Options{MaxBytes: 50}, "abA", ""},
		{"no bound", Options{}, "abcdA", "abcdA"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				row.options.TTL, row.options.Backoff = time.Hour, time.Hour
				c := New(func(_ context.Context, key string) (Answer, error) {
					switch {
					case key == "-":
						return Answer{}, fault.New(fault.Unavailable, "away")
					case strings.ToUpper(key) == key:
						return Answer{Value: secret.FromString(strings.Repeat(key, 100))}, nil
					}
					return Answer{Value: secret.FromString(key)}, nil
				}, row.options)
				for _, key := range row.get {
					if got, err := c.Get(t.Context(), string(key)); (err != nil) != (key == '-') || err == nil && got.Value.Len() == 0 {
						t.Errorf("%c: %v", key, err)
					}
					time.Sleep(time.Second)
				}
				held := map[string]bool{}
				for key, s := range c.slots {
					held[key] = s.held != nil
				}
				for _, key := range row.want {
					if !held[string(key)] {
						t.Errorf("%c is not held", key)
					}
				}
				if s := c.Stats(); s.Entries != len(row.want) || s.Flights != 0 ||
					row.options.MaxBytes > 0 && s.Bytes > row.options.MaxBytes {
					t.Errorf("held %v, %+v; want %s", held, s, row.want)
				}
			})
		})
	}
}

func TestStatsCountFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := New(func(context.Context, string) (Answer, error) { <-release; return Answer{}, nil }, Options{TTL: time.Hour})
		for i := range 3 {
			go func() { _, _ = c.Get(context.Background(), fmt.Sprint(i)) }()
		}
		synctest.Wait()
		if s := c.Stats(); s.Flights != 3 || s.Entries != 0 {
			t.Errorf("%+v", s)
		}
		close(release)
		synctest.Wait()
		if s := c.Stats(); s.Flights != 0 || s.Entries != 3 {
			t.Errorf("%+v", s)
		}
	})
}
