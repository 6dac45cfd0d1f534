package airflow

import (
	"unicode/utf8"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// Conn is an Airflow connection with the fields of airflow.sdk.Connection and airflow.models.Connection (3.3.2), except for
// the id, which is not part of what a secret holds. A nil field, and a Password or Extra that is the zero Value, is
// Python's None; an empty text is another thing. The zero Conn is Connection() without arguments.
type Conn struct {
	Type        *string // conn_type, as Airflow normalises it: "postgres", "google_cloud_platform"
	Description *string
	Host        *string // may begin with a protocol: "https://example.com"
	Schema      *string
	Login       *string
	Password    secret.Value
	Port        *int         // any number that fits: Airflow checks the range in a URI only
	Extra       secret.Value // meant to be a JSON object, as text; what it is in fact is whatever the source said

	warnings []Warning // what the source's text gave cause for; see Warnings
}

// Reading is one of the two implementations of connections that Airflow 3.3 ships. They do not agree in all things.
type Reading uint8

const (
	// SDK is airflow.sdk.Connection, which tasks, triggers and DAG files use.
	SDK Reading = iota
	// Core is airflow.models.Connection, which the scheduler, the API server and the command line use.
	Core
)

// String names the reading as the warnings do.
func (r Reading) String() string {
	if r == Core {
		return "Airflow's servers"
	}
	return "tasks"
}

// ParseConnection reads the content of a secret as a secrets backend does for a task: JSON when its first character is "{",
// otherwise a URI. Conn.Warnings tells what is doubtful about it, and where the servers of Airflow read it otherwise. An
// error, of kind Usage, says where the content is wrong and holds nothing of it.
func ParseConnection(value secret.Value) (Conn, error) {
	return parse(value, Reading.Parse)
}

// ParseConnectionURI is ParseConnection for what must be a URI. It does not trim white space, as Airflow does not.
func ParseConnectionURI(value secret.Value) (Conn, error) {
	return parse(value, Reading.ParseURI)
}

// ParseConnectionJSON is ParseConnection for what must be a JSON object.
func ParseConnectionJSON(value secret.Value) (Conn, error) {
	return parse(value, Reading.ParseJSON)
}

// parse reads for tasks, and once more for the servers, to tell the difference.
func parse(value secret.Value, read func(Reading, secret.Value) (Conn, error)) (Conn, error) {
	c, err := read(SDK, value)
	core, coreErr := read(Core, value)
	if err != nil {
		if coreErr == nil {
			return Conn{}, fault.New(fault.Usage, err.Error(), append(fault.HintsOf(err),
				"Airflow's servers would read this, but tasks do not; write it so that both do")...)
		}
		return Conn{}, err
	}
	c.warnings = append(c.warnings, compareReadings(c, core, coreErr)...)
	return c, nil
}

// Parse reads a secret's content as this implementation does, by way of BaseSecretsBackend.deserialize_connection.
func (r Reading) Parse(value secret.Value) (Conn, error) {
	text, err := connectionText(value)
	if err != nil {
		return Conn{}, err
	}
	switch text = pyStrip(text); {
	case text == "":
		return Conn{}, badConnection("connection is empty")
	case text[0] == '{':
		return r.fromJSON(text)
	default:
		return r.fromURI(text)
	}
}

// ParseURI reads a URI: Connection.from_uri of the SDK, Connection(uri=...) of the core.
func (r Reading) ParseURI(value secret.Value) (Conn, error) {
	text, err := connectionText(value)
	if err != nil {
		return Conn{}, err
	}
	if text == "" && r == Core {
		return Conn{}, nil // the core takes an empty URI for none
	}
	return r.fromURI(text)
}

// ParseJSON reads a JSON object: Connection.from_json.
func (r Reading) ParseJSON(value secret.Value) (Conn, error) {
	text, err := connectionText(value)
	if err != nil {
		return Conn{}, err
	}
	return r.fromJSON(text)
}

func connectionText(value secret.Value) (string, error) {
	b := value.Reveal()
	if !utf8.Valid(b) {
		return "", badConnection("connection is not UTF-8 text")
	}
	return string(b), nil
}

func badConnection(msg string, hints ...string) *fault.Error {
	return fault.New(fault.Usage, msg, hints...)
}

// normalType is Connection._normalize_conn_type.
func normalType(s string) string {
	if s == "postgresql" {
		return "postgres"
	}
	return dashToUnderscore.Replace(s)
}

// setPassword keeps a password as this implementation does: the core's setter takes no notice of an empty one.
func (r Reading) setPassword(c *Conn, text string) {
	if text != "" || r == SDK {
		c.Password = secret.FromString(text)
	}
}

// setExtra keeps an extra. The core wants a JSON object, unless it is empty; the SDK takes any text.
func (r Reading) setExtra(c *Conn, text string) error {
	if r == Core && text != "" {
		v, err := loadJSON(text)
		if err != nil {
			return badConnection("connection: extra is not JSON" + err.where())
		}
		if _, ok := v.(*jsonObject); !ok {
			return badConnection("connection: extra is JSON, but not an object")
		}
	}
	c.Extra = secret.FromString(text)
	return nil
}
