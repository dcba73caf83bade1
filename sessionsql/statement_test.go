package sessionsql_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

// A connector hides that its connections are pgx's, as a tracing driver does.
type connector struct{ driver.Connector }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return hidden{conn.(*stdlib.Conn)}, nil
}

type hidden struct{ *stdlib.Conn }

// connectors connect to a database by each kind of driver.
func connectors(t *testing.T, d *database) map[string]driver.Connector {
	t.Helper()
	config, err := pgx.ParseConfig(d.PrimaryDSN())
	must(t, err)
	connect := stdlib.GetConnector(*config)
	return map[string]driver.Connector{"pgx": connect, "another driver": connector{connect}}
}

// onOnePool runs a test for each kind of driver, with a Store and one session. The pool has one connection,
// so the next statement shows damage to it.
func onOnePool(
	t *testing.T, d *database, test func(*testing.T, *sql.DB, *sessionsql.Store, sessionsql.Token),
) {
	for name, each := range connectors(t, d) {
		t.Run(name, func(t *testing.T) {
			pool := sql.OpenDB(each)
			defer func() { _ = pool.Close() }()
			pool.SetMaxOpenConns(1)
			store := sessiontest.OpenStoreOver(t, pool, nil)
			defer closeStore(t, store)
			test(t, pool, store, mustInsert(t, store, "kept", nil))
		})
	}
}

// A context may end around the moment of the answer. The call then returns the right session or the context's
// error, and the connection serves the next caller.
func TestAContextThatEndsDuringAStatementCostsNoOtherCaller(t *testing.T) {
	random := seeded(t)
	onOnePool(t, newDatabase(t),
		func(t *testing.T, pool *sql.DB, store *sessionsql.Store, token sessionsql.Token) {
			usual := time.Hour
			for range 20 {
				begin := time.Now()
				mustLookup(t, store, token)
				usual = min(usual, time.Since(begin))
			}
			backend := func() int { return get[int](t, sqlx.NewDb(pool, "pgx"), "SELECT pg_backend_pid()") }
			var answered, ended int
			for range 500 {
				before := backend()
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Int64N(int64(2*usual))))
				sess, err := store.Lookup(ctx, token)
				cancel()
				switch {
				case err == nil && sess.Payload == "kept":
					answered++
					if backend() != before {
						t.Fatal("the answer arrived, but the connection was lost")
					}
				case errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, sessionsql.ErrUnavailable):
					ended++
				default:
					t.Fatalf("Lookup returned payload %q and error %v", sess.Payload, err)
				}
				if sess, err := store.Lookup(t.Context(), token); err != nil || sess.Payload != "kept" {
					t.Fatalf("the next Lookup returned payload %q and error %v", sess.Payload, err)
				}
			}
			t.Logf("%d calls were answered and %d ended early", answered, ended)
			if ended == 0 {
				t.Error("no context ended before its answer")
			}
		})
}

// A caller leaves when its context ends, whether it waits for a lock or for the connection.
func TestAWaitingCallerLeavesWhenItsContextEnds(t *testing.T) {
	d := newDatabase(t)
	onOnePool(t, d, func(t *testing.T, pool *sql.DB, store *sessionsql.Store, token sessionsql.Token) {
		lock := d.primary.MustBegin()
		defer func() { _ = lock.Rollback() }()
		lock.MustExec("LOCK TABLE sessionsql.session")
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan error)
		for range 3 { // one call has the connection, and two wait for it
			go func() {
				_, err := store.ListSubject(ctx, "somebody", "")
				results <- err
			}()
		}
		eventually(t, "a statement waits for the lock, and callers for its connection", func() bool {
			waiting := get[int](t, d.primary, `
				SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
				WHERE d.datname = current_database() AND NOT l.granted`)
			return waiting == 1 && pool.Stats().WaitCount >= 2
		})
		cancel()
		for range 3 {
			if err := <-results; !errors.Is(err, context.Canceled) {
				t.Errorf("the error is %v instead of the context's error", err)
			}
		}
		must(t, lock.Rollback())
		mustLookup(t, store, token)
	})
}

// Batches use another protocol on pgx's connections than on another driver's. On both, every caller gets the
// right session.
func TestBatchesAreRightWithEveryDriver(t *testing.T) {
	onOnePool(t, newDatabase(t), func(t *testing.T, _ *sql.DB, store *sessionsql.Store, _ sessionsql.Token) {
		tokens := make([]sessionsql.Token, 200)
		for i := range tokens {
			tokens[i] = mustInsert(t, store, strconv.Itoa(i), nil)
		}
		must(t, store.Revoke(t.Context(), tokens[0]))
		var wait sync.WaitGroup
		for i, token := range tokens {
			wait.Go(func() {
				sess, err := store.Lookup(t.Context(), token)
				switch {
				case i == 0 && err != sessionsql.ErrNoSession:
					t.Errorf("a revoked session: %q, %v", sess.Payload, err)
				case i > 0 && (err != nil || sess.Payload != strconv.Itoa(i) || sess.Version != 1):
					t.Errorf("session %d: %q, version %d, %v", i, sess.Payload, sess.Version, err)
				}
				again := "again " + strconv.Itoa(i)
				version, err := store.Update(t.Context(), token, again, sessionsql.AnyVersion)
				switch {
				case i == 0 && err != sessionsql.ErrNoSession:
					t.Errorf("a revoked session was written: version %d, %v", version, err)
				case i > 0 && (err != nil || version != 2):
					t.Errorf("session %d: version %d, %v", i, version, err)
				}
			})
		}
		wait.Wait()
		for i, token := range tokens[1:] {
			sess, err := store.Lookup(t.Context(), token)
			if err != nil || sess.Payload != "again "+strconv.Itoa(i+1) {
				t.Errorf("session %d was written %q, %v", i+1, sess.Payload, err)
			}
		}
	})
}

// A statement that takes longer than Options.Timeout counts as the server's failure and not as the caller's.
func TestAStatementThatIsTooLateIsUnavailable(t *testing.T) {
	d := newDatabase(t)
	for name, connect := range connectors(t, d) {
		t.Run(name, func(t *testing.T) {
			pool := sql.OpenDB(connect)
			defer func() { _ = pool.Close() }()
			options := quiet()
			options.Timeout = 50 * time.Millisecond
			store := sessiontest.OpenStoreOver(t, pool, options)
			blocker := d.primary.MustBegin()
			defer func() { _ = blocker.Rollback() }()
			blocker.MustExec("LOCK TABLE sessionsql.session")
			for range 20 {
				own := &sessionsql.InsertOptions{Subject: "ann", MaxSessions: 1}
				_, err := store.Insert(t.Context(), "p", own)
				if !errors.Is(err, sessionsql.ErrUnavailable) ||
					!strings.Contains(err.Error(), "no answer within 50ms") {
					t.Fatal(err)
				}
			}
		})
	}
}
