package sessionsql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/pgschema"
	"github.com/sessionsql/postgres/internal/pgtext"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
)

// A feed is a reader of sessionsql.changes that keeps what it was told.
type feed struct {
	Epoch      string
	Snapshot   sql.NullString
	Everything bool
	IDs        pgtext.IDs
	Keys       pgtext.Keys
}

// poll reads the changes since the last call. It returns false if there is no epoch.
func (f *feed) poll(t testing.TB, on sqlx.QueryerContext) bool {
	t.Helper()
	err := sqlx.GetContext(t.Context(), on, f, `SELECT epoch, snapshot, everything, ids, keys
		FROM sessionsql.changes($1::text::pg_snapshot)`, f.Snapshot)
	if errors.Is(err, sql.ErrNoRows) {
		*f = feed{}
		return false
	}
	must(t, err)
	return true
}

// startFeed polls until there is an epoch.
func startFeed(t testing.TB, on sqlx.QueryerContext) *feed {
	t.Helper()
	var f feed
	eventually(t, "an epoch begins", func() bool { return f.poll(t, on) })
	return &f
}

// wants polls once, and checks what is new.
func (f *feed) wants(t testing.TB, on sqlx.QueryerContext, step string, ids ...int64) {
	t.Helper()
	epoch := f.Epoch
	if !f.poll(t, on) || f.Epoch != epoch || f.Everything {
		t.Errorf("%s: the epoch %s became %s, and everything is %v", step, epoch, f.Epoch, f.Everything)
	}
	slices.Sort(f.IDs)
	slices.Sort(ids)
	if !slices.Equal(f.IDs, ids) || len(f.Keys) > 0 {
		t.Errorf("%s: the changes are of %v and of %d entries, want %v", step, f.IDs, len(f.Keys), ids)
	}
}

func TestTheLogHoldsEveryEndAndEveryWriteAndNothingElse(t *testing.T) {
	d := newDatabase(t)
	ids := d.fill(t, 12, "1 hour")
	d.primary.MustExec("UPDATE sessionsql.session SET subject = 'ann' WHERE id = ANY ($1)", arrayOf(ids[4:8]))
	f := startFeed(t, d.primary)
	hash := func(i int) string { return fmt.Sprintf("sha256('%d')", i+1) }
	for _, step := range []struct {
		call string
		ids  []int64
	}{
		{fmt.Sprintf("revoke(%d, %s)", ids[0], hash(0)), ids[:1]},
		{fmt.Sprintf("revoke(%d, %s)", ids[0], hash(0)), nil},
		{fmt.Sprintf("revoke(%d, %s)", ids[1], hash(0)), nil},
		{fmt.Sprintf("revoke_batch('{%d,%d}', ARRAY[%s,%s])", ids[0], ids[1], hash(0), hash(0)), nil},
		{
			fmt.Sprintf("revoke_batch('{%d,%d}', ARRAY[%s,%s])", ids[1], ids[10], hash(0), hash(10)),
			ids[10:11],
		},
		{fmt.Sprintf("update_payload(%d, %s, 'p')", ids[1], hash(1)), ids[1:2]},
		{fmt.Sprintf("update_payload(%d, %s, 'p', 1)", ids[1], hash(1)), nil},
		{fmt.Sprintf("update_payload_batch('{%d,%d,%d}', ARRAY[%s,%s,%s], '{p,p,p}', '{NULL,NULL,7}')",
			ids[1], ids[2], ids[3], hash(1), hash(2), hash(3)), ids[1:4]},
		{fmt.Sprintf("update_payload_batch('{%d,NULL}', ARRAY[%s,NULL], '{p,p}', '{NULL,NULL}')", ids[1],
			hash(1)), ids[1:2]},
		{fmt.Sprintf("update_payload_batch('{%d}', ARRAY[%s], '{p}', '{7}')", ids[1], hash(1)), nil},
		{fmt.Sprintf("rotate(%d, %s, sha256('new'))", ids[3], hash(3)), ids[3:4]},
		{fmt.Sprintf("rotate(%d, %s, sha256('new'))", ids[3], hash(3)), nil},
		{fmt.Sprintf("revoke_listed(%d, %s, %d)", ids[4], hash(4), ids[5]), ids[5:6]},
		{fmt.Sprintf("revoke_listed(%d, %s, %d)", ids[4], hash(4), ids[5]), nil},
		{fmt.Sprintf("revoke_subject('ann', %d)", ids[4]), ids[6:8]},
		{"revoke_subject('bob')", nil},
		{"insert(sha256('ann'), 'p', subject => 'ann', max_sessions => 1)", ids[4:5]},
		{"insert(sha256('bob'), 'p', subject => 'bob', max_sessions => 1)", nil},
		{
			fmt.Sprintf("rotate(%d, %s, sha256('new'), subject => 'bob', max_sessions => 2)", ids[8],
				hash(8)),
			ids[8:9],
		},
		{fmt.Sprintf("touch_batch('{%d}')", ids[9]), nil},
		{fmt.Sprintf("lookup(%d, %s)", ids[9], hash(9)), nil},
		{"reap()", nil},
	} {
		d.primary.MustExec("SELECT sessionsql." + step.call)
		f.wants(t, d.primary, step.call, step.ids...)
	}
	token := get[string](t, d.primary, "SELECT sessionsql.new_session('p')")
	id := get[int64](t, d.primary, "SELECT sessionsql.token_id($1)", token)
	f.wants(t, d.primary, "new_session")
	d.primary.MustExec("SELECT sessionsql.save_session($1, 'q')", token)
	f.wants(t, d.primary, "save_session", id)
	d.primary.MustExec("SELECT sessionsql.end_session($1)", token)
	f.wants(t, d.primary, "end_session", id)
	d.primary.MustExec("UPDATE sessionsql.session SET expires_at = now() - interval '1 second'")
	d.primary.MustExec("SELECT sessionsql.reap()")
	f.wants(t, d.primary, "reap of expired sessions")

	d.primary.MustExec("TRUNCATE sessionsql.session")
	if !f.poll(t, d.primary) || !f.Everything {
		t.Error("a TRUNCATE is not a change of all sessions")
	}
	f.wants(t, d.primary, "after TRUNCATE")
}

func TestTheLogHoldsEveryWriteOfANearEntryAndOfNoOther(t *testing.T) {
	d := newDatabase(t)
	f := startFeed(t, d.primary)
	for _, step := range []struct {
		call string
		keys []string
	}{
		{"cache_set('near:s', 'a', 'v', '1 hour')", []string{"a"}},
		{"cache_set('s', 'a', 'v', '1 hour')", nil},
		{`cache_set_batch(ARRAY[sessionsql.cache_key('s', 'a'), sessionsql.cache_key('near:s', 'b')],
			'{1,2}', '{v,v}', '{60,60}')`, []string{"b"}},
		{"cache_add(sessionsql.cache_key('near:s', 'c'), 1, 'v', 60)", []string{"c"}},
		{"cache_add(sessionsql.cache_key('near:s', 'c'), 1, 'v', 60)", nil},
		{"cache_swap(sessionsql.cache_key('near:s', 'a'), sha256('v'), 'w')", []string{"a"}},
		{"cache_swap(sessionsql.cache_key('near:s', 'a'), sha256('v'), 'x')", nil},
		{"cache_swap(sessionsql.cache_key('near:s', 'a'), sha256('w'), NULL)", []string{"a"}},
		{"cache_increment('near:s', 'n', 1, '1 minute')", []string{"n"}},
		{"cache_increment('near:s', 'n', 1, '1 minute')", []string{"n"}},
		{"cache_increment('s', 'n', 1, '1 minute')", nil},
		{"cache_touch('near:s', 'n', '1 hour')", nil},
		{"cache_get('near:s', 'n')", nil},
		{"cache_fetch_lease('near:s', 'l', 'me')", nil},
		{"cache_end_lease('near:s', 'l', 'me')", nil},
		{"cache_delete('near:s', 'evicted')", []string{"evicted"}}, // a program may still have it
		{"cache_delete_batch(ARRAY[sessionsql.cache_key('near:s', 'c'), NULL], true)", []string{"c"}},
		{"cache_clear(sessionsql.cache_space_id('near:s'))", []string{"n"}},
		{"cache_reap()", nil},
	} {
		d.primary.MustExec("SELECT sessionsql." + step.call)
		if !f.poll(t, d.primary) || f.Everything || len(f.IDs) > 0 {
			t.Errorf("%s: the changes are of %v, and everything is %v", step.call, f.IDs, f.Everything)
		}
		var want pgtext.Keys
		for _, key := range step.keys {
			want = append(want, pgtext.Key(cacheKey("near:s", key)))
		}
		if !slices.Equal(f.Keys, want) {
			t.Errorf("%s: the changes are of %x, want %x", step.call, f.Keys, want)
		}
	}
	fill := func(n int) {
		d.primary.MustExec(`INSERT INTO sessionsql.cache_entry (key, expires_at, space, value)
			SELECT ('ffff' || substr(md5(g::text), 5))::uuid, 'infinity', 1, repeat('x', 200)::bytea
			FROM generate_series(1, $1) AS g`, n)
	}
	d.emptyCache()
	if !f.poll(t, d.primary) || !f.Everything {
		t.Error("a TRUNCATE of the entries is not a change of all")
	}
	fill(1000)
	evicted := d.lap(t, d.bytesOf(t, 1)/2, 100_000, 100_000) + d.lap(t, d.bytesOf(t, 1)/2, 100_000, 100_000)
	if f.poll(t, d.primary); evicted == 0 || len(f.Keys) != evicted {
		t.Errorf("%d of %d evicted entries are in the log", len(f.Keys), evicted)
	}
	d.emptyCache()
	fill(10_001)
	f.poll(t, d.primary)
	d.primary.MustExec("SELECT sessionsql.cache_clear(1)")
	if !f.poll(t, d.primary) || !f.Everything {
		t.Errorf("a clear of many entries is a change of %d keys", len(f.Keys))
	}
}

// TestEveryReaderSeesEachChangeOnce lets transactions begin and commit in random orders, while readers poll.
// Numbers of transactions are not the order of their commits, so a reader that compares them loses changes.
func TestEveryReaderSeesEachChangeOnce(t *testing.T) {
	const writers, rounds = 8, 150
	d := newDatabase(t)
	ids := d.fill(t, writers*rounds+1, "1 hour")
	random := seeded(t)
	long := d.primary.MustBegin() // its number is lower than those of all that commit before it
	long.MustExec("SELECT sessionsql.revoke($1, sha256($2::bytea))", ids[writers*rounds],
		fmt.Sprint(writers*rounds+1))

	ctx, stop := context.WithCancel(t.Context())
	seen := make([]map[int64]int, 3)
	var writing, reading sync.WaitGroup
	for r := range seen {
		f := startFeed(t, d.primary)
		seen[r] = map[int64]int{}
		reading.Go(func() {
			for last := false; ; last = ctx.Err() != nil {
				epoch := f.Epoch
				if !f.poll(t, d.primary) || f.Epoch != epoch || f.Everything {
					t.Error("the epoch ended")
					return
				}
				for _, id := range f.IDs {
					seen[r][id]++
				}
				if last {
					return
				}
			}
		})
	}
	var mu sync.Mutex
	committed := map[int64]int{ids[writers*rounds]: 1}
	for w := range writers {
		own := testkit.Fork(random)
		writing.Go(func() {
			for i := 0; i < rounds; {
				tx := d.primary.MustBegin()
				n := min(1+own.IntN(3), rounds-i)
				for range n {
					at := w*rounds + i
					i++
					if own.IntN(3) == 0 {
						tx.MustExec("SAVEPOINT s")
					}
					tx.MustExec("SELECT sessionsql.revoke($1, sha256($2::bytea))", ids[at],
						fmt.Sprint(at+1))
					mu.Lock()
					committed[ids[at]] = 1
					mu.Unlock()
				}
				if own.IntN(4) == 0 {
					mu.Lock()
					for at := w*rounds + i - n; at < w*rounds+i; at++ {
						delete(committed, ids[at])
					}
					mu.Unlock()
					must(t, tx.Rollback())
				} else {
					must(t, tx.Commit())
				}
			}
		})
	}
	writing.Wait()
	must(t, long.Commit())
	stop()
	reading.Wait()
	for r := range seen {
		missing, wrong := 0, 0
		for id := range committed {
			if seen[r][id] == 0 {
				missing++
			}
		}
		for id, n := range seen[r] {
			if n != 1 || committed[id] == 0 {
				wrong++
			}
		}
		if missing > 0 || wrong > 0 {
			t.Errorf("reader %d missed %d of %d changes, and saw %d twice or rolled back", r, missing,
				len(committed), wrong)
		}
	}
}

// endsEpoch checks that a reader must forget everything, and that a new epoch begins.
func (f *feed) endsEpoch(t testing.TB, on sqlx.QueryerContext, step string) {
	t.Helper()
	epoch := f.Epoch
	if f.poll(t, on) && f.Epoch == epoch {
		t.Errorf("%s: the epoch goes on", step)
	}
	*f = *startFeed(t, on)
	if f.Epoch == epoch {
		t.Errorf("%s: the new epoch has the name of the old one", step)
	}
}

func TestACrashAndAPromotionEndTheEpoch(t *testing.T) {
	cluster := sessiontest.StartCluster(t, &pgcluster.Options{
		Replicas: 1, Settings: map[string]string{"max_prepared_transactions": "2"},
	})
	d := newDatabaseIn(t, cluster)
	ids := d.fill(t, 3, "1 hour")
	f := startFeed(t, d.primary)
	d.CatchUp(t)
	var dead feed
	err := sqlx.Get(d.replica, &dead, "SELECT * FROM sessionsql.changes(NULL)")
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		t.Errorf("a standby tells of changes: %v", err)
	}
	restart := func(end func() error) {
		must(t, end())
		must(t, cluster.Primary.Start(t.Context()))
		eventually(t, "the primary answers", func() bool { return d.primary.Ping() == nil })
	}
	restart(cluster.Primary.Kill)
	f.endsEpoch(t, d.primary, "crash of the server")
	// The postmaster lives on, and its start is the same.
	must(t, cluster.Primary.Signal("walwriter", syscall.SIGKILL))
	eventually(t, "the server recovers", func() bool {
		var epochs int
		return d.primary.Get(&epochs, "SELECT count(*) FROM sessionsql.change_epoch") == nil && epochs == 0
	})
	f.endsEpoch(t, d.primary, "crash of a process")
	restart(func() error { return cluster.Primary.Stop(t.Context()) })
	f.endsEpoch(t, d.primary, "restart") // because the folder may be an old copy

	// A prepared transaction outlives the crash, and its row in the log does not.
	tx := d.primary.MustBegin()
	tx.MustExec("SELECT sessionsql.revoke($1, sha256('1'))", ids[0])
	tx.MustExec("PREPARE TRANSACTION 'logout'")
	_ = tx.Rollback()
	restart(cluster.Primary.Kill)
	for range 3 {
		if f.poll(t, d.primary) {
			t.Fatal("an epoch begins beside a prepared transaction, whose logout the log does not hold")
		}
	}
	d.primary.MustExec("COMMIT PREPARED 'logout'")
	f.endsEpoch(t, d.primary, "end of the prepared transaction")

	waitReplayed(t, d.primary, d.replica) // by pools that know of the restarts
	must(t, cluster.Primary.Kill())
	must(t, cluster.Replicas[0].Promote(t.Context()))
	f.endsEpoch(t, d.replica, "promotion")
	d.replica.MustExec("SELECT sessionsql.revoke($1, sha256('2'))", ids[1])
	f.wants(t, d.replica, "on the new primary", ids[1])
}

func TestARestoreEndsTheEpoch(t *testing.T) {
	d := newDatabase(t)
	ids := d.fill(t, 3, "1 hour")
	f := startFeed(t, d.primary)
	d.primary.MustExec("SELECT sessionsql.revoke($1, sha256('1'))", ids[0])
	f.wants(t, d.primary, "revoke", ids[0])
	for _, table := range []string{"change", "change_epoch"} {
		rows := get[string](t, d.primary, "SELECT json_agg(c)::text FROM sessionsql."+table+" AS c")
		d.primary.MustExec("TRUNCATE sessionsql." + table)
		// The restored rows are those of the old epoch, to the letter.
		d.primary.MustExec("INSERT INTO sessionsql."+table+
			" SELECT c.* FROM json_populate_recordset(NULL::sessionsql."+table+", $1) AS c", rows)
		f.endsEpoch(t, d.primary, "data restored into "+table)
		d.primary.MustExec("SELECT sessionsql.update_payload($1, sha256('2'), 'p')", ids[1])
		f.wants(t, d.primary, "update", ids[1])
	}

	dump, err := pgschema.Dump(t.Context(), d.PrimaryDSN(), "--inserts", "--schema=sessionsql")
	if errors.Is(err, pgschema.ErrNoDumper) {
		t.Log("pg_dump is missing, so no dump is restored")
	} else {
		must(t, err)
		if !strings.Contains(dump, f.Epoch) {
			t.Error("the dump lacks the epoch, so restoring it shows nothing")
		}
		conn := d.conn(t)
		execute(t, conn, "DROP SCHEMA sessionsql CASCADE")
		execute(t, conn, dump)
		f.endsEpoch(t, d.primary, "a dump restored")
		d.primary.MustExec("SELECT sessionsql.update_payload($1, sha256('2'), 'p')", ids[1])
		f.wants(t, d.primary, "update after a dump restored", ids[1])
	}

	must(t, d.primary.Close())
	admin := open(t, shared.Primary.DSN("postgres"))
	admin.MustExec("SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a WHERE a.datname = $1",
		d.Name)
	eventually(t, "nobody uses the database", func() bool {
		_, err := admin.Exec("CREATE DATABASE " + d.Name + "copy TEMPLATE " + d.Name)
		return err == nil
	})
	copied := open(t, shared.Primary.DSN(d.Name+"copy"))
	f.endsEpoch(t, copied, "a copy of the database")
}

// later makes the log believe that more than two minutes have passed since the last purge.
func (d *database) later(t testing.TB) {
	t.Helper()
	d.primary.MustExec(`
		UPDATE sessionsql.change_epoch SET next_purge_noted_at = now() - interval '121 seconds'`)
	d.primary.MustExec("SELECT sessionsql.reap()")
}

func TestPurgedChangesAreMissedByNoReader(t *testing.T) {
	d := newDatabase(t)
	ids := d.fill(t, 6, "1 hour")
	revoke := func(i int) {
		d.primary.MustExec("SELECT sessionsql.revoke($1, sha256($2::bytea))", ids[i], fmt.Sprint(i+1))
	}
	logged := func() int { return get[int](t, d.primary, "SELECT count(*) FROM sessionsql.change") }
	late, current := startFeed(t, d.primary), startFeed(t, d.primary)
	revoke(0)
	d.primary.MustExec("SELECT sessionsql.reap()")
	d.later(t)
	if logged() != 1 {
		t.Error("a change was purged that a reader of the last two minutes may lack")
	}
	current.wants(t, d.primary, "before the purge", ids[0])
	d.later(t)
	if logged() != 0 {
		t.Error("a change stays although two minutes have passed twice")
	}
	current.wants(t, d.primary, "after the purge")
	if !late.poll(t, d.primary) || !late.Everything {
		t.Error("a reader lacks a purged change and is not told")
	}
	late.wants(t, d.primary, "after it was told")

	// A transaction that is open keeps its change and all later ones.
	tx := d.primary.MustBegin()
	tx.MustExec("SELECT sessionsql.revoke($1, sha256('2'))", ids[1])
	revoke(2)
	current.wants(t, d.primary, "beside an open transaction", ids[2])
	for range 3 {
		d.later(t)
	}
	if logged() != 1 {
		t.Error("a change was purged that is later than an open transaction")
	}
	must(t, tx.Commit())
	late.wants(t, d.primary, "the open transaction has ended", ids[1], ids[2])
	current.wants(t, d.primary, "the open transaction has ended", ids[1])
	d.later(t)
	current.wants(t, d.primary, "between two purges")
	d.later(t)
	if logged() != 0 {
		t.Error("changes stay after their transactions have ended")
	}
	current.wants(t, d.primary, "in the end")
}

// Without readers nobody calls changes, and the log must not grow for ever.
func TestTheLogIsPurgedWithoutReaders(t *testing.T) {
	d := newDatabase(t)
	ids := d.fill(t, 1, "1 hour")
	d.primary.MustExec("SELECT sessionsql.reap()")
	d.primary.MustExec("SELECT sessionsql.revoke($1, sha256('1'))", ids[0])
	d.later(t)
	d.later(t)
	if n := get[int](t, d.primary, "SELECT count(*) FROM sessionsql.change"); n != 0 {
		t.Errorf("%d changes stay", n)
	}
}

func TestLookupNearTellsWhichSecretOpened(t *testing.T) {
	d := newDatabase(t)
	ids := d.fill(t, 2, "1 hour")
	d.primary.MustExec("SELECT sessionsql.rotate($1, sha256('1'), sha256('new'))", ids[0])
	for secret, want := range map[string]string{"1": "f", "new": "t", "other": ""} {
		got := get[string](t, d.primary, `SELECT COALESCE(string_agg(left(l.is_current::text, 1), ','), '')
			FROM sessionsql.lookup_near(ARRAY[$1::bigint], ARRAY[sha256($2::bytea)]) AS l`, ids[0], secret)
		if got != want {
			t.Errorf("the secret %q: is_current is %q, want %q", secret, got, want)
		}
	}
	d.CatchUp(t)
	if n := get[int](t, d.replica, `SELECT count(*) FROM sessionsql.lookup_near($1::bigint[],
		ARRAY[sha256('1'), sha256('2')])`, arrayOf(ids)); n != 2 {
		t.Errorf("a replica finds %d of 2 sessions", n)
	}
}
