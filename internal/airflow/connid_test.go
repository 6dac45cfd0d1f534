package airflow

import (
	"strings"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
)

func TestConnectionID(t *testing.T) {
	for id, want := range map[string]string{
		"my_conn":                       "my_conn",
		`a#!()-.:/\b`:                   `a#!()-.:/\b`,
		"Ünïcode²Ⅷ":                     "Ünïcode²Ⅷ",
		"a\n":                           "a",
		"a\n\n":                         "",
		"\n":                            "",
		"":                              "",
		"a b":                           "",
		"a\u0301":                       "", // a combining mark is no letter
		strings.Repeat("é", 250):        strings.Repeat("é", 250),
		strings.Repeat("é", 251):        "",
		strings.Repeat("a", 250) + "\n": "",
	} {
		got, ok := SanitizeConnectionID(id)
		if got != want || ok != (want != "") {
			t.Errorf("%q is kept as %q, %t; want %q", id, got, ok, want)
		}
		if err := CheckConnectionID(id); (err == nil) != (want == id && id != "") || err != nil && !fault.Is(err,
			fault.Usage) {
			t.Errorf("CheckConnectionID(%q): %v", id, err)
		}
	}
}

func TestCheckImportID(t *testing.T) {
	for id, good := range map[string]bool{
		"my_conn.a-b": true, "Ünïcode": true, "a/b": false, "a:b": false, "a..b": false, "": false,
		strings.Repeat("a", 200): true, strings.Repeat("a", 201): false,
	} {
		if err := CheckImportID(id); (err == nil) != good || err != nil && !fault.Is(err, fault.Usage) {
			t.Errorf("CheckImportID(%q): %v", id, err)
		}
	}
}
