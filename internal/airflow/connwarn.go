package airflow

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/airlock-secrets/airlock/internal/secret"
)

// Warning is one doubt about a connection that can be read. Message and Hint name fields and say what Airflow makes of the
// content; they never hold any of it.
type Warning struct {
	Code    WarningCode
	Field   string // one of Airflow's names: "conn_type", "password", ...; "" for the whole
	Message string // lower case, no final period
	Hint    string // what to write instead; may be empty
}

// WarningCode names what a warning is about. It is stable, for scripts and for docs/connections.md.
type WarningCode string

// The warnings, in the order in which docs/connections.md tells them.
const (
	// Airflow's two implementations differ.
	ServersRefuse  WarningCode = "servers-refuse"  // tasks read it, the scheduler and the API server do not
	EmptyPassword  WarningCode = "empty-password"  // tasks get an empty password, servers get none
	TypedExtra     WarningCode = "typed-extra"     // tasks get the text "1", servers the number 1
	ReadingsDiffer WarningCode = "readings-differ" // any other difference

	// A URI is not what it seems.
	NoConnectionType  WarningCode = "no-type"           // no scheme, or one that Python does not take for a scheme
	TypeInHost        WarningCode = "type-twice"        // http://http://host loses the host
	ProtocolInHost    WarningCode = "protocol-in-host"  // a second "://"
	HostLowered       WarningCode = "host-lowered"      // Airflow writes the host in small letters
	PlusInPassword    WarningCode = "plus"              // "+" is a plus in login and password, and a blank in parameters
	Unescaped         WarningCode = "unescaped"         // a character that should be percent-encoded
	BrokenEscape      WarningCode = "broken-escape"     // "%" without two hexadecimal digits, or bytes that are not UTF-8
	FragmentDropped   WarningCode = "fragment-dropped"  // "#" and what follows it
	Removed           WarningCode = "removed"           // line breaks and tabs, which Python takes out
	Brackets          WarningCode = "brackets"          // newer Pythons refuse what stands beside an IPv6 address
	ParameterRepeated WarningCode = "parameter-twice"   // the last one counts
	ParameterDropped  WarningCode = "parameter-dropped" // what stands beside __extra__

	// A JSON object is not what it seems.
	KeyRepeated   WarningCode = "key-twice"       // the last one counts
	PortConverted WarningCode = "port-converted"  // a port of 0, true, or with a fraction
	TypeNotLower  WarningCode = "type-upper-case" // conn_type is taken as it stands

	// A connection that Airflow takes, and cannot work with.
	UnknownType    WarningCode = "unknown-type"
	ExtraNotObject WarningCode = "extra-not-object" // tasks read it as no extra at all, or as no dict
	PortRange      WarningCode = "port-range"
)

// Warnings tells what is doubtful about the connection: first what the text that it was read from gave cause for, then what
// its fields do, which holds for a Conn that was put together by hand too.
func (c Conn) Warnings() []Warning {
	all := append([]Warning(nil), c.warnings...)
	has := func(code WarningCode) bool {
		for _, w := range all {
			if w.Code == code {
				return true
			}
		}
		return false
	}
	switch t := text(c.Type); {
	case t == "" && !has(NoConnectionType):
		all = append(all, Warning{NoConnectionType, "conn_type",
			"there is no connection type, so that no hook is found for it",
			"add conn_type"})
	case t != "" && t != strings.ToLower(t):
		all = append(all, Warning{TypeNotLower, "conn_type",
			"the connection type has capital letters, which Airflow keeps",
			"write it in small letters"})
	case t != "" && !IsKnownConnectionType(t):
		all = append(all, Warning{UnknownType, "conn_type",
			"no provider of the Airflow community has this connection type",
			"right for a provider of your own; otherwise see `airflow providers hooks`"})
	}
	if c.Port != nil && (*c.Port < 0 || *c.Port > 65535) {
		all = append(all, Warning{PortRange, "port",
			"the port is not within 0-65535; newer releases of Airflow refuse it", ""})
	}
	if c.Extra.Len() > 0 {
		v, err := loadJSON(string(c.Extra.Reveal()))
		if _, ok := v.(*jsonObject); !ok {
			message := "the extra is JSON, but not an object"
			if err != nil {
				message = "the extra is not JSON" + err.where() + "; tasks go on without any extra"
			}
			all = append(all, Warning{ExtraNotObject, "extra", message, "write an object: {\"key\": ...}"})
		}
	}
	return all
}

// compareReadings tells where the servers would read something else than tasks do.
func compareReadings(sdk, core Conn, coreErr error) []Warning {
	if coreErr != nil {
		return []Warning{{ServersRefuse, "", "tasks read this, but Airflow's servers refuse it: " + coreErr.Error(),
			"write it so that both read it, or it is missing wherever the scheduler or the API server needs it"}}
	}
	var all []Warning
	for _, field := range differingFields(sdk, core, sameText) {
		switch {
		case field == "password" && sdk.Password.Len() == 0:
			all = append(all, Warning{EmptyPassword, field,
				"the password is empty for tasks, and none at all for Airflow's servers",
				"leave it out (in a URI with its colon)"})
		case field == "extra":
			all = append(all, Warning{TypedExtra, field,
				"tasks get the parameters as text, while Airflow's servers read what looks like JSON: numbers, true, null, objects",
				"write the connection as JSON, or the extra as one parameter __extra__"})
		default:
			all = append(all, Warning{ReadingsDiffer, field, "tasks and Airflow's servers read the " + field +
				" differently", ""})
		}
	}
	return all
}

// LostInURI names the fields that a reader of URI would not get back as they are, because a URI has no place for them: a
// description, capital letters of a host or a type, a port of 0, an empty extra. None and the empty text count as the same.
func (c Conn) LostInURI() []string {
	uri, err := c.URI()
	if err != nil {
		return []string{"extra"}
	}
	back, err := SDK.Parse(uri)
	if err != nil {
		back = Conn{}
	}
	return differingFields(c, back, emptyIsNone)
}

func sameText(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func emptyIsNone(a, b *string) bool { return text(a) == text(b) }

// differingFields names the fields in which two connections differ, texts by the comparison given; extras that are the same
// JSON are the same.
func differingFields(a, b Conn, same func(a, b *string) bool) []string {
	revealed := func(v secret.Value) *string {
		if v.IsZero() {
			return nil
		}
		return new(string(v.Reveal()))
	}
	written := func(v secret.Value) *string {
		s := revealed(v)
		if s != nil {
			if v, err := loadJSON(*s); err == nil {
				s = new(dumpJSON(v))
			}
		}
		return s
	}
	port := func(p *int) *string {
		if p == nil {
			return nil
		}
		return new(strconv.Itoa(*p))
	}
	var fields []string
	for _, f := range []struct {
		name string
		a, b *string
	}{
		{"conn_type", a.Type, b.Type}, {"description", a.Description, b.Description}, {"host", a.Host, b.Host},
		{"login", a.Login, b.Login}, {"password", revealed(a.Password), revealed(b.Password)},
		{"schema", a.Schema, b.Schema}, {"port", port(a.Port), port(b.Port)}, {"extra", written(a.Extra),
			written(b.Extra)},
	} {
		if !same(f.a, f.b) {
			fields = append(fields, f.name)
		}
	}
	return fields
}

// warnURI looks at a URI that could be read. whole is what Python makes of it, parts what Airflow makes of the rest.
func warnURI(uri string, whole, parts splitURL, c Conn) []Warning {
	var all []Warning
	warn := func(code WarningCode, field, message, hint string) {
		all = append(all, Warning{code, field, message, hint})
	}

	if whole.scheme == "" {
		switch scheme, _, ok := strings.Cut(uri, "://"); {
		case !ok:
			warn(NoConnectionType, "", "this is neither a URI nor a JSON object; Airflow takes the text for a path",
				`write {"conn_type": ...} or type://login:password@host:port/schema`)
		case strings.Contains(scheme, "_"):
			warn(NoConnectionType, "conn_type", "a scheme cannot hold _, so that Airflow finds neither type nor host",
				"write - for _ in the scheme: google-cloud-platform://")
		default:
			warn(NoConnectionType, "conn_type", "there is no scheme of letters, digits, +, - and . before ://", "")
		}
		return all
	}
	if strings.ContainsAny(uri, "\t\r\n") {
		warn(Removed, "", "line breaks and tabs inside the URI are taken out", "percent-encode them: %0A, %0D, %09")
	}
	twice := strings.Count(uri, "://") == 2
	switch {
	case twice && strings.Count(uri, whole.scheme+"://") > 1:
		warn(TypeInHost, "host", "the same scheme stands twice, and Airflow takes out both: the host is lost",
			"percent-encode the second: http://http%3A%2F%2Fhost")
	case twice:
		warn(ProtocolInHost, "host", "the second :// makes a protocol a part of the host", "")
	}
	if parts.fragment != "" || strings.HasSuffix(uri, "#") {
		warn(FragmentDropped, "", "# and what follows it is dropped", "percent-encode it: %23")
	}
	host, _ := parts.hostPort()
	if name, _, _ := strings.Cut(host, "%"); name != pyLower(name) && !strings.Contains(text(c.Host), "/") {
		warn(HostLowered, "host", "capital letters of the host become small ones",
			"right for names of hosts; otherwise write JSON")
	}
	hostInfo := parts.netloc[strings.LastIndexByte(parts.netloc, '@')+1:]
	if before, after, ok := strings.Cut(hostInfo, "["); ok {
		_, after, _ = strings.Cut(after, "]")
		if before != "" || after != "" && after[0] != ':' {
			warn(Brackets, "host",
				"text beside the brackets of an IPv6 address is dropped, and newer Pythons refuse it", "")
		}
	} else if strings.ContainsAny(parts.netloc, "[]") {
		warn(Brackets, "password", "brackets stand before the host, and newer Pythons refuse it",
			"percent-encode them: %5B, %5D")
	}
	login, password, _ := parts.userinfo()
	all = append(all, warnEscapes("login", login)...)
	if password != nil {
		all = append(all, warnEscapes("password", *password)...)
	}
	for _, part := range [][2]string{{"host", host}, {"schema", parts.path}, {"extra", parts.query}} {
		if brokenEscape(part[1]) {
			warn(BrokenEscape, part[0], "a % stands alone, or the bytes that it stands for are not UTF-8",
				"a percent sign itself is %25")
		}
	}
	params := parseQuery(parts.query)
	if params.repeated {
		warn(ParameterRepeated, "extra", "a parameter occurs more than once; the last one counts", "")
	}
	if _, ok := params.get(extraKey); ok && len(params.members) > 1 {
		warn(ParameterDropped, "extra", "parameters beside __extra__ are dropped", "put them into it")
	}
	return all
}

// warnEscapes looks at a login or a password as it is written.
func warnEscapes(field, raw string) []Warning {
	var all []Warning
	if strings.Contains(raw, "+") {
		all = append(all, Warning{PlusInPassword, field, "a + in the " + field + " is a plus and not a blank",
			"write %2B to make that plain, or %20 if a blank was meant"})
	}
	if strings.ContainsFunc(raw, func(c rune) bool {
		return c != '%' && c != '+' && (c >= utf8.RuneSelf ||
			!unreserved(byte(c)))
	}) {
		all = append(all, Warning{Unescaped, field, "the " + field + " holds a character that is not percent-encoded",
			"encode everything but letters, digits, - . _ ~; or write JSON"})
	}
	if brokenEscape(raw) {
		all = append(all, Warning{BrokenEscape, field,
			"a % stands alone, or the bytes that it stands for are not UTF-8",
			"a percent sign itself is %25"})
	}
	return all
}

// brokenEscape tells whether a "%" has no two hexadecimal digits behind it, or what it gives is not UTF-8.
func brokenEscape(raw string) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] == '%' && (i+2 >= len(raw) || hexDigit(raw[i+1]) < 0 || hexDigit(raw[i+2]) < 0) {
			return true
		}
	}
	return strings.Count(unquote(raw), "\uFFFD") > strings.Count(raw, "\uFFFD")+strings.Count(strings.ToUpper(raw),
		"%EF%BF%BD")
}

// warnJSON looks at an object that could be read.
func warnJSON(object *jsonObject, c Conn) []Warning {
	var all []Warning
	if object.repeated {
		all = append(all, Warning{KeyRepeated, "", "a key occurs more than once; the last one counts", ""})
	}
	if port, ok := object.get("port"); ok && port != nil && port != "" {
		number, isNumber := port.(jsonNumber)
		plain := isNumber && c.Port != nil && string(number) == strconv.Itoa(*c.Port)
		text, isText := port.(string)
		if !plain && !(isText && c.Port != nil && text == strconv.Itoa(*c.Port)) {
			all = append(all, Warning{PortConverted, "port",
				"the port is no plain whole number above 0; Airflow drops or changes it",
				"write it as a number"})
		}
	}
	return all
}

// jsonHints says what to look at in text that is not JSON.
func jsonHints(text string) []string {
	if hint := jsonHint(pyStrip(text)); hint != "" {
		return []string{hint}
	}
	return nil
}
