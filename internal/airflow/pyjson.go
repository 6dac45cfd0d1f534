package airflow

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JSON as Python's json module reads and writes it, for encoding/json differs: Python takes NaN and Infinity, keeps the
// order of keys, whole numbers of any size and half surrogate pairs, and writes ASCII with a space after comma and colon.
// https://docs.python.org/3.11/library/json.html

// A value is nil, a bool, a string (UTF-8, with half surrogate pairs in the three bytes that they would have), a
// jsonNumber, []any or a *jsonObject.

// jsonNumber is a number as Python would write it: a whole number's digits, the repr of a float, NaN or Infinity.
type jsonNumber string

// jsonObject is a dict: in the order of first appearance, with the last value of each key.
type jsonObject struct {
	members  []jsonMember
	index    map[string]int
	repeated bool // a key occurred more than once
}

type jsonMember struct {
	key   string
	value any
}

func (o *jsonObject) set(key string, value any) {
	if i, ok := o.index[key]; ok {
		o.members[i].value = value
		o.repeated = true
		return
	}
	if o.index == nil {
		o.index = map[string]int{}
	}
	o.index[key] = len(o.members)
	o.members = append(o.members, jsonMember{key, value})
}

func (o *jsonObject) get(key string) (any, bool) {
	if i, ok := o.index[key]; ok {
		return o.members[i].value, true
	}
	return nil, false
}

// truthy is Python's bool(v).
func truthy(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case jsonNumber:
		return v != "0" && v != "0.0" && v != "-0.0"
	case []any:
		return len(v) > 0
	case *jsonObject:
		return len(v.members) > 0
	}
	return true
}

// jsonError tells where text is not JSON.
type jsonError struct {
	line, column int
	// limit tells that the text is JSON, but beyond what Python reads. Python raises another exception then, which
	// Airflow does not foresee.
	limit bool
}

func (e *jsonError) where() string { return fmt.Sprintf(" at line %d, column %d", e.line, e.column) }

const (
	// maxDigits is Python's sys.int_info.default_max_str_digits.
	maxDigits = 4300
	// maxDepth keeps below Python's recursion limit of 1,000 frames, of which Airflow itself needs some.
	maxDepth = 900
)

type jsonReader struct {
	text  string
	at    int
	depth int
	limit bool
}

// loadJSON is json.loads.
func loadJSON(text string) (any, *jsonError) {
	r := &jsonReader{text: text}
	r.space()
	v, ok := r.value()
	if ok {
		r.space()
		if r.at == len(text) {
			return v, nil
		}
	}
	before := text[:min(r.at, len(text))]
	return nil, &jsonError{
		line:   1 + strings.Count(before, "\n"),
		column: 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]),
		limit:  r.limit,
	}
}

func (r *jsonReader) space() {
	for r.at < len(r.text) && strings.IndexByte(" \t\n\r", r.text[r.at]) >= 0 {
		r.at++
	}
}

func (r *jsonReader) literal(word string) bool {
	if strings.HasPrefix(r.text[r.at:], word) {
		r.at += len(word)
		return true
	}
	return false
}

func (r *jsonReader) value() (any, bool) {
	switch {
	case r.at >= len(r.text):
		return nil, false
	case r.literal("null"):
		return nil, true
	case r.literal("true"):
		return true, true
	case r.literal("false"):
		return false, true
	case r.literal("NaN"):
		return jsonNumber("NaN"), true
	case r.literal("Infinity"):
		return jsonNumber("Infinity"), true
	case r.literal("-Infinity"):
		return jsonNumber("-Infinity"), true
	}
	switch r.text[r.at] {
	case '"':
		return r.string()
	case '{', '[':
		if r.depth++; r.depth > maxDepth {
			r.limit = true
			return nil, false
		}
		defer func() { r.depth-- }()
		if r.text[r.at] == '{' {
			return r.object()
		}
		return r.array()
	}
	return r.number()
}

func (r *jsonReader) object() (any, bool) {
	object := &jsonObject{}
	r.at++
	r.space()
	if r.literal("}") {
		return object, true
	}
	for {
		if !strings.HasPrefix(r.text[r.at:], `"`) {
			return nil, false
		}
		key, ok := r.string()
		if !ok {
			return nil, false
		}
		r.space()
		if !r.literal(":") {
			return nil, false
		}
		r.space()
		v, ok := r.value()
		if !ok {
			return nil, false
		}
		object.set(key.(string), v)
		r.space()
		if r.literal("}") {
			return object, true
		}
		if !r.literal(",") {
			return nil, false
		}
		r.space()
	}
}

func (r *jsonReader) array() (any, bool) {
	list := []any{}
	r.at++
	r.space()
	if r.literal("]") {
		return list, true
	}
	for {
		v, ok := r.value()
		if !ok {
			return nil, false
		}
		list = append(list, v)
		r.space()
		if r.literal("]") {
			return list, true
		}
		if !r.literal(",") {
			return nil, false
		}
		r.space()
	}
}

func (r *jsonReader) string() (any, bool) {
	var b strings.Builder
	r.at++
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			return b.String(), true
		case c < 0x20:
			return nil, false
		case c != '\\':
			b.WriteByte(c)
			r.at++
			continue
		}
		if r.at++; r.at >= len(r.text) {
			return nil, false
		}
		c := r.text[r.at]
		if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
			b.WriteByte("\"\\/\b\f\n\r\t"[i])
			r.at++
			continue
		}
		unit, ok := r.unit()
		if !ok {
			return nil, false
		}
		if unit >= 0xD800 && unit < 0xDC00 && strings.HasPrefix(r.text[r.at:], `\u`) {
			mark := r.at
			r.at++
			if low, ok := r.unit(); ok && low >= 0xDC00 && low < 0xE000 {
				b.WriteRune(0x10000 + (unit-0xD800)<<10 + (low - 0xDC00))
				continue
			}
			r.at = mark
		}
		if unit >= 0xD800 && unit < 0xE000 { // no rune of Go
			b.Write([]byte{0xE0 | byte(unit>>12), 0x80 | byte(unit>>6&0x3F), 0x80 | byte(unit&0x3F)})
			continue
		}
		b.WriteRune(unit)
	}
	return nil, false
}

// unit reads uXXXX.
func (r *jsonReader) unit() (rune, bool) {
	if r.at+5 > len(r.text) || r.text[r.at] != 'u' {
		return 0, false
	}
	var unit rune
	for _, c := range []byte(r.text[r.at+1 : r.at+5]) {
		digit := hexDigit(c)
		if digit < 0 {
			return 0, false
		}
		unit = unit<<4 | rune(digit)
	}
	r.at += 5
	return unit, true
}

func (r *jsonReader) number() (any, bool) {
	start := r.at
	digits := func() bool {
		from := r.at
		for r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9' {
			r.at++
		}
		return r.at > from
	}
	r.literal("-")
	if !r.literal("0") && !digits() {
		r.at = start
		return nil, false
	}
	whole := r.at
	if r.literal(".") && !digits() {
		r.at = whole
	}
	fraction := r.at
	if r.literal("e") || r.literal("E") {
		if !r.literal("-") {
			r.literal("+")
		}
		if !digits() {
			r.at = fraction
		}
	}
	text := r.text[start:r.at]
	if r.at == whole {
		if text == "-0" {
			text = "0"
		}
		if len(strings.TrimPrefix(text, "-")) > maxDigits {
			r.limit = true
			return nil, false
		}
		return jsonNumber(text), true
	}
	f, _ := strconv.ParseFloat(text, 64) // out of range gives an infinity or zero, as in Python
	return jsonNumber(pyFloat(f)), true
}

// pyFloat is float.__repr__, as json writes it.
func pyFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64) // two digits of exponent at least, as in Python
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// dumpJSON is json.dumps.
func dumpJSON(v any) string {
	var b strings.Builder
	writeJSON(&b, v)
	return b.String()
}

func writeJSON(b *strings.Builder, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case string:
		writeJSONString(b, v)
	case jsonNumber:
		b.WriteString(string(v))
	case []any:
		b.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			writeJSON(b, item)
		}
		b.WriteByte(']')
	case *jsonObject:
		b.WriteByte('{')
		for i, m := range v.members {
			if i > 0 {
				b.WriteString(", ")
			}
			writeJSONString(b, m.key)
			b.WriteString(": ")
			writeJSON(b, m.value)
		}
		b.WriteByte('}')
	}
}

func writeJSONString(b *strings.Builder, s string) {
	b.WriteByte('"')
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			i++
			if short := strings.IndexByte("\"\\\b\f\n\r\t", c); short >= 0 {
				b.WriteByte('\\')
				b.WriteByte(`"\bfnrt`[short])
			} else if c < 0x20 || c == 0x7F {
				fmt.Fprintf(b, `\u%04x`, c)
			} else {
				b.WriteByte(c)
			}
			continue
		}
		c, size := firstRune(s[i:])
		i += size
		if c > 0xFFFF {
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xD800+(c-0x10000)>>10, 0xDC00+(c-0x10000)&0x3FF)
		} else {
			fmt.Fprintf(b, `\u%04x`, c)
		}
	}
	b.WriteByte('"')
}

// firstRune is utf8.DecodeRuneInString that also knows half surrogate pairs.
func firstRune(s string) (rune, int) {
	if c, size := utf8.DecodeRuneInString(s); c != utf8.RuneError || size != 1 {
		return c, size
	}
	if len(s) >= 3 && s[0] == 0xED {
		return rune(s[0]&0xF)<<12 | rune(s[1]&0x3F)<<6 | rune(s[2]&0x3F), 3
	}
	return utf8.RuneError, 1
}

// hasSurrogate tells whether a text that JSON gave holds half of a surrogate pair, which nothing but JSON can hold.
func hasSurrogate(s string) bool { return !utf8.ValidString(s) }

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
