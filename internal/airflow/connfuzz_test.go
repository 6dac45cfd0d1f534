package airflow

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// FuzzParseConnection: what is read can be written, and reads back as the same; what is refused is refused with Usage.
func FuzzParseConnection(f *testing.F) {
	for _, seed := range []string{
		"postgres://u:p%40ss@db:5432/dwh?a=b", "http://https://h", "a://[::1]:1/%E2%82",
		"google_cloud_platform://h", "", "{", "a://u:@h?__extra__=x",
		`{"conn_type": "a-b", "host": "h", "port": "8_0", "extra": {"a": [1, null, "\ud83d\ude00"]}}`,
		`{"uri": "a://h"}`, `{"extra": "x"}`, "//://",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range []Reading{SDK, Core} {
			c, err := r.Parse(secret.FromString(text))
			if err != nil {
				if !fault.Is(err, fault.Usage) {
					t.Errorf("an error of another kind: %v", err)
				}
				continue
			}
			c.Warnings()
			object, err := c.JSON()
			if err != nil {
				continue // an extra that Python cannot read either
			}
			back, err := r.Parse(object)
			if err != nil {
				// The one thing that Airflow writes and does not read: for the core an extra that is no object.
				t.Fatalf("%v: what was written is refused: %v", r, err)
			}
			if again, err := back.JSON(); err != nil || writesWhole(c) &&
				string(again.Reveal()) != string(object.Reveal()) {
				t.Errorf("%v: written %q, and then %q, %v", r, object.Reveal(), again.Reveal(), err)
			}
			uri, err := c.URI()
			if err != nil || c.LostInURI() != nil {
				continue
			}
			if back, err = SDK.Parse(uri); err != nil {
				t.Fatalf("%v: a URI that loses nothing is refused: %v", r, err)
			}
			if fields := differingFields(c, back, emptyIsNone); fields != nil {
				t.Errorf("%v: not the same after a URI: %v", r, fields)
			}
		}
	})
}

// writesWhole tells whether Airflow reads all of the JSON that it wrote itself: not so an empty type, a port of 0, and an
// extra that is a text of JSON, which loses its quotes.
func writesWhole(c Conn) bool {
	v, _ := loadJSON(string(c.Extra.Reveal()))
	_, isText := v.(string)
	return !isText && (c.Type == nil || *c.Type != "") && (c.Port == nil || *c.Port != 0)
}

// What a sane connection holds comes back whole, from JSON exactly and from a URI where LostInURI promises it.
func TestRoundTrips(t *testing.T) {
	words := rapid.StringMatching(`[ -~äλ漢😀]{0,12}`)
	optional := rapid.Custom(func(t *rapid.T) *string {
		if rapid.Bool().Draw(t, "given") {
			return new(words.Draw(t, "text"))
		}
		return nil
	})
	value := func(s *string) secret.Value {
		if s == nil {
			return secret.Value{}
		}
		return secret.FromString(*s)
	}
	whole := 0
	rapid.Check(t, func(t *rapid.T) {
		c := Conn{
			Type: new(rapid.StringMatching(`[a-z][a-z0-9_]{0,10}`).Draw(t, "type")), Description: optional.Draw(t,
				"description"),
			Host: optional.Draw(t, "host"), Login: optional.Draw(t, "login"), Schema: optional.Draw(t, "schema"),
			Password: value(optional.Draw(t, "password")),
		}
		if rapid.Bool().Draw(t, "with port") {
			c.Port = new(rapid.IntRange(1, 65535).Draw(t, "port"))
		}
		if extra := rapid.MapOf(words, words).Draw(t, "extra"); len(extra) > 0 {
			object := &jsonObject{}
			for key, v := range extra {
				object.set(key, v)
			}
			c.Extra = secret.FromString(dumpJSON(object))
		}
		object, err := c.JSON()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseConnection(object)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(show(c), show(back)); diff != "" || text(c.Description) != text(back.Description) {
			t.Fatalf("after JSON (-want +got):\n%s", diff)
		}
		if c.LostInURI() == nil {
			whole++
		}
		// What is plain for a URI is not lost.
		if c.Description == nil && c.Host != nil && strings.Trim(*c.Host, "abcdefghijklmnopqrstuvwxyz.") == "" &&
			strings.Trim(text(c.Login), "abc") == "" {
			if lost := c.LostInURI(); lost != nil {
				t.Fatalf("lost in a URI: %v", lost)
			}
		}
	})
	if whole == 0 {
		t.Error("nothing ever survived a URI")
	}
}
