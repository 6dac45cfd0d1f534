package airflow

import (
	"errors"
	"slices"
	"strings"
)

// Pattern describes ids: "*" stands for any characters or none, "?" for one, everything else for itself. Case does not
// matter, and "_" and "-" are one, because they are in the name of a secret: what is said of "prod_db" holds for
// "Prod-DB", too, which is the same secret. The zero value matches the empty text alone.
type Pattern struct{ folded string }

// NewPattern makes a pattern. The error says why it can be none.
func NewPattern(text string) (Pattern, error) {
	const most = 256
	if len(text) > most {
		return Pattern{}, errors.New("is longer than 256 characters")
	}
	return Pattern{strings.Map(func(r rune) rune {
		if r < 0x80 {
			return rune(fold(byte(r)))
		}
		return r
	}, text)}, nil
}

// String is the pattern in its folded form.
func (p Pattern) String() string { return p.folded }

// fold gives the one form of a character of an id.
func fold(c byte) byte {
	switch {
	case c == '-':
		return '_'
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	}
	return c
}

// Match tells whether an id is meant. It is asked at every lookup and takes no memory.
func (p Pattern) Match(id string) bool { return match(p.folded, id, false) }

// Covers tells whether every id that other matches is matched by p, too. It may be wrong to the safe side: false where a
// closer look would say true.
func (p Pattern) Covers(other Pattern) bool { return match(p.folded, other.folded, true) }

// match is the usual search with one step back to the last star. With pattern set the text is a pattern itself, whose
// star only a star takes in, and whose question mark no letter.
func match(p, text string, pattern bool) bool {
	i, j := 0, 0
	star, mark := -1, 0
	for j < len(text) {
		switch c := fold(text[j]); {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
			continue
		case i < len(p) && (p[i] == '?' && !(pattern && c == '*') || p[i] == c):
			i++
			j++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		i, j = star+1, mark
	}
	return strings.Trim(p[min(i, len(p)):], "*") == ""
}

// Scope is a part of all that can be looked up. An empty list does not narrow: the zero value is everything.
type Scope struct {
	Kinds []Kind
	IDs   []Pattern
	// Teams narrows to lookups of teams; the empty pattern is a lookup without one.
	Teams []Pattern
}

// Has tells whether a lookup falls into the scope.
func (s Scope) Has(kind Kind, id, team string) bool {
	return (len(s.Kinds) == 0 || slices.Contains(s.Kinds, kind)) && matchAny(s.IDs, id) && matchAny(s.Teams, team)
}

func matchAny(patterns []Pattern, text string) bool {
	for _, p := range patterns {
		if p.Match(text) {
			return true
		}
	}
	return len(patterns) == 0
}

// Covers tells whether all of another scope lies in this one; to the safe side, as a Pattern's.
func (s Scope) Covers(other Scope) bool {
	kinds := other.Kinds
	if len(kinds) == 0 {
		kinds = Kinds()
	}
	for _, kind := range kinds {
		if len(s.Kinds) > 0 && !slices.Contains(s.Kinds, kind) {
			return false
		}
	}
	return coverAll(s.IDs, other.IDs) && coverAll(s.Teams, other.Teams)
}

// everything is what an empty list of patterns means.
var everything = []Pattern{{"*"}}

func coverAll(patterns, others []Pattern) bool {
	if len(patterns) == 0 {
		return true
	}
	if len(others) == 0 {
		others = everything
	}
	for _, other := range others {
		if !slices.ContainsFunc(patterns, func(p Pattern) bool { return p.Covers(other) }) {
			return false
		}
	}
	return true
}
