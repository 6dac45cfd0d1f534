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

// inOrder sorts edits as they are made: by place, at the same place the deeper ones first, else as they came.
func inOrder(edits []edit) {
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.depth, a.depth)) })
}

// disjoint tells whether edits lie inside of n bytes and do not overlap.
func disjoint(n int, edits []edit) bool {
	inOrder(edits)
	at := 0
	for _, e := range edits {
		if e.start < at || e.end < e.start || e.end > n {
			return false
		}
		at = e.end
	}
	return true
}

// apply makes all edits, which are disjoint.
func apply(data []byte, edits []edit) []byte {
	inOrder(edits)
	var out []byte
	at := 0
	for _, e := range edits {
		out = append(append(out, data[at:e.start]...), e.text...)
		at = e.end
	}
	return append(out, data[at:]...)
}
