package main

import (
	"context"
	"fmt"
)

// plain uses database/sql and one statement for each session, on an UNLOGGED table with as few columns as
// possible. It has no owner, no absolute timeout, and an id that must stay secret in place of a secret.
type plain struct {
	db *database
}

func openPlain(ctx context.Context, db *database) (*plain, error) {
	return &plain{db: db}, db.exec(ctx, `
		CREATE UNLOGGED TABLE plain_session (
			id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
			expires_at timestamptz NOT NULL,
			payload text NOT NULL
		)`)
}

func (p *plain) name() string { return "database/sql, UNLOGGED" }
func (p *plain) cpu() meter   { return p.db.servers.postgresMeter() }
func (p *plain) close()       {}

func (p *plain) seed(ctx context.Context, rows int) error {
	return p.db.exec(ctx,
		fmt.Sprintf(`INSERT INTO plain_session (expires_at, payload)
			SELECT now() + interval '1 day', '%s' FROM generate_series(1, %d)`, payload, rows),
		"VACUUM (ANALYZE) plain_session")
}

func (p *plain) lookup(ctx context.Context, slot int) error {
	var found string
	return p.db.pool.QueryRowContext(ctx,
		"SELECT payload FROM plain_session WHERE id = $1 AND expires_at > now()", slot+1).Scan(&found)
}

func (p *plain) insert(ctx context.Context) error {
	var id int64
	return p.db.pool.QueryRowContext(ctx,
		`INSERT INTO plain_session (expires_at, payload) VALUES (now() + interval '30 minutes', $1)
			RETURNING id`, payload).Scan(&id)
}

func (p *plain) clear(ctx context.Context) error { return p.db.exec(ctx, "TRUNCATE plain_session") }
