package agent

import (
	"slices"
	"testing"
)

// TestThrift: the collector comes by less often while many ask, and as before when they do no more; memory is given back
// once after each spell of work, and not during it.
func TestThrift(t *testing.T) {
	percent, given := 70, 0
	var percents []int
	d := thrift{Memory: Memory{
		SetGCPercent: func(p int) int {
			before := percent
			percent = p
			percents = append(percents, p)
			return before
		},
		GiveBack: func() { given++ },
	}}
	var requests, vault int64
	look := func(looks int, news, asked int64) {
		for range looks {
			requests, vault = requests+news, vault+asked
			d.look(requests, vault)
		}
	}
	for _, step := range []struct {
		what        string
		looks       int
		news, asked int64
		given       int
	}{
		{"it has just begun", restLooks - 1, 0, 0, 0},
		{"after the start", 1, fewRequests, 0, 1},
		{"only its health is asked for", 2 * restLooks, fewRequests, 0, 1},
		{"lookups", 2 * restLooks, fewRequests + 1, 0, 1},
		{"many lookups", 2 * restLooks, busyRequests, 0, 1},
		{"a vault's list", 2 * restLooks, 0, 1, 1},
		{"hardly any rest", restLooks - 1, 0, 0, 1},
		{"a vault's list again", 1, 0, 1, 1},
		{"rest", 3 * restLooks, 0, 0, 2},
	} {
		if look(step.looks, step.news, step.asked); given != step.given {
			t.Errorf("%s: given back %d times, not %d", step.what, given, step.given)
		}
	}
	if want := []int{busyPercent, 70}; !slices.Equal(percents, want) {
		t.Errorf("percentages %v, not %v", percents, want)
	}
	(&thrift{}).look(busyRequests, 0) // leaves all to Go
}
