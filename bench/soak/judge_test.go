package main

import (
	"strings"
	"testing"
)

// measured is a run of four minutes of an agent that leaks nothing.
var measured = []report{
	{resident: 26.9, live: 2.718, goroutines: 15, descriptors: 15},
	{resident: 29.0, live: 3.063, goroutines: 17, descriptors: 17},
	{resident: 30.0, live: 3.429, goroutines: 17, descriptors: 17},
	{resident: 29.6, live: 3.273, goroutines: 17, descriptors: 17},
	{resident: 29.6, live: 3.461, goroutines: 16, descriptors: 16},
	{resident: 30.9, live: 3.498, goroutines: 17, descriptors: 17},
	{resident: 29.6, live: 3.401, goroutines: 16, descriptors: 16},
	{resident: 29.3, live: 2.959, goroutines: 16, descriptors: 16},
	{resident: 31.2, live: 3.679, goroutines: 17, descriptors: 17},
	{resident: 29.8, live: 3.295, goroutines: 16, descriptors: 16},
}

// TestGrown: what leaks a little in every cycle is seen in a run of minutes, and what comes and goes is not taken for it.
func TestGrown(t *testing.T) {
	const cycles = 10
	for _, row := range []struct {
		name string
		leak func(r *report, cycle int)
		want string
	}{
		{"nothing", func(*report, int) {}, ""},
		{"a peak", func(r *report, cycle int) {
			if cycle == cycles-1 {
				r.live, r.resident, r.goroutines = r.live+5, r.resident+5, r.goroutines+50
			}
		}, ""},
		{"200 KB", func(r *report, cycle int) { r.live += 0.2 * float64(cycle) }, "MiB of live heap"},
		{"a goroutine", func(r *report, cycle int) { r.goroutines += cycle }, "goroutines"},
		{"a descriptor", func(r *report, cycle int) { r.descriptors += cycle }, "descriptors"},
		{"a MiB of other memory", func(r *report, cycle int) { r.resident += float64(cycle) }, "MiB resident"},
	} {
		reports := append([]report(nil), measured...)
		for i := range reports {
			row.leak(&reports[i], i)
		}
		err := grown(reports)
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	if err := grown(measured[:3]); err != nil {
		t.Errorf("a short run: %v", err)
	}
}
