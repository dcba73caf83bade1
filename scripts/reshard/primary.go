package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const connectTimeout = 5 * time.Second

// A primary is a shard's server.
type primary struct {
	number int
	dsn    string
}

// with runs do on a connection of its own, so that no step depends on a connection of an earlier one.
func (p primary) with(ctx context.Context, do func(conn *pgx.Conn) error) error {
	if err := connected(ctx, p.dsn, do); err != nil {
		return fmt.Errorf("shard %d: %w", p.number, err)
	}
	return nil
}

// lockOut returns a connection that keeps other runs out until it is closed, by the end of this program too.
func (p primary) lockOut(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, p.dsn)
	if err != nil {
		return nil, fmt.Errorf("shard %d: %w", p.number, err)
	}
	alone, err := get[bool](ctx, conn, "SELECT pg_try_advisory_lock(hashtext($1))", replication)
	if err == nil && !alone {
		err = errors.New("another run is dividing it")
	}
	if err != nil {
		closeNow(conn)
		return nil, fmt.Errorf("shard %d: %w", p.number, err)
	}
	return conn, nil
}

// exec runs statements one by one.
func (p primary) exec(ctx context.Context, statements ...string) error {
	return p.with(ctx, func(conn *pgx.Conn) error {
		for _, statement := range statements {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// identity tells the databases of all servers apart.
func (p primary) identity(ctx context.Context) (identity string, err error) {
	err = p.with(ctx, func(conn *pgx.Conn) (err error) {
		identity, err = get[string](ctx, conn, `SELECT
			concat_ws('/', c.system_identifier, pg_postmaster_start_time(), d.oid)
			FROM pg_control_system() AS c, pg_database AS d WHERE d.datname = current_database()`)
		return err
	})
	return identity, err
}

// owned is one shard of so many, or none.
type owned struct {
	Shards, Shard int // 0 and -1 for none
	Empty         bool
	Version       string
	WalLevel      string
}

func (p primary) owned(ctx context.Context) (o owned, err error) {
	err = p.with(ctx, func(conn *pgx.Conn) error {
		rows, _ := conn.Query(ctx, `SELECT
			COALESCE(sessionsql.shards(), 0) AS shards,
			COALESCE(
			  (SELECT min(b.bits) FROM generate_series(0::bigint, 255) AS b (bits)
			    WHERE sessionsql.is_home(b.bits)),
			  -1
			)::integer AS shard,
			NOT EXISTS (SELECT FROM sessionsql.session)
			  AND NOT EXISTS (SELECT FROM sessionsql.cache_entry) AS empty,
			sessionsql.version() AS version,
			current_setting('wal_level') AS wal_level`)
		o, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[owned])
		return err
	})
	return o, err
}

func connected(ctx context.Context, dsn string, do func(conn *pgx.Conn) error) error {
	dial, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.Connect(dial, dsn)
	if err != nil {
		return err
	}
	defer closeNow(conn)
	return do(conn)
}

// closeNow closes a connection although the context of its work may have ended.
func closeNow(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// get returns the one value that a query answers.
func get[T any](ctx context.Context, conn *pgx.Conn, query string, arguments ...any) (T, error) {
	rows, _ := conn.Query(ctx, query, arguments...)
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
}
