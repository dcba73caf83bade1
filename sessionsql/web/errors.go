package web

import (
	"context"
	"errors"
	"net/http"

	"github.com/sessionsql/postgres/sessionsql"
)

// Errors of this package. All others are those of package sessionsql, unchanged.
var (
	// ErrHeaderSent says that the response's header was written before, so that no cookie can be set.
	ErrHeaderSent = errors.New("sessionsql/web: the response's header is already written")

	// ErrNotWrapped says that the context is not that of a request that passed through Wrap.
	ErrNotWrapped = errors.New("sessionsql/web: the handler runs outside Sessions.Wrap")

	// ErrPayload says that a session's payload does not decode into the application's type, or that a value
	// does not encode. The error names the type and repeats no payload.
	ErrPayload = errors.New("sessionsql/web: payload")
)

// Status returns the HTTP status that answers an error:
//
//   - 200 for nil.
//   - 401 for [sessionsql.ErrNoSession]: the visitor must log in.
//   - 503 for [sessionsql.ErrUnavailable], [sessionsql.ErrClosed], or a context that has ended: the visitor
//     should try again in a moment, and is still logged in.
//   - 500 for any other error.
func Status(err error) int {
	switch {
	case err == nil:
		return http.StatusOK
	case errors.Is(err, sessionsql.ErrNoSession):
		return http.StatusUnauthorized
	case errors.Is(err, sessionsql.ErrUnavailable), errors.Is(err, sessionsql.ErrClosed),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
