package dotenv

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/airlock-secrets/airlock/internal/fault"
)

func TestParse(t *testing.T) {
	const file = "\ufeff# a comment\r\n" +
		"\n  # another\n" +
		"PLAIN=value with blanks   # and a comment\r\n" +
		"export EXPORTED = x\n" +
		"EMPTY=\n" +
		"HASH=a#b\n" +
		"ONLY=#nothing\n" +
		`KWARGS={"vault_url": "https://v.vault.azure.net/", "client_secret": "$a$b"}` + "\n" +
		"SINGLE='{\"a\": \"b\\n\"}' # comment\n" +
		"DOUBLE=\"a \\\"b\\\" \\n \\$c \\d\"\n" +
		"LINES=\"one\r\ntwo\"\n" +
		"EQUALS=a=b=c\n" +
		"TWICE=1\nTWICE=2"
	got, err := Parse("f", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		{"PLAIN", "value with blanks", 4},
		{"EXPORTED", "x", 5},
		{"EMPTY", "", 6},
		{"HASH", "a#b", 7},
		{"ONLY", "", 8},
		{"KWARGS", `{"vault_url": "https://v.vault.azure.net/", "client_secret": "$a$b"}`, 9},
		{"SINGLE", `{"a": "b\n"}`, 10},
		{"DOUBLE", "a \"b\" \n $c \\d", 11},
		{"LINES", "one\ntwo", 12},
		{"EQUALS", "a=b=c", 14},
		{"TWICE", "1", 15},
		{"TWICE", "2", 16},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if Map(got)["TWICE"] != "2" {
		t.Error("the last of a key does not count")
	}
}

func TestErrors(t *testing.T) {
	for _, row := range []struct{ file, want string }{
		{"A=1\ncanary\n", "f:2: a line without ="},
		{"\n\nA='canary\n", "f:3: the quote that opens the value of A is never closed"},
		{`A="{"canary": 1}"`, "f:1: text after the closing quote of A"},
		{"A=1\nB C=canary", "f:2: the text before = is not the name"},
		{"=canary", "f:1: the text before ="},
	} {
		_, err := Parse("f", []byte(row.file))
		if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("Parse(%q): %v, want %q", row.file, err, row.want)
		}
		if err != nil && strings.Contains(err.Error()+strings.Join(fault.HintsOf(err), ""), "canary") {
			t.Errorf("Parse(%q) shows content: %v", row.file, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("A=1\nexport B='x'\nC=\"\\n\" # c"))
	f.Add([]byte("A='\r\n'"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := Parse("f", data)
		if err != nil {
			return
		}
		// Written plainly again, the entries are read the same.
		var again strings.Builder
		for _, e := range entries {
			again.WriteString(e.Key + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`).Replace(e.Value) + "\"\n")
		}
		back, err := Parse("f", []byte(again.String()))
		if err != nil {
			t.Fatalf("%q does not parse: %v", again.String(), err)
		}
		if d := cmp.Diff(Map(entries), Map(back)); d != "" {
			t.Error(d)
		}
	})
}

func FuzzQuote(f *testing.F) {
	for _, value := range []string{`{"a": "b"}`, "", "a b", " a", "a #b", `"a"`, "it's #1 $x", "it's\nso", "\r\n", `\`, "#"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		line := "KEY=" + Quote(value)
		entries, err := Parse("f", []byte(line))
		if err != nil || len(entries) != 1 || entries[0].Value != value {
			t.Errorf("%q is written as %q and read as %+v, %v", value, line, entries, err)
		}
	})
}
