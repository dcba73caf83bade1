package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// plainCache uses pgx and one statement for each operation, on an UNLOGGED table with as few columns as
// possible.
type plainCache struct {
	db   *database
	pool *pgxpool.Pool
}

func openPlainCache(ctx context.Context, db *database) (*plainCache, error) {
	pool, err := openPgxPool(ctx, db.dsn, poolSize)
	if err != nil {
		return nil, err
	}
	return &plainCache{db: db, pool: pool}, db.exec(ctx, `
		CREATE UNLOGGED TABLE plain_entry (
			key text PRIMARY KEY,
			value bytea NOT NULL,
			expires_at timestamptz NOT NULL
		) WITH (fillfactor = 70)`)
}

func (p *plainCache) name() string { return "pgx, UNLOGGED" }
func (p *plainCache) cpu() meter   { return p.db.servers.postgresMeter() }
func (p *plainCache) close()       { p.pool.Close() }

func (p *plainCache) seed(ctx context.Context, rows int) error {
	return p.db.exec(ctx,
		fmt.Sprintf(`INSERT INTO plain_entry
			SELECT %s, '%s', now() + interval '30 minutes' FROM generate_series(0, %d) AS g`,
			slotKeySQL, cacheValue, rows-1),
		"VACUUM (ANALYZE) plain_entry")
}

func (p *plainCache) get(ctx context.Context, key string) (bool, error) {
	return p.find(ctx, "SELECT value FROM plain_entry WHERE key = $1 AND expires_at > now()", key)
}

// find reports whether a statement returns a value.
func (p *plainCache) find(ctx context.Context, statement, key string) (bool, error) {
	var value []byte
	err := p.pool.QueryRow(ctx, statement, key).Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func (p *plainCache) set(ctx context.Context, key string) error {
	_, err := p.pool.Exec(ctx, `
		INSERT INTO plain_entry VALUES ($1, $2, now() + interval '30 minutes')
		ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at`,
		key, []byte(cacheValue))
	return err
}

func (p *plainCache) increment(ctx context.Context, key string) error {
	_, err := p.find(ctx, `
		INSERT INTO plain_entry AS e VALUES ($1, '1', now() + interval '30 minutes')
		ON CONFLICT (key) DO UPDATE SET
			value = (convert_from(e.value, 'UTF8')::bigint + 1)::text::bytea
		RETURNING value`, key)
	return err
}

func (p *plainCache) getAndTouch(ctx context.Context, key string) error {
	_, err := p.find(ctx, `
		UPDATE plain_entry SET expires_at = now() + interval '30 minutes'
		WHERE key = $1 AND expires_at > now()
		RETURNING value`, key)
	return err
}

func (p *plainCache) fetch(ctx context.Context, key string, load func() string) error {
	return cacheAside(ctx, p, key, load)
}

func (p *plainCache) clear(ctx context.Context) error { return p.db.exec(ctx, "TRUNCATE plain_entry") }
