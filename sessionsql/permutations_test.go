package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/testkit"
)

// The tests of this file run two transactions in every order of their steps, as PostgreSQL's isolation tests
// do. A step that must wait for a lock stays waiting while the other transaction goes on, so no test sleeps.

type transaction struct {
	name  string
	steps []string // SQL, with $1 and $2 for the ids of the two sessions
}

// lostPlans are the plan types that a transaction does without, so that its plans differ.
var lostPlans = []string{
	"", "enable_indexscan,enable_bitmapscan", "enable_nestloop,enable_hashjoin",
	"enable_seqscan,enable_mergejoin",
}

func TestEveryInterleavingOfTwoTransactions(t *testing.T) {
	const (
		touchBoth   = "SELECT sessionsql.touch_batch(ARRAY[$1, $2]::bigint[])"
		touchBoth2  = "SELECT sessionsql.touch_batch(ARRAY[$2, $1]::bigint[])"
		reapAll     = "SELECT count(*) FROM sessionsql.reap() WHERE $1::bigint <> $2::bigint"
		revokeFirst = "SELECT sessionsql.revoke($1, sha256('1')) AND $2 > 0"
		saveFirst   = "SELECT sessionsql.update_payload($1, sha256('1'), 'late') WHERE $2 > 0"
		saveBoth    = `SELECT count(*) FROM sessionsql.update_payload_batch(
			ARRAY[$1, $2]::bigint[], ARRAY[sha256('1'), sha256('2')], '{late,late}', '{NULL,NULL}')`
		saveBoth2 = `SELECT count(*) FROM sessionsql.update_payload_batch(
			ARRAY[$2, $1]::bigint[], ARRAY[sha256('2'), sha256('1')], '{late,late}', '{NULL,NULL}')`
		expireFirst = `UPDATE sessionsql.session SET expires_at = now() - interval '1 second'
			WHERE id = $1 AND $2 > 0`
	)
	touches := transaction{"touch", []string{"BEGIN", touchBoth, touchBoth, "COMMIT"}}
	touchesBack := transaction{"touch backwards", []string{"BEGIN", touchBoth2, "COMMIT"}}
	reaps := transaction{"reap", []string{"BEGIN", reapAll, reapAll, "COMMIT"}}
	revokes := transaction{"revoke", []string{"BEGIN", revokeFirst, "COMMIT"}}
	unrevokes := transaction{"revoke, rolled back", []string{"BEGIN", revokeFirst, "ROLLBACK"}}
	saves := transaction{"save", []string{"BEGIN", saveFirst, "COMMIT"}}
	savesBoth := transaction{"save both", []string{"BEGIN", saveBoth, saveBoth, "COMMIT"}}
	savesBack := transaction{"save both backwards", []string{"BEGIN", saveBoth2, "COMMIT"}}
	expires := transaction{"expire", []string{"BEGIN", expireFirst, "COMMIT"}}

	d := newDatabase(t)
	count := 0
	for _, pair := range [][2]transaction{
		{touches, touchesBack},
		{touches, reaps},
		{touches, revokes},
		{touches, saves},
		{touches, expires},
		{saves, revokes},
		{saves, reaps},
		{revokes, revokes},
		{revokes, reaps},
		{unrevokes, saves},
		{unrevokes, touches},
		{expires, reaps},
		{expires, saves},
		{saves, saves},
		{savesBoth, savesBack},
		{savesBoth, saves},
		{savesBoth, touchesBack},
		{savesBoth, revokes},
		{savesBoth, unrevokes},
		{savesBoth, reaps},
		{savesBoth, expires},
		{reaps, reaps},
	} {
		for _, order := range interleavings(len(pair[0].steps), len(pair[1].steps)) {
			plan := lostPlans[count%len(lostPlans)]
			count++
			name := fmt.Sprintf("%s and %s, order %v, without %q", pair[0].name, pair[1].name, order, plan)
			checkInterleaving(t, d, name, pair, order, plan)
		}
	}
	t.Logf("the test ran %d interleavings", count)
}

func checkInterleaving(
	t *testing.T, d *database, name string, pair [2]transaction, order []int, plan string,
) {
	t.Helper()
	d.primary.MustExec("DELETE FROM sessionsql.session")
	ids := d.fill(t, 2, "1 minute") // both sessions are alive and due for a touch
	var runners [2]*runner
	for i := range runners {
		runners[i] = newRunner(t, d, plan)
	}
	next := [2]int{}
	for _, who := range order {
		step := pair[who].steps[next[who]]
		next[who]++
		runners[who].run(step, ids)
	}
	for i, r := range runners {
		for _, err := range r.finish() {
			var pg *pgconn.PgError
			if errors.As(err, &pg) && pg.Code == "40P01" {
				t.Errorf("%s: deadlock in %s", name, pair[i].name)
			} else {
				t.Errorf("%s: %s: %v", name, pair[i].name, err)
			}
		}
	}

	did := func(what string) bool { return pair[0].name == what || pair[1].name == what }
	type row struct {
		Alive   bool
		Version int
	}
	var first []row
	must(t, d.primary.Select(&first, `SELECT expires_at > now() AS alive, version FROM sessionsql.session
		WHERE id = $1`, ids[0]))
	switch {
	case did("revoke") && len(first) > 0:
		t.Errorf("%s: a revoked session is back: %+v", name, first)
	case !did("revoke") && !did("expire") && (len(first) == 0 || !first[0].Alive):
		t.Errorf("%s: a live session is gone: %+v", name, first)
	case did("expire") && len(first) > 0 && first[0].Alive && !did("save") && !did("touch"):
		t.Errorf("%s: an expired session is alive: %+v", name, first)
	}
	n := d.countWhere(t, "id = $1 AND expires_at > clock_timestamp()", ids[1])
	if n != 1 {
		t.Errorf("%s: the other session is gone although no call ended it", name)
	}
}

// interleavings returns every order of a steps of the first and b steps of the second transaction.
func interleavings(a, b int) [][]int {
	if a == 0 && b == 0 {
		return [][]int{nil}
	}
	var orders [][]int
	if a > 0 {
		for _, rest := range interleavings(a-1, b) {
			orders = append(orders, append([]int{0}, rest...))
		}
	}
	if b > 0 {
		for _, rest := range interleavings(a, b-1) {
			orders = append(orders, append([]int{1}, rest...))
		}
	}
	return orders
}

// A runner runs the steps of one transaction in order on one connection.
type runner struct {
	t      *testing.T
	pool   *sqlx.DB
	conn   *sqlx.Conn
	pid    int
	steps  chan func() error
	begun  int
	done   atomic.Int64 // the steps that are done
	ended  chan struct{}
	failed []error
}

func newRunner(t *testing.T, d *database, plan string) *runner {
	t.Helper()
	conn := d.conn(t)
	r := &runner{
		t: t, pool: d.primary, conn: conn, pid: testkit.Get[int](t, conn, "SELECT pg_backend_pid()"),
		steps: make(chan func() error, 10), ended: make(chan struct{}),
	}
	execute(t, conn, "RESET ALL")
	execute(t, conn, "SET jit = off") // because a plan without the usual joins would be compiled
	for setting := range strings.SplitSeq(plan, ",") {
		if setting != "" {
			execute(t, conn, "SET "+setting+" = off")
		}
	}
	go func() {
		defer close(r.ended)
		for step := range r.steps {
			if err := step(); err != nil {
				r.failed = append(r.failed, err)
			}
			r.done.Add(1)
		}
	}()
	return r
}

// run starts a step, and returns when the step is done or waits for a lock.
func (r *runner) run(step string, ids []int64) {
	r.t.Helper()
	r.steps <- func() error {
		if strings.Contains(step, "$1") {
			_, err := r.conn.ExecContext(context.Background(), step, ids[0], ids[1])
			return err
		}
		_, err := r.conn.ExecContext(context.Background(), step)
		return err
	}
	r.begun++
	eventually(r.t, "a step is done, or waits", func() bool {
		return r.done.Load() == int64(r.begun) ||
			get[bool](r.t, r.pool, "SELECT cardinality(pg_blocking_pids($1)) > 0", r.pid)
	})
}

func (r *runner) finish() []error {
	close(r.steps)
	<-r.ended
	_ = r.conn.Close()
	return r.failed
}
