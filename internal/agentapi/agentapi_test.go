package agentapi

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"testing"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

func TestEveryKindHasAStatus(t *testing.T) {
	seen := map[int]fault.Kind{}
	for _, kind := range fault.Kinds() {
		code := StatusOf(kind)
		if code < 400 {
			t.Errorf("%v has status %d", kind, code)
		}
		if other, twice := seen[code]; twice {
			t.Errorf("%v and %v share status %d", kind, other, code)
		}
		seen[code] = kind
	}
}

func TestErrorSurvivesTheWire(t *testing.T) {
	err := fault.Wrap(fault.Forbidden, errors.New("a cause that stays here"), "may not", "ask", "beg")
	raw, _ := json.Marshal(Error{Error: BodyOf(err)})
	var back Error
	if e := json.Unmarshal(raw, &back); e != nil {
		t.Fatal(e)
	}
	got := back.Error.Fault()
	if fault.KindOf(got) != fault.Forbidden || got.Error() != "may not" || !slices.Equal(fault.HintsOf(got), []string{"ask", "beg"}) {
		t.Errorf("%#v became %#v", err, got)
	}
}

func FuzzLookupPath(f *testing.F) {
	for _, id := range []string{"hello", "a/b", "..", ".", "", "a%2Fb", "ü x?y#z", "\x00", "//"} {
		f.Add(id, "team")
	}
	f.Fuzz(func(t *testing.T, id, team string) {
		for _, kind := range airflow.Kinds() {
			u, err := url.ParseRequestURI(LookupPath(kind, id, team))
			if err != nil {
				t.Fatalf("%q: %v", id, err)
			}
			gotKind, gotID, ok := ParseLookupPath(u.EscapedPath())
			if !ok || gotKind != kind || gotID != id || u.Query().Get("team") != team {
				t.Errorf("%s %q team %q came back as %s %q %q, %v", kind, id, team, gotKind, gotID, u.Query().Get("team"), ok)
			}
		}
	})
}
