package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sessionsql/postgres/db/native"
)

// A wrongServer says why the answers of a server do not count.
type wrongServer string

func (e wrongServer) Error() string { return "sessionsql: " + string(e) }

const (
	errOldPrimary  = wrongServer("another server has been promoted since this one was the primary")
	errUnconfirmed = wrongServer("the server answered after a silence, and not when asked for its timeline")
	errManyServers = wrongServer("the DSN leads to more than one server; give each replica a DSN of its own")
	errRestarted   = wrongServer("the server has restarted since it was probed")
	errLeftOut     = wrongServer("the replica was left out before it was asked")
)

// A server is what a connection tells of the one that it leads to.
type server struct {
	identifier int64
	timeline   int32
	startedAt  float64 // in seconds since 1970
}

// serverOf asks which server a connection leads to. Where no bundle answers, ok is false: it is missing or
// being installed, and the statement that needs it reports that.
func serverOf(ctx context.Context, conn *pgconn.PgConn) (answering server, ok bool, err error) {
	answer := conn.ExecParams(ctx, native.Server, nil, nil, nil, nil).Read()
	var refused *pgconn.PgError
	switch {
	case errors.As(answer.Err, &refused), answer.Err == nil && len(answer.Rows) != 1:
		return answering, false, nil
	case answer.Err != nil:
		return answering, false, answer.Err
	}
	row := answer.Rows[0]
	timeline, err := strconv.ParseInt(string(row[1]), 10, 32)
	answering.timeline = int32(timeline)
	if err == nil {
		answering.identifier, err = strconv.ParseInt(string(row[0]), 10, 64)
	}
	if err == nil {
		answering.startedAt, err = strconv.ParseFloat(string(row[2]), 64)
	}
	return answering, err == nil, err
}

// startedKey is the key of a connection's own data. The value is the start of the server that it leads to.
const startedKey = "sessionsql.started"

// confirmReplica follows each answer of a replica. It asks each connection once which server it leads to. If
// that is not the server that was found usable before the statement was sent, a balancer is in between or the
// DSN leads elsewhere now, and nobody knows how far the server lagged when it answered.
func (n *node) confirmReplica(
	ctx context.Context, conn *sql.Conn, pg *pgconn.PgConn, before *nodeState,
) error {
	started, asked := pg.CustomData()[startedKey].(float64)
	if !asked {
		answering, ok, err := serverOf(context.WithoutCancel(ctx), pg)
		if err != nil {
			discard(conn)
			return err
		}
		if !ok {
			return nil
		}
		started = answering.startedAt
		pg.CustomData()[startedKey] = started
	}
	switch {
	case !otherStart(started, before.server.StartedAt):
		return nil
	case started > before.server.Clock:
		return errRestarted
	}
	return errManyServers
}

// otherStart allows for the digits that extra_float_digits takes away.
func otherStart(a, b float64) bool { return math.Abs(a-b) > 1e-4 }
