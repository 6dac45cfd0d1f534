package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
)

// table prints rows: aligned and with a head for people, as plain tab-separated lines for a pipe.
type table struct {
	out     io.Writer
	aligned *tabwriter.Writer // nil for a pipe
}

func (a *app) table(head ...string) *table {
	t := &table{out: a.env.Stdout}
	if a.env.StdoutTerminal {
		t.aligned = tabwriter.NewWriter(a.env.Stdout, 0, 0, 2, ' ', 0)
		t.out = t.aligned
		fmt.Fprintln(t.out, strings.Join(head, "\t"))
	}
	return t
}

func (t *table) row(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = strings.Map(printable, fmt.Sprint(c))
	}
	fmt.Fprintln(t.out, strings.Join(text, "\t"))
}

// printable takes out what would steer a terminal or break a row: ids are what callers make them.
func printable(r rune) rune {
	if unicode.IsControl(r) {
		return unicode.ReplacementChar
	}
	return r
}

func (t *table) flush() {
	if t.aligned != nil {
		_ = t.aligned.Flush()
	}
}
