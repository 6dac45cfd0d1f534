package astro

import (
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/airlock-secrets/airlock/localcloud/internal/rest"
)

// Error is an answer that refuses. One constructor below makes each.
// Shape: the specification's schemas Error and FieldValidationError.
type Error struct {
	Status  int
	Message string
	Fields  []FieldError // only with status 400
}

// FieldError says what is wrong with one field of a request.
type FieldError struct {
	Code    string `json:"code"`
	Field   string `json:"field"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// answers is how the service writes JSON.
var answers = rest.Format{ContentType: "application/json; charset=UTF-8", Newline: true}

func writeError(w http.ResponseWriter, e *Error) {
	answers.Write(w, e.Status, struct {
		Fields    []FieldError `json:"fieldErrors,omitempty"`
		Message   string       `json:"message"`
		RequestID string       `json:"requestId"`
		Status    int          `json:"statusCode"`
	}{e.Fields, e.Message, uuid.NewString(), e.Status})
}

func field(name, code, message string) FieldError {
	return FieldError{Code: code, Field: name, Message: name + " " + message}
}

func errFields(fields ...FieldError) *Error {
	return &Error{Status: http.StatusBadRequest, Message: "Invalid request: " + fields[0].Message, Fields: fields}
}

func errBody() *Error {
	return &Error{Status: http.StatusBadRequest, Message: "Invalid request: the body is not JSON"}
}

func errTooLarge() *Error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Message: "Invalid request: the body is too large"}
}

func errUnauthorized() *Error {
	return &Error{Status: http.StatusUnauthorized, Message: "Invalid authorization token. This is airlock's local cloud, which takes " +
		"the tokens that were provisioned in it: airlock dev env --tokens"}
}

func errForbidden() *Error {
	return &Error{Status: http.StatusForbidden, Message: "You don't have the permission to perform this action"}
}

// Source: the clients tell this refusal by the words showSecrets, organization and not allowed.
func errShowSecrets(id string) *Error {
	return &Error{Status: http.StatusForbidden, Message: "showSecrets on organization with id " + id + " is not allowed"}
}

func errNotFound(what, id string) *Error {
	return &Error{Status: http.StatusNotFound, Message: fmt.Sprintf("%s with id %s not found", what, id)}
}

func errNoRoute() *Error {
	return &Error{Status: http.StatusNotFound, Message: "The local cloud does not stand in for this endpoint; its page of limitations " +
		"lists those that it has"}
}

func errExists(key string) *Error {
	return &Error{Status: http.StatusConflict, Message: fmt.Sprintf("Environment object with key %s already exists", key)}
}
