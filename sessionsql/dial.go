package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	hosts := splitHosts(config)
	for _, host := range hosts {
		switch {
		case host.ConnectTimeout > 0:
		case len(hosts) > 1:
			host.ConnectTimeout = connectTimeoutEach
		default:
			host.ConnectTimeout = connectTimeout
		}
		if chosen := host.ValidateConnect; accept != nil {
			host.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
				if chosen != nil {
					if err := chosen(ctx, conn); err != nil {
						return err
					}
				}
				return accept(ctx, conn)
			}
		}
	}
	pool := sql.OpenDB(newDialler(hosts, connections))
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	return pool
}

// splitHosts returns a configuration for each host of a DSN. A fallback may also be the same host without
// TLS.
func splitHosts(config *pgx.ConnConfig) (hosts []*pgx.ConnConfig) {
	all := append([]*pgconn.FallbackConfig{
		{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig},
	}, config.Fallbacks...)
	for _, one := range all {
		if n := len(hosts); n > 0 && hosts[n-1].Host == one.Host && hosts[n-1].Port == one.Port {
			hosts[n-1].Fallbacks = append(hosts[n-1].Fallbacks, one)
			continue
		}
		host := config.Copy()
		host.Host, host.Port, host.TLSConfig, host.Fallbacks = one.Host, one.Port, one.TLSConfig, nil
		hosts = append(hosts, host)
	}
	return hosts
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
