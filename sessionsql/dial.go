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
	// A DSN that does not say connect_timeout gets one of these: a server that does not answer is then reported as
	// unavailable, and not waited for until the operating system gives up. With several hosts the next one is tried soon.
	connectTimeout     = 5 * time.Second
	connectTimeoutEach = time.Second

	// maxConnections is enough for each server: reads, inserts and updates share a few connections, and the other
	// operations hold one for a single round trip.
	maxConnections = 16

	// upkeepConnections is one for each loop: a keepalive must not wait behind a hundred logouts for a connection.
	upkeepConnections = 3
)

// What a connection ends with that should lead to the primary, and leads to another server.
var (
	errStandby    = errors.New("sessionsql: the server is a standby")
	errOldPrimary = errors.New("sessionsql: another server has been promoted since this one was the primary")
)

// openPool opens a pool. Where accept is given, a connection is used only if accept returns nil; with several hosts in the
// DSN, the next one is tried.
func openPool(config *pgx.ConnConfig, connections int, accept pgconn.ValidateConnectFunc) *sql.DB {
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
		for _, fallback := range config.Fallbacks { // the same host once more, without TLS, or another host
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

// acceptPrimary accepts a connection to a server that is not in recovery, which it says by itself at the start. It becomes a
// standby only by a restart, which ends the connection. Behind a pooler nobody says so, and nothing is certain.
//
// A primary that hung until another server was promoted goes on as one, until somebody tells it. Only its timeline gives it
// away, so where there has been a promotion each server is asked for that.
func (s *Store) acceptPrimary(ctx context.Context, conn *pgconn.PgConn) error {
	switch conn.ParameterStatus("in_hot_standby") {
	case "on":
		return errStandby
	case "":
		s.primary.certain.Store(false)
	}
	if !s.picture.promoted() {
		return nil
	}
	answer := conn.ExecParams(ctx, native.Timeline, nil, nil, nil, nil).Read()
	var refused *pgconn.PgError
	switch {
	case errors.As(answer.Err, &refused), answer.Err == nil && len(answer.Rows) != 1:
		return nil // a bundle is being installed, or missing: whoever needs it is told so
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
	if s.picture.outdates(identifier, int32(timeline)) {
		return errOldPrimary
	}
	return nil
}

// A dialler goes on connecting when its caller has left, and gives the connection to the next one. A host that does not
// answer may cost more than any caller's deadline; without this, nobody would ever come as far as the second host.
type dialler struct {
	driver.Connector
	dialling chan struct{} // bounds how many connections are being made
	spare    chan driver.Conn
	closed   chan struct{}
}

type dialled struct {
	conn driver.Conn
	err  error
}

// Connect implements [driver.Connector].
func (d *dialler) Connect(ctx context.Context) (driver.Conn, error) {
	for {
		select {
		case conn := <-d.spare:
			if conn.(driver.Pinger).Ping(ctx) == nil { // it may have waited for long
				return conn, nil
			}
			_ = conn.Close()
			continue
		case d.dialling <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		break
	}
	done := make(chan dialled, 1)
	go func() {
		defer func() { <-d.dialling }()
		conn, err := d.Connector.Connect(context.WithoutCancel(ctx))
		done <- dialled{conn, err}
	}()
	select {
	case got := <-done:
		return got.conn, got.err
	case <-ctx.Done():
		go d.keep(done)
		return nil, ctx.Err()
	}
}

// keep puts a connection that nobody waits for where the next caller finds it.
func (d *dialler) keep(done <-chan dialled) {
	got := <-done
	if got.err != nil {
		return
	}
	select {
	case d.spare <- got.conn:
	default:
		_ = got.conn.Close()
	}
	select {
	case <-d.closed:
		d.drain()
	default:
	}
}

func (d *dialler) drain() {
	for {
		select {
		case conn := <-d.spare:
			_ = conn.Close()
		default:
			return
		}
	}
}

// Close implements [io.Closer], which database/sql calls when the pool is closed.
func (d *dialler) Close() error {
	close(d.closed)
	d.drain()
	return nil
}
