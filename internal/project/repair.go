package project

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// repairKwargs reads what was meant for a JSON object and is none: quotes around the whole or escaped ones, Python's or a
// word processor's quotes, Python's None, True and False, a comma too many or too few, a missing brace. It takes a flat
// object of texts, numbers and literals only, and gives up (false) where more than one reading is possible.
func repairKwargs(text string) (Kwargs, bool) {
	text = strings.TrimSpace(text)
	for _, quote := range []string{`"`, `'`} {
		if strings.HasPrefix(text, quote) {
			text = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(text, quote), quote))
		}
	}
	if strings.HasPrefix(strings.ReplaceAll(text, " ", ""), `{\"`) {
		text = strings.ReplaceAll(text, `\"`, `"`)
	}
	l := lenient{rest: text}
	if !l.take("{") {
		return Kwargs{}, false
	}
	var k Kwargs
	for !l.ends() {
		key, ok := l.text()
		if !ok || k.Has(key) || !l.take(":") {
			return Kwargs{}, false
		}
		raw, ok := l.value()
		if !ok {
			return Kwargs{}, false
		}
		k.set(key, raw)
		l.take(",")
	}
	return k, len(k.fields) > 0 && strings.TrimSpace(l.rest) == ""
}

// lenient reads the pieces of an object.
type lenient struct{ rest string }

func (l *lenient) take(token string) bool {
	l.rest = strings.TrimSpace(l.rest)
	rest, ok := strings.CutPrefix(l.rest, token)
	l.rest = rest
	return ok
}

// ends tells whether the object is over: by its brace, or because nothing follows.
func (l *lenient) ends() bool {
	return l.take("}") || l.rest == ""
}

// closing are the quotes that may end a text, by the one that begins it.
var closing = map[rune]string{
	'"': `"`, '\'': `'`,
	'\u201c': "\u201c\u201d", '\u201d': "\u201c\u201d", '\u2018': "\u2018\u2019", '\u2019': "\u2018\u2019",
}

func (l *lenient) text() (string, bool) {
	l.rest = strings.TrimSpace(l.rest)
	first, size := utf8.DecodeRuneInString(l.rest)
	ends, ok := closing[first]
	if !ok {
		return "", false
	}
	for i := size; i < len(l.rest); {
		r, n := utf8.DecodeRuneInString(l.rest[i:])
		switch {
		case r == '\\' && i+n < len(l.rest):
			_, next := utf8.DecodeRuneInString(l.rest[i+n:])
			n += next
		case strings.ContainsRune(ends, r):
			inner := l.rest[size:i]
			l.rest = l.rest[i+n:]
			if first != '"' {
				inner = strings.NewReplacer(`\'`, `'`, `"`, `\"`, `\"`, `\"`).Replace(inner)
			}
			var text string
			err := json.Unmarshal([]byte(`"`+inner+`"`), &text)
			return text, err == nil
		}
		i += n
	}
	return "", false
}

func (l *lenient) value() ([]byte, bool) {
	if text, ok := l.text(); ok {
		raw, err := json.Marshal(text)
		return raw, err == nil
	}
	end := strings.IndexAny(l.rest, ",} \t\r\n")
	if end < 0 {
		end = len(l.rest)
	}
	word := l.rest[:end]
	switch word {
	case "None":
		word = "null"
	case "True", "False":
		word = strings.ToLower(word)
	}
	if !json.Valid([]byte(word)) || strings.ContainsAny(word, `{["`) {
		return nil, false
	}
	l.rest = l.rest[end:]
	return []byte(word), true
}
