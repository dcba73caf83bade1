package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

func revokeSubject(t *testing.T, store *sessionsql.Store, subject string, except sessionsql.Token) int64 {
	t.Helper()
	n, err := store.RevokeSubject(t.Context(), subject, except)
	must(t, err)
	return n
}

func TestRevokeSubjectEndsAllSessionsButTheKeptOne(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	var anns []sessionsql.Token
	for range 5 {
		anns = append(anns, loginAs(t, store, "ann"))
	}
	others := []sessionsql.Token{
		loginAs(t, store, "anna"), loginAs(t, store, "Ann"), loginAs(t, store, "an%"),
		mustInsert(t, store, "", nil),
	}
	expired := loginAs(t, store, "ann")
	d.setExpiry(idOf(t, expired), "0")

	if n := revokeSubject(t, store, "ann", anns[2]); n != 4 {
		t.Errorf("%d sessions ended, want 4", n)
	}
	for i, token := range anns {
		if i == 2 {
			mustOpen(t, store, token, "ann", "the kept one")
		} else {
			mustBeDead(t, store, token, "one of the others")
		}
	}
	for i, payload := range []string{"anna", "Ann", "an%", ""} {
		mustOpen(t, store, others[i], payload, "another's session")
	}
	if n := store.Stats().Revokes; n != 4 {
		t.Errorf("%d revokes counted, want 4", n)
	}
	if n := revokeSubject(t, store, "ann", ""); n != 1 {
		t.Errorf("%d sessions ended, want the kept one", n)
	}
	mustBeDead(t, store, anns[2], "the kept one, revoked")
	if n := revokeSubject(t, store, "ann", ""); n != 0 {
		t.Errorf("%d sessions ended of a subject that has none", n)
	}
	mustOpen(t, store, others[3], "", "an anonymous session")
}

// An id is guessable, and another user's session is no reason to spare a session.
func TestRevokeSubjectSparesOnlyWhoShowsTheSecret(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	ann, bob := loginAs(t, store, "ann"), loginAs(t, store, "bob")
	tokens := hostileTokens(ann)
	delete(tokens, "empty") // because an empty token spares no session
	tokens["another's"] = bob
	tokens["anonymous"] = mustInsert(t, store, "", nil)
	for name, except := range tokens {
		if _, err := store.RevokeSubject(t.Context(), "ann", except); err != sessionsql.ErrNoSession {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustOpen(t, store, ann, "ann", "after refused calls")
	if n := revokeSubject(t, store, "ann", mustRotate(t, store, ann, nil)); n != 0 {
		t.Errorf("%d sessions ended, want none but the kept", n)
	}
	mustOpen(t, store, ann, "ann", "rotated, and kept")
}

func TestSubjectsAreRefusedBeforeAnySQL(t *testing.T) {
	store := sessiontest.OpenStoreOver(t, nowhere(t), nil)
	defer closeStore(t, store)
	for name, subject := range map[string]string{
		"empty": "", "NUL": "canary\x00", "not UTF-8": "canary\xff",
		"too long": strings.Repeat("canary", 171),
	} {
		_, err := store.ListSubject(t.Context(), subject, "")
		_, err2 := store.RevokeSubject(t.Context(), subject, "")
		for _, err := range []error{err, err2} {
			if !errors.Is(err, sessionsql.ErrOptions) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for name, own := range map[string]sessionsql.InsertOptions{
		"a cap without a subject": {MaxSessions: 1}, "a negative cap": {MaxSessions: -1, Subject: "canary"},
	} {
		_, err := store.Insert(t.Context(), "p", &own)
		if !errors.Is(err, sessionsql.ErrOptions) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := newDatabase(t)
	for name, arguments := range map[string]string{
		"a cap without a subject": "subject => NULL, max_sessions => 1",
		"no sessions at all":      "subject => 'canary', max_sessions => 0",
		"a negative cap":          "subject => 'canary', max_sessions => -1",
	} {
		_, err := d.primary.Exec("SELECT sessionsql.insert(sha256('canary'), 'canary', " + arguments + ")")
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "22023" || strings.Contains(pg.Message+pg.Detail, "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRevokeSubjectSurvivesACrash(t *testing.T) {
	cluster := ownCluster(t, 0)
	d := newDatabaseIn(t, cluster)
	// This is the strictest case, because the pool does not wait for the disk by default.
	store := sessiontest.OpenStoreOver(t, open(t, d.PrimaryDSN()+"&synchronous_commit=off"), nil)
	tokens := map[string][]sessionsql.Token{}
	for i := range 30 {
		subject := fmt.Sprint("subject", i%3)
		tokens[subject] = append(tokens[subject], loginAs(t, store, subject))
	}
	kept := loginAs(t, store, "subject0")
	capped := loginAs(t, store, "capped")
	crashAfter := func(last func()) {
		flush(t, open(t, d.PrimaryDSN())) // a crash has ended no connection of this pool
		must(t, cluster.Primary.Signal("walwriter", syscall.SIGSTOP))
		last()
		must(t, cluster.Primary.Kill())
		must(t, cluster.Primary.Start(t.Context()))
		// The first write meets the dead connection.
		eventually(t, "the restarted server is used", func() bool {
			_, err := store.RevokeSubject(t.Context(), "nobody", "")
			return err == nil
		})
	}
	ended := func(tokens ...sessionsql.Token) {
		t.Helper()
		for _, token := range tokens {
			if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
				t.Errorf("a session that was ended: %v", err)
			}
		}
	}
	crashAfter(func() { revokeSubject(t, store, "subject0", kept) })
	ended(tokens["subject0"]...)
	crashAfter(func() { revokeSubject(t, store, "subject1", "") })
	ended(tokens["subject1"]...)
	// An eviction is a logout, so it is durable although an insert is not.
	var latest sessionsql.Token
	crashAfter(func() {
		latest = mustInsert(t, store, "capped", &sessionsql.InsertOptions{Subject: "capped", MaxSessions: 1})
	})
	ended(capped)
	mustOpen(t, store, kept, "subject0", "the kept one")
	mustOpen(t, store, latest, "capped", "the one that evicted another")
	for _, token := range tokens["subject2"] {
		mustOpen(t, store, token, "subject2", "another's")
	}
}

// waitsForLock waits until another process waits for a lock of process pid.
func (d *database) waitsForLock(t *testing.T, pid int) {
	t.Helper()
	eventually(t, "somebody waits for the lock", func() bool {
		return get[bool](t, d.primary,
			"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)))", pid)
	})
}

func TestRevokeSubjectWaitsForWhatIsBeingKeptAlive(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	for name, hold := range map[string]string{
		"touch": "SELECT sessionsql.touch_batch(ARRAY[$1::bigint])",
		"save": `UPDATE sessionsql.session SET payload = 'ann', version = version + 1
			WHERE id = $1`,
		"touch, no change": "SELECT 1 FROM sessionsql.session WHERE id = $1 FOR NO KEY UPDATE",
	} {
		for _, end := range []string{"COMMIT", "ROLLBACK"} {
			var tokens []sessionsql.Token
			for range 3 {
				tokens = append(tokens, loginAs(t, store, "ann"))
			}
			held := idOf(t, tokens[1])
			d.setExpiry(held, "1 minute") // the session is due for a touch
			tx := d.primary.MustBegin()
			tx.MustExec(hold, held)
			pid := get[int](t, tx, "SELECT pg_backend_pid()")
			ended := make(chan int64, 1)
			go func() {
				n, err := store.RevokeSubject(context.Background(), "ann", "")
				if err != nil {
					t.Error(err)
				}
				ended <- n
			}()
			d.waitsForLock(t, pid)
			tx.MustExec(end)
			if n := <-ended; n != 3 {
				t.Errorf("%s, %s: %d sessions ended, want 3", name, end, n)
			}
			_ = tx.Rollback()
			if n := d.countAll(t); n != 0 {
				t.Errorf("%s, %s: %d sessions survived", name, end, n)
			}
		}
	}
}

func TestEveryInterleavingOfRevokeSubjectAndAnotherTransaction(t *testing.T) {
	const (
		revokeOwner  = "SELECT sessionsql.revoke_subject('ann', $2) WHERE $1 > 0"
		revokeLogins = "SELECT sessionsql.revoke_subject('ann') WHERE $1 <> $2::bigint"
		revokeListed = "SELECT sessionsql.revoke_listed($2, sha256('2'), $1)"
		touchBoth    = "SELECT sessionsql.touch_batch(ARRAY[$2, $1]::bigint[])"
		reapAll      = "SELECT count(*) FROM sessionsql.reap() WHERE $1::bigint <> $2::bigint"
		saveFirst    = "SELECT sessionsql.update_payload($1, sha256('1'), 'late') WHERE $2 > 0"
		login        = `SELECT sessionsql.insert(sha256('3'), 'new', subject => 'ann', max_sessions => 2)
			WHERE $1 <> $2::bigint`
	)
	revokes := transaction{"revoke", []string{"BEGIN", revokeOwner, "COMMIT"}}
	listed := transaction{"revoke", []string{"BEGIN", revokeListed, "COMMIT"}}
	touches := transaction{"touch", []string{"BEGIN", touchBoth, touchBoth, "COMMIT"}}
	reaps := transaction{"reap", []string{"BEGIN", reapAll, "COMMIT"}}
	saves := transaction{"save", []string{"BEGIN", saveFirst, "COMMIT"}}
	evicts := transaction{"evict", []string{"BEGIN", login, "COMMIT"}}
	all := transaction{"revoke all", []string{"BEGIN", revokeLogins, "COMMIT"}}

	d := newDatabase(t)
	// The default gives the sessions of fill an owner.
	d.primary.MustExec("ALTER TABLE sessionsql.session ALTER COLUMN subject SET DEFAULT 'ann'")
	some := trials([]pair{
		{revokes, touches},
		{revokes, saves},
		{revokes, revokes},
		{revokes, reaps},
		{revokes, evicts},
		{listed, touches},
		{listed, saves},
		{listed, revokes},
		{listed, reaps},
		{listed, listed},
	})
	for _, each := range some {
		checkTrial(t, d, each)
	}
	// These trials end both sessions, so only a session made meanwhile may be left.
	both := trials([]pair{
		{all, evicts},
		{all, touches},
		{all, all},
	})
	for _, each := range both {
		ids := each.run(t, d)
		if n := d.countWhere(t, "id = $1 OR id = $2", ids[0], ids[1]); n != 0 {
			t.Errorf("%s: %d sessions are left", each.name, n)
		}
	}
	t.Logf("the test ran %d interleavings", len(some)+len(both))
}

func TestOwnRevokeSubjectIsNeverReadBackOlder(t *testing.T) {
	d := newDatabase(t)
	options := quiet()
	options.MaxReplicaLag = time.Hour
	store := d.Store(t, nil)
	other := d.Store(t, options) // does not remember the writes of the first
	kept := loginAs(t, store, "ann")
	ended := loginAs(t, store, "ann")
	evicted := []sessionsql.Token{loginAs(t, store, "bob"), loginAs(t, store, "bob")}
	d.CatchUp(t)
	forgetRecentWrites(t, store, ended)
	forgetRecentWrites(t, store, evicted[0])
	forgetRecentWrites(t, other, kept)
	d.pauseReplay(t)
	if n := liveOn(t, d.replica); n != 4 {
		t.Fatalf("the replica has %d sessions, want 4, so this test proves nothing", n)
	}
	check := func(alive sessionsql.Token, payload string, ended ...sessionsql.Token) {
		t.Helper()
		var wait sync.WaitGroup
		for range 16 {
			wait.Go(func() {
				for range 10 {
					mustOpen(t, store, alive, payload, "the one that is left")
					for _, token := range ended {
						if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
							t.Errorf("a session that was ended: %v", err)
						}
					}
				}
			})
		}
		wait.Wait()
	}
	revokeSubject(t, store, "ann", kept)
	check(kept, "ann", ended)

	store = other
	latest := mustInsert(t, store, "bob", &sessionsql.InsertOptions{Subject: "bob", MaxSessions: 1})
	check(latest, "bob", evicted...)
	if n := liveOn(t, d.replica); n != 4 {
		t.Errorf("the replica has %d sessions, want the 4 old ones, so this test proves nothing", n)
	}
}

func TestListSubjectShowsOwnLiveSessionsNewestFirst(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	var want []int64
	for i := range 5 {
		token := loginAs(t, store, "ann")
		d.primary.MustExec(`UPDATE sessionsql.session SET created_at = now() - make_interval(hours => $2)
			WHERE id = $1`, idOf(t, token), 10-i)
		want = append(want, idOf(t, token))
	}
	// The order by age now differs from the order of the ids.
	d.primary.MustExec("UPDATE sessionsql.session SET created_at = now() WHERE id = $1", want[0])
	want = append(want[1:], want[0])
	slices.Reverse(want)
	for _, other := range []string{"anna", "Ann", "bob"} {
		loginAs(t, store, other)
	}
	mustInsert(t, store, "anonymous", nil)
	d.setExpiry(idOf(t, loginAs(t, store, "ann")), "0")
	must(t, store.Revoke(t.Context(), loginAs(t, store, "ann")))

	list := mustList(t, store, "ann", "")
	var got []int64
	for i, sess := range list {
		got = append(got, sess.ID)
		if sess.ExpiresIn < 39*time.Minute || sess.ExpiresIn > 40*time.Minute {
			t.Errorf("session %d expires in %v", i, sess.ExpiresIn)
		}
		if i > 0 && sess.CreatedAt.After(list[i-1].CreatedAt) {
			t.Errorf("session %d is newer than the one before", i)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	if list := mustList(t, store, "nobody", ""); len(list) != 0 {
		t.Errorf("the list of a subject without sessions is %v", list)
	}
}

func TestListSubjectUsesTheIndex(t *testing.T) {
	d := newDatabase(t)
	d.fill(t, 10_000, "1 hour")
	d.primary.MustExec("UPDATE sessionsql.session SET subject = 'subject' || id % 5000 WHERE id % 2 = 0")
	d.primary.MustExec("ANALYZE sessionsql.session")
	var plan []string
	must(t, d.primary.Select(&plan, "EXPLAIN SELECT * FROM sessionsql.list_subject('subject70')"))
	if text := strings.Join(plan, "\n"); !strings.Contains(text, "session_subject") ||
		strings.Contains(text, "Seq Scan") {
		t.Errorf("the plan uses no index:\n%s", text)
	}
}

func TestMaxSessionsEvictsTheOldest(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	other := loginAs(t, store, "bob")
	expired := loginAs(t, store, "ann")
	d.setExpiry(idOf(t, expired), "0") // an expired session does not count
	var tokens []sessionsql.Token
	for i := range 6 {
		token := mustInsert(t, store, fmt.Sprint(i),
			&sessionsql.InsertOptions{Subject: "ann", MaxSessions: 3})
		tokens = append(tokens, token)
		for j, token := range tokens {
			if j > i-3 {
				mustOpen(t, store, token, fmt.Sprint(j), fmt.Sprintf("session %d of %d", j, i))
			} else if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
				t.Errorf("session %d of %d: %v", j, i, err)
			}
		}
	}
	mustOpen(t, store, other, "bob", "another's")
	listed := func(when string, want int) {
		t.Helper()
		if n := len(mustList(t, store, "ann", "")); n != want {
			t.Errorf("%d sessions %s, want %d", n, when, want)
		}
	}
	// A smaller cap ends the excess, and a larger cap ends no session.
	mustInsert(t, store, "p", &sessionsql.InsertOptions{Subject: "ann", MaxSessions: 1})
	listed("with a cap of 1", 1)
	mustInsert(t, store, "p", &sessionsql.InsertOptions{Subject: "ann", MaxSessions: 5})
	get[string](t, d.primary, "SELECT sessionsql.new_session('p', subject => 'ann', max_sessions => 5)")
	listed("with a cap of 5", 3)
	// The caller's rollback undoes the eviction too.
	tx := d.primary.MustBegin()
	mustInsertTx(t, store, tx, "p", &sessionsql.InsertOptions{Subject: "ann", MaxSessions: 1})
	must(t, tx.Rollback())
	listed("after a login that was rolled back", 3)
}

func TestMaxSessionsHoldsUnderConcurrentLogins(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	const limit, extra = 5, 20
	for _, subject := range []string{"ann", "bob"} { // only logins of this subject run at once
		before := make([]sessionsql.Token, limit)
		for i := range before {
			before[i] = loginAs(t, store, subject)
		}
		tokens := make([]sessionsql.Token, limit+extra)
		var wait sync.WaitGroup
		for i := range tokens {
			wait.Go(func() {
				own := &sessionsql.InsertOptions{Subject: subject, MaxSessions: limit}
				token, err := store.Insert(t.Context(), subject, own)
				if err != nil {
					t.Error(err)
				}
				tokens[i] = token
			})
		}
		wait.Wait()
		live := 0
		for _, token := range tokens {
			switch _, err := store.Lookup(t.Context(), token); err {
			case nil:
				live++
			case sessionsql.ErrNoSession:
			default:
				t.Error(err)
			}
		}
		if n := d.countWhere(t, "subject = $1", subject); live != limit || n != limit {
			t.Errorf("%d live tokens and %d rows, want %d", live, n, limit)
		}
		for _, token := range before {
			if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
				t.Errorf("an old session outlived newer ones: %v", err)
			}
		}
	}
	if n := d.countAll(t); n != 2*limit {
		t.Errorf("%d rows, want %d", n, 2*limit)
	}
}
