package sessionsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Errors that session methods return.
var (
	// ErrNoSession says that there is no live session for a token: it is malformed or unknown, its secret is wrong, or the
	// session is expired or revoked. These cannot be told apart, on purpose. It unwraps to [sql.ErrNoRows].
	ErrNoSession error = noSession{}

	// ErrConflict says that the session has another version than the caller expected: somebody else wrote it. Look it up
	// again, merge, and update with the new version.
	ErrConflict = errors.New("sessionsql: version conflict: the session was written in the meantime")

	// ErrRotated says that another request has rotated the session first, and that the token that was presented is good for
	// the grace only. The session lives, and that request's response carries the new token: there is nothing to do.
	ErrRotated = errors.New("sessionsql: the session was rotated by another request")
)

// Errors of the database.
var (
	// ErrUnavailable says that no server could answer: connection refused or lost, shutting down, out of connections, or too
	// late. It says nothing about the session.
	ErrUnavailable = errors.New("database unavailable")

	// ErrReadOnly says that the primary refuses writes: it is a replica, or was demoted to one. It is an [ErrUnavailable].
	ErrReadOnly = fmt.Errorf("%w: the primary is read-only; point its DSN at the server that accepts writes "+
		"(with several hosts in it, add target_session_attrs=read-write)", ErrUnavailable)

	// ErrNotInstalled says that the database does not hold the bundle, or one that is older than this call needs.
	ErrNotInstalled = errors.New("the SQL bundle is not installed in this database, or older than this call needs; " +
		"call sessionsql.Install, or run: psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql")

	// ErrDSN says that a data source name cannot be understood.
	ErrDSN = errors.New(`not a PostgreSQL data source name; write it like ` +
		`"postgres://user:password@host:5432/database" or "host=... user=... dbname=..."`)
)

// Errors of the call.
var (
	// ErrClosed says that the Store was closed.
	ErrClosed = errors.New("sessionsql: store is closed")

	// ErrOptions says that an option, a subject, a label, a timeout or a version is out of its range.
	ErrOptions = errors.New("invalid option")
)

type noSession struct{}

func (noSession) Error() string { return "sessionsql: no such session" }
func (noSession) Unwrap() error { return sql.ErrNoRows }

// A PayloadError refuses a payload that PostgreSQL text cannot hold, or that is too large. Nothing was sent.
type PayloadError struct {
	Reason string // "contains a NUL byte", "is not valid UTF-8", "is too large"
	Size   int    // bytes
	Max    int    // bytes; [Options.MaxPayloadBytes]
}

// Error implements error; it does not repeat the payload.
func (e *PayloadError) Error() string {
	return fmt.Sprintf("sessionsql: payload of %d bytes %s (at most %d bytes of UTF-8 without NUL)", e.Size, e.Reason, e.Max)
}

// An Error is what a server, or the way to it, answered instead of a result. It never holds a token, a secret, a payload or
// a query parameter.
type Error struct {
	Op       string // the operation: "lookup", "insert"
	Node     string // who answered: "primary", "replica 1"
	SQLState string // PostgreSQL's error code, five characters; empty when no server answered

	kind   error  // ErrUnavailable, ErrReadOnly, ErrNotInstalled, or nil
	detail string // what may be shown of the cause
	cause  error  // a lateError, or nil
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sessionsql: %s: %s", e.Op, e.Node)
	if e.kind != nil {
		fmt.Fprintf(&b, ": %v", e.kind)
	}
	if e.detail != "" {
		fmt.Fprintf(&b, ": %s", e.detail)
	}
	if e.SQLState != "" {
		fmt.Fprintf(&b, " (SQLSTATE %s)", e.SQLState)
	}
	return b.String()
}

// Unwrap returns ErrUnavailable, ErrReadOnly or ErrNotInstalled; none for any other refusal of the server.
func (e *Error) Unwrap() []error {
	var chain []error
	for _, err := range []error{e.kind, e.cause} {
		if err != nil {
			chain = append(chain, err)
		}
	}
	return chain
}

// databaseError turns what a driver returned into what a caller may see. ctx is the caller's: only its own end is reported
// as such, and a deadline met below it (a connect timeout, say) means that the database is unavailable.
func databaseError(ctx context.Context, op string, n *node, err error) error {
	switch {
	case err == nil:
		return nil
	case expired(ctx):
		var late *lateError
		if cause := context.Cause(ctx); errors.As(cause, &late) { // a batch's, which is no caller's
			return n.databaseError(op, late)
		}
		return contextError(ctx, op)
	}
	return n.databaseError(op, err)
}

// expired also finds a deadline that has come though its timer has not fired yet: a driver may be faster.
func expired(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// databaseError is for what runs for no caller.
func (n *node) databaseError(op string, err error) error {
	e := &Error{Op: op, Node: n.name}
	var late *lateError
	switch {
	case errors.As(err, &late):
		e.kind, e.detail, e.cause = ErrUnavailable, late.Error(), late
		return e
	case errors.Is(err, errStandby):
		e.kind = ErrReadOnly
		return e
	}
	var state interface{ SQLState() string } // pgx and lib/pq alike
	if !errors.As(err, &state) {
		e.kind, e.detail = ErrUnavailable, connectionDetail(err)
		return e
	}
	e.SQLState = state.SQLState()
	e.kind = kindOf(e.SQLState)
	if e.kind != ErrNotInstalled {
		e.detail = serverDetail(err, e.SQLState)
	}
	return e
}

// contextError is what a caller whose context ended gets: the context's error and, where it has one, its cause.
func contextError(ctx context.Context, op string) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	switch {
	case err == nil: // see expired
		return fmt.Errorf("sessionsql: %s: %w", op, context.DeadlineExceeded)
	case cause == err:
		return fmt.Errorf("sessionsql: %s: %w", op, err)
	}
	return fmt.Errorf("sessionsql: %s: %w: %w", op, err, cause)
}

// refused reports whether the server refused what was sent, and may do so for the fault of one item of a batch: nothing was
// done. A statement that it refuses as such (42: privileges, syntax) would be refused for each item as well.
func refused(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.SQLState != "" && e.kind == nil && !strings.HasPrefix(e.SQLState, "42")
}

// connectionLost reports whether a connection broke under a statement, which then may or may not have been done.
func connectionLost(err error) bool {
	var network *net.OpError
	var connect *pgconn.ConnectError
	var late *lateError
	var state interface{ SQLState() string }
	switch {
	case err == nil, errors.As(err, &connect), errors.As(err, &late):
		return false
	case errors.As(err, &state):
		return strings.HasPrefix(state.SQLState(), "57P0") // terminated by an administrator, or by a crash
	}
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn)
}

// neverBegun reports whether a write met a connection that the server had ended before, so that it was not done.
func neverBegun(err error) bool {
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		return state.SQLState() == "57P05" // idle_session_timeout
	}
	return err != nil && pgconn.SafeToRetry(err)
}

// serialization reports whether the server refused a statement for what others do at the same time, or because its
// transaction is not read committed: nothing was done, and at read committed it can be.
func serialization(err error) bool {
	var state interface{ SQLState() string }
	if !errors.As(err, &state) {
		return false
	}
	switch state.SQLState() {
	case "40001", "40P01", "25000", // serialization_failure, deadlock_detected, invalid_transaction_state
		"0A000": // feature_not_supported: serializable on a replica; a plan that was made before an upgrade
		return true
	}
	return false
}

// kindOf sorts PostgreSQL's error codes (https://www.postgresql.org/docs/current/errcodes-appendix.html).
func kindOf(state string) error {
	switch state {
	case "25006": // read_only_sql_transaction
		return ErrReadOnly
	case "3F000", "42883", "42P01", "42703", "42704": // no such schema, function, table, column or type
		return ErrNotInstalled
	case "42P05", "26000": // duplicate_prepared_statement, invalid_sql_statement_name
		return errPooler
	case "57014", // query_canceled: by statement_timeout or by an operator
		"40001", "40P01": // on a replica, a conflict with recovery
		return ErrUnavailable
	}
	switch state[:min(2, len(state))] {
	case "08", // connection exception
		"28", // invalid authorization
		"3D", // no such database
		"53", // insufficient resources
		"57", // operator intervention: shutting down, starting up
		"58": // system error
		return ErrUnavailable
	}
	return nil
}

// errPooler is met behind a pooler that gives each transaction another connection.
var errPooler = fmt.Errorf("%w: a pooler does not keep prepared statements; add default_query_exec_mode=exec to the DSN",
	ErrUnavailable)

// serverDetail is the server's message, where its class does not repeat data: a bad value (22) or a violated constraint
// (23) may print what was sent.
func serverDetail(err error, state string) string {
	if strings.HasPrefix(state, "22") || strings.HasPrefix(state, "23") {
		return "refused by the server"
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Message
	}
	return "refused by the server"
}

// connectionDetail is the driver's message, where it comes from the network and not from encoding a parameter: a driver
// prints a parameter that it cannot encode in full.
func connectionDetail(err error) string {
	var network net.Error
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &connect):
		return strings.Join(strings.Fields(connect.Error()), " ") // one line, however many addresses were tried
	case errors.As(err, &network):
		return network.Error()
	case connectionLost(err):
		return "connection lost"
	case errors.Is(err, sql.ErrConnDone), errors.Is(err, sql.ErrTxDone):
		return "connection already closed"
	case err.Error() == "sql: database is closed": // database/sql has no value for it
		return "the connection pool is closed"
	}
	return fmt.Sprintf("%T", err)
}
