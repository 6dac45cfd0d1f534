package github

import (
	"net/http"
	"strconv"

	"github.com/airlock-secrets/airlock/localcloud/internal/rest"
)

// Error is an answer that refuses. One constructor below makes each.
// Shape: https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api
type Error struct {
	Status  int
	Message string
}

func (e *Error) Error() string { return e.Message }

// answers is how the service writes JSON.
var answers rest.Format

func writeError(w http.ResponseWriter, e *Error) {
	answers.Write(w, e.Status, map[string]string{
		"message": e.Message, "documentation_url": "https://docs.github.com/rest/actions/secrets", "status": strconv.Itoa(e.Status),
	})
}

func errNoToken() *Error {
	return &Error{Status: http.StatusUnauthorized, Message: "Requires authentication"}
}

func errBadToken() *Error {
	return &Error{Status: http.StatusUnauthorized, Message: "Bad credentials"}
}

func errNotFound() *Error { return &Error{Status: http.StatusNotFound, Message: "Not Found"} }

func errNoPermission() *Error {
	return &Error{Status: http.StatusForbidden, Message: "Resource not accessible by personal access token"}
}

func errParse() *Error {
	return &Error{Status: http.StatusBadRequest, Message: "Problems parsing JSON"}
}

func errInvalid(message string) *Error {
	return &Error{Status: http.StatusUnprocessableEntity, Message: message}
}

// errNoRoute is not GitHub's: whoever asks for more than the local cloud has gets to know how to reach GitHub itself.
func errNoRoute() *Error {
	return &Error{Status: http.StatusNotImplemented, Message: "airlock's local cloud answers for " + Host + ", and has only the secrets of " +
		"repositories. To reach GitHub itself, start it with: airlock dev --pass " + Host}
}
