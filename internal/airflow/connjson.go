package airflow

import (
	"fmt"
	"math"
	"strconv"

	"github.com/airlock-secrets/airlock/internal/secret"
)

// fromJSON follows Connection.from_json. Where Airflow keeps a host or a login that is not text, to fail over it later,
// this is an error at once.
func (r Reading) fromJSON(source string) (Conn, error) {
	v, jsonErr := loadJSON(source)
	if jsonErr != nil {
		return Conn{}, badConnection("connection JSON: not valid"+jsonErr.where(), jsonHints(source)...)
	}
	object, ok := v.(*jsonObject)
	if !ok {
		return Conn{}, badConnection("connection JSON: not an object")
	}
	var c Conn
	fields := map[string]**string{
		"description": &c.Description, "host": &c.Host, "login": &c.Login, "schema": &c.Schema,
	}
	var uri any // of any type, as Airflow tests it
	var extra string
	others, full := 0, false // keys beside uri as the SDK counts them, and whether one says something
	for i, m := range object.members {
		if text, isText := m.value.(string); isText && m.key != "extra" && hasSurrogate(text) {
			return Conn{}, badConnection("connection JSON: " + knownKey(m.key, i) + " holds half of a surrogate pair")
		}
		switch m.key {
		case "extra":
			if !truthy(m.value) {
				continue
			}
			text, isText := m.value.(string)
			if !isText {
				text = dumpJSON(m.value)
			} else if hasSurrogate(text) {
				return Conn{}, badConnection("connection JSON: extra holds half of a surrogate pair")
			}
			extra = text
		case "conn_type":
			if !truthy(m.value) {
				continue
			}
			text, isText := m.value.(string)
			if !isText {
				return Conn{}, wrongField(m.key)
			}
			c.Type = new(normalType(text))
		case "port":
			if !truthy(m.value) {
				continue
			}
			port, err := jsonPort(m.value)
			if err != nil {
				return Conn{}, err
			}
			c.Port = &port
		case "uri":
			uri = m.value
			continue
		case "password":
			text, isText := m.value.(string)
			if !isText && m.value != nil && (r == SDK || truthy(m.value)) {
				return Conn{}, wrongField(m.key)
			}
			if isText {
				r.setPassword(&c, text)
			}
		case "description", "host", "login", "schema":
			text, isText := m.value.(string)
			if !isText && m.value != nil {
				return Conn{}, wrongField(m.key)
			}
			if isText {
				*fields[m.key] = &text
			}
		case "team_name":
			if r == SDK {
				return Conn{}, unknownField(m.key, i)
			}
			continue
		default:
			return Conn{}, unknownField(m.key, i)
		}
		others++
		full = full || truthy(m.value) && m.key != "description" && !(m.key == "port" && *c.Port == 0)
	}
	if uri != nil && (r == SDK || truthy(uri)) {
		text, isText := uri.(string)
		switch {
		case !isText:
			return Conn{}, wrongField("uri")
		case r == SDK && others > 0, r == Core && full:
			return Conn{}, badConnection("connection JSON: uri stands beside other keys",
				`write either {"uri": ...} alone or the fields`)
		}
		fromURI, err := r.fromURI(text)
		fromURI.Description = c.Description
		return fromURI, err
	}
	if extra != "" {
		if err := r.setExtra(&c, extra); err != nil {
			return Conn{}, err
		}
	}
	c.warnings = warnJSON(object, c)
	return c, nil
}

// jsonPort is int(port).
func jsonPort(v any) (int, error) {
	bad := badConnection("connection JSON: port is not a whole number")
	switch v := v.(type) {
	case bool:
		return 1, nil // false is dropped before
	case string:
		n, ok := pyInt(v)
		if !ok {
			return 0, bad
		}
		return n, nil
	case jsonNumber:
		if n, err := strconv.Atoi(string(v)); err == nil {
			return n, nil
		}
		f, _ := strconv.ParseFloat(string(v), 64) // a number too large gives an infinity
		if !(math.Abs(f) < 1<<63) {
			return 0, bad
		}
		return int(f), nil
	}
	return 0, bad
}

// JSON writes the connection as Connection.as_json of both implementations does: what is None is left out, the extra is
// an object and not text, and an extra that holds nothing is left out. The error, of kind Usage, tells of an extra that
// Python could not read either.
func (c Conn) JSON() (secret.Value, error) {
	object := &jsonObject{}
	put := func(key string, s *string) {
		if s != nil {
			object.set(key, *s)
		}
	}
	put("conn_type", c.Type)
	put("description", c.Description)
	put("host", c.Host)
	put("login", c.Login)
	if !c.Password.IsZero() {
		object.set("password", string(c.Password.Reveal()))
	}
	put("schema", c.Schema)
	if c.Port != nil {
		object.set("port", jsonNumber(strconv.Itoa(*c.Port)))
	}
	if c.Extra.Len() > 0 {
		v, err := loadJSON(string(c.Extra.Reveal()))
		switch {
		case err == nil && truthy(v):
			object.set("extra", v)
		case err != nil && err.limit:
			return secret.Value{}, badConnection("connection: extra holds a number or a nesting too large for Python")
		}
	}
	return secret.FromString(dumpJSON(object)), nil
}

func wrongField(key string) error {
	want := "a text"
	if key != "conn_type" {
		want = "a text or null"
	}
	return badConnection(fmt.Sprintf("connection JSON: %s must be %s", key, want))
}

// meantKeys are keys that people write for those of Airflow. Only these are ever named in a message: any other key may be
// a part of a secret that was torn apart.
var meantKeys = map[string]string{
	"conn_id": "", "id": "", "connection_id": "", "team_name": "", "is_encrypted": "", "is_extra_encrypted": "",
	"type": "conn_type", "connection_type": "conn_type", "conn-type": "conn_type", "connType": "conn_type",
	"username": "login", "user": "login", "user_name": "login", "account": "login",
	"pass": "password", "passwd": "password", "pwd": "password", "secret": "password",
	"hostname": "host", "server": "host", "endpoint": "host", "url": "uri", "URI": "uri", "conn_uri": "uri",
	"database": "schema", "db": "schema", "dbname": "schema", "path": "schema",
	"extras": "extra", "extra_dejson": "extra", "conn_extra": "extra", "extra_options": "extra", "params": "extra",
	"conn_type": "", "host": "", "login": "", "password": "", "schema": "", "port": "", "extra": "", "uri": "",
	"description": "", "conn_host": "host", "conn_login": "login", "conn_password": "password",
	"conn_schema": "schema", "conn_port": "port",
}

// knownKey names a key, or tells its place when naming it could tell a secret.
func knownKey(key string, index int) string {
	if _, ok := meantKeys[key]; ok {
		return key
	}
	return "key no. " + strconv.Itoa(index+1)
}

func unknownField(key string, index int) error {
	err := badConnection("connection JSON: Airflow does not know " + knownKey(key, index))
	switch meant, listed := meantKeys[key]; {
	case meant != "":
		err.Hints = append(err.Hints, "Airflow's key for it is "+meant)
	case listed:
		err.Hints = append(err.Hints, "take it out: the secret's name tells the id")
	default:
		err.Hints = append(err.Hints,
			"the keys are conn_type, description, host, login, password, schema, port and extra; others belong into extra")
	}
	return err
}
