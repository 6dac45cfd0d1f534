package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/dotenv"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// shapes are what `get --as` knows.
var shapes = []string{"uri", "json", "env", "fields"}

// printAs prints a value in a shape: a connection as Airflow's own get_uri and as_json write it, or field by field as tasks
// read it; anything as the line of a .env in which Airflow would find it.
func (a *app) printAs(shape string, about subject, value secret.Value) error {
	if shape == "env" {
		key := map[airflow.Kind]string{airflow.Connection: "AIRFLOW_CONN_", airflow.Variable: "AIRFLOW_VAR_"}[about.kind]
		if key == "" {
			return fault.New(fault.Usage, "--as env is for connections and variables")
		}
		fmt.Fprintf(a.env.Stdout, "%s%s=%s\n", key, strings.ToUpper(about.id), dotenv.Quote(string(value.Reveal())))
		return nil
	}
	if about.kind != airflow.Connection {
		return fault.New(fault.Usage, fmt.Sprintf("--as %s is for connections", shape))
	}
	c, err := airflow.ParseConnection(value)
	if err != nil {
		return err
	}
	for _, w := range c.Warnings() {
		a.say("airlock: warning: %s", w.Message)
	}
	var text secret.Value
	switch shape {
	case "uri":
		if lost := c.LostInURI(); len(lost) > 0 {
			a.say("airlock: warning: a URI does not hold all of it; lost or changed: %s", strings.Join(lost, ", "))
		}
		text, err = c.URI()
	case "json":
		text, err = c.JSON()
	case "fields":
		a.printFields(c)
		return nil
	}
	if err == nil {
		fmt.Fprintln(a.env.Stdout, string(text.Reveal()))
	}
	return err
}

// printFields prints the fields that are set, a line each: name, tab, value; line breaks and tabs in a value as Go writes them.
func (a *app) printFields(c airflow.Conn) {
	plain := func(name string, s *string) {
		if s != nil {
			fmt.Fprintf(a.env.Stdout, "%s\t%s\n", name, oneLine(*s))
		}
	}
	hidden := func(name string, v secret.Value) {
		if !v.IsZero() {
			plain(name, new(string(v.Reveal())))
		}
	}
	plain("conn_type", c.Type)
	plain("description", c.Description)
	plain("host", c.Host)
	plain("schema", c.Schema)
	plain("login", c.Login)
	hidden("password", c.Password)
	if c.Port != nil {
		plain("port", new(strconv.Itoa(*c.Port)))
	}
	hidden("extra", c.Extra)
}

// oneLine keeps what prints, and quotes what would steer the terminal or break the line.
func oneLine(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r != ' ' && !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
