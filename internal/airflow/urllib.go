package airflow

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Python's urllib.parse, by hand: net/url differs nearly everywhere, and what Airflow understands is what Python's functions
// make of a text, not what RFC 3986 says. Followed: Python 3.11.7, https://docs.python.org/3.11/library/urllib.parse.html

// splitURL is urllib.parse.SplitResult.
type splitURL struct{ scheme, netloc, path, query, fragment string }

// removed are the characters that urlsplit takes out of any place of a URL.
var removed = strings.NewReplacer("\t", "", "\r", "", "\n", "")

// urlsplit is urllib.parse.urlsplit. Its errors are those of kind Usage.
func urlsplit(url string) (splitURL, error) {
	url = removed.Replace(strings.TrimLeftFunc(url, func(c rune) bool { return c <= ' ' }))
	var s splitURL
	if i := strings.IndexByte(url, ':'); i > 0 && isSchemeText(url[:i]) {
		s.scheme, url = strings.ToLower(url[:i]), url[i+1:]
	}
	if strings.HasPrefix(url, "//") {
		url = url[2:]
		end := strings.IndexAny(url, "/?#")
		if end < 0 {
			end = len(url)
		}
		s.netloc, url = url[:end], url[end:]
		if err := checkBrackets(s.netloc); err != nil {
			return splitURL{}, err
		}
	}
	url, s.fragment, _ = strings.Cut(url, "#")
	s.path, s.query, _ = strings.Cut(url, "?")
	if strings.ContainsAny(s.netloc, becomesDelimiter) {
		return splitURL{},
			badConnection("connection URI: a character before the path becomes one of /?#@: when normalised",
				"percent-encode what is not ASCII in login, password and host")
	}
	return s, nil
}

// becomesDelimiter are the characters whose compatibility form (NFKC) holds one of "/?#@:"; urlsplit refuses them in login,
// password and host. The list was computed with Python's unicodedata and is checked against it in python/tests/parity.
const becomesDelimiter = "\u2048\u2047\u2049\u2100\u2101\u2105\u2106\u2A74\uFE13" +
	"\uFE16\uFE55\uFE56\uFE5F\uFE6B\uFF03\uFF0F\uFF1A\uFF1F\uFF20"

func isSchemeText(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return true
}

var futureAddress = regexp.MustCompile(`(?s)\Av[a-fA-F0-9]+\..+\z`)

// checkBrackets wants an IPv6 address, or an address of a future version, between the first pair of brackets, wherever in
// login, password and host they stand.
func checkBrackets(netloc string) error {
	_, rest, opened := strings.Cut(netloc, "[")
	closed := strings.Contains(netloc, "]")
	if !opened && !closed {
		return nil
	}
	err := badConnection("connection URI: brackets before the path do not hold an IPv6 address",
		"percent-encode brackets in login and password: [ is %5B, ] is %5D")
	if !opened || !closed {
		return err
	}
	address, _, _ := strings.Cut(rest, "]")
	if strings.HasPrefix(address, "v") {
		if futureAddress.MatchString(address) {
			return nil
		}
		return err
	}
	address, zone, zoned := strings.Cut(address, "%")
	if zoned && (zone == "" || strings.Contains(zone, "%")) {
		return err
	}
	if ip, parseErr := netip.ParseAddr(address); parseErr != nil || !ip.Is6() {
		return err
	}
	return nil
}

// userinfo is login and password as they are written, and whether there is an "@" at all.
func (s splitURL) userinfo() (user string, password *string, given bool) {
	at := strings.LastIndexByte(s.netloc, '@')
	if at < 0 {
		return "", nil, false
	}
	user, secret, ok := strings.Cut(s.netloc[:at], ":")
	if ok {
		password = &secret
	}
	return user, password, true
}

// hostPort is host and port as they are written.
func (s splitURL) hostPort() (host, port string) {
	host = s.netloc[strings.LastIndexByte(s.netloc, '@')+1:]
	if _, bracketed, ok := strings.Cut(host, "["); ok {
		host, port, _ = strings.Cut(bracketed, "]")
		_, port, _ = strings.Cut(port, ":")
		return host, port
	}
	host, port, _ = strings.Cut(host, ":")
	return host, port
}

// hostname is the host in lower case, up to its first "%".
func (s splitURL) hostname() string {
	host, _ := s.hostPort()
	name, rest, zoned := strings.Cut(host, "%")
	name = pyLower(name)
	if zoned {
		name += "%" + rest
	}
	return name
}

// airflowHost is Airflow's _parse_netloc_to_hostname: a host that is a path keeps its letters' case.
func (s splitURL) airflowHost() string {
	host := unquote(s.hostname())
	if strings.Contains(host, "/") {
		host = s.netloc[strings.LastIndexByte(s.netloc, '@')+1:]
		host, _, _ = strings.Cut(host, ":")
		host = unquote(host)
	}
	return host
}

func (s splitURL) port() (*int, error) {
	_, text := s.hostPort()
	if text == "" {
		return nil, nil
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return nil, badConnection("connection URI: port is not a number",
				"percent-encode login and password: / is %2F, # is %23, ? is %3F, @ is %40, : is %3A")
		}
	}
	port, err := strconv.Atoi(text)
	if err != nil || port > 65535 || len(text) > maxDigits {
		return nil, badConnection("connection URI: port is not within 0-65535")
	}
	return &port, nil
}

// parseQuery is dict(urllib.parse.parse_qsl(query, keep_blank_values=True)).
func parseQuery(query string) *jsonObject {
	params := &jsonObject{}
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		key, value, _ := strings.Cut(part, "=")
		params.set(unquotePlus(key), unquotePlus(value))
	}
	return params
}

func unquotePlus(s string) string { return unquote(strings.ReplaceAll(s, "+", " ")) }

// unquote is urllib.parse.unquote: bytes that are not UTF-8 become U+FFFD, one for each start of a sequence that breaks off,
// and a sequence never goes on beyond a run of ASCII.
func unquote(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	var run []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= utf8.RuneSelf {
			decodeReplacing(&b, run)
			run = run[:0]
			b.WriteByte(c)
			continue
		}
		if c == '%' && i+2 < len(s) {
			if high, low := hexDigit(s[i+1]), hexDigit(s[i+2]); high >= 0 && low >= 0 {
				c = byte(high<<4 | low)
				i += 2
			}
		}
		run = append(run, c)
	}
	decodeReplacing(&b, run)
	return b.String()
}

// decodeReplacing is bytes.decode("utf-8", "replace"): the longest start of a sequence that could have become a character
// is replaced by one U+FFFD (Unicode 15, section 3.9, "maximal subparts"), where Go replaces each of its bytes.
func decodeReplacing(b *strings.Builder, bytes []byte) {
	for len(bytes) > 0 {
		c, size := utf8.DecodeRune(bytes)
		if c == utf8.RuneError && size == 1 {
			size = brokenSequence(bytes)
		}
		b.WriteRune(c)
		bytes = bytes[size:]
	}
}

// brokenSequence is the length of the start of a UTF-8 sequence that bytes begin with and do not finish; 1 for a byte that
// starts none. The bounds of the second byte are those of Unicode's table 3-7.
func brokenSequence(bytes []byte) int {
	low, high, length := byte(0x80), byte(0xBF), 0
	switch first := bytes[0]; {
	case first >= 0xC2 && first <= 0xDF:
		length = 2
	case first >= 0xE0 && first <= 0xEF:
		length = 3
		if first == 0xE0 {
			low = 0xA0
		} else if first == 0xED {
			high = 0x9F
		}
	case first >= 0xF0 && first <= 0xF4:
		length = 4
		if first == 0xF0 {
			low = 0x90
		} else if first == 0xF4 {
			high = 0x8F
		}
	}
	n := 1
	for n < length && n < len(bytes) && bytes[n] >= low && bytes[n] <= high {
		n++
		low, high = 0x80, 0xBF
	}
	return n
}

const upperHex = "0123456789ABCDEF"

// quote is urllib.parse.quote(s, safe="").
func quote(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if unreserved(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&0xF]})
		}
	}
	return b.String()
}

// quotePlus is urllib.parse.quote_plus, which urlencode uses.
func quotePlus(s string) string { return strings.ReplaceAll(quote(s), "%20", "+") }

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("_.-~", c) >= 0
}
