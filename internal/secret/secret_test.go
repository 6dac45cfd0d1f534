package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const canary = "canary-7f3a9c"

// forms are the shapes in which a careless print could show the canary.
func forms() []string {
	decimal := strings.Trim(fmt.Sprint([]byte(canary)), "[]")
	return []string{
		canary,
		hex.EncodeToString([]byte(canary)),
		strings.ToUpper(hex.EncodeToString([]byte(canary))),
		decimal,
		strings.ReplaceAll(decimal, " ", ","),
		base64.StdEncoding.EncodeToString([]byte(canary)),
	}
}

type nested struct {
	Exported   Value
	unexported Value
	list       []Value
	byName     map[string]*Value
}

func TestValueNeverPrints(t *testing.T) {
	v := FromString(canary)
	n := nested{Exported: v, unexported: v, list: []Value{v}, byName: map[string]*Value{"a": &v}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%o"} {
		for _, what := range []any{v, &v, n, &n, []Value{v}, map[string]Value{"k": v}, struct{ any }{v}} {
			fmt.Fprintf(&out, verb+"\n", what)
		}
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v, "n", n, "p", &n)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v, "n", n, "p", &n)
	func() {
		defer func() { fmt.Fprintln(&out, recover()) }()
		panic(fmt.Sprint(n))
	}()
	if !strings.Contains(out.String(), redacted) {
		t.Fatal("nothing was printed, so nothing was tested")
	}
	for _, form := range forms() {
		if strings.Contains(out.String(), form) {
			t.Errorf("the canary leaked as %q", form)
		}
	}
}

func TestValueRefusesEncoding(t *testing.T) {
	for _, what := range []any{FromString(canary), nested{Exported: FromString(canary)}} {
		if b, err := json.Marshal(what); err == nil {
			t.Errorf("json.Marshal(%T) = %s, want an error", what, b)
		}
	}
}

func TestValueCopies(t *testing.T) {
	b := []byte(canary)
	v := New(b)
	clear(b)
	if got := string(v.Reveal()); got != canary {
		t.Errorf("Reveal() = %q after the source was cleared", got)
	}
	if (Value{}).Reveal() != nil || (Value{}).Len() != 0 {
		t.Error("the zero Value holds something")
	}
}
