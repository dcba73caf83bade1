package sessionsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sessionsql/postgres/db/native"
)

const (
	// A DSN without connect_timeout gets one of these, so that a host that does not answer is reported as
	// unavailable before the operating system gives up. With several hosts the shorter one applies to each.
	connectTimeout     = 5 * time.Second
	connectTimeoutEach = time.Second

	// maxConnections bounds the pool of each server. It is small, because lookups, inserts and updates share
	// round trips, and the other operations need a connection for one round trip.
	maxConnections = 16

	// upkeepConnections gives each loop a connection, so that no loop waits for the connections of callers.
	upkeepConnections = 4
)

// A connection that should lead to the primary ends with one of these errors when it leads to another server.
var (
	errStandby    = errors.New("sessionsql: the server is a standby")
	errOldPrimary = errors.New("sessionsql: another server has been promoted since this one was the primary")
)

// openPool opens a pool. If accept is not nil, the pool uses only connections that it accepts, and tries the
// next host of the DSN after a refusal.
func openPool(config *pgx.ConnConfig, connections int, accept pgconn.ValidateConnectFunc) *sql.DB {
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
		for _, fallback := range config.Fallbacks { // a fallback may also be the same host without TLS
			if fallback.Host != config.Host || fallback.Port != config.Port {
				config.ConnectTimeout = connectTimeoutEach
			}
		}
	}
	if chosen := config.ValidateConnect; accept != nil {
		config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
			if chosen != nil {
				if err := chosen(ctx, conn); err != nil {
					return err
				}
			}
			return accept(ctx, conn)
		}
	}
	pool := sql.OpenDB(&dialler{
		Connector: stdlib.GetConnector(*config),
		dialling:  make(chan struct{}, connections),
		spare:     make(chan driver.Conn, connections),
		closed:    make(chan struct{}),
	})
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	return pool
}

// acceptPrimary refuses a connection to a standby or to an old primary.
//
// A server reports at the start of a connection whether it is a standby. A primary becomes a standby only by
// a restart, which ends the connection, so the report stays true. A pooler reports nothing, so behind one a
// connection may lead to a standby.
//
// A primary that hung until another server was promoted still accepts writes when it goes on. Its timeline is
// lower, so after a promotion acceptPrimary asks each server for its timeline.
func (s *Store) acceptPrimary(ctx context.Context, conn *pgconn.PgConn) error {
	switch conn.ParameterStatus("in_hot_standby") {
	case "on":
		return errStandby
	case "":
		s.primary.neverStandby.Store(false)
	}
	if !s.cluster.promoted() {
		return nil
	}
	answer := conn.ExecParams(ctx, native.Timeline, nil, nil, nil, nil).Read()
	var refused *pgconn.PgError
	switch {
	case errors.As(answer.Err, &refused), answer.Err == nil && len(answer.Rows) != 1:
		return nil // the bundle is missing or being installed; the statement that needs it reports that
	case answer.Err != nil:
		return answer.Err
	}
	row := answer.Rows[0]
	identifier, err := strconv.ParseInt(string(row[0]), 10, 64)
	if err != nil {
		return err
	}
	timeline, err := strconv.ParseInt(string(row[1]), 10, 32)
	if err != nil {
		return err
	}
	if s.cluster.replaced(identifier, int32(timeline)) {
		return errOldPrimary
	}
	return nil
}
