// Package fault is the error that a caller may read.
//
// A [*Error] is a refusal: it names the field and the rule, and doors show it
// in the shape of their dialect. Every other error is trouble of our own: it is
// logged once and shown as "internal error".
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// A Kind says what sort of refusal an error is. Doors map it to a status.
type Kind int

// The kinds. The zero value is [Internal].
const (
	Internal     Kind = iota
	Invalid           // a parameter is missing or malformed
	Unauthorized      // no or wrong credentials
	Forbidden         // known caller, not allowed
	NotFound          // no such thing, or another account's
	Conflict          // the state does not allow it
	TooMany           // rate or concurrency limit
	Unavailable       // a neighbour cannot be reached now; try again
)

// An Error is a refusal whose text the caller may read.
type Error struct {
	Kind    Kind
	Code    int    // the dialect's own code (83007, 20001, ..), 0 if the kind says enough
	Field   string // the parameter concerned, as the caller spelled it
	Message string // a sentence: what was wrong, the rule, and what to do
}

// Error names the parameter, unless the text does.
func (e *Error) Error() string {
	if e.Field == "" || strings.HasPrefix(e.Message, missing) {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// missing begins the refusal of a parameter that was not sent: the hosted
// services' own words, which name the parameter.
const missing = "Missing required parameter "

// Missing returns an [Invalid] refusal of a parameter that is required and was not
// sent.
func Missing(name string) *Error {
	return &Error{Kind: Invalid, Field: name, Message: missing + name + " in the post body"}
}

// New returns a refusal of the given kind.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Field returns an [Invalid] refusal of one parameter.
func Field(name, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Field: name, Message: fmt.Sprintf(format, args...)}
}

// As returns the refusal in err's chain, if there is one.
func As(err error) (*Error, bool) { return errors.AsType[*Error](err) }

// Is reports whether err holds a refusal of the given kind.
func Is(err error, kind Kind) bool {
	e, ok := As(err)
	return ok && e.Kind == kind
}
