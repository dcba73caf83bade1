package sessionsql_test

import (
	"context"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/sessionsql"
)

type reaped struct {
	Reaped  int64
	Pages   int64
	LapDone bool `db:"lap_done"`
}

func reap(t testing.TB, pool sqlx.Queryer, maxRows, maxPages int) reaped {
	t.Helper()
	return get[reaped](t, pool, "SELECT * FROM sessionsql.reap($1, $2)", maxRows, maxPages)
}

// pagesRead returns the number of page reads of the session table during work, by the server's own count.
func pagesRead(t *testing.T, d *database, work func(conn *sqlx.Conn)) int64 {
	t.Helper()
	conn := d.conn(t)
	defer func() { _ = conn.Close() }()
	read := func() (pages int64) {
		execute(t, conn, "SELECT pg_stat_force_next_flush()")
		must(t, conn.GetContext(t.Context(), &pages, `
			SELECT heap_blks_read + heap_blks_hit FROM pg_statio_user_tables
			WHERE schemaname = 'sessionsql' AND relname = 'session'`))
		return pages
	}
	before := read()
	work(conn)
	return read() - before
}

func TestReapReadsAtMostMaxPagesOnATableOfAnySize(t *testing.T) {
	for _, rows := range []int{1_000, 200_000} {
		d := newDatabase(t)
		// Autovacuum would add page reads.
		d.primary.MustExec("ALTER TABLE sessionsql.session SET (autovacuum_enabled = off)")
		d.fill(t, rows, "1 hour")
		const maxPages = 10
		for range 5 {
			pages := pagesRead(t, d, func(conn *sqlx.Conn) {
				var r reaped
				must(t, conn.GetContext(t.Context(), &r, "SELECT * FROM sessionsql.reap(1000, $1)", maxPages))
				if r.Pages != maxPages || r.Reaped != 0 {
					t.Errorf("%d rows: reap says %+v", rows, r)
				}
			})
			if pages > maxPages {
				t.Errorf("%d rows: reap read %d pages, want at most %d", rows, pages, maxPages)
			}
		}
	}
}

func TestReapLapDeletesExactlyTheExpired(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	live := d.fill(t, 3000, "1 hour")
	d.fill(t, 3000, "-1 second")
	d.primary.MustExec(`UPDATE sessionsql.session SET expires_at = now() - interval '1 hour'
		WHERE id % 3 = 0`)
	want := get[int64](t, d.primary, "SELECT count(*) FROM sessionsql.session WHERE expires_at <= now()")
	pages := get[int64](t, d.primary, "SELECT pg_relation_size('sessionsql.session') / 8192")

	var total, read int64
	for calls := 0; ; calls++ {
		maxRows, maxPages := 1+random.IntN(200), 1+random.IntN(50)
		r := reap(t, d.primary, maxRows, maxPages)
		if r.Reaped > int64(maxRows) || r.Pages > int64(maxPages) {
			t.Fatalf("reap(%d, %d) says %+v", maxRows, maxPages, r)
		}
		total += r.Reaped
		read += r.Pages
		if r.LapDone {
			break
		}
		if calls > 100_000 {
			t.Fatal("the hand never comes round")
		}
	}
	if total != want {
		t.Errorf("reaped %d, want %d", total, want)
	}
	if read < pages {
		t.Errorf("read %d pages of %d", read, pages)
	}
	left := d.countAll(t)
	if left != len(live)-len(live)/3 {
		t.Errorf("%d sessions are left, want %d", left, len(live)-len(live)/3)
	}
	type lap struct {
		Expired bool
		Lapped  bool
	}
	seen := get[lap](t, d.primary, `SELECT oldest_expired < now() - interval '59 minutes' AS expired,
		last_lap_ended_at IS NOT NULL AS lapped FROM sessionsql.health`)
	if !seen.Expired || !seen.Lapped {
		t.Errorf("health says %+v of the lap", seen)
	}
}

func TestReapOfAnEmptyOrShrunkTableBeginsAgain(t *testing.T) {
	d := newDatabase(t)
	if r := reap(t, d.primary, 10, 10); r != (reaped{LapDone: true}) {
		t.Errorf("an empty table: %+v", r)
	}
	d.fill(t, 2000, "1 hour")
	reap(t, d.primary, 10, 50)
	d.primary.MustExec("TRUNCATE sessionsql.session")
	d.fill(t, 1, "-1 hour")
	if r := reap(t, d.primary, 10, 10); r != (reaped{Reaped: 1, Pages: 1, LapDone: true}) {
		t.Errorf("a table that shrank: %+v", r)
	}
}

func TestOneReaperAtATime(t *testing.T) {
	d := newDatabase(t)
	d.fill(t, 10, "-1 hour")
	store := d.Store(t, nil)
	other := d.primary.MustBegin()
	if r := reap(t, other, 3, 10); r.Reaped != 3 {
		t.Errorf("the first: %+v", r)
	}
	result, err := store.Reap(t.Context())
	must(t, err)
	if !result.Busy || result.Reaped != 0 {
		t.Errorf("the second: %+v", result)
	}
	must(t, other.Rollback())
	result, err = store.Reap(t.Context())
	must(t, err)
	if want := (sessionsql.ReapResult{Reaped: 10, Pages: 1, LapDone: true}); result != want {
		t.Errorf("afterwards: %+v, want %+v", result, want)
	}
}

func TestReapLeavesLockedRowsForTheNextLap(t *testing.T) {
	d := newDatabase(t)
	ids := d.fill(t, 10, "-1 hour")
	other := d.primary.MustBegin()
	get[int](t, other, "SELECT 1 FROM sessionsql.session WHERE id = $1 FOR KEY SHARE", ids[4])
	if r := reap(t, d.primary, 100, 10); r.Reaped != 9 {
		t.Errorf("with one row locked: %+v", r)
	}
	must(t, other.Rollback())
	if r := reap(t, d.primary, 100, 10); r.Reaped != 1 {
		t.Errorf("unlocked: %+v", r)
	}
}

func TestReapRefusesBadLimits(t *testing.T) {
	d := newDatabase(t)
	for _, limits := range []string{"0, 1", "1, 0", "-1, 1", "NULL, 1", "1, NULL"} {
		if _, err := d.primary.Exec("SELECT * FROM sessionsql.reap(" + limits + ")"); err == nil {
			t.Errorf("reap(%s) succeeded", limits)
		}
	}
}

func TestStoreReapsByItself(t *testing.T) {
	d := newDatabase(t)
	d.fill(t, 5000, "-1 hour")
	store := d.Store(t, &sessionsql.Options{ReapInterval: 20 * time.Millisecond})
	eventually(t, "all expired sessions are reaped", func() bool { return store.Stats().Reaped == 5000 })
	if n := d.countAll(t); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, store.Close(ctx))
}
