package airflow

import (
	"strconv"
	"strings"
	"unicode"
)

// pyStrip is str.strip().
func pyStrip(s string) string { return strings.TrimFunc(s, pySpace) }

// pySpace is str.isspace() of one character: Go's set and the four separators of ASCII.
func pySpace(c rune) bool { return unicode.IsSpace(c) || c >= 0x1C && c <= 0x1F }

// pyLower is str.lower(). It differs from strings.ToLower for two letters: the dotted capital I becomes two characters, and
// a capital sigma at the end of a word becomes a final one.
func pyLower(s string) string {
	if !strings.ContainsAny(s, "\u0130\u03A3") {
		return strings.ToLower(s)
	}
	var b strings.Builder
	runes := []rune(s)
	for i, c := range runes {
		switch {
		case c == '\u0130':
			b.WriteString("i\u0307")
		case c == '\u03A3' && finalSigma(runes, i):
			b.WriteRune('\u03C2')
		default:
			b.WriteRune(unicode.ToLower(c))
		}
	}
	return b.String()
}

// finalSigma is the condition Final_Sigma of Unicode's SpecialCasing.txt: a cased letter before, none after, with letters
// that do not matter for case in between.
func finalSigma(runes []rune, at int) bool {
	cased := func(i, step int) bool {
		for i += step; i >= 0 && i < len(runes); i += step {
			if !caseIgnorable(runes[i]) {
				return unicode.In(runes[i], unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Uppercase, unicode.Other_Lowercase)
			}
		}
		return false
	}
	return cased(at, -1) && !cased(at, 1)
}

func caseIgnorable(c rune) bool {
	return strings.ContainsRune("'.:\u00B7\u0387\u055F\u05F4\u2018\u2019\u2024\u2027\uFE13\uFE52\uFE55\uFF07\uFF0E\uFF1A", c) ||
		unicode.In(c, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk)
}

// pyInt is int(s): white space around it, a sign, digits of any script, single underscores between them. What does not fit
// an int is not ok.
func pyInt(s string) (n int, ok bool) {
	var b strings.Builder
	for i, c := range pyStrip(s) {
		if digit, isDigit := decimal(c); isDigit {
			b.WriteByte('0' + digit)
			continue
		}
		if c != '_' && !(i == 0 && (c == '+' || c == '-')) {
			return 0, false
		}
		b.WriteRune(c)
	}
	digits := strings.TrimLeft(b.String(), "+-")
	if strings.HasPrefix(digits, "_") || strings.HasSuffix(digits, "_") || strings.Contains(digits, "__") {
		return 0, false
	}
	n, err := strconv.Atoi(strings.ReplaceAll(b.String(), "_", ""))
	return n, err == nil
}

// decimal is the value of a decimal digit of any script. Unicode keeps each script's ten digits together and in order.
func decimal(c rune) (byte, bool) {
	for _, r := range unicode.Nd.R16 {
		if lo, hi := rune(r.Lo), rune(r.Hi); c >= lo && c <= hi {
			return byte((c - lo) % 10), true
		}
	}
	for _, r := range unicode.Nd.R32 {
		if lo, hi := rune(r.Lo), rune(r.Hi); c >= lo && c <= hi {
			return byte((c - lo) % 10), true
		}
	}
	return 0, false
}
