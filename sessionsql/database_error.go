package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A lateError says that a server did not answer within the limit of a statement.
type lateError struct{ limit time.Duration }

func (e *lateError) Error() string { return fmt.Sprintf("no answer within %v", e.limit) }

// databaseError turns a driver's error into one that may be shown. It reports the end of ctx, which is the
// caller's, as such. Any other deadline, such as a connect timeout, means that the database is unavailable.
func databaseError(ctx context.Context, op string, n *node, err error) error {
	var late *lateError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &late): // a batch's deadline may have passed at the same moment
		return n.newError(op, late)
	case expired(ctx):
		if cause := context.Cause(ctx); errors.As(cause, &late) { // ctx is a batch's and no caller's
			return n.newError(op, late)
		}
		return contextError(ctx, op)
	}
	return n.newError(op, err)
}

// expired also looks at the clock, because the driver may notice a deadline before the context's timer fires.
func expired(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// newError makes an Error of a driver's error, without the caller's data that the driver may quote.
func (n *node) newError(op string, err error) error {
	e := &Error{Op: op, Node: n.name}
	var late *lateError
	switch {
	case errors.As(err, &late):
		e.kind, e.detail, e.cause = ErrUnavailable, late.Error(), late
		return e
	case errors.Is(err, errStandby):
		e.kind = ErrReadOnly
		return e
	case errors.Is(err, ErrRouter):
		e.kind = ErrRouter
		return e
	case errors.Is(err, errLeftOut):
		e.kind, e.detail, e.cause = ErrUnavailable, string(errLeftOut), errLeftOut
		return e
	}
	state, ok := sqlState(err)
	if !ok {
		e.kind, e.detail = ErrUnavailable, connectionDetail(err)
		return e
	}
	e.SQLState = state
	e.kind = errorKind(state, err.Error())
	if e.kind != ErrNotInstalled && e.kind != errElsewhere {
		e.detail = serverDetail(err, state)
	}
	return e
}

// contextError wraps the error of a context that has ended and, if it has one, its cause.
func contextError(ctx context.Context, op string) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	switch {
	case err == nil: // the timer has not fired yet; see expired
		return fmt.Errorf("sessionsql: %s: %w", op, context.DeadlineExceeded)
	case cause == err:
		return fmt.Errorf("sessionsql: %s: %w", op, err)
	}
	return fmt.Errorf("sessionsql: %s: %w: %w", op, err, cause)
}

// serverDetail returns the server's message, except for a bad value (class 22) and a violated constraint
// (class 23), whose message may print the caller's data.
func serverDetail(err error, state string) string {
	var pg *pgconn.PgError
	if strings.HasPrefix(state, "22") || strings.HasPrefix(state, "23") || !errors.As(err, &pg) {
		return "refused by the server"
	}
	return strings.Join(strings.Fields(pg.Message), " ") // joins the lines of PL/Proxy
}

// connectionDetail returns the driver's message about the network. It hides any other message, because a
// driver prints a parameter that it cannot encode.
func connectionDetail(err error) string {
	var network net.Error
	var connect *pgconn.ConnectError
	var wrong wrongServer
	switch {
	case errors.As(err, &connect):
		return strings.Join(strings.Fields(connect.Error()), " ") // joins the lines of several addresses
	case errors.As(err, &wrong):
		return string(wrong)
	case errors.As(err, &network):
		return network.Error()
	case connectionLost(err):
		return "connection lost"
	case errors.Is(err, sql.ErrConnDone), errors.Is(err, sql.ErrTxDone):
		return "connection already closed"
	case err.Error() == "sql: database is closed": // database/sql exports no value for it
		return "the connection pool is closed"
	}
	return fmt.Sprintf("%T", err)
}
