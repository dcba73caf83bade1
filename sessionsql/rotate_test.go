package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

// mustOpen checks that a token opens the session with this payload.
func mustOpen(
	t *testing.T, store *sessionsql.Store, token sessionsql.Token, payload, when string,
) sessionsql.Session {
	t.Helper()
	sess, err := store.Lookup(t.Context(), token)
	if err != nil || sess.Payload != payload {
		t.Errorf("%s: opens %q, %v; want %q", when, sess.Payload, err, payload)
	}
	return sess
}

// mustBeDead checks that every verb refuses a token.
func mustBeDead(t *testing.T, store *sessionsql.Store, token sessionsql.Token, when string) {
	t.Helper()
	for verb, call := range map[string]func(context.Context) error{
		"Lookup": func(ctx context.Context) error { _, err := store.Lookup(ctx, token); return err },
		"Touch":  func(ctx context.Context) error { return store.Touch(ctx, token) },
		"Update": func(ctx context.Context) error {
			_, err := store.Update(ctx, token, "late", sessionsql.AnyVersion)
			return err
		},
		"Rotate": func(ctx context.Context) error { _, err := store.Rotate(ctx, token, nil); return err },
		"Revoke": func(ctx context.Context) error { return store.Revoke(ctx, token) },
	} {
		if err := call(t.Context()); err != sessionsql.ErrNoSession {
			t.Errorf("%s: %s: %v", when, verb, err)
		}
	}
}

// endGrace ends a rotated session's grace at once.
func (d *database) endGrace(t *testing.T, token sessionsql.Token) {
	t.Helper()
	d.primary.MustExec(`UPDATE sessionsql.session SET previous_until = clock_timestamp()
		WHERE id = $1`, idOf(t, token))
	d.CatchUp(t)
}

func TestRotateKeepsTheRowAndChangesTheSecret(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	old := mustInsert(t, store, "1", &sessionsql.InsertOptions{Subject: "ann", Lifetime: time.Hour})
	mustUpdate(t, store, old, "2", 1)
	kept := func() string {
		return get[string](t, d.primary, `
			SELECT row(s.id, s.deadline, s.created_at, s.idle_seconds, s.version, s.subject, s.payload)::text
			FROM sessionsql.session AS s`) // the query fails with more than one row
	}
	before := kept()
	renewed := mustRotate(t, store, old, nil)
	if after := kept(); after != before {
		t.Errorf("the row was %s and is %s", before, after)
	}
	if renewed == old || idOf(t, renewed) != idOf(t, old) {
		t.Error("the new token equals the old one or opens another session")
	}
	for when, token := range map[string]sessionsql.Token{"new": renewed, "old, within the grace": old} {
		if sess := mustOpen(t, store, token, "2", when); sess.Version != 2 || sess.Subject != "ann" {
			t.Errorf("%s: %v of %q", when, sess, sess.Subject)
		}
	}
	if n := store.Stats().Rotates; n != 1 {
		t.Errorf("%d rotates counted, want 1", n)
	}
	// Within the grace, the old token works like the new one, so that a request under way succeeds.
	if version, err := store.Update(t.Context(), old, "3", 2); err != nil || version != 3 {
		t.Errorf("Update with the old token: version %d, %v", version, err)
	}
	d.endGrace(t, old)
	mustBeDead(t, store, old, "old, after the grace")
	mustOpen(t, store, renewed, "3", "new, after the grace")
	if n := get[int](t, d.primary, "SELECT count(*) FROM sessionsql.find_session($1)", string(old)); n != 0 {
		t.Error("find_session opens the old token after the grace")
	}
}

func TestLogoutWithTheOldTokenEndsTheRotatedSession(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	old := mustInsert(t, store, "p", nil)
	renewed := mustRotate(t, store, old, nil)
	must(t, store.Revoke(t.Context(), old))
	mustBeDead(t, store, old, "old")
	mustBeDead(t, store, renewed, "new")
}

func TestRotatingTwiceLeavesTheUserLoggedIn(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	first := mustInsert(t, store, "p", nil)
	second := mustRotate(t, store, first, nil)

	// A second rotate with the same token fails, as for a request that was sent before the first response
	// came.
	if _, err := store.Rotate(t.Context(), first, nil); !errors.Is(err, sessionsql.ErrRotated) {
		t.Errorf("rotating the old token again: %v", err)
	}
	mustOpen(t, store, first, "p", "old, after the conflict")
	mustOpen(t, store, second, "p", "new, after the conflict")

	// A rotate of the new token ends the first token's grace, because only one secret before has a grace.
	third := mustRotate(t, store, second, nil)
	mustOpen(t, store, third, "p", "third")
	mustOpen(t, store, second, "p", "second, within its grace")
	mustBeDead(t, store, first, "first, whose grace the second rotate ended")
	d.endGrace(t, third)
	mustBeDead(t, store, second, "second, after its grace")
	mustOpen(t, store, third, "p", "third, alone")
}

func TestOfConcurrentRotatesExactlyOneWins(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	const rounds, callers = 20, 16
	for round := range rounds {
		old := mustInsert(t, store, "p", nil)
		won := make(chan sessionsql.Token, callers)
		var lost atomic.Int64
		var wait sync.WaitGroup
		for range callers {
			wait.Go(func() {
				switch renewed, err := store.Rotate(t.Context(), old, nil); {
				case err == nil:
					won <- renewed
				case errors.Is(err, sessionsql.ErrRotated) && renewed == "":
					lost.Add(1)
				default:
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wait.Wait()
		if len(won) != 1 || lost.Load() != callers-1 {
			t.Fatalf("round %d: %d won and %d lost", round, len(won), lost.Load())
		}
		mustOpen(t, store, <-won, "p", "the winner's token")
		mustOpen(t, store, old, "p", "the token that all presented, within the grace")
	}
}

func TestRotateNeverResurrects(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	expired := mustInsert(t, store, "p", nil)
	d.setExpiry(idOf(t, expired), "0")
	revoked := mustInsert(t, store, "p", nil)
	must(t, store.Revoke(t.Context(), revoked))
	before := get[string](t, d.primary, "SELECT s::text FROM sessionsql.session AS s")
	for when, token := range map[string]sessionsql.Token{"expired": expired, "revoked": revoked} {
		for _, own := range []sessionsql.RotateOptions{
			{}, {Subject: "ann"}, {Grace: time.Hour}, {Grace: -1},
		} {
			renewed, err := store.Rotate(t.Context(), token, &own)
			if err != sessionsql.ErrNoSession || renewed != "" {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	live := mustInsert(t, store, "live", nil)
	for name, token := range hostileTokens(live) {
		if _, err := store.Rotate(t.Context(), token, nil); err != sessionsql.ErrNoSession {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustOpen(t, store, live, "live", "after attempts to rotate it")
	after := get[string](t, d.primary, `SELECT s::text FROM sessionsql.session AS s
		WHERE id = $1`, idOf(t, expired))
	if after != before {
		t.Error("the expired row was written")
	}
}

// Session fixation: an attacker who planted the anonymous token must not be logged in by the victim's login.
func TestRotateAtLoginLeavesTheAnonymousTokenDead(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	planted := mustInsert(t, store, "cart", nil)
	d.CatchUp(t)
	mustLookup(t, store, planted)
	renewed := mustRotate(t, store, planted, &sessionsql.RotateOptions{Subject: "ann"})
	mustBeDead(t, store, planted, "the planted token")
	if sess := mustOpen(t, store, renewed, "cart", "the new token"); sess.Subject != "ann" {
		t.Errorf("the subject is %q, want ann", sess.Subject)
	}
	if n := len(mustList(t, store, "ann", "")); n != 1 {
		t.Errorf("ann has %d sessions, want 1", n)
	}
	// A later rotate keeps the subject, and gives a grace on request.
	next := mustRotate(t, store, renewed, nil)
	if sess := mustOpen(t, store, next, "cart", "rotated again"); sess.Subject != "ann" {
		t.Errorf("after the second rotation the subject is %q", sess.Subject)
	}
	last := mustRotate(t, store, next, &sessionsql.RotateOptions{Subject: "root", Grace: time.Minute})
	mustOpen(t, store, next, "cart", "the token before, with a grace that was asked for")
	if sess := mustOpen(t, store, last, "cart", "of another subject"); sess.Subject != "root" {
		t.Errorf("the subject is %q, want root", sess.Subject)
	}
}

func TestRotateWithoutGraceEndsTheOldTokenAtOnce(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	old := mustInsert(t, store, "p", nil)
	renewed := mustRotate(t, store, old, &sessionsql.RotateOptions{Grace: -1})
	mustBeDead(t, store, old, "old")
	mustOpen(t, store, renewed, "p", "new")
}

// pauseReplay stops the replica's replay until the test ends.
func (d *database) pauseReplay(t *testing.T) {
	t.Helper()
	d.CatchUp(t)
	d.replica.MustExec("SELECT pg_wal_replay_pause()")
	eventually(t, "replay is paused", func() bool {
		return get[string](t, d.replica, "SELECT pg_get_wal_replay_pause_state()") == "paused"
	})
	t.Cleanup(func() { d.replica.MustExec("SELECT pg_wal_replay_resume()") })
}

// forgetRecentWrites waits until the Store reads a session from the replica. Then the Store knows that the
// replica has all of its writes.
func forgetRecentWrites(t *testing.T, store *sessionsql.Store, token sessionsql.Token) {
	t.Helper()
	eventually(t, "the session is read from the replica", func() bool {
		before := store.Stats().ReplicaReads
		mustLookup(t, store, token)
		return store.Stats().ReplicaReads > before
	})
}

func TestOwnRotateIsNeverReadBackOlder(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	old := mustInsert(t, store, "p", nil)
	d.CatchUp(t)
	forgetRecentWrites(t, store, old)
	d.pauseReplay(t)
	renewed := mustRotate(t, store, old, &sessionsql.RotateOptions{Grace: -1})
	if n := get[int](t, d.replica, "SELECT count(*) FROM sessionsql.find_session($1)", string(old)); n != 1 {
		t.Fatal("the replica is not behind, so this test proves nothing")
	}
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			for range 20 {
				if _, err := store.Lookup(t.Context(), old); err != sessionsql.ErrNoSession {
					t.Errorf("Lookup of the old token: %v", err)
				}
				mustOpen(t, store, renewed, "p", "new")
			}
		})
	}
	wait.Wait()
}

// The holder of the old token must see a write through the new one.
func TestOwnWritesThroughTheNewTokenAreNeverReadBackOlderThroughTheOldOne(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	writes := map[string]func(sessionsql.Token) error{
		"Revoke": func(token sessionsql.Token) error { return store.Revoke(t.Context(), token) },
		"Update": func(token sessionsql.Token) error {
			_, err := store.Update(t.Context(), token, "new", 1)
			return err
		},
		"Rotate": func(token sessionsql.Token) error {
			_, err := store.Rotate(t.Context(), token, &sessionsql.RotateOptions{Grace: -1})
			return err
		},
	}
	old, renewed := map[string]sessionsql.Token{}, map[string]sessionsql.Token{}
	for name := range writes {
		old[name] = mustInsert(t, store, "old", nil)
		renewed[name] = mustRotate(t, store, old[name], &sessionsql.RotateOptions{Grace: time.Hour})
	}
	d.CatchUp(t)
	for name := range writes {
		forgetRecentWrites(t, store, old[name])
	}
	d.pauseReplay(t)
	for name, write := range writes {
		must(t, write(renewed[name]))
		for range 10 {
			sess, err := store.Lookup(t.Context(), old[name])
			updated := err == nil && sess.Payload == "new"
			if name == "Update" && !updated || name != "Update" && err != sessionsql.ErrNoSession {
				t.Errorf("after %s the old token opens %q, %v", name, sess.Payload, err)
			}
		}
	}
}

func TestRotateSurvivesACrash(t *testing.T) {
	cluster := ownCluster(t, 0)
	d := newDatabaseIn(t, cluster)
	// This is the strictest case, because the pool does not wait for the disk by default.
	store := sessiontest.OpenStoreOver(t, open(t, d.PrimaryDSN()+"&synchronous_commit=off"), nil)
	var old, renewed []sessionsql.Token
	for range 50 {
		old = append(old, mustInsert(t, store, "p", nil))
	}
	flush(t, d.primary)
	must(t, cluster.Primary.Signal("walwriter", syscall.SIGSTOP))
	for i, token := range old {
		own := &sessionsql.RotateOptions{Grace: -1}
		if i%2 == 1 {
			own.Subject = "ann"
		}
		renewed = append(renewed, mustRotate(t, store, token, own))
	}
	must(t, cluster.Primary.Kill())
	must(t, cluster.Primary.Start(t.Context()))
	for i := range old {
		if _, err := store.Lookup(t.Context(), old[i]); err != sessionsql.ErrNoSession {
			t.Errorf("rotated session %d, old token: %v", i, err)
		}
		if sess := mustOpen(t, store, renewed[i], "p", "new token"); (sess.Subject == "ann") != (i%2 == 1) {
			t.Errorf("rotated session %d has subject %q", i, sess.Subject)
		}
	}
}

func TestRotateRefusesBadOptionsBeforeAnySQL(t *testing.T) {
	// Nobody listens there, so every call that needs the database fails.
	store := sessiontest.OpenStoreOver(t, nowhere(t), nil)
	defer closeStore(t, store)
	for name, options := range map[string]*sessionsql.RotateOptions{
		"grace too long":      {Grace: time.Hour + 1},
		"subject too long":    {Subject: strings.Repeat("canary", 171)},
		"NUL in subject":      {Subject: "canary\x00"},
		"subject not UTF-8":   {Subject: "canary\xff"},
		"a negative cap":      {MaxSessions: -1, Subject: "canary"},
		"a cap for nobody":    {MaxSessions: 1},
		"everything is wrong": {Subject: "canary\x00", Grace: 2 * time.Hour},
	} {
		_, err := store.Rotate(t.Context(), wellFormed, options)
		if !errors.Is(err, sessionsql.ErrOptions) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := store.Rotate(t.Context(), wellFormed, &sessionsql.RotateOptions{Grace: time.Hour})
	if !errors.Is(err, sessionsql.ErrUnavailable) {
		t.Errorf("good options: %v", err)
	}
}

func TestSQLRotateRefusesBadInputWithoutRepeatingIt(t *testing.T) {
	d := newDatabase(t)
	id := d.fill(t, 1, "1 hour")[0]
	before := get[string](t, d.primary, "SELECT s::text FROM sessionsql.session AS s")
	for name, arguments := range map[string]string{
		"hash too short":   "'canary', '1 second'",
		"hash is null":     "NULL, '1 second'",
		"negative grace":   "sha256('2'), '-12345 seconds'",
		"grace too long":   "sha256('2'), '12345 seconds'",
		"grace is endless": "sha256('2'), '12345 years'",
		"grace is null":    "sha256('2'), NULL",
		"subject too long": "sha256('2'), '1 second', repeat('canary', 171)",
	} {
		_, err := d.primary.Exec("SELECT sessionsql.rotate($1, sha256('1'), "+arguments+")", id)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "22023" {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text := fmt.Sprintf("%+v", *pg)
		for _, secret := range []string{"canary", "12345", "63616e617279"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
	if after := get[string](t, d.primary, "SELECT s::text FROM sessionsql.session AS s"); after != before {
		t.Error("a refused rotate wrote the row")
	}
}

func TestEveryInterleavingOfRotateAndAnotherTransaction(t *testing.T) {
	const (
		rotateFirst = "SELECT sessionsql.rotate($1, sha256('1'), sha256('renewed')) AND $2 > 0"
		rotateAgain = "SELECT sessionsql.rotate($1, sha256('1'), sha256('rival')) AND $2 > 0"
		touchBoth   = "SELECT sessionsql.touch_batch(ARRAY[$2, $1]::bigint[])"
		reapAll     = "SELECT count(*) FROM sessionsql.reap() WHERE $1::bigint <> $2::bigint"
		revokeFirst = "SELECT sessionsql.revoke($1, sha256('1')) AND $2 > 0"
		revokeOwner = "SELECT sessionsql.revoke_subject('ann', $2) WHERE $1 > 0"
		saveFirst   = "SELECT sessionsql.update_payload($1, sha256('1'), 'late') WHERE $2 > 0"
		expireFirst = `UPDATE sessionsql.session SET expires_at = now() - interval '1 second' WHERE id = $1
			AND $2 > 0`
	)
	rotates := transaction{"rotate", []string{"BEGIN", rotateFirst, "COMMIT"}}
	unrotates := transaction{"rotate, rolled back", []string{"BEGIN", rotateFirst, "ROLLBACK"}}
	rivals := transaction{"rotate again", []string{"BEGIN", rotateAgain, "COMMIT"}}
	touches := transaction{"touch", []string{"BEGIN", touchBoth, "COMMIT"}}
	reaps := transaction{"reap", []string{"BEGIN", reapAll, "COMMIT"}}
	revokes := transaction{"revoke", []string{"BEGIN", revokeFirst, "COMMIT"}}
	revokesAll := transaction{"revoke", []string{"BEGIN", revokeOwner, "COMMIT"}}
	saves := transaction{"save", []string{"BEGIN", saveFirst, "COMMIT"}}
	expires := transaction{"expire", []string{"BEGIN", expireFirst, "COMMIT"}}

	d := newDatabase(t)
	// The default gives the sessions of fill an owner.
	d.primary.MustExec("ALTER TABLE sessionsql.session ALTER COLUMN subject SET DEFAULT 'ann'")
	all := trials([]pair{
		{rotates, touches},
		{rotates, reaps},
		{rotates, revokes},
		{rotates, revokesAll},
		{rotates, saves},
		{rotates, expires},
		{rotates, rivals},
		{unrotates, rivals},
		{unrotates, saves},
		{unrotates, revokes},
	})
	for _, each := range all {
		checkTrial(t, d, each)
		if each.pair[1].name != "revoke" { // checkTrial has checked that a revoked session is gone
			checkRotation(t, d, each)
		}
	}
	t.Logf("the test ran %d interleavings", len(all))
}

// checkRotation checks that both transactions of a trial took effect. In the default grace the old secret
// opens the session too, so the order of the transactions does not matter.
func checkRotation(t *testing.T, d *database, r trial) {
	t.Helper()
	const secrets = `WITH known AS (
		  SELECT u.secret FROM unnest('{1,renewed,rival}'::text[]) AS u (secret)
		)
		SELECT k.secret, COALESCE(p.secret, '') AS previous, s.payload
		FROM sessionsql.session AS s
		LEFT JOIN known AS k ON sha256(k.secret::bytea) = s.secret_hash
		LEFT JOIN known AS p ON sha256(p.secret::bytea) = s.previous_hash
		WHERE left(s.payload, 1) <> '2'`
	var got []struct{ Secret, Previous, Payload string }
	must(t, d.primary.Select(&got, secrets))
	if len(got) != 1 {
		t.Errorf("%s: %d rows", r.name, len(got))
		return
	}
	is := got[0]
	rotated := is.Previous == "1" && (is.Secret == "renewed" || is.Secret == "rival")
	switch {
	case r.pair[1].name == "expire":
		// The session is dead either way, and the order decides about its secret.
	case r.pair[0].name == "rotate" && !rotated:
		t.Errorf("%s: no rotation happened: %+v", r.name, is)
	case r.pair[0].name != "rotate" && is.Secret == "renewed":
		t.Errorf("%s: a rolled-back rotation is visible: %+v", r.name, is)
	case r.pair[0].name != "rotate" && r.pair[1].name == "rotate again" && is.Secret != "rival":
		t.Errorf("%s: a committed rotation is lost: %+v", r.name, is)
	case r.pair[1].name == "save" && is.Payload != "late":
		t.Errorf("%s: a write is lost: %+v", r.name, is)
	}
}
