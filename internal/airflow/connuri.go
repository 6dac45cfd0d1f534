package airflow

import (
	"strconv"
	"strings"

	"github.com/airlock-secrets/airlock/internal/secret"
)

// extraKey is the parameter of a URI that holds a whole extra, as JSON.
const extraKey = "__extra__"

var (
	dashToUnderscore = strings.NewReplacer("-", "_")
	underscoreToDash = strings.NewReplacer("_", "-")
)

// fromURI follows Connection.from_uri (SDK) and Connection._parse_from_uri (core) line by line, their oddities included.
func (r Reading) fromURI(uri string) (Conn, error) {
	schemes := strings.Count(uri, "://")
	if schemes > 2 {
		return Conn{}, badConnection(`connection URI: "://" occurs more than twice`,
			"percent-encode the parameters: a URL in one of them begins https%3A%2F%2F")
	}
	protocolInHost := schemes == 2
	whole, err := urlsplit(uri)
	if err != nil {
		return Conn{}, err
	}
	// Every occurrence is replaced, also one that stands in a password.
	slashes := "//"
	if protocolInHost {
		slashes = ""
	}
	rest := strings.ReplaceAll(uri, whole.scheme+"://", slashes)
	if protocolInHost {
		if before, _, _ := strings.Cut(rest, "://"); strings.ContainsAny(before, "@:") {
			return Conn{},
				badConnection(`connection URI: something other than a protocol stands before the second "://"`,
					"a host with a protocol is written type://https://user:password@host",
					"percent-encode login, password and parameters: :// in one of them is %3A%2F%2F")
		}
	}
	parts, err := urlsplit(rest)
	if err != nil {
		return Conn{}, err
	}
	c := Conn{Type: new(normalType(whole.scheme))}
	host := parts.airflowHost()
	if protocolInHost && host != "" && parts.scheme != "" {
		host = parts.scheme + "://" + host
	}
	c.Host = &host
	schema := parts.path
	if schema != "" {
		_, size := firstRune(schema)
		schema = unquote(schema[size:])
	}
	c.Schema = &schema
	user, password, given := parts.userinfo()
	if given {
		c.Login = new(unquote(user))
	}
	if password != nil {
		r.setPassword(&c, unquote(*password))
	}
	if c.Port, err = parts.port(); err != nil {
		return Conn{}, err
	}
	if parts.query != "" {
		extra, err := r.queryExtra(parseQuery(parts.query))
		if err != nil {
			return Conn{}, err
		}
		if err := r.setExtra(&c, extra); err != nil {
			return Conn{}, err
		}
	}
	c.warnings = warnURI(uri, whole, parts, c)
	return c, nil
}

// queryExtra makes the extra out of a URI's parameters: the text of __extra__, or an object of them all. The core reads
// each value as JSON if it can, so that "1" becomes a number; the SDK keeps text.
func (r Reading) queryExtra(params *jsonObject) (string, error) {
	if whole, ok := params.get(extraKey); ok {
		return whole.(string), nil
	}
	if r == Core {
		for i, m := range params.members {
			text := m.value.(string)
			if text == "" {
				continue
			}
			switch v, err := loadJSON(text); {
			case err == nil:
				params.members[i].value = v
			case err.limit:
				return "", badConnection("connection URI: parameter no. " + strconv.Itoa(i+1) +
					" is a number too large for Python")
			}
		}
	}
	return dumpJSON(params), nil
}

// URI writes the connection as Connection.get_uri of both implementations does. A URI cannot hold everything: LostInURI
// tells what a reader of it would miss. The error, of kind Usage, tells of an extra that Python could not write either.
func (c Conn) URI() (secret.Value, error) {
	var b strings.Builder
	connType, host := text(c.Type), text(c.Host)
	if connType != "" {
		b.WriteString(underscoreToDash.Replace(pyLower(connType)) + "://")
	} else {
		b.WriteString("//")
	}
	if protocol, rest, ok := strings.Cut(host, "://"); ok && (c.Type == nil || protocol != connType) {
		host = rest
		if protocol != "" {
			b.WriteString(protocol + "://")
		}
	}
	var authority string
	if c.Login != nil {
		authority = quote(*c.Login)
	}
	if !c.Password.IsZero() {
		authority += ":" + quote(string(c.Password.Reveal()))
	}
	if authority != "" {
		authority += "@"
	}
	b.WriteString(authority)
	b.WriteString(quote(host))
	if c.Port != nil && *c.Port != 0 {
		if host == "" && authority == "" {
			b.WriteByte('@')
		}
		b.WriteString(":" + strconv.Itoa(*c.Port))
	}
	if schema := text(c.Schema); schema != "" {
		b.WriteString("/" + quote(schema))
	}
	if c.Extra.Len() > 0 {
		if text(c.Schema) == "" {
			b.WriteByte('/')
		}
		query, err := extraQuery(string(c.Extra.Reveal()))
		if err != nil {
			return secret.Value{}, err
		}
		b.WriteString("?" + query)
	}
	return secret.FromString(b.String()), nil
}

// extraQuery writes an extra as parameters when it is an object of texts, otherwise as the one parameter __extra__.
func extraQuery(extra string) (string, error) {
	whole := quotePlus(extraKey) + "=" + quotePlus(extra)
	v, err := loadJSON(extra)
	if err != nil {
		if err.limit {
			return "", badConnection("connection: extra holds a number or a nesting too large for Python")
		}
		return whole, nil // Airflow logs it and goes on with {}
	}
	object, ok := v.(*jsonObject)
	if !ok || len(object.members) == 0 {
		return whole, nil
	}
	flat := true
	params := make([]string, 0, len(object.members))
	for _, m := range object.members {
		s, ok := m.value.(string)
		if hasSurrogate(m.key) || ok && hasSurrogate(s) {
			return "", badConnection("connection: extra holds half of a surrogate pair, which no URI can")
		}
		if flat = flat && ok; flat {
			params = append(params, quotePlus(m.key)+"="+quotePlus(s))
		}
	}
	if !flat {
		return whole, nil
	}
	return strings.Join(params, "&"), nil
}

// text is Python's `s or ""`.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
