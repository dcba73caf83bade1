package sessionsql_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/testkit"
)

// The tests of this file run two transactions in every order of their steps, as PostgreSQL's isolation tests
// do. A step that must wait for a lock stays waiting while the other transaction goes on, so no test sleeps.

type transaction struct {
	name  string
	steps []string // SQL, with $1 and $2 for the ids of the two sessions
}

type pair [2]transaction

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
		revokeBatch = `SELECT count(*) FROM sessionsql.revoke_batch(
			ARRAY[$2, $1]::bigint[], ARRAY[sha256('none'), sha256('1')])`
		expireFirst = `UPDATE sessionsql.session SET expires_at = now() - interval '1 second'
			WHERE id = $1 AND $2 > 0`
	)
	touches := transaction{"touch", []string{"BEGIN", touchBoth, touchBoth, "COMMIT"}}
	touchesBack := transaction{"touch backwards", []string{"BEGIN", touchBoth2, "COMMIT"}}
	reaps := transaction{"reap", []string{"BEGIN", reapAll, reapAll, "COMMIT"}}
	revokes := transaction{"revoke", []string{"BEGIN", revokeFirst, "COMMIT"}}
	batchRevokes := transaction{"revoke", []string{"BEGIN", revokeBatch, revokeFirst, "COMMIT"}}
	unrevokes := transaction{"revoke, rolled back", []string{"BEGIN", revokeFirst, "ROLLBACK"}}
	saves := transaction{"save", []string{"BEGIN", saveFirst, "COMMIT"}}
	savesBoth := transaction{"save both", []string{"BEGIN", saveBoth, saveBoth, "COMMIT"}}
	savesBack := transaction{"save both backwards", []string{"BEGIN", saveBoth2, "COMMIT"}}
	expires := transaction{"expire", []string{"BEGIN", expireFirst, "COMMIT"}}

	d := newDatabase(t)
	all := trials([]pair{
		{touches, touchesBack},
		{touches, reaps},
		{touches, revokes},
		{touches, saves},
		{touches, expires},
		{saves, revokes},
		{saves, reaps},
		{revokes, revokes},
		{revokes, reaps},
		{batchRevokes, touches},
		{batchRevokes, savesBoth},
		{batchRevokes, revokes},
		{batchRevokes, batchRevokes},
		{batchRevokes, reaps},
		{batchRevokes, expires},
		{unrevokes, batchRevokes},
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
	})
	for _, each := range all {
		checkTrial(t, d, each)
	}
	t.Logf("the test ran %d interleavings", len(all))
}

// A trial runs two transactions with one order of their steps and without some types of plan.
type trial struct {
	name  string
	pair  pair
	order []int
	plan  string
}

// trials returns a trial for every order of the steps of each pair. The lost plans take turns.
func trials(pairs []pair) (all []trial) {
	for _, two := range pairs {
		for _, order := range interleavings(len(two[0].steps), len(two[1].steps)) {
			plan := lostPlans[len(all)%len(lostPlans)]
			name := fmt.Sprintf("%s and %s, order %v, without %q", two[0].name, two[1].name, order, plan)
			all = append(all, trial{name, two, order, plan})
		}
	}
	return all
}

// run runs the trial with two live sessions that are due for a touch, and returns their ids.
func (r trial) run(t *testing.T, d *database) []int64 {
	t.Helper()
	d.primary.MustExec("DELETE FROM sessionsql.session")
	ids := d.fill(t, 2, "1 minute")
	r.play(t, d, ids)
	return ids
}

// play runs the steps of both transactions in the trial's order, and checks that none fails.
func (r trial) play(t *testing.T, d *database, ids []int64) {
	t.Helper()
	runners := [2]*runner{newRunner(t, d, r.plan), newRunner(t, d, r.plan)}
	next := [2]int{}
	for _, who := range r.order {
		runners[who].run(r.pair[who].steps[next[who]], ids)
		next[who]++
	}
	for i, each := range runners {
		for _, err := range each.finish() {
			t.Errorf("%s: %s: %v", r.name, r.pair[i].name, err)
		}
	}
}

// checkTrial runs a trial, and checks that sessions have ended only if a transaction ends them.
func checkTrial(t *testing.T, d *database, r trial) {
	t.Helper()
	ids, name := r.run(t, d), r.name
	did := func(verb string) bool { return r.pair[0].name == verb || r.pair[1].name == verb }
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
