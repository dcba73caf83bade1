package sessionsql_test

import (
	"fmt"
	"testing"

	"github.com/jmoiron/sqlx"
)

type cacheReaped struct {
	Reaped  int64
	Evicted int64
	Pages   int64
	LapDone bool `db:"lap_done"`
}

func cacheReap(t testing.TB, pool sqlx.Queryer, maxRows, maxPages int) cacheReaped {
	t.Helper()
	return get[cacheReaped](t, pool, "SELECT * FROM sessionsql.cache_reap($1, $2)", maxRows, maxPages)
}

// fillCache makes n entries of 200 bytes in a space, in one transaction each hundred, because the age of an
// entry is that of its transaction.
func (d *database) fillCache(t testing.TB, space, n int, expiresIn string) {
	t.Helper()
	for left := n; left > 0; left -= 100 {
		d.primary.MustExec(`INSERT INTO sessionsql.cache_entry (key, expires_at, space, value)
			SELECT gen_random_uuid(), now() + $3::interval, $1, repeat('x', 200)::bytea
			FROM generate_series(1, $2)`, space, min(left, 100), expiresIn)
	}
}

func (d *database) countEntries(t testing.TB, condition string) int {
	t.Helper()
	return get[int](t, d.primary, "SELECT count(*) FROM sessionsql.cache_entry AS e WHERE "+condition)
}

func TestTheCachesLapDeletesExactlyTheExpired(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	d.fillCache(t, 1, 2000, "1 hour")
	d.fillCache(t, 2, 1000, "1 hour")
	d.primary.MustExec("UPDATE sessionsql.cache_entry SET expires_at = 'infinity' WHERE space = 2")
	d.fillCache(t, 3, 2000, "-1 second")
	d.primary.MustExec(`UPDATE sessionsql.cache_entry SET expires_at = now() - interval '1 hour'
		WHERE abs(hashtext(key::text)) % 3 = 0`)
	d.primary.MustExec(`UPDATE sessionsql.cache_entry SET value = NULL
		WHERE abs(hashtext(key::text)) % 7 = 0`)
	want, all := d.countEntries(t, "e.expires_at <= now()"), d.countEntries(t, "true")
	total := 0
	for calls := 0; ; calls++ {
		maxRows, maxPages := 1+random.IntN(200), 1+random.IntN(50)
		r := cacheReap(t, d.primary, maxRows, maxPages)
		if r.Reaped > int64(maxRows) || r.Pages > int64(maxPages) || r.Evicted != 0 {
			t.Fatalf("cache_reap(%d, %d) says %+v", maxRows, maxPages, r)
		}
		total += int(r.Reaped)
		if r.LapDone {
			break
		}
		if calls > 100_000 {
			t.Fatal("the hand never comes round")
		}
	}
	if total != want || d.countEntries(t, "true") != all-want {
		t.Errorf("reaped %d of %d, want %d", total, all, want)
	}
	if !get[bool](t, d.primary, `SELECT cache_oldest_expired < now() - interval '59 minutes'
		AND cache_last_lap_ended_at IS NOT NULL FROM sessionsql.health`) {
		t.Error("health knows nothing of the lap")
	}
}

func TestTheCachesReaperKeepsToItsBounds(t *testing.T) {
	d := newDatabase(t)
	if r := cacheReap(t, d.primary, 10, 10); r != (cacheReaped{LapDone: true}) {
		t.Errorf("an empty table: %+v", r)
	}
	d.primary.MustExec("ALTER TABLE sessionsql.cache_entry SET (autovacuum_enabled = off)")
	d.primary.MustExec(`INSERT INTO sessionsql.cache_entry (key, expires_at, space, value)
		SELECT gen_random_uuid(), now() + interval '1 hour', n % 3, repeat('x', 200)::bytea
		FROM generate_series(1, 100000) AS n`)
	conn := d.conn(t)
	read := func() (pages int64) {
		execute(t, conn, "SELECT pg_stat_force_next_flush()")
		must(t, conn.GetContext(t.Context(), &pages, `SELECT heap_blks_read + heap_blks_hit
			FROM pg_statio_user_tables WHERE schemaname = 'sessionsql' AND relname = 'cache_entry'`))
		return pages
	}
	for _, each := range []struct {
		budget string
		passes int64
	}{
		{"", 1}, // the hand's own
		{", spaces => '{1}', budgets => '{1000000000}'", 3}, // with those that sum before and after it
	} {
		before := read()
		var r cacheReaped
		call := "SELECT * FROM sessionsql.cache_reap(1000, 10" + each.budget + ")"
		must(t, conn.GetContext(t.Context(), &r, call))
		if r.Pages != 10 || r.Reaped+r.Evicted != 0 || r.LapDone {
			t.Errorf("cache_reap says %+v", r)
		}
		if pages := read() - before; pages > each.passes*10 {
			t.Errorf("cache_reap of 10 pages%s read %d", each.budget, pages)
		}
	}
	// A table that shrank begins again.
	d.primary.MustExec("TRUNCATE sessionsql.cache_entry")
	d.fillCache(t, 1, 1, "-1 hour")
	if r := cacheReap(t, d.primary, 10, 10); r != (cacheReaped{Reaped: 1, Pages: 1, LapDone: true}) {
		t.Errorf("a table that shrank: %+v", r)
	}
}

func TestOneReaperOfTheCacheAtATime(t *testing.T) {
	d := newDatabase(t)
	d.fillCache(t, 1, 10, "-1 hour")
	d.fill(t, 3, "-1 hour")
	first := d.primary.MustBegin()
	if r := cacheReap(t, first, 3, 10); r.Reaped != 3 {
		t.Errorf("the first: %+v", r)
	}
	if n := get[int](t, d.primary, "SELECT count(*) FROM sessionsql.cache_reap()"); n != 0 {
		t.Errorf("the second returned %d rows", n)
	}
	// The other table has a hand of its own, and a procedure for both goes on with that one.
	d.primary.MustExec("CALL sessionsql.reap_all()")
	if sessions, entries := d.countAll(t), d.countEntries(t, "true"); sessions != 0 || entries != 10 {
		t.Errorf("%d sessions and %d entries are left", sessions, entries)
	}
	must(t, first.Rollback())
	d.primary.MustExec("CALL sessionsql.reap_all()")
	if entries := d.countEntries(t, "true"); entries != 0 {
		t.Errorf("%d entries are left", entries)
	}
}

func TestTheCachesReaperLeavesLockedEntries(t *testing.T) {
	d := newDatabase(t)
	d.fillCache(t, 1, 10, "-1 hour")
	other := d.primary.MustBegin()
	get[int](t, other, "SELECT 1 FROM sessionsql.cache_entry LIMIT 1 FOR KEY SHARE")
	if r := cacheReap(t, d.primary, 100, 10); r.Reaped != 9 {
		t.Errorf("with one row locked: %+v", r)
	}
	must(t, other.Rollback())
	if r := cacheReap(t, d.primary, 100, 10); r.Reaped != 1 {
		t.Errorf("unlocked: %+v", r)
	}
}

// bytesOf returns the bytes of a space that its budget counts.
func (d *database) bytesOf(t testing.TB, space int) int {
	t.Helper()
	return get[int](t, d.primary, `SELECT COALESCE(sum(sessionsql.entry_bytes(e.value, e.plain_key)), 0)
		FROM sessionsql.cache_entry AS e WHERE e.space = $1 AND e.value IS NOT NULL`, space)
}

// lap reaps with a budget for space 1 until the hand has come round.
func (d *database) lap(t testing.TB, budget, maxRows, maxPages int) (evicted int) {
	t.Helper()
	for {
		r := get[cacheReaped](t, d.primary, `SELECT * FROM sessionsql.cache_reap(
			$1, $2, spaces => '{1}', budgets => ARRAY[$3::bigint])`, maxRows, maxPages, budget)
		if r.Evicted > int64(maxRows) || r.Pages > int64(maxPages) {
			t.Errorf("cache_reap(%d, %d) says %+v", maxRows, maxPages, r)
		}
		evicted += int(r.Evicted)
		if r.LapDone {
			return evicted
		}
	}
}

func TestABudgetTakesTheEntriesThatWereUnusedForLongest(t *testing.T) {
	d := newDatabase(t)
	d.primary.MustExec("ALTER TABLE sessionsql.cache_entry SET (autovacuum_enabled = off)")
	d.fillCache(t, 1, 20_000, "30 minutes") // more than cache_reap looks at in one step
	d.fillCache(t, 2, 1000, "30 minutes")   // a space without a budget
	d.primary.MustExec("ALTER TABLE sessionsql.cache_entry ADD old boolean")
	d.primary.MustExec("UPDATE sessionsql.cache_entry SET old = false WHERE space = 2")
	d.primary.MustExec(`UPDATE sessionsql.cache_entry SET value = NULL WHERE key IN (
		SELECT key FROM sessionsql.cache_entry WHERE space = 1 ORDER BY key LIMIT 1000)`)
	// Half of the space is used: touched, or set again.
	d.primary.MustExec(`UPDATE sessionsql.cache_entry SET old = true WHERE space = 1 AND value IS NOT NULL
		AND key < '80000000-0000-0000-0000-000000000000'`)
	d.primary.MustExec(`SELECT sessionsql.cache_touch_batch(array_agg(key), array_agg(3600::float8))
		FROM sessionsql.cache_entry WHERE space = 1 AND old IS NULL AND value IS NOT NULL`)
	used := d.countEntries(t, "space = 1 AND value IS NOT NULL AND old IS NULL")
	budget := d.bytesOf(t, 1) * 7 / 10

	if n := d.lap(t, 10*budget, 100_000, 100_000); n != 0 {
		t.Errorf("within the budget %d entries went", n)
	}
	d.lap(t, budget, 100_000, 100_000)
	if bytes := d.bytesOf(t, 1); bytes > budget*101/100 || bytes < budget*99/100 {
		t.Errorf("%d bytes are left, want about %d", bytes, budget)
	}
	if left := d.countEntries(t, "space = 1 AND value IS NOT NULL AND old IS NULL"); left != used {
		t.Errorf("%d of %d used entries are left, and %d others", left, used, d.countEntries(t, "old"))
	}
	other, tombs := d.countEntries(t, "space = 2"), d.countEntries(t, "value IS NULL")
	if other != 1000 || tombs != 1000 {
		t.Errorf("%d entries of another space and %d tombstones are left", other, tombs)
	}
	if n := d.lap(t, budget, 100_000, 100_000); n > 1 {
		t.Errorf("another lap took %d entries", n)
	}
}

func TestABudgetHoldsThroughChurnInManySmallCalls(t *testing.T) {
	d := newDatabase(t)
	const entry = 120 + 204
	const budget = 2000 * entry
	sizes := ""
	d.fillCache(t, 1, 3000, "1 hour")
	for range 8 {
		d.fillCache(t, 1, 300, "1 hour")
		d.lap(t, budget, 100, 20) // far fewer rows and pages than the table has
		sizes += fmt.Sprint(" ", d.bytesOf(t, 1)/entry)
		d.primary.MustExec("VACUUM sessionsql.cache_entry")
	}
	t.Logf("entries after each lap, for a budget of 2000:%s", sizes)
	// A space stands above its budget by what is set while the hand goes round.
	if got := d.bytesOf(t, 1); got > budget+400*entry || got < budget-100*entry {
		t.Errorf("%d bytes, want about %d", got, budget)
	}
	for range 3 {
		d.lap(t, budget, 100, 20)
	}
	if got := d.bytesOf(t, 1); got > budget*21/20 || got < budget*19/20 {
		t.Errorf("%d bytes when nothing is set any more, want about %d", got, budget)
	}

	// A call without budgets keeps to those that were named, for a day.
	d.fillCache(t, 1, 1000, "1 hour")
	if r := cacheReap(t, d.primary, 1000, 1000); r.Evicted == 0 {
		t.Errorf("a call without budgets: %+v", r)
	}
	d.primary.MustExec("UPDATE sessionsql.cache_space SET asked_at = now() - interval '25 hours'")
	cacheReap(t, d.primary, 1000, 1000)
	d.fillCache(t, 1, 1000, "1 hour")
	if r := cacheReap(t, d.primary, 1000, 1000); r.Evicted != 0 {
		t.Errorf("a budget of yesterday: %+v", r)
	}
}

func TestAnEvictionSpansNoEntryThatIsLockedOrWrittenMeanwhile(t *testing.T) {
	d := newDatabase(t)
	d.fillCache(t, 1, 10, "1 hour")
	other := d.primary.MustBegin()
	get[int](t, other, "SELECT 1 FROM sessionsql.cache_entry LIMIT 1 FOR KEY SHARE")
	if n := d.lap(t, 1, 100, 100); n != 9 {
		t.Errorf("with one entry locked, %d of 10 went", n)
	}
	must(t, other.Rollback())
}
