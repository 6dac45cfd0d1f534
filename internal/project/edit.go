package project

import (
	"cmp"
	"slices"
)

// edit puts text in the place of data[start:end].
type edit struct {
	start, end int
	text       string
	depth      int // of edits at the same place, the deeper one goes first
}

// apply makes all edits. They do not overlap; those at the same place and depth go in their order.
func apply(data []byte, edits []edit) []byte {
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.depth, a.depth)) })
	var out []byte
	at := 0
	for _, e := range edits {
		out = append(append(out, data[at:e.start]...), e.text...)
		at = e.end
	}
	return append(out, data[at:]...)
}
