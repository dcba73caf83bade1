package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgtext"
)

// insertLatency measures one caller's inserts under each way to make a commit cheap.
func (b *bench) insertLatency(ctx context.Context) error {
	d, err := b.servers.database(ctx, "insert_latency")
	if err != nil {
		return err
	}
	defer d.close()
	unlogged, err := openPlain(ctx, d)
	if err != nil {
		return err
	}
	if err := d.exec(ctx, `
		CREATE TABLE logged_session (
			id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
			expires_at timestamptz NOT NULL,
			payload text NOT NULL
		)`); err != nil {
		return err
	}
	store, err := openOurs(ctx, d, quiet)
	if err != nil {
		return err
	}
	defer store.close()

	const insertLogged = `INSERT INTO logged_session (expires_at, payload)
		VALUES (now() + interval '30 minutes', $1) RETURNING id`
	var id int64
	logged := func(ctx context.Context, _ *caller) error {
		return d.pool.QueryRowContext(ctx, insertLogged, payload).Scan(&id)
	}
	asynchronous := func(ctx context.Context, _ *caller) error {
		tx, err := d.pool.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // it does nothing after Commit
		if _, err := tx.ExecContext(ctx, "SET LOCAL synchronous_commit = off"); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, insertLogged, payload).Scan(&id); err != nil {
			return err
		}
		return tx.Commit()
	}
	clearLogged := func(ctx context.Context) error { return d.exec(ctx, "TRUNCATE logged_session") }

	const ourName = "Store.Insert"
	postgres := b.servers.postgresMeter()
	results, err := b.race(ctx, "insert-latency",
		turn{callers: 1, slice: b.latencyTurn, ops: b.latencyRows / b.rounds},
		[]contestant{
			{name: "UNLOGGED", cpu: postgres, op: insertOp(unlogged), reset: unlogged.clear},
			{name: "logged", cpu: postgres, op: logged, reset: clearLogged},
			{
				name: "logged, SET LOCAL synchronous_commit = off", cpu: postgres, op: asynchronous,
				reset: clearLogged,
			},
			{name: "sessionsql.insert()", cpu: postgres, op: insertByFunction(d.pool), reset: store.clear},
			{name: ourName, cpu: postgres, op: insertOp(store), reset: store.clear},
		})
	if err != nil {
		return err
	}
	b.report.Ratios["insert1_vs_unlogged"] = ratio(byName(results, ourName), byName(results, "UNLOGGED"), p50)
	return nil
}

// insertByFunction calls the function behind Store.Insert on a bare pool.
func insertByFunction(pool *sql.DB) func(context.Context, *caller) error {
	queries := db.New()
	return func(ctx context.Context, _ *caller) error {
		var secret [16]byte
		_, _ = rand.Read(secret[:])
		hash := sha256.Sum256(secret[:])
		_, err := queries.Insert(ctx, pool, db.InsertParams{
			SecretHash:  hash[:],
			Payload:     pgtext.Payload(payload),
			IdleSeconds: idleTimeout.Seconds(),
		})
		return err
	}
}

func insertOp(p peer) func(context.Context, *caller) error {
	return func(ctx context.Context, _ *caller) error { return p.insert(ctx) }
}
