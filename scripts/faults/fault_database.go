package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sessionsql/postgres/internal/pgcluster"
)

// setting changes a setting of the primary while it runs, and changes it back.
func setting(name, value string) func(context.Context, *group, *fault) error {
	return func(ctx context.Context, g *group, f *fault) error {
		node := g.nodes[0]
		err := administer(ctx, node, "ALTER SYSTEM SET "+name+" = '"+value+"'", "SELECT pg_reload_conf()")
		if err != nil {
			return err
		}
		if err := sleep(ctx, f.hold); err != nil {
			return err
		}
		return administer(ctx, node, "ALTER SYSTEM RESET "+name, "SELECT pg_reload_conf()")
	}
}

// lockRows locks the rows of some sessions of the workload.
func lockRows(ctx context.Context, g *group, f *fault) error {
	return hold(ctx, f.hold, g.nodes[0], pgx.TxOptions{}, `SELECT s.id FROM sessionsql.session AS s
		WHERE s.payload LIKE 's%' ORDER BY random() LIMIT 12 FOR UPDATE SKIP LOCKED`)
}

// longTransactions holds a snapshot on the primary and one on a replica.
func longTransactions(ctx context.Context, g *group, f *fault) error {
	const look = "SELECT count(*) FROM sessionsql.session"
	replica := make(chan error, 1)
	go func() {
		replica <- hold(ctx, f.hold, g.nodes[f.replica], pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, look)
	}()
	err := hold(ctx, f.hold, g.nodes[0], pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, look)
	// A replica cancels the query if it conflicts with the primary's cleanup.
	<-replica
	return err
}

// hold runs a statement in a transaction that ends when the time is up.
func hold(
	ctx context.Context, length time.Duration, node *pgcluster.Node, options pgx.TxOptions, statement string,
) error {
	conn, err := connect(ctx, node)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	tx, err := conn.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := tx.Exec(ctx, statement); err != nil {
		return err
	}
	return sleep(ctx, length)
}

// stepCreatedAt changes the sessions' creation times, as a stepping clock does.
func stepCreatedAt(ctx context.Context, g *group, f *fault) error {
	g.history.anyOrder.Store(true)
	step := "1 hour"
	return every(ctx, f.hold, 200*time.Millisecond, func() error {
		err := administer(ctx, g.nodes[0], `UPDATE sessionsql.session AS s
			SET created_at = s.created_at + interval '`+step+`'
			WHERE s.id IN (
				SELECT l.id FROM sessionsql.session AS l ORDER BY l.id FOR NO KEY UPDATE SKIP LOCKED
			)`)
		step = "-2 hours"
		return err
	})
}

// installMeanwhile installs the bundle again and again.
func installMeanwhile(ctx context.Context, g *group, f *fault) error {
	return every(ctx, f.hold, 50*time.Millisecond, func() error {
		return install(ctx, g.nodes[0].DSN("postgres"))
	})
}

// oldBundle is the bundle of 0.1.0, which cannot tell that another one is newer.
const oldBundle = "sessionsql/testdata/bundle-0.1.0-3068df4.sql"

// installOlder tries again and again to install an older bundle over the present one.
func installOlder(ctx context.Context, g *group, f *fault) error {
	text, err := os.ReadFile(oldBundle)
	if err != nil {
		return err
	}
	const version = "SELECT sessionsql.version()"
	before, err := askAt(ctx, g.routes.direct[0], version)
	if err != nil {
		return err
	}
	return every(ctx, f.hold, 100*time.Millisecond, func() error {
		var refused *pgconn.PgError
		// several statements in one query are one transaction
		err := administer(ctx, g.nodes[0], string(text))
		if err == nil {
			g.report("an older bundle was installed over a newer one")
		} else if !errors.As(err, &refused) {
			return err
		}
		if after, err := askAt(ctx, g.routes.direct[0], version); err != nil || after != before {
			g.report("the bundle is %q after an older one was refused, and was %q (%v)", after, before, err)
		}
		return nil
	})
}
