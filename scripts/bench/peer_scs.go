package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/alexedwards/scs/pgxstore"
	"github.com/alexedwards/scs/postgresstore"
	"github.com/alexedwards/scs/v2"
)

// scsStore uses a store for alexedwards/scs: ours, or one of its own two for PostgreSQL, which share the
// table in its README. Lookups and inserts call the bare store, and page views the manager with an idle
// timeout.
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
	pool, err := openPgxPool(ctx, db.dsn, scsPoolSize)
	if err != nil {
		return nil, nil, err
	}
	pgx, err = newSCS("scs pgxstore", db, pgxstore.NewWithCleanupInterval(pool, 0),
		scs.GobCodec{}, pool.Close)
	if err != nil {
		return nil, nil, err
	}
	postgres, err = newSCS("scs postgresstore", db, postgresstore.NewWithCleanupInterval(db.pool, 0),
		scs.GobCodec{}, func() {})
	return pgx, postgres, err
}

func newSCS(
	label string, db *database, store scs.Store, codec scs.Codec, closer func(),
) (*scsStore, error) {
	manager := scs.New()
	manager.Store, manager.Codec = store, codec
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
	if err := s.handle(session, v); err != nil {
		return err
	}
	s.keys[v.slot], _, err = s.manager.Commit(session)
	return err
}

// handle does the work of a page's handler. A write changes the payload, because a store may leave out a
// write that changes nothing.
func (s *scsStore) handle(session context.Context, v view) error {
	found := s.manager.GetString(session, scsPayloadKey)
	if len(found) != len(payload) {
		return fmt.Errorf("%s: session of slot %d is gone", s.label, v.slot)
	}
	if v.write {
		s.manager.Put(session, scsPayloadKey, found[1:]+found[:1])
	}
	if v.relog {
		if err := s.manager.Destroy(session); err != nil {
			return err
		}
		s.manager.Put(session, scsPayloadKey, payload)
	}
	return nil
}

// serve serves a page through the manager's middleware, from the request's cookie to the answer's.
func (s *scsStore) serve(ctx context.Context, v view) error {
	var failed error
	page := s.manager.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		failed = s.handle(r.Context(), v)
	}))
	request := (&http.Request{Header: http.Header{
		"Cookie": {s.manager.Cookie.Name + "=" + s.keys[v.slot]},
	}}).WithContext(ctx)
	answer := httptest.NewRecorder()
	page.ServeHTTP(answer, request)
	if failed != nil {
		return failed
	}
	if answer.Code != http.StatusOK {
		return fmt.Errorf("%s: the manager answers with status %d", s.label, answer.Code)
	}
	cookie, err := http.ParseSetCookie(answer.Header().Get("Set-Cookie"))
	if err != nil {
		return fmt.Errorf("%s: %w", s.label, err)
	}
	s.keys[v.slot] = cookie.Value
	return nil
}
