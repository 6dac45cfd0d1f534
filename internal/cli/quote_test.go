package cli

import (
	"os/exec"
	"testing"

	"pgregory.net/rapid"
)

// TestShellQuote: a shell takes out of the quotes exactly what was put in.
func TestShellQuote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.OneOf(
			rapid.StringOfN(rapid.RuneFrom([]rune(`ab '"\$()`+"`;&|<>*?[]{}~#!%=\n\t-é")), 0, 12, -1),
			rapid.StringMatching(`[^\x00]{0,8}`),
		), 1, 5).Draw(t, "words")
		script, want := "printf '%s\\0'", ""
		for _, w := range words {
			script += " " + shellQuote(w)
			want += w + "\x00"
		}
		out, err := exec.Command("sh", "-c", script).Output()
		if err != nil || string(out) != want {
			t.Fatalf("sh makes %q of %q (%v)", out, script, err)
		}
	})
}
