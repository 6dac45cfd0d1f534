package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
)

// canary stands in many generated contents, in places where a careless message would show it.
const canary = "canary7f3a"

// generator makes up contents of secrets that are near enough to connections to be read, and odd enough to be misread.
type generator struct{ *rand.Rand }

func newGenerator(r *rand.Rand) *generator { return &generator{r} }

func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

var alphabets = []string{
	"abcdefghijklmnopqrstuvwxyz", "ABCXYZ0123456789", "-._~", "+&=;,!$'()*", " \t\n\r\x0b\x0c", ":/?#[]@", "%",
	"\"'\\{}<>^`|",
	"äöüßéñœ", "ЖжЩщ", "λΣσςΩ", "日本語漢字", "한국어", "عربية٠١٢٣", "हिन्दी१२३", "İıǅŉ", "😀🚀👩‍👩‍👧",
	"\u00a0\u2003\u2028\u3000\ufeff",
	"\x00\x01\x1b\x1c\x1f\x7f\u0080\u0085", "\u0300\u0301\u200d", "０１２ＡＢ／：＠？＃", "\u2100\u2048\u2a74",
	"\ue000\U0010ffff\ufffd",
}

func (g *generator) text(most int) string {
	var b strings.Builder
	for range g.IntN(most + 1) {
		alphabet := []rune(alphabets[0])
		if g.chance(45) {
			alphabet = []rune(pick(g, alphabets...))
		}
		b.WriteRune(pick(g, alphabet...))
	}
	return b.String()
}

// word is a text that is mostly harmless.
func (g *generator) word() string {
	switch g.IntN(8) {
	case 0:
		return g.text(12)
	case 1:
		return canary
	case 2:
		return pick(g, "p@ss", "p/a+ss", "a b", "x%y", "50%", "%41", "%zz", "é", "p:q", "100%25", "#1!", "[x]",
			"a=b&c", "a://b")
	default:
		return pick(g, "user", "Password1", "db.example.com", "Host", "dwh", "S3cr3t", "x", "admin", "location",
			"0", "true", "null")
	}
}

// written puts a text into a URI: encoded, half encoded, as it is, or with bytes that are no UTF-8.
func (g *generator) written(s string) string {
	switch g.IntN(10) {
	case 0, 1:
		return s
	case 2:
		return url.PathEscape(s)
	case 3:
		return s + pick(g, "%", "%4", "%FF", "%E2%82", "%C3%28", "%ED%A0%80", "%F0%9F%98", "%F4%90%80%80", "%00",
			"%0a", "%c3%a9", "é%c3")
	default:
		return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
	}
}

func (g *generator) connection() string {
	var text string
	switch g.IntN(10) {
	case 0, 1, 2, 3:
		text = g.uri()
	case 4, 5, 6, 7:
		text = g.object()
	case 8:
		text = pick(g, g.text(30), g.word(), "{"+g.text(10)+"}", `{"conn_type": "http"`, "{}", "//"+g.word(),
			"://"+g.word(), g.word()+":"+g.word())
	default:
		text = g.mutate(pick(g, g.uri(), g.object()))
	}
	if g.chance(3) {
		space := pick(g, " ", "\n", "\t\r\n", "\u2003", "\x1c", "\ufeff", "\x00")
		text = pick(g, space+text, text+space, space+text+space)
	}
	return text
}

func (g *generator) scheme() string {
	return pick(g, "postgres", "postgresql", "http", "https", "HTTP", "google-cloud-platform",
		"google_cloud_platform", "aws", "spark",
		"my-db-type", "postgresql+psycopg2", "a", "Type", "s3.x", "1abc", "-a", "", "mysql", g.word())
}

func (g *generator) host() string {
	switch g.IntN(12) {
	case 0:
		return ""
	case 1:
		return pick(g, "[::1]", "[2001:DB8::1]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[v1.x]", "[1.2.3.4]",
			"[::ffff:1.2.3.4]", "[]", "[::1", "::1]",
			"x[::1]", "[::1]x", "[1:2:3:4:5:6:7::]", "[1:2:3:4:5:6:7:8:9]", "[::1%]", "[::1%a%b]", "[12345::]",
			"[::01.2.3.4]", "[vZ.x]", "[:]", "[V1.a]")
	case 2:
		return g.written(pick(g, "/tmp/Sock", "k8s://100.68.0.1", "Host/Location", "/a:b", "C:/x", "https://x"))
	case 3:
		return g.written(g.word())
	case 4:
		return pick(g, "ΜΆΪΟΣ", "İstanbul", "ΣΑΣ.Σ", "STRASSE", "MÜNCHEN", "Ǆ", "a.b:c", "Σ", "AΣ", "ΑΣ'", "ΑΣ'Α",
			"Ⅷ", "ᏀA", "AΣ:1", "A\u0301Σ")
	default:
		return pick(g, "localhost", "db.example.com", "10.0.0.1", "Db.Example.COM", "host_name", "h")
	}
}

func (g *generator) port() string {
	if g.chance(50) {
		return ""
	}
	return ":" + pick(g, "", "0", "1", "80", "5432", "65535", "65536", "99999", "007", "abc", "-1", "+1", "8 0",
		"٨٠", "１", "1.5", "1_0", "0000000000000080",
		"99999999999999999999", "80%30")
}

func (g *generator) query() string {
	var parts []string
	for range g.IntN(4) {
		key, value := g.word(), g.value(2)
		switch g.IntN(7) {
		case 0:
			key = "__extra__"
			value = g.json(3)
		case 1:
			parts = append(parts, g.written(key))
			continue
		case 2:
			value = pick(g, "1", "true", "null", "1.50", "1e5", "-0", "007", "NaN", "Infinity", `"x"`, "[1, 2]",
				`{"a": 1}`, " 1 ", "1e999", "", "{", "1E400",
				strings.Repeat("9", 20), strings.Repeat("9", 4300), strings.Repeat("9", 4301), "0.1",
				"123456789012345678.0", "1e-7", "1e16", "1e22", "5e-324")
		}
		if g.chance(20) {
			value = strings.ReplaceAll(value, " ", "+")
			parts = append(parts, key+"="+value)
			continue
		}
		parts = append(parts, g.written(key)+"="+g.written(value))
	}
	return strings.Join(parts, pick(g, "&", "&", "&", ";", "&&"))
}

// value is a text, now and then one of JSON.
func (g *generator) value(depth int) string {
	if g.chance(25) {
		return g.json(depth)
	}
	return g.word()
}

func (g *generator) uri() string {
	var b strings.Builder
	b.WriteString(g.scheme() + pick(g, "://", "://", "://", "://", "://", "://", ":/", ":", "//"))
	if g.chance(15) {
		b.WriteString(pick(g, "https", "k8s", "file", "postgres", "http", g.word()) + "://")
	}
	if g.chance(60) {
		b.WriteString(g.written(g.word()))
		if g.chance(80) {
			b.WriteString(":" + g.written(g.word()))
		}
		b.WriteString("@")
	}
	b.WriteString(g.host() + g.port())
	if g.chance(60) {
		b.WriteString("/" + g.written(g.word()))
	}
	if g.chance(50) {
		b.WriteString(pick(g, "?", "?", "?", "/?") + g.query())
	}
	if g.chance(5) {
		b.WriteString("#" + g.word())
	}
	return b.String()
}

// json is a value of JSON, written by hand, since encoding/json would not write the odd ones.
func (g *generator) json(depth int) string {
	kind := g.IntN(10)
	if depth == 0 {
		kind %= 6
	}
	switch kind {
	case 0:
		return pick(g, "null", "true", "false", "0", "1", "-1", "1.5", "0.0", "-0", "-0.0", "1e3", "1E+2", "NaN",
			"-Infinity", "Infinity", "1e999", "1.0e-5", "123456789123456789123456789", "0.1", "1e16", "1e15")
	case 1:
		return pick(g, `""`, `"\u00e9"`, `"\ud83d\ude00"`, `"\ud800"`, `"\ude00x"`, `"\/\b\f\n\r\t\"\\"`,
			`"\u0000"`, `"\x"`, `"\u12"`, "\"a\tb\"", `"\uD83D\u0041"`, "'a'", `"\ud800\ud800\udc00"`)
	case 2, 3, 4, 5:
		return g.quoted(g.word())
	case 6:
		var items []string
		for range g.IntN(4) {
			items = append(items, g.json(depth-1))
		}
		return "[" + strings.Join(items, pick(g, ", ", ",", " , ", ",\n")) + "]"
	default:
		var items []string
		for range g.IntN(4) {
			items = append(items, g.quoted(g.word())+pick(g, ": ", ":", " : ")+g.json(depth-1))
		}
		return "{" + strings.Join(items, pick(g, ", ", ",")) + "}"
	}
}

func deep(n int) string { return `{"a": ` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" }

func (g *generator) quoted(s string) string {
	raw, _ := json.Marshal(s)
	if g.chance(30) { // not escaped
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	return string(raw)
}

func (g *generator) object() string {
	var items []string
	add := func(percent int, key string, values ...func() string) {
		if g.chance(percent) {
			items = append(items, g.quoted(key)+pick(g, ": ", ":")+pick(g, values...)())
		}
	}
	word := func() string { return g.quoted(g.word()) }
	any := func() string { return g.json(2) }
	null := func() string { return "null" }
	uri := func() string { return g.quoted(g.uri()) }
	port := func() string {
		return pick(g, "80", "0", "1", "-1", "65535", "65536", "1.5", "80.0", "0.0", "true", "false", `""`, `"80"`,
			`" 80 "`, `"8_0"`, `"+80"`, `"-80"`, `"1.5"`, `"x"`, "[1]", "[]", "{}",
			"1e2", "1e400", "NaN", "null", `"٨٠"`, `"８０"`, `"007"`, `"_1"`, `"1__0"`, `"\u200380"`,
			"9007199254740993", "1e20", "99999999999999999999", "9223372036854775807", `"99999999999999999999"`,
			`"- 1"`, `"--1"`, `"+-1"`, `""`, `"0"`, `"᭐"`)
	}
	extra := func() string {
		return pick(g, g.json(3), g.quoted(g.json(3)), g.quoted(g.json(3)), `{"a": "b"}`, `{"a": 1}`,
			`"{\"a\": \"b\"}"`, `{"__extra__": "x"}`, `"hi"`, "[1]", `[["a","b"]]`, "5", `"null"`, `"\"x\""`,
			`"\ufeff{}"`,
			`{"a": "\ud800"}`, `{"\ud800": 1}`, `{"a": ["\ud800"]}`, `"{\"n\": `+strings.Repeat("1", 4400)+`}"`,
			`{"": ""}`, deep(3000), g.quoted(deep(3000)), g.quoted(deep(500)), `{"a": {"b": [1, {"c": null}]}}`,
			`"{\"a\": 1, \"a\": 2}"`)
	}
	connType := func() string { return g.quoted(g.scheme()) }
	if g.chance(8) {
		add(100, "uri", uri, uri, uri, any, null, func() string { return `""` })
		add(10, "host", null, word)
		add(10, "description", word)
		add(10, "port", port)
		add(10, "conn_type", null, connType, func() string { return `""` })
		add(5, "extra", extra)
	} else {
		add(80, "conn_type", connType, connType, connType, connType, any)
		add(60, "host", word, func() string { return g.quoted(g.host()) },
			func() string { return g.quoted("https://" + g.word()) }, word, word, null, uri, any)
		add(50, "login", word, word, word, null, any)
		add(50, "password", word, word, word, null, any, func() string { return `""` })
		add(40, "schema", word, word, word, null, any)
		add(40, "port", port)
		add(40, "extra", extra)
		add(10, "description", word, null)
		add(3, pick(g, "username", "conn_id", "id", "team_name", "type", "uri", "host", "port", "extra", canary,
			"is_encrypted"), word, null, any)
	}
	g.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	return "{" + pick(g, "", "", " ", "\n") + strings.Join(items, pick(g, ", ", ", ", ",", ",\n  ")) + pick(g, "",
		"", "\n", ",") + "}"
}

// mutate changes some characters.
func (g *generator) mutate(s string) string {
	runes := []rune(s)
	for range 1 + g.IntN(3) {
		at := g.IntN(len(runes) + 1)
		strange := []rune(pick(g, g.text(2), pick(g, "@", ":", "/", "://", "%", "[", "]", "#", "?", `"`, "{", "\\",
			"\x00", "+")))
		cut := min(g.IntN(3), len(runes)-at)
		runes = append(runes[:at:at], append(strange, runes[at+cut:]...)...)
	}
	return string(runes)
}

func (g *generator) id() string {
	switch g.IntN(6) {
	case 0:
		return strings.Repeat(pick(g, "a", "é", "漢"), pick(g, 199, 200, 201, 249, 250, 251)) + pick(g, "", "\n", "b")
	case 1:
		return g.text(6)
	default:
		return pick(g, "my_conn", "a-b", "a.b", "#!()-.:/\\", "a b", "a..b", "a.b-c_d", "a\n", "\n", "a\nb", "",
			"Ünïcode", "²", "Ⅷ", "①", "_", "a\u0301", "٣", "a\n\n", "½", "ª", "ʰ", "a\u200d", fmt.Sprintf("c%d",
				g.IntN(1000)))
	}
}
