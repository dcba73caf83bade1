package sessionsql_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

// The tests of this file check promises that bugs of other session stores broke.

// CVE-2025-46336 (rack-session), boj/redistore#2: a request that began before the logout saves at its end and
// brings the session back.
func TestALateSaveAfterALogoutDoesNotReviveTheSession(t *testing.T) {
	d := newDatabase(t)
	request, logout := d.Store(t, nil), d.Store(t, nil)
	token := mustInsert(t, request, "p", &sessionsql.InsertOptions{Subject: "ann"})
	d.CatchUp(t)
	sess := mustLookup(t, request, token) // the lookup leaves a pending touch
	must(t, logout.Revoke(t.Context(), token))
	d.CatchUp(t)
	if _, err := request.Update(t.Context(), token, "late", sess.Version); err != sessionsql.ErrNoSession {
		t.Errorf("the save: %v", err)
	}
	must(t, request.Flush(t.Context()))
	mustBeDead(t, request, token, "after the save")
	if n := d.countAll(t); n != 0 {
		t.Error("the ended session is back")
	}
	// The same holds after RevokeSubject, and after a cap ended the session.
	token = loginAs(t, request, "ann")
	revokeSubject(t, logout, "ann", "")
	mustBeDead(t, request, token, "after RevokeSubject elsewhere")
	token = loginAs(t, request, "ann")
	latest := mustInsert(t, logout, "p", &sessionsql.InsertOptions{Subject: "ann", MaxSessions: 1})
	_, err := request.Update(t.Context(), token, "late", sessionsql.AnyVersion)
	if err != sessionsql.ErrNoSession {
		t.Errorf("the save of an evicted session: %v", err)
	}
	mustOpen(t, logout, latest, "p", "the session that evicted it")
}

// redis#1026: EXPIRE revives a key whose time is up.
func TestKeepingAliveNeverRevivesAnExpiredSession(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	token := mustInsert(t, store, "p", nil)
	must(t, store.Touch(t.Context(), token)) // the session is alive, and its touch is pending
	d.setExpiry(idOf(t, token), "0")
	must(t, store.Flush(t.Context()))
	if stats := store.Stats(); stats.TouchesSent != 1 || stats.SessionsExtended != 0 {
		t.Errorf("the flush sent no touch or extended a session: %+v", stats)
	}
	if n := touch(t, d.primary, idOf(t, token)); n != 0 {
		t.Error("touch_batch extended an expired session")
	}
	if left := d.expiresIn(t, idOf(t, token)); left > 0 {
		t.Errorf("%v seconds left", left)
	}
	mustBeDead(t, store, token, "expired while its keepalive was pending")
}

// noDeadlock runs several functions at once and checks that none fails.
func noDeadlock(t *testing.T, random *rand.Rand, work ...func(*rand.Rand) error) {
	t.Helper()
	var wait sync.WaitGroup
	for _, do := range work {
		own := testkit.Fork(random)
		wait.Go(func() {
			if err := do(own); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

// makeAllDue makes sessions due for a touch again. It locks in id order, as an application would have to.
const makeAllDue = `
	WITH due AS MATERIALIZED (
	  SELECT id FROM sessionsql.session ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
	)
	UPDATE sessionsql.session AS s SET expires_at = now() + interval '1 minute'
	FROM due WHERE s.id = due.id`

// keycloak#13684: batched keepalives of several nodes deadlock, because they lock the same sessions in
// different orders.
func TestBatchedKeepalivesOfManyNodesNeverDeadlock(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	const sessions, nodes, rounds = 120, 5, 8
	var tokens []sessionsql.Token
	first := d.Store(t, nil)
	for range sessions {
		tokens = append(tokens, mustInsert(t, first, "p", nil))
	}
	var work []func(*rand.Rand) error
	for range nodes {
		node := sessiontest.OpenStore(t, d.PrimaryDSN(), nil, nil)
		defer closeStore(t, node)
		for _, token := range tokens {
			must(t, node.Touch(t.Context(), token))
		}
		work = append(work, func(random *rand.Rand) error {
			for range rounds {
				for _, table := range d.tables() {
					if _, err := table.primary.Exec(makeAllDue); err != nil {
						return err
					}
				}
				if err := node.Flush(context.Background()); err != nil {
					return err
				}
				for _, i := range random.Perm(sessions) {
					if err := node.Touch(context.Background(), tokens[i]); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	noDeadlock(t, random, work...)
	if n := liveOn(t, d.primary); n != sessions {
		t.Errorf("%d sessions are alive, want %d", n, sessions)
	}
}

// Kinto#1308, spring-session#838: the cleanup deadlocks with updates of the sessions that it deletes.
func TestCleanupNeverDeadlocksWithUpdates(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	store := sessiontest.OpenStore(t, d.PrimaryDSN(), nil, nil)
	defer closeStore(t, store)
	const sessions, rounds = 200, 60
	var tokens []sessionsql.Token
	for i := range sessions {
		tokens = append(tokens, loginAs(t, store, fmt.Sprint("subject", i%10)))
	}
	gone := func(err error) error {
		if errors.Is(err, sessionsql.ErrNoSession) || errors.Is(err, sessionsql.ErrRotated) {
			return nil
		}
		return err
	}
	ctx := context.Background()
	var work []func(*rand.Rand) error
	repeat := func(callers int, step func(*rand.Rand) error) {
		for range callers {
			work = append(work, func(random *rand.Rand) error {
				for range rounds {
					if err := step(random); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	repeat(2, func(*rand.Rand) error { _, err := store.Reap(ctx); return err })
	repeat(6, func(random *rand.Rand) error {
		_, err := store.Update(ctx, tokens[random.IntN(sessions)], "q", sessionsql.AnyVersion)
		return gone(err)
	})
	repeat(2, func(random *rand.Rand) error {
		if err := gone(store.Touch(ctx, tokens[random.IntN(sessions)])); err != nil {
			return err
		}
		return store.Flush(ctx)
	})
	repeat(2, func(random *rand.Rand) error {
		_, err := store.Rotate(ctx, tokens[random.IntN(sessions)],
			&sessionsql.RotateOptions{Grace: time.Hour})
		return gone(err)
	})
	repeat(1, func(random *rand.Rand) error {
		_, err := store.RevokeSubject(ctx, fmt.Sprint("subject", random.IntN(10)), "")
		return err
	})
	repeat(2, func(random *rand.Rand) error {
		subject := fmt.Sprint("subject", random.IntN(10))
		_, err := store.Insert(ctx, "p", &sessionsql.InsertOptions{Subject: subject, MaxSessions: 15})
		return err
	})
	repeat(1, func(random *rand.Rand) error { // some sessions expire
		_, err := d.primary.Exec("UPDATE sessionsql.session SET expires_at = now() WHERE id = $1",
			idOf(t, tokens[random.IntN(sessions)]))
		return err
	})
	noDeadlock(t, random, work...)
}

// tower-sessions#181: a new session overwrites another one that has its id.
func TestAnIDThatIsTakenNeverTakesOverASession(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	var tokens []sessionsql.Token
	for i := range 5 {
		tokens = append(tokens, mustInsert(t, store, fmt.Sprint("own", i), nil))
	}
	// A restore, a failover or an operator may set the sequence back. Each connection caches ids, so only a
	// new connection notices.
	restart := fmt.Sprintf("RESTART WITH %d", idOf(t, tokens[0]))
	d.primary.MustExec("ALTER TABLE sessionsql.session ALTER COLUMN id " + restart)
	again := sessiontest.OpenStore(t, d.PrimaryDSN(), nil, nil)
	defer closeStore(t, again)
	refused := 0
	for range 20 {
		token, err := again.Insert(t.Context(), "canary", nil)
		var failed *sessionsql.Error
		switch {
		case err == nil:
			mustOpen(t, again, token, "canary", "a new session")
		case errors.As(err, &failed) && failed.SQLState == "23505" &&
			!strings.Contains(err.Error(), "canary"):
			refused++
		default:
			t.Errorf("the insert failed: %v", err)
		}
	}
	if refused != len(tokens) {
		t.Errorf("%d inserts met an id that is taken, want %d", refused, len(tokens))
	}
	for i, token := range tokens {
		mustOpen(t, store, token, fmt.Sprint("own", i), "a session whose id was handed out again")
	}
	// A client cannot choose an id, and two sessions may have the same secret.
	_, err := d.primary.Exec(`
		INSERT INTO sessionsql.session (
		  id, expires_at, created_at, idle_seconds, version, secret_hash, payload
		)
		VALUES ($1, now(), now(), 1, 1, '', '')
		ON CONFLICT (id) DO UPDATE SET payload = 'stolen'`, idOf(t, tokens[0]))
	if err == nil {
		t.Error("a caller chose an id")
	}
	var ids []int64
	must(t, d.primary.Select(&ids, `SELECT DISTINCT sessionsql.insert(sha256('same'), 'p')
		FROM generate_series(1, 2)`))
	if len(ids) != 2 {
		t.Errorf("two inserts made the sessions %v", ids)
	}
}

// koa-pg-session#8, connect-session-knex#11: the cleanup mistakes a unit or a time zone and deletes live
// sessions.
func TestCleanupDeletesOnlyTheExpiredInAnyUnitAndTimeZone(t *testing.T) {
	d := newDatabase(t)
	zones := []string{"UTC", "Pacific/Kiritimati", "Pacific/Niue", "America/St_Johns", "Europe/Berlin"}
	store := d.Store(t, nil)
	lifetimes := []time.Duration{
		time.Minute, 15 * time.Minute, 5 * time.Hour, 13 * time.Hour, 24 * time.Hour,
		60 * 24 * time.Hour, 99 * 365 * 24 * time.Hour,
	}
	for _, zone := range zones {
		writer := sessiontest.OpenStore(t, d.PrimaryDSN()+"&timezone="+zone, nil, nil)
		defer closeStore(t, writer)
		for _, idle := range lifetimes {
			mustInsert(t, writer, "alive", &sessionsql.InsertOptions{IdleTimeout: idle, Lifetime: idle})
			mustInsert(t, writer, "alive", &sessionsql.InsertOptions{IdleTimeout: idle})
			expired := mustInsert(t, writer, "expired", &sessionsql.InsertOptions{IdleTimeout: idle})
			d.setExpiry(idOf(t, expired), "-1 second")
		}
	}
	var reapedInAll int64
	for _, zone := range zones {
		pool := open(t, d.PrimaryDSN()+"&timezone="+zone)
		if got := get[string](t, pool, "SHOW timezone"); got != zone {
			t.Fatalf("the time zone is %s", got)
		}
		for lap := false; !lap; {
			result := reap(t, pool, 10, 100)
			reapedInAll += result.Reaped
			lap = result.LapDone
		}
	}
	want := len(zones) * len(lifetimes)
	if n := d.countWhere(t, "payload = 'alive'"); n != 2*want {
		t.Errorf("%d live sessions are left, want %d", n, 2*want)
	}
	if n := d.countWhere(t, "payload = 'expired'"); n != 0 || reapedInAll != int64(want) {
		t.Errorf("%d expired sessions are left and %d were reaped, want 0 and %d", n, reapedInAll, want)
	}
	if result := mustReap(t, store); result.Reaped != 0 {
		t.Errorf("a second reap found expired sessions: %+v", result)
	}
}

// session-file-store#55: a touch writes old data over a newer save, because it writes back all that it read.
func TestTouchNeverWritesBackOldData(t *testing.T) {
	d := newDatabase(t)
	reader, writer := d.Store(t, nil), d.Store(t, nil)
	token := mustInsert(t, writer, "old", nil)
	d.setExpiry(idOf(t, token), "1 minute")
	d.CatchUp(t)
	mustOpen(t, reader, token, "old", "before the save")
	mustUpdate(t, writer, token, "new", 1)
	d.setExpiry(idOf(t, token), "1 minute") // the session is due again, although the save extended it
	must(t, reader.Flush(t.Context()))
	if n := reader.Stats().SessionsExtended; n != 1 {
		t.Fatalf("%d sessions extended, so this test proves nothing", n)
	}
	if sess := mustOpen(t, writer, token, "new", "after the touch"); sess.Version != 2 {
		t.Errorf("version %d, want 2", sess.Version)
	}
	if got := get[string](t, d.primary, "SELECT payload FROM sessionsql.session"); got != "new" {
		t.Errorf("the row holds %q", got)
	}
}

// formancehq/go-libs#601: after a failover, the pool keeps its connections to the old primary, and every
// write fails as read-only until the program restarts.
func TestWritesFollowAFailoverWithoutARestart(t *testing.T) {
	cluster := ownCluster(t, 1)
	d := newDatabaseIn(t, cluster)
	next := cluster.Replicas[0]
	dsn := fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%d user=postgres dbname=%s sslmode=disable "+
		"target_session_attrs=read-write", cluster.Primary.Port, next.Port, d.Name)
	opened := sessiontest.OpenStore(t, dsn, nil, nil)
	// The application's own pool keeps its connections without limit.
	embedded := sessiontest.OpenStoreOver(t, open(t, dsn), nil)
	stores := map[string]*sessionsql.Store{"Open": opened, "OpenDB": embedded}
	tokens := map[string]sessionsql.Token{}
	for name, store := range stores {
		defer closeStore(t, store)
		tokens[name] = mustInsert(t, store, name, nil)
		// The updates open several connections, which the pool keeps.
		var wait sync.WaitGroup
		for range 32 {
			wait.Go(func() {
				_, err := store.Update(t.Context(), tokens[name], name, sessionsql.AnyVersion)
				if err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
	}
	d.CatchUp(t)

	// After a switchover without ended connections, the old primary still answers and refuses writes.
	must(t, next.Promote(t.Context()))
	d.primary.MustExec("ALTER SYSTEM SET default_transaction_read_only = on")
	d.primary.MustExec("SELECT pg_reload_conf()")
	eventually(t, "the old primary refuses writes", func() bool {
		_, err := d.primary.Exec("SELECT sessionsql.reap()")
		return err != nil && strings.Contains(err.Error(), "25006")
	})
	for name, store := range stores {
		if _, err := store.Update(t.Context(), tokens[name], "first", sessionsql.AnyVersion); err != nil {
			t.Errorf("%s: the first write after the failover: %v", name, err)
		}
		// Many calls run at once, and each may meet an old connection.
		var wait sync.WaitGroup
		for i := range 32 {
			wait.Go(func() {
				token, err := store.Insert(t.Context(), fmt.Sprint(i), nil)
				if err != nil {
					t.Errorf("%s: Insert: %v", name, err)
					return
				}
				mustOpen(t, store, token, fmt.Sprint(i), name+" after the failover")
				must(t, store.Revoke(t.Context(), token))
			})
		}
		wait.Wait()
		mustOpen(t, store, tokens[name], "first", name+": what was written before")
		must(t, store.Flush(t.Context()))
		mustReap(t, store)
	}
	pool := open(t, next.DSN(d.Name))
	n := get[int](t, pool, `SELECT count(*) FROM sessionsql.session
		WHERE payload = 'first'`)
	if n != len(stores) {
		t.Errorf("the new primary has %d of the writes, want %d", n, len(stores))
	}
}

// activerecord-session_store#151: the store accepts its stored hash in place of the id.
func TestTheStoredHashIsNoToken(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	token := mustInsert(t, store, "p", nil)
	renewed := mustRotate(t, store, token, nil) // the row then holds two hashes
	raw := raw(t, renewed)
	type row struct {
		Secret   []byte `db:"secret_hash"`
		Previous []byte `db:"previous_hash"`
	}
	stored := get[row](t, d.primary, "SELECT secret_hash, previous_hash FROM sessionsql.session")
	if own := sha256.Sum256(raw[8:]); string(stored.Secret) != string(own[:]) {
		t.Fatal("the stored hash differs from the hash of the secret")
	}
	for _, hash := range [][]byte{stored.Secret, stored.Previous} {
		hashed := sha256.Sum256(hash)
		for name, secret := range map[string][]byte{
			"first half": hash[:16], "second half": hash[16:], "whole": hash, "hash of the hash": hashed[:16],
		} {
			token := base64.RawURLEncoding.EncodeToString(append(append([]byte{}, raw[:8]...), secret...))
			mustBeDead(t, store, sessionsql.Token(token), name)
			if got := d.found(t, sessionsql.Token(token)); len(got) != 0 {
				t.Errorf("%s: find_session found %q", name, got)
			}
		}
		for _, text := range []string{
			base64.StdEncoding.EncodeToString(hash), fmt.Sprintf("%x", hash), fmt.Sprintf(`\x%x`, hash),
			string(hash),
		} {
			mustBeDead(t, store, sessionsql.Token(text), "a spelling of the hash")
		}
	}
	mustOpen(t, store, renewed, "p", "the token")
	mustOpen(t, store, token, "p", "the one before")
}

// scs#207: stopping the cleanup twice, or before it ran, hangs or panics.
func TestStoppingTheCleanupNeitherPanicsNorHangs(t *testing.T) {
	d := newDatabase(t)
	before := runtime.NumGoroutine()
	const now = time.Millisecond
	for name, interval := range map[string]time.Duration{
		"never ran": -1, "never came to run": time.Hour, "runs all the time": now,
	} {
		for range 5 {
			pool := sqlx.MustOpen("pgx", d.PrimaryDSN())
			options := quiet()
			options.ReapInterval, options.FlushInterval = interval, interval
			store := sessiontest.OpenStoreOver(t, pool, options)
			if interval == now {
				eventually(t, "the cleanup runs", func() bool {
					// A closed Store's last statement may still reap an earlier session.
					d.fill(t, 1, "-1 second")
					return store.Stats().Reaped > 0
				})
			}
			var wait sync.WaitGroup
			for range 4 {
				wait.Go(func() {
					if err := store.Close(t.Context()); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			wait.Wait()
			must(t, store.Close(t.Context()))
			reaped := store.Stats().Reaped
			if _, err := store.Reap(t.Context()); err != sessionsql.ErrClosed {
				t.Errorf("%s: Reap after Close: %v", name, err)
			}
			must(t, pool.Close())
			if store.Stats().Reaped != reaped {
				t.Errorf("%s: reaped after Close", name)
			}
		}
	}
	// The last cleanup waits for a lock that it will not get.
	pool := open(t, d.PrimaryDSN())
	options := quiet()
	options.ReapInterval = now
	store := sessiontest.OpenStoreOver(t, pool, options)
	tx := d.primary.MustBegin()
	tx.MustExec("LOCK TABLE sessionsql.session IN ACCESS EXCLUSIVE MODE")
	d.waitsForLock(t, get[int](t, tx, "SELECT pg_backend_pid()"))
	if err := store.Close(t.Context()); err != nil {
		t.Errorf("Close beside a waiting cleanup returned %v", err)
	}
	must(t, tx.Rollback())
	eventually(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+10 })
}
