package sessionsql

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// Errors that session methods return.
var (
	// ErrNoSession says that no live session has this token: it is malformed or unknown, its secret is wrong,
	// or the session is expired or revoked. These cases look the same, so that no answer helps to guess a
	// token. It unwraps to [sql.ErrNoRows].
	ErrNoSession error = noSession{}

	// ErrConflict says that the session has another version, or the cache entry another value, than the
	// caller expected, because somebody else wrote it. Read it again, merge, and write with what it has now.
	ErrConflict = errors.New("sessionsql: conflict: somebody else wrote it in the meantime")

	// ErrRotated says that another request has rotated the session first. The session lives, the response to
	// that request carries the new token, and the old token works until its grace ends. Do nothing.
	ErrRotated = errors.New("sessionsql: the session was rotated by another request")
)

// Errors that methods of a Cache return.
var (
	// ErrNoEntry says that there is no live entry of this key. It unwraps to [sql.ErrNoRows].
	ErrNoEntry error = noEntry{}

	// ErrEntryEnded says that the entry was deleted within the last hour in a Final cache, so that nothing
	// may bring it back.
	ErrEntryEnded = errors.New("sessionsql: the cache entry has ended for good")
)

// Errors that the database causes.
var (
	// ErrUnavailable says that no server could answer: it refused or lost the connection, was shutting down,
	// had no connection left, took too long, or is a shard that does not own the session. It says nothing
	// about the session.
	ErrUnavailable = errors.New("database unavailable")

	// ErrReadOnly says that the primary refuses writes, because it is a replica. It is an [ErrUnavailable].
	ErrReadOnly = fmt.Errorf("%w: the primary is read-only; point its DSN at the server that accepts writes "+
		"(with several hosts in it, add target_session_attrs=read-write)", ErrUnavailable)

	// ErrNotInstalled says that the database holds no bundle, or one that is older than this call needs.
	ErrNotInstalled = errors.New("the SQL bundle is not installed in this database, " +
		"or older than this call needs; " +
		"call sessionsql.Install, or run: psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql")

	// ErrDSN says that a data source name cannot be parsed.
	ErrDSN = errors.New(`not a PostgreSQL data source name; write it like ` +
		`"postgres://user:password@host:5432/database" or "host=... user=... dbname=..."`)
)

// Errors that the caller causes.
var (
	// ErrRouter says that the primary is a router of shards, which cannot do this: it has no replicas, no log
	// of changes and no tables of its own, and each shard commits by itself, whatever becomes of a
	// transaction on the router.
	ErrRouter = errors.New("a router of shards cannot do this; ask a shard")

	// ErrClosed says that the Store was closed.
	ErrClosed = errors.New("sessionsql: store is closed")

	// ErrOptions says that an option, a subject, a label, a timeout, a version, the name of a cache, a key or
	// a TTL is out of its range.
	ErrOptions = errors.New("invalid option")
)

type noSession struct{}

func (noSession) Error() string { return "sessionsql: no such session" }
func (noSession) Unwrap() error { return sql.ErrNoRows }

type noEntry struct{}

func (noEntry) Error() string { return "sessionsql: no such cache entry" }
func (noEntry) Unwrap() error { return sql.ErrNoRows }

// A PayloadError refuses a payload that PostgreSQL text cannot hold, or a payload or a cache entry's value
// that is too large. Nothing was sent.
type PayloadError struct {
	Reason string // "contains a NUL byte", "is not valid UTF-8", "is too large"
	Size   int    // bytes
	Max    int    // bytes; [Options.MaxPayloadBytes]
}

// Error implements error; it does not repeat the payload.
func (e *PayloadError) Error() string {
	return fmt.Sprintf("sessionsql: payload of %d bytes %s (at most %d bytes)", e.Size, e.Reason, e.Max)
}

// An Error reports that a server refused a statement, or that none could answer it. It never holds a token, a
// secret, a payload or a query parameter.
type Error struct {
	Op       string // the operation: "lookup", "insert"
	Node     string // the server: "primary", "replica 1"
	SQLState string // PostgreSQL's error code, five characters; empty when no server answered

	kind   error  // ErrUnavailable, ErrReadOnly, ErrNotInstalled, or nil
	detail string // the part of the cause that holds no data of the caller
	cause  error  // a lateError, errLeftOut or nil
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

// Unwrap returns ErrUnavailable, ErrReadOnly, ErrNotInstalled or ErrRouter, if it is one of them.
func (e *Error) Unwrap() []error {
	var chain []error
	for _, err := range []error{e.kind, e.cause} {
		if err != nil {
			chain = append(chain, err)
		}
	}
	return chain
}
