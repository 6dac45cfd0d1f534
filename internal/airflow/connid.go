package airflow

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/airlock-secrets/airlock/internal/fault"
)

const (
	// MaxIDLength is the most characters that an id has in Airflow's tables: CONN_ID_MAX_LEN of airflow.models.connection,
	// ID_LEN of airflow.models.base.
	MaxIDLength = 250
	// MaxImportIDLength is the most that `airflow connections add` and `import` take.
	MaxImportIDLength = 200
)

// SanitizeConnectionID is Airflow's sanitize_conn_id: the id as airflow.models.Connection keeps it, or not ok where it keeps
// none. Letters and digits of any script, and #!()_-.:/\ are allowed; of an id that ends in a line break, the rest is kept.
func SanitizeConnectionID(id string) (string, bool) {
	if utf8.RuneCountInString(id) > MaxIDLength {
		return "", false
	}
	id = strings.TrimSuffix(id, "\n")
	if id == "" || strings.ContainsFunc(id, func(c rune) bool { return !connectionIDRune(c) }) {
		return "", false
	}
	return id, true
}

// connectionIDRune is Python's [\w#!()\-.:/\\].
func connectionIDRune(c rune) bool {
	return unicode.IsLetter(c) || unicode.IsNumber(c) || strings.ContainsRune(`_#!()-.:/\`, c)
}

// CheckConnectionID tells why Airflow's servers would not keep a connection's id as it is, with an error of kind Usage; nil
// when they would. It looks at Airflow's rules alone: Naming.Names tells whether Key Vault can hold it.
func CheckConnectionID(id string) error {
	switch kept, ok := SanitizeConnectionID(id); {
	case id == "":
		return fault.New(fault.Usage, "a connection id cannot be empty")
	case utf8.RuneCountInString(id) > MaxIDLength:
		return fault.New(fault.Usage, fmt.Sprintf("connection id %q has %d characters, of %d allowed",
			clip(id), utf8.RuneCountInString(id), MaxIDLength))
	case !ok || kept != id:
		return fault.New(fault.Usage, fmt.Sprintf("connection id %q holds a character that Airflow does not allow",
			clip(id)),
			`an id has letters, digits and #!()_-.:/\`)
	}
	return nil
}

// CheckImportID tells why `airflow connections import` would pass a connection by: its rule for ids, that of
// airflow.utils.helpers.validate_key, is narrower than that of the servers. The error is of kind Usage.
func CheckImportID(id string) error {
	length := utf8.RuneCountInString(id)
	switch {
	case length > MaxImportIDLength:
		return fault.New(fault.Usage,
			fmt.Sprintf("connection id %q has %d characters, of %d that airflow connections import takes",
				clip(id), length, MaxImportIDLength))
	case strings.Contains(id, ".."):
		return fault.New(fault.Usage,
			fmt.Sprintf("connection id %q holds two dots, which airflow connections import refuses", clip(id)))
	}
	id = strings.TrimSuffix(id, "\n")
	if id == "" || strings.ContainsFunc(id, func(c rune) bool {
		return !connectionIDRune(c) ||
			strings.ContainsRune(`#!():/\`, c)
	}) {
		return fault.New(fault.Usage,
			fmt.Sprintf("connection id %q is not made of letters, digits, - . and _ alone", clip(id)),
			"airflow connections import takes no others")
	}
	return nil
}
