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

	"github.com/jackc/pgx/v5/pgconn"
)

// Of a session.
var (
	// ErrNoSession says that there is no live session for a token: it is malformed or unknown, its secret is wrong, or the
	// session is expired or revoked. These cannot be told apart, on purpose. It unwraps to [sql.ErrNoRows].
	ErrNoSession error = noSession{}

	// ErrConflict says that the session has another version than the caller expected: somebody else wrote it. Look it up
	// again, merge, and update with the new version.
	ErrConflict = errors.New("sessionsql: version conflict: the session was written in the meantime")
)

// Of the database.
var (
	// ErrUnavailable says that no server could answer: connection refused or lost, shutting down, out of connections, or too
	// late. It says nothing about the session.
	ErrUnavailable = errors.New("database unavailable")

	// ErrReadOnly says that the primary refuses writes: it is a replica, or was demoted to one. It is an [ErrUnavailable].
	ErrReadOnly = fmt.Errorf("%w: the primary is read-only; point its DSN at the server that accepts writes "+
		"(with several hosts in it, add target_session_attrs=read-write)", ErrUnavailable)

	// ErrNotInstalled says that the database does not hold the bundle, that the role may not see it, or that it is older
	// than this call needs.
	ErrNotInstalled = errors.New("the SQL bundle is not installed in this database, or older than this call needs; " +
		"call sessionsql.Install, or run: psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql")

	// ErrDSN says that a data source name cannot be understood.
	ErrDSN = errors.New(`not a PostgreSQL data source name; write it like ` +
		`"postgres://user:password@host:5432/database" or "host=... user=... dbname=..."`)
)

// Of the call.
var (
	// ErrClosed says that the Store was closed.
	ErrClosed = errors.New("sessionsql: store is closed")

	// ErrOptions says that an option, a subject or a timeout is out of its range.
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

// Unwrap returns ErrUnavailable, ErrReadOnly, ErrNotInstalled, or nil for any other refusal of the server.
func (e *Error) Unwrap() error { return e.kind }

// databaseError turns what a driver returned into what a caller may see. ctx is the caller's: only its own end is reported
// as such, and a deadline met below it (a connect timeout, say) means that the database is unavailable.
func databaseError(ctx context.Context, op string, n *node, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return contextError(ctx, op)
	}
	e := &Error{Op: op, Node: n.name}
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

// contextError is what a caller whose context ended gets.
func contextError(ctx context.Context, op string) error {
	return fmt.Errorf("sessionsql: %s: %w", op, context.Cause(ctx))
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
	var state interface{ SQLState() string }
	switch {
	case err == nil, errors.As(err, &connect):
		return false
	case errors.As(err, &state):
		return strings.HasPrefix(state.SQLState(), "57P0") // terminated by an administrator, or by a crash
	}
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn)
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
	}
	return fmt.Sprintf("%T", err)
}
