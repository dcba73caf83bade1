package sessionsql

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// sqlState returns PostgreSQL's error code, if the error is a server's. It serves pgx and lib/pq alike.
func sqlState(err error) (state string, ok bool) {
	var server interface{ SQLState() string }
	if !errors.As(err, &server) {
		return "", false
	}
	return server.SQLState(), true
}

// errPooler is the error behind a pooler that gives each transaction another connection.
var errPooler = fmt.Errorf(
	"%w: a pooler does not keep prepared statements; add default_query_exec_mode=exec to the DSN",
	ErrUnavailable)

// errElsewhere is the error of a primary that does not own the session or entry, so that it cannot say that
// there is none; see sql/functions/shard.sql.
var errElsewhere = fmt.Errorf(
	"%w: it belongs to another primary; the low bits of a session's id are its shard", ErrUnavailable)

// errShard is the error of a router that gets no answer from a shard, or asked one that owns the session no
// more. Other shards answer meanwhile.
var errShard = fmt.Errorf("%w: a shard behind the router gives no answer", ErrUnavailable)

// errorKind sorts PostgreSQL's error codes (https://www.postgresql.org/docs/current/errcodes-appendix.html).
// PL/Proxy has none of its own.
func errorKind(state, message string) error {
	proxied := strings.Contains(message, "PL/Proxy function ") ||
		strings.Contains(message, "] REMOTE ERROR: ")
	if proxied && (state == "SQ001" || state == "XX000") { // internal_error
		return errShard
	}
	switch state {
	case "25006": // read_only_sql_transaction
		return ErrReadOnly
	case "3F000", "42883", "42P01", "42703", "42704": // no such schema, function, table, column or type
		return ErrNotInstalled
	case "42P05", "26000": // duplicate_prepared_statement, invalid_sql_statement_name
		return errPooler
	case "SQ001": // see sql/functions/elsewhere.sql
		return errElsewhere
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

// answered reports whether an error is a server's answer.
func answered(err error) bool {
	_, ok := sqlState(err)
	return ok || errors.Is(err, sql.ErrNoRows)
}

// refused reports whether the server refused a batch, did nothing, and may accept its items one by one. A
// fault of the statement itself (class 42: privileges, syntax) would be the same for each item. A router may
// have done the part of a shard that answers, so updates do not share a statement there.
func refused(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.SQLState != "" && !strings.HasPrefix(e.SQLState, "42") &&
		(e.kind == nil || e.kind == errElsewhere || e.kind == errShard)
}

// connectionLost reports whether a connection broke under a statement, which then may have been done.
func connectionLost(err error) bool {
	var network *net.OpError
	var connect *pgconn.ConnectError
	var late *lateError
	if err == nil || errors.As(err, &connect) || errors.As(err, &late) {
		return false
	}
	if state, ok := sqlState(err); ok {
		return strings.HasPrefix(state, "57P0") // terminated by an administrator, or by a crash
	}
	return errors.Is(err, errOldPrimary) || errors.Is(err, errUnconfirmed) ||
		errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, driver.ErrBadConn)
}

// neverBegun reports whether the connection was dead before a write was sent, so that it was not done.
func neverBegun(err error) bool {
	if state, ok := sqlState(err); ok {
		return state == "57P05" // idle_session_timeout
	}
	return err != nil && pgconn.SafeToRetry(err)
}

// serialization reports whether the server did nothing, because other transactions change the same rows, or
// because the statement needs isolation level read committed. At read committed it may succeed.
func serialization(err error) bool {
	switch state, _ := sqlState(err); state {
	case "40001", "40P01", "25000", // serialization_failure, deadlock_detected, invalid_transaction_state
		"0A000": // feature_not_supported: serializable on a replica, or a plan from before an upgrade
		return true
	}
	return false
}
