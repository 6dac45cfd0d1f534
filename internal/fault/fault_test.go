package fault

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestKindNamesRoundTrip(t *testing.T) {
	for _, k := range Kinds() {
		if got := ParseKind(k.String()); got != k {
			t.Errorf("ParseKind(%q) = %v", k.String(), got)
		}
	}
	if ParseKind("no such kind") != Internal || Kind(99).String() != "internal" {
		t.Error("an unknown kind is not Internal")
	}
}

func TestChain(t *testing.T) {
	cause := errors.New("dial unix: connection refused")
	inner := Wrap(Unavailable, cause, "agent is not running", "start it with: airlock agent")
	outer := fmt.Errorf("variable %q: %w", "hello", inner)

	if KindOf(outer) != Unavailable || !Is(outer, Unavailable) || Is(nil, Internal) {
		t.Error("the kind is lost on the way")
	}
	if KindOf(cause) != Internal {
		t.Error("a foreign error is not Internal")
	}
	if !errors.Is(outer, cause) {
		t.Error("the cause is lost")
	}
	if got := Detail(inner); got != "agent is not running: dial unix: connection refused" {
		t.Errorf("Detail = %q", got)
	}
}

func TestRetryAfter(t *testing.T) {
	asked := &Error{Kind: Unavailable, Msg: "throttled", RetryAfter: time.Minute}
	if got := RetryAfter(fmt.Errorf("variable: %w", asked)); got != time.Minute {
		t.Errorf("RetryAfter = %v", got)
	}
	if RetryAfter(nil) != 0 || RetryAfter(New(Usage, "x")) != 0 || RetryAfter(errors.New("x")) != 0 {
		t.Error("a wait that nobody asked for")
	}
}

func TestHintsOfJoined(t *testing.T) {
	err := errors.Join(New(Usage, "a", "one", "two"), fmt.Errorf("b: %w", New(Usage, "c", "two", "three")))
	if got, want := HintsOf(err), []string{"one", "two", "three"}; !slices.Equal(got, want) {
		t.Errorf("HintsOf = %q, want %q", got, want)
	}
	if HintsOf(nil) != nil {
		t.Error("hints out of nothing")
	}
}
