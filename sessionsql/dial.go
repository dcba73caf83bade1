package sessionsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
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

// errStandby ends a connection that should lead to the primary.
var errStandby = errors.New("sessionsql: the server is a standby")

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
	answering, ok, err := serverOf(ctx, conn)
	if ok && s.cluster.replaced(answering.identifier, answering.timeline) {
		return errOldPrimary
	}
	return err
}
