package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

// touchThese and makeDue get the ids as the text of an array.
const (
	touchThese = "SELECT sessionsql.touch_batch($1::text::bigint[])"
	makeDue    = `UPDATE sessionsql.session SET expires_at = now() + interval '1 minute'
		WHERE id = ANY ($1::text::bigint[])`
)

func touch(t testing.TB, pool sqlx.Queryer, ids ...int64) int64 {
	t.Helper()
	return get[int64](t, pool, touchThese, arrayOf(ids))
}

// setExpiry changes a session's expiry, because the test cannot wait for it.
func (d *database) setExpiry(id int64, expiresIn string) {
	d.primary.MustExec(`UPDATE sessionsql.session SET expires_at = now() + $2::interval
		WHERE id = $1`, id, expiresIn)
}

func (d *database) expiresIn(t testing.TB, id int64) float64 {
	t.Helper()
	return get[float64](t, d.primary,
		"SELECT date_part('epoch', expires_at - now()) FROM sessionsql.session WHERE id = $1", id)
}

func TestTouchExtendsByFourThirdsOfTheIdleTimeout(t *testing.T) {
	d := newDatabase(t)
	id := d.fill(t, 1, "29 minutes")[0]
	if n := touch(t, d.primary, id); n != 1 {
		t.Errorf("touched %d sessions, want 1", n)
	}
	if left := d.expiresIn(t, id); left < 2390 || left > 2400 {
		t.Errorf("%v seconds left, want 2400", left)
	}
}

func TestTouchNeverResurrects(t *testing.T) {
	d := newDatabase(t)
	id := d.fill(t, 1, "-1 microsecond")[0]
	if n := touch(t, d.primary, id); n != 0 {
		t.Errorf("touched %d sessions, want 0", n)
	}
	if left := d.expiresIn(t, id); left >= 0 {
		t.Errorf("%v seconds left", left)
	}
	if n := touch(t, d.primary, id+1, -1, 0); n != 0 {
		t.Errorf("touched %d sessions that do not exist", n)
	}
}

func TestTouchNeverPassesTheDeadline(t *testing.T) {
	d := newDatabase(t)
	id := d.fill(t, 1, "1 minute")[0]
	d.primary.MustExec("UPDATE sessionsql.session SET deadline = now() + interval '10 minutes'")
	touch(t, d.primary, id)
	if !get[bool](t, d.primary, "SELECT expires_at = deadline FROM sessionsql.session") {
		t.Errorf("%v seconds left, want as many as until the deadline", d.expiresIn(t, id))
	}
	if n := touch(t, d.primary, id); n != 0 {
		t.Error("a session at its deadline was written again")
	}
}

func TestTouchNeverShortens(t *testing.T) {
	d := newDatabase(t)
	id := d.fill(t, 1, "5 minutes")[0]
	// An old transaction has an old now(), and touches after a younger one.
	old := d.primary.MustBegin()
	defer func() { _ = old.Rollback() }()
	get[int64](t, old, "SELECT txid_current()")
	touch(t, d.primary, id)
	before := d.expiresIn(t, id)
	touch(t, old, id)
	must(t, old.Commit())
	if after := d.expiresIn(t, id); after < before-5 {
		t.Errorf("%v seconds left, but %v before the touch", after, before)
	}
	// This expiry is later than a touch would set.
	d.setExpiry(id, "10 hours")
	touch(t, d.primary, id)
	if left := d.expiresIn(t, id); left < 35000 {
		t.Errorf("%v seconds left, want 36000", left)
	}
}

func TestTouchWritesNothingWithMoreThanTheIdleTimeoutLeft(t *testing.T) {
	d := newDatabase(t)
	ids := d.fill(t, 100, "30 minutes 5 seconds")
	const versions = "SELECT string_agg(xmin::text || ctid::text, ',' ORDER BY id) FROM sessionsql.session"
	before := get[string](t, d.primary, versions)
	if n := touch(t, d.primary, ids...); n != 0 {
		t.Errorf("touched %d sessions, want 0", n)
	}
	if after := get[string](t, d.primary, versions); after != before {
		t.Error("rows were written")
	}
}

func TestTouchIsHOT(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	const sessions, touches, batch = 20_000, 100_000, 2_000
	ids := d.fill(t, sessions, "1 minute")
	// Autovacuum's ANALYZE holds a snapshot, and no update can then reuse the space of a dead row.
	d.primary.MustExec("ALTER TABLE sessionsql.session SET (autovacuum_enabled = off)")
	conn := d.conn(t)
	type counts struct{ Updates, HOT int64 }
	read := func() (c counts) {
		// The server then reports the statistics at once.
		execute(t, conn, "SELECT pg_stat_force_next_flush()")
		must(t, conn.GetContext(t.Context(), &c, `SELECT n_tup_upd AS updates, n_tup_hot_upd AS hot
			FROM pg_stat_user_tables WHERE schemaname = 'sessionsql' AND relname = 'session'`))
		return c
	}
	before := read()
	for done := 0; done < touches; done += batch {
		random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		chosen := arrayOf(ids[:batch])
		if n := testkit.Get[int64](t, conn, touchThese, chosen); n != batch {
			t.Fatalf("touched %d sessions, want %d", n, batch)
		}
		// The touched sessions become due again in place, because inserting new ones would test no touch.
		execute(t, conn, makeDue, chosen)
	}
	after := read()
	updates, hot := after.Updates-before.Updates, after.HOT-before.HOT
	if updates < 2*touches || float64(hot) < 0.99*float64(updates) {
		t.Errorf("%d of %d updates were HOT, want 99 %%", hot, updates)
	}
}

// planTypes are plan types that a connection may lose, as tuning or bad statistics would make it.
var planTypes = []string{
	"enable_indexscan", "enable_bitmapscan", "enable_seqscan", "enable_indexonlyscan", "enable_nestloop",
	"enable_hashjoin", "enable_mergejoin", "enable_sort", "enable_incremental_sort", "enable_hashagg",
	"enable_material", "enable_memoize", "enable_tidscan",
}

func TestConcurrentTouchesReapsAndRevokesUnderAnyPlan(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	const sessions, callers, rounds, maxRows = 600, 32, 12, 50
	live := d.fill(t, sessions, "1 minute")
	expired := d.fill(t, sessions, "-1 minute")
	all := append(append([]int64{}, live...), expired...)
	revoked := live[:100] // fill gave session n the hash sha256(n)

	failed := make(chan error, callers+2)
	start := make(chan struct{})
	run := func(work func(ctx context.Context, conn *sqlx.Conn) error) {
		conn := d.conn(t)
		loseAnyPlans(t, random, conn)
		go func() {
			defer func() { _ = conn.Close() }()
			<-start
			failed <- work(t.Context(), conn)
		}()
	}

	for range callers {
		batches := make([]string, rounds)
		for i := range batches {
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			batches[i] = arrayOf(all[:len(all)/2])
		}
		run(func(ctx context.Context, conn *sqlx.Conn) error {
			for _, ids := range batches {
				for _, statement := range []string{touchThese, makeLiveDue} {
					if _, err := conn.ExecContext(ctx, statement, ids); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	var reaped int
	run(func(ctx context.Context, conn *sqlx.Conn) error {
		const reapSome = "SELECT r.reaped FROM sessionsql.reap($1, 20) AS r"
		for range 3 * rounds {
			var n int
			if err := conn.GetContext(ctx, &n, reapSome, maxRows); err != nil {
				return err
			}
			if n > maxRows {
				return errors.New("reap deleted more than max_rows")
			}
			reaped += n
		}
		return nil
	})
	run(func(ctx context.Context, conn *sqlx.Conn) error {
		const revokeOne = "SELECT sessionsql.revoke($1, sha256($2::integer::text::bytea))"
		for i, id := range revoked {
			var done bool
			if err := conn.GetContext(ctx, &done, revokeOne, id, i+1); err != nil {
				return err
			}
			if !done {
				return errors.New("a live session could not be revoked")
			}
		}
		return nil
	})
	close(start)
	for range callers + 2 {
		if err := <-failed; err != nil {
			var pg *pgconn.PgError
			if errors.As(err, &pg) && pg.Code == "40P01" {
				t.Error("a call met a deadlock")
			}
			t.Error(err)
		}
	}

	if n := d.countWhere(t, "expires_at > now()"); n != len(live)-len(revoked) {
		t.Errorf("%d live sessions are left, want %d", n, len(live)-len(revoked))
	}
	if n := d.countWhere(t, "expires_at <= now()"); n+reaped != len(expired) {
		t.Errorf("%d expired sessions are left and %d reaped, want %d together", n, reaped, len(expired))
	}
}

// makeLiveDue makes live sessions due again, so that the next touch has to write. It locks in id order.
const makeLiveDue = `
	WITH due AS MATERIALIZED (
	  SELECT id FROM sessionsql.session WHERE expires_at > now() AND id = ANY ($1::text::bigint[])
	  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
	)
	UPDATE sessionsql.session AS s SET expires_at = now() + interval '1 minute'
	FROM due WHERE s.id = due.id`

// loseAnyPlans takes some plan types from a connection at random.
func loseAnyPlans(t *testing.T, random *rand.Rand, conn *sqlx.Conn) {
	t.Helper()
	for _, plan := range planTypes {
		if random.IntN(3) == 0 {
			execute(t, conn, "SET "+plan+" = off")
		}
	}
	modes := []string{"auto", "force_generic_plan", "force_custom_plan"}
	execute(t, conn, "SET plan_cache_mode = "+modes[random.IntN(len(modes))])
}

func TestExpiryIsTheSameInEveryTimeZone(t *testing.T) {
	d := newDatabase(t)
	zones := []string{"UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati", "Pacific/Niue"}
	const (
		setZone = "SELECT set_config('TimeZone', $1, false)"
		insert  = "SELECT sessionsql.insert(sha256('a'), 'p', '30 minutes', '1 hour')"
		look    = "SELECT l.expires_in FROM sessionsql.lookup($1, sha256('a')) AS l"
		makeDue = "UPDATE sessionsql.session SET expires_at = now() + interval '1 minute' WHERE id = $1"
		touch   = "SELECT sessionsql.touch_batch(ARRAY[$1::bigint])"
		reap    = "SELECT count(*) FROM sessionsql.reap() WHERE reaped > 0"
	)
	for _, writer := range zones {
		conn := d.conn(t)
		execute(t, conn, setZone, writer)
		id := testkit.Get[int64](t, conn, insert)
		for _, reader := range zones {
			execute(t, conn, setZone, reader)
			if left := testkit.Get[float64](t, conn, look, id); left < 2390 || left > 2400 {
				t.Errorf("written in %s, read in %s: %v seconds left, want 2400", writer, reader, left)
			}
			execute(t, conn, makeDue, id)
			if n := testkit.Get[int](t, conn, touch, id); n != 1 {
				t.Errorf("written in %s, touched in %s: not extended", writer, reader)
			}
			if n := testkit.Get[int](t, conn, reap); n != 0 {
				t.Errorf("written in %s, reaped in %s: a live session is gone", writer, reader)
			}
		}
	}
}

func TestLookupKeepsAliveAtTheNextFlush(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	token := mustInsert(t, store, "p", nil)
	d.primary.MustExec("UPDATE sessionsql.session SET expires_at = now() + interval '1 minute'")
	d.CatchUp(t)
	sess := mustLookup(t, store, token)
	if sess.ExpiresIn > time.Minute {
		t.Errorf("the session expires in %v, want at most a minute", sess.ExpiresIn)
	}
	if pending := store.Stats().TouchesPending; pending != 1 {
		t.Fatalf("%d touches pending, want 1", pending)
	}
	must(t, store.Flush(t.Context()))
	if stats := store.Stats(); stats.TouchesPending != 0 || stats.SessionsExtended != 1 {
		t.Errorf("after the flush: %+v", stats)
	}
	if left := get[float64](t, d.primary, "SELECT expires_in FROM sessionsql.live_session"); left < 2390 {
		t.Errorf("%v seconds left, want 2400", left)
	}
}

func TestLookupKeepsAliveAtOnceWhenLittleIsLeft(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t,
		&sessionsql.Options{FlushInterval: time.Hour, IdleTimeout: 24 * time.Hour, ReapInterval: -1})
	token := mustInsert(t, store, "p", nil)
	d.primary.MustExec("UPDATE sessionsql.session SET expires_at = now() + interval '119 minutes'")
	d.CatchUp(t)
	must(t, store.Touch(t.Context(), token))
	eventually(t, "the session is extended without a flush",
		func() bool { return store.Stats().SessionsExtended == 1 })
}

func TestFailedFlushKeepsItsIDs(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	for range 3 {
		token := mustInsert(t, store, "p", nil)
		must(t, store.Touch(t.Context(), token))
	}
	d.primary.MustExec("ALTER FUNCTION sessionsql.touch_batch(bigint[], boolean) RENAME TO hidden")
	if err := store.Flush(t.Context()); err == nil {
		t.Error("a flush without its function succeeded")
	}
	if stats := store.Stats(); stats.TouchesPending != 3 || stats.FlushErrors != 1 ||
		stats.TouchesDropped != 0 {
		t.Errorf("after a failed flush: %+v", stats)
	}
	d.primary.MustExec("ALTER FUNCTION sessionsql.hidden(bigint[], boolean) RENAME TO touch_batch")
	must(t, store.Close(t.Context()))
	if stats := store.Stats(); stats.TouchesPending != 0 || stats.TouchesSent != 3 {
		t.Errorf("after Close: %+v", stats)
	}
}

func TestTouchBufferIsBoundedAndDeduplicated(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, &sessionsql.Options{FlushInterval: -1, ReapInterval: -1, MaxPendingTouches: 2})
	var tokens []sessionsql.Token
	for range 3 {
		tokens = append(tokens, mustInsert(t, store, "p", nil))
	}
	for range 5 {
		for _, token := range tokens[:2] {
			must(t, store.Touch(t.Context(), token))
		}
	}
	if stats := store.Stats(); stats.TouchesPending != 2 || stats.TouchesDropped != 0 {
		t.Errorf("10 touches of 2 sessions: %+v", stats)
	}
	must(t, store.Touch(t.Context(), tokens[2]))
	if stats := store.Stats(); stats.TouchesPending != 2 || stats.TouchesDropped != 1 {
		t.Errorf("one touch too many: %+v", stats)
	}
}

// Sessions that were inserted together share pages and become due together. A flush that extends them all
// must leave each on its page, without a new index entry. That takes the space of dead rows, which no
// snapshot may see, so no autovacuum may run in the database.
func TestNeighboursAreKeptAliveInPlace(t *testing.T) {
	cluster := ownCluster(t, 0)
	for _, payloadBytes := range []int{20, 250, 1500} {
		t.Run(fmt.Sprint(payloadBytes), func(t *testing.T) {
			d := newDatabaseIn(t, cluster)
			store := d.Store(t, quiet())
			const sessions = 1000
			var tokens []sessionsql.Token
			const secret = "decode(repeat('ab', 16), 'hex')"
			must(t, d.primary.Select(&tokens, `
				INSERT INTO sessionsql.session AS s (
				  expires_at, created_at, idle_seconds, version, secret_hash, payload
				)
				SELECT now() + interval '10 minutes', now(), 1800, 1, sha256(`+secret+`), repeat('x', $1)
				FROM generate_series(1, $2)
				RETURNING translate(encode(int8send(s.id) || `+secret+`, 'base64'), '+/', '-_')`,
				payloadBytes, sessions))
			for _, token := range tokens {
				must(t, store.Touch(t.Context(), token))
			}
			must(t, store.Flush(t.Context()))
			if n := store.Stats().SessionsExtended; n != sessions {
				t.Fatalf("%d of %d sessions were extended", n, sessions)
			}
			var hot int64
			eventually(t, "the statistics arrive", func() bool {
				updated := get[int64](t, d.primary,
					"SELECT pg_stat_get_tuples_updated('sessionsql.session'::regclass)")
				hot = get[int64](t, d.primary,
					"SELECT pg_stat_get_tuples_hot_updated('sessionsql.session'::regclass)")
				return updated == sessions
			})
			if hot < sessions*99/100 {
				t.Errorf("%d of %d updates were HOT", hot, sessions)
			}
		})
	}
}
