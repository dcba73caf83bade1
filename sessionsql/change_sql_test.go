package sessionsql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/pgtext"
	"github.com/sessionsql/postgres/internal/testkit"
)

// A feed is a reader of sessionsql.changes that keeps what it was told.
type feed struct {
	Epoch      string
	Snapshot   sql.NullString
	Everything bool
	IDs        pgtext.IDs
}

// poll reads the changes since the last call. It returns false if there is no epoch.
func (f *feed) poll(t testing.TB, on sqlx.QueryerContext) bool {
	t.Helper()
	err := sqlx.GetContext(t.Context(), on, f, `SELECT epoch, snapshot, everything, ids
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
	if !slices.Equal(f.IDs, ids) {
		t.Errorf("%s: the changes are of %v, want %v", step, f.IDs, ids)
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
		{fmt.Sprintf("update_payload(%d, %s, 'p')", ids[1], hash(1)), ids[1:2]},
		{fmt.Sprintf("update_payload(%d, %s, 'p', 1)", ids[1], hash(1)), nil},
		{fmt.Sprintf("update_payload_batch('{%d,%d,%d}', ARRAY[%s,%s,%s], '{p,p,p}', '{NULL,NULL,7}')",
			ids[1], ids[2], ids[3], hash(1), hash(2), hash(3)), ids[1:3]},
		{fmt.Sprintf("update_payload_batch('{%d}', ARRAY[%s], '{p}', '{7}')", ids[1], hash(1)), nil},
		{fmt.Sprintf("rotate(%d, %s, sha256('new'))", ids[3], hash(3)), ids[3:4]},
		{fmt.Sprintf("rotate(%d, %s, sha256('new'))", ids[3], hash(3)), nil},
		{fmt.Sprintf("revoke_listed(%d, %s, %d)", ids[4], hash(4), ids[5]), ids[5:6]},
		{fmt.Sprintf("revoke_listed(%d, %s, %d)", ids[4], hash(4), ids[5]), nil},
		{fmt.Sprintf("revoke_subject('ann', %d)", ids[4]), ids[6:8]},
		{"revoke_subject('bob')", nil},
		{"insert(sha256('ann'), 'p', subject => 'ann', max_sessions => 1)", ids[4:5]},
		{"insert(sha256('bob'), 'p', subject => 'bob', max_sessions => 1)", nil},
		{fmt.Sprintf("rotate(%d, %s, sha256('new'), subject => 'bob', max_sessions => 2)", ids[8], hash(8)),
			ids[8:9]},
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
