package sessionsql_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/testkit"
)

// In these tests a session expires while a call waits for a lock. Changing the session's time instead would
// be another case, because the lock's holder would have to write it. All calls of a test wait together.

// A wait is a call whose session expires while the call waits for a lock.
type wait struct {
	name  string
	hold  string // the statement that locks the row first; empty for another lock
	end   string // COMMIT or ROLLBACK of the transaction that holds the lock
	ends  string // the column of the time that passes
	on    string // the row of that column, {id} or {own}
	call  string // the waiting statement, which returns one value
	want  string // the expected value
	after string // an expression over the row {id}, called s, after the call
	left  string // the expected value of it; empty for no row; dead for no row or a dead one

	id, own int64 // own is another session of the same subject
	answer  chan string
}

// text replaces {id}, {own} and {subject} in a statement. Both sessions have the secret 's', and 'old' before
// it.
func (w *wait) text(statement string) string {
	return strings.NewReplacer(
		"{id}", strconv.FormatInt(w.id, 10), "{own}", strconv.FormatInt(w.own, 10),
		"{subject}", "subject"+strconv.FormatInt(w.id, 10),
	).Replace(statement)
}

// make makes the two sessions of a wait, which do not expire soon.
func (w *wait) make(t *testing.T, d *database) {
	t.Helper()
	ids := d.fill(t, 2, "10 minutes") // the sessions are due for a touch
	w.id, w.own = ids[0], ids[1]
	d.primary.MustExec(w.text(`UPDATE sessionsql.session
		SET subject = '{subject}', payload = 'p', secret_hash = sha256('s'),
		  previous_hash = sha256('old'), previous_until = clock_timestamp() + interval '1 hour'
		WHERE id IN ({id}, {own})`))
}

// connection takes a connection out of the pool, and returns its process too.
func (d *database) connection(t *testing.T) (conn *sqlx.Conn, pid int) {
	t.Helper()
	conn = d.conn(t)
	return conn, testkit.Get[int](t, conn, "SELECT pg_backend_pid()")
}

// pass makes each call wait until its session has expired, and checks the answers. The statement lock takes a
// lock that all calls need. pass returns false if the time was up before all calls waited.
func (d *database) pass(t *testing.T, waits []*wait, lock string, soon time.Duration) bool {
	t.Helper()
	var holders []func()
	hold := func(statement, end string) {
		conn, _ := d.connection(t)
		execute(t, conn, "BEGIN")
		execute(t, conn, statement)
		holders = append(holders, func() { execute(t, conn, end); must(t, conn.Close()) })
	}
	callers := make([]*sqlx.Conn, len(waits))
	pids := make([]int, len(waits))
	for i, w := range waits {
		w.make(t, d)
		callers[i], pids[i] = d.connection(t)
	}
	var up time.Time
	must(t, d.primary.Get(&up, "SELECT clock_timestamp() + $1::interval", soon.String()))
	for _, w := range waits {
		d.primary.MustExec(w.text("UPDATE sessionsql.session SET "+w.ends+" = $1 WHERE id = "+w.on), up)
	}
	for _, w := range waits {
		if w.hold != "" {
			hold(w.text(w.hold), w.end)
		}
	}
	if lock != "" {
		hold(lock, "COMMIT")
	}
	for i, w := range waits {
		w.answer = make(chan string, 1)
		go func() {
			var answer string
			if err := callers[i].GetContext(context.Background(), &answer, w.text(w.call)); err != nil {
				answer = err.Error()
			}
			w.answer <- answer
		}()
	}
	const waiting = "SELECT count(*) FROM unnest($1::int[]) AS p WHERE cardinality(pg_blocking_pids(p)) > 0"
	isUp := func() bool { return get[bool](t, d.primary, "SELECT clock_timestamp() > $1", up) }
	eventually(t, "all calls wait, or time is up", func() bool {
		return isUp() || answered(waits) != "" || get[int](t, d.primary, waiting, pids) == len(waits)
	})
	early := answered(waits)
	inTime := !isUp()
	if inTime && early != "" {
		t.Errorf("%s: did not wait", early)
	}
	eventually(t, "time is up", isUp)
	for _, end := range holders {
		end()
	}
	for i, w := range waits {
		answer := <-w.answer
		must(t, callers[i].Close())
		if !inTime {
			continue
		}
		if answer != w.want {
			t.Errorf("%s: answered %s, want %s", w.name, answer, w.want)
		}
		var left []string
		look := w.text("SELECT " + w.after + " FROM sessionsql.session AS s WHERE s.id = {id}")
		must(t, d.primary.Select(&left, look))
		if got := strings.Join(left, ""); got != w.left && (w.left != "dead" || got != "") {
			t.Errorf("%s: left is %q, want %q", w.name, got, w.left)
		}
	}
	return inTime
}

// answered returns the name of a call that has its answer.
func answered(waits []*wait) string {
	for _, w := range waits {
		if len(w.answer) > 0 {
			return w.name
		}
	}
	return ""
}

// passAll repeats pass with more time, because a slow machine needs longer until all calls wait.
func (d *database) passAll(t *testing.T, waits []*wait, lock string) {
	t.Helper()
	for soon := 500 * time.Millisecond; !d.pass(t, waits, lock, soon); soon *= 2 {
		t.Logf("some call did not wait within %v", soon)
	}
}

const (
	lockTable = "LOCK TABLE sessionsql.session IN ACCESS EXCLUSIVE MODE"
	lockRow   = "SELECT FROM sessionsql.session WHERE id = {id} FOR UPDATE"
	labelRow  = "UPDATE sessionsql.session SET label = 'l' WHERE id = {id}"
	touchRow  = "SELECT sessionsql.touch_batch(ARRAY[{id}::bigint])"
	// The state is dead only if the call did not write the row.
	state = `CASE WHEN s.expires_at > clock_timestamp() THEN 'alive'
		WHEN s.payload = 'p' AND s.version = 1 THEN 'dead' ELSE 'dead, but written' END`
)

// A waitingCall is a call on the session {id}, with its answers for a dead and for a live session.
type waitingCall struct{ name, call, dead, alive, left string }

var revokeListed = waitingCall{
	"revoke_listed", "sessionsql.revoke_listed({own}, sha256('s'), {id})", "false", "true", "",
}

// waitingCalls wait for a locked row.
var waitingCalls = []waitingCall{
	{"update_payload", "sessionsql.update_payload({id}, sha256('s'), 'late')", "-1", "2", "alive"},
	{"rotate", "sessionsql.rotate({id}, sha256('s'), sha256('new'))", "false", "true", "alive"},
	{
		"rotate with a cap", "sessionsql.rotate({id}, sha256('s'), sha256('new'), '0', '{subject}', 5)",
		"false", "true", "alive",
	},
	{"revoke", "sessionsql.revoke({id}, sha256('s'))", "false", "true", ""},
	revokeListed,
	{"revoke_subject", "sessionsql.revoke_subject('{subject}', {own})", "0", "1", ""},
}

// skippingCalls skip a locked row, and wait only for a lock on the table.
var skippingCalls = []waitingCall{
	{"touch_batch", "sessionsql.touch_batch(ARRAY[{id}::bigint])", "0", "1", "alive"},
	{
		"update_payload_batch", `(SELECT count(*) FROM sessionsql.update_payload_batch(
			ARRAY[{id}::bigint], ARRAY[sha256('s')], '{late}', '{NULL}'))`, "0", "1", "alive",
	},
	{
		"revoke_batch",
		"(SELECT count(*) FROM sessionsql.revoke_batch(ARRAY[{id}::bigint], ARRAY[sha256('s')]))",
		"0", "1", "",
	},
}

func (c waitingCall) wait(name, hold, end string, alive bool) *wait {
	w := &wait{
		name: c.name + ", " + name, hold: hold, end: end, ends: "expires_at", on: "{id}",
		call: "SELECT " + c.call + "::text", want: c.dead, after: state, left: "dead",
	}
	if alive {
		w.want, w.left = c.alive, c.left
	}
	return w
}

func TestASessionThatExpiresWhileACallWaitsForItsRowStaysDead(t *testing.T) {
	d := newDatabase(t)
	var waits []*wait
	for _, c := range waitingCalls {
		waits = append(waits,
			c.wait("locked", lockRow, "COMMIT", false),
			c.wait("written", labelRow, "COMMIT", false),
			c.wait("written and undone", labelRow, "ROLLBACK", false),
			c.wait("touched and undone", touchRow, "ROLLBACK", false),
			c.wait("touched", touchRow, "COMMIT", true),
		)
	}
	d.passAll(t, waits, "")
}

func TestASessionThatExpiresWhileACallWaitsForTheTableStaysDead(t *testing.T) {
	d := newDatabase(t)
	for name, lock := range map[string]string{
		"locked": lockTable,
		"extended": lockTable + `;
			UPDATE sessionsql.session SET expires_at = clock_timestamp() + interval '10 minutes'`,
	} {
		var waits []*wait
		for _, c := range slices.Concat(waitingCalls, skippingCalls) {
			waits = append(waits, c.wait(name, "", "", name == "extended"))
		}
		d.passAll(t, waits, lock)
	}
}

func TestBatchesLeaveALockedRowOut(t *testing.T) {
	d := newDatabase(t)
	impatient := open(t, d.PrimaryDSN()+"&lock_timeout=10s")
	for _, c := range skippingCalls {
		w := c.wait("", "", "", false)
		w.make(t, d)
		tx := d.primary.MustBegin()
		tx.MustExec(w.text(lockRow))
		if got := get[string](t, impatient, w.text(w.call)); got != c.dead {
			t.Errorf("%s of a locked row: %s", c.name, got)
		}
		must(t, tx.Commit())
		if got := get[string](t, impatient, w.text(w.call)); got != c.alive {
			t.Errorf("%s of the row when it is free: %s", c.name, got)
		}
	}
}

func TestACapThatWaitedForItsTurnSparesTheOthersOfAnExpiredSession(t *testing.T) {
	d := newDatabase(t)
	rotate := waitingCall{
		"rotate", "sessionsql.rotate({id}, sha256('s'), sha256('new'), '0', '{subject}', 1)", "false", "", "",
	}
	login := "SELECT sessionsql.insert(sha256('x'), 'p', subject => '{subject}', max_sessions => 9)"
	w := rotate.wait("a login has the turn", login, "COMMIT", false)
	w.after, w.left = "(SELECT count(*) FROM sessionsql.live_session AS l WHERE l.subject = s.subject)", "2"
	d.passAll(t, []*wait{w}, "")
}

// whileGraceEnds returns a wait during which the grace of the secret 'old' ends.
func whileGraceEnds(c waitingCall, name, hold, end, on string) *wait {
	w := c.wait(name, hold, end, false)
	w.ends, w.on, w.after, w.left = "previous_until", on, "s.payload || s.version", "p1"
	return w
}

func TestASecretWhoseGraceEndsWhileACallWaitsWritesNothing(t *testing.T) {
	d := newDatabase(t)
	update := waitingCall{
		"update_payload", "sessionsql.update_payload({id}, sha256('old'), 'late')", "-1", "", "",
	}
	listed := waitingCall{
		"revoke_listed", "sessionsql.revoke_listed({own}, sha256('old'), {id})", "false", "", "",
	}
	batch := waitingCall{
		"update_payload_batch", `(SELECT count(*) FROM sessionsql.update_payload_batch(
			ARRAY[{id}::bigint], ARRAY[sha256('old')], '{late}', '{NULL}'))`, "0", "", "",
	}
	d.passAll(t, []*wait{
		whileGraceEnds(update, "locked", lockRow, "COMMIT", "{id}"),
		whileGraceEnds(update, "written", labelRow, "COMMIT", "{id}"),
		whileGraceEnds(update, "written and undone", labelRow, "ROLLBACK", "{id}"),
		whileGraceEnds(update, "touched", touchRow, "COMMIT", "{id}"),
		whileGraceEnds(listed, "locked", lockRow, "COMMIT", "{own}"),
		whileGraceEnds(listed, "written", labelRow, "COMMIT", "{own}"),
	}, "")
	d.passAll(t, []*wait{
		whileGraceEnds(update, "locked table", "", "", "{id}"),
		whileGraceEnds(listed, "locked table", "", "", "{own}"),
		whileGraceEnds(batch, "locked table", "", "", "{id}"),
	}, lockTable)
}

func TestALogoutWhoseGraceEndsWhileItWaitsEndsNothing(t *testing.T) {
	d := newDatabase(t)
	revoke := waitingCall{"revoke", "sessionsql.revoke({id}, sha256('old'))", "false", "", ""}
	d.passAll(t, []*wait{
		whileGraceEnds(revoke, "locked", lockRow, "COMMIT", "{id}"),
		whileGraceEnds(revoke, "written", labelRow, "COMMIT", "{id}"),
		whileGraceEnds(revoke, "written and undone", labelRow, "ROLLBACK", "{id}"),
		whileGraceEnds(revoke, "touched", touchRow, "COMMIT", "{id}"),
	}, "")
	d.passAll(t, []*wait{whileGraceEnds(revoke, "locked table", "", "", "{id}")}, lockTable)
}

// Only a live session may end another, so it must live when the lock is free.
func TestASessionThatExpiresWhileItWaitsEndsNoOther(t *testing.T) {
	d := newDatabase(t)
	whileOwnExpires := func(name, hold string) *wait {
		w := revokeListed.wait(name, hold, "COMMIT", false)
		w.on, w.left = "{own}", "alive"
		return w
	}
	d.passAll(t, []*wait{
		whileOwnExpires("locked", lockRow),
		whileOwnExpires("written", labelRow),
		whileOwnExpires("touched", touchRow),
	}, "")
	d.passAll(t, []*wait{whileOwnExpires("locked table", "")}, lockTable)
}
