package main

import (
	"context"
	"fmt"
)

// webAdvice follows the most common advice on the web: an UNLOGGED table with JSONB, an index on expires_at,
// an UPDATE at every read, and a DELETE of all expired rows now and then.
type webAdvice struct {
	db   *database
	keys []string
}

func openWebAdvice(ctx context.Context, db *database) (*webAdvice, error) {
	return &webAdvice{db: db}, db.exec(ctx,
		`CREATE UNLOGGED TABLE web_session (
			token text PRIMARY KEY,
			data jsonb NOT NULL,
			expires_at timestamptz NOT NULL
		)`,
		"CREATE INDEX ON web_session (expires_at)")
}

func (w *webAdvice) name() string { return "advice of the web" }
func (w *webAdvice) cpu() meter   { return w.db.servers.postgresMeter() }
func (w *webAdvice) close()       {}

func (w *webAdvice) seed(ctx context.Context, rows int) error {
	w.keys = slotKeys(rows)
	return w.db.exec(ctx,
		fmt.Sprintf(`INSERT INTO web_session
			SELECT %s, '%s', now() + interval '30 minutes' FROM generate_series(0, %d) AS g`,
			slotKeySQL, jsonPayload, rows-1),
		"VACUUM (ANALYZE) web_session")
}

func (w *webAdvice) lookup(ctx context.Context, slot int) error {
	var data string
	return w.db.pool.QueryRowContext(ctx, `
		UPDATE web_session SET expires_at = now() + interval '30 minutes'
		WHERE token = $1 AND expires_at > now()
		RETURNING data`, w.keys[slot]).Scan(&data)
}

func (w *webAdvice) insert(ctx context.Context) error { return w.login(ctx, newKey()) }

func (w *webAdvice) login(ctx context.Context, key string) error {
	_, err := w.db.pool.ExecContext(ctx,
		"INSERT INTO web_session VALUES ($1, $2, now() + interval '30 minutes')", key, jsonPayload)
	return err
}

func (w *webAdvice) clear(ctx context.Context) error { return w.db.exec(ctx, "TRUNCATE web_session") }

func (w *webAdvice) page(ctx context.Context, v view) error {
	if err := w.lookup(ctx, v.slot); err != nil {
		return err
	}
	if v.write {
		_, err := w.db.pool.ExecContext(ctx,
			"UPDATE web_session SET data = $2 WHERE token = $1", w.keys[v.slot], jsonPayload)
		if err != nil {
			return err
		}
	}
	if v.relog {
		_, err := w.db.pool.ExecContext(ctx, "DELETE FROM web_session WHERE token = $1", w.keys[v.slot])
		if err != nil {
			return err
		}
		w.keys[v.slot] = newKey()
		return w.login(ctx, w.keys[v.slot])
	}
	return nil
}

// deleteExpired is its reaper.
func (w *webAdvice) deleteExpired(ctx context.Context) error {
	return w.db.exec(ctx, "DELETE FROM web_session WHERE expires_at < now()")
}
