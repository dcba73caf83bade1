package main

import (
	"context"
	"fmt"
	"time"

	"github.com/alexedwards/scs/pgxstore"
	"github.com/alexedwards/scs/postgresstore"
	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5/pgxpool"
)

// scsStore uses one of alexedwards/scs's two stores for PostgreSQL, on the table of its README. Lookups and
// inserts call the bare store, and page views the session manager with an idle timeout.
type scsStore struct {
	label   string
	db      *database
	store   scs.Store
	manager *scs.SessionManager
	data    []byte
	keys    []string
	closer  func()
}

const scsPayloadKey = "payload"

// openSCS opens both stores on one table.
func openSCS(ctx context.Context, db *database) (pgx, postgres *scsStore, err error) {
	err = db.exec(ctx,
		`CREATE TABLE sessions (
			token TEXT PRIMARY KEY,
			data BYTEA NOT NULL,
			expiry TIMESTAMPTZ NOT NULL
		)`,
		"CREATE INDEX sessions_expiry_idx ON sessions (expiry)")
	if err != nil {
		return nil, nil, err
	}
	config, err := pgxpool.ParseConfig(db.dsn)
	if err != nil {
		return nil, nil, err
	}
	config.MinConns, config.MaxConns = scsPoolSize, scsPoolSize
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	pgx, err = newSCS("scs pgxstore", db, pgxstore.NewWithCleanupInterval(pool, 0), pool.Close)
	if err != nil {
		return nil, nil, err
	}
	postgres, err = newSCS("scs postgresstore", db, postgresstore.NewWithCleanupInterval(db.pool, 0),
		func() {})
	return pgx, postgres, err
}

func newSCS(label string, db *database, store scs.Store, closer func()) (*scsStore, error) {
	manager := scs.New()
	manager.Store = store
	manager.IdleTimeout = idleTimeout
	data, err := manager.Codec.Encode(time.Now().Add(manager.Lifetime).UTC(),
		map[string]any{scsPayloadKey: payload})
	return &scsStore{label: label, db: db, store: store, manager: manager, data: data, closer: closer}, err
}

func (s *scsStore) name() string { return s.label }
func (s *scsStore) cpu() meter   { return s.db.servers.postgresMeter() }
func (s *scsStore) close()       { s.closer() }

func (s *scsStore) seed(ctx context.Context, rows int) error {
	s.keys = slotKeys(rows)
	_, err := s.db.pool.ExecContext(ctx, fmt.Sprintf(`
		INSERT INTO sessions
		SELECT %s, $1, now() + interval '30 minutes' FROM generate_series(0, %d) AS g
		ON CONFLICT DO NOTHING`, slotKeySQL, rows-1), s.data)
	if err != nil {
		return err
	}
	return s.db.exec(ctx, "VACUUM (ANALYZE) sessions")
}

func (s *scsStore) lookup(_ context.Context, slot int) error {
	_, found, err := s.store.Find(s.keys[slot])
	if err == nil && !found {
		return fmt.Errorf("%s: session of slot %d is gone", s.label, slot)
	}
	return err
}

func (s *scsStore) insert(context.Context) error {
	return s.store.Commit(newKey(), s.data, time.Now().Add(idleTimeout))
}

func (s *scsStore) clear(ctx context.Context) error { return s.db.exec(ctx, "TRUNCATE sessions") }

// page makes the calls that the manager's LoadAndSave makes around a handler.
func (s *scsStore) page(ctx context.Context, v view) error {
	session, err := s.manager.Load(ctx, s.keys[v.slot])
	if err != nil {
		return err
	}
	if len(s.manager.GetString(session, scsPayloadKey)) != len(payload) {
		return fmt.Errorf("%s: session of slot %d is gone", s.label, v.slot)
	}
	if v.write {
		s.manager.Put(session, scsPayloadKey, payload)
	}
	if v.relog {
		if err := s.manager.Destroy(session); err != nil {
			return err
		}
		s.manager.Put(session, scsPayloadKey, payload)
	}
	s.keys[v.slot], _, err = s.manager.Commit(session)
	return err
}
