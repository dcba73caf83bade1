package sessionsql_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/testkit"
)

// stormTime is how long each storm lasts: 2 seconds, or SESSIONSQL_STORM, such as 1m.
func stormTime(t *testing.T) time.Duration {
	t.Helper()
	given := os.Getenv("SESSIONSQL_STORM")
	if given == "" {
		return 2 * time.Second
	}
	duration, err := time.ParseDuration(given)
	must(t, err)
	return duration
}

// A storm is calls of every kind on a few keys at once, so that they meet.
type storm struct {
	increments []atomic.Int64 // what was added to each counter
}

const stormKeys = 40

// keys returns the literal of an array of some keys in random order, and its length.
func (s *storm) keys(random *rand.Rand) (list string, n int) {
	n = 1 + random.IntN(30)
	keys := make([]string, n)
	for i := range keys {
		keys[i] = cacheKey("storm", fmt.Sprint(random.IntN(stormKeys))).String()
	}
	return "{" + strings.Join(keys, ",") + "}", n
}

// call makes one random call.
func (s *storm) call(ctx context.Context, conn *sqlx.Conn, random *rand.Rand) error {
	keys, n := s.keys(random)
	one := cacheKey("storm", fmt.Sprint(random.IntN(stormKeys))).String()
	ttl := []float64{-1, 0.001, 1, 60}[random.IntN(4)]
	space := cacheSpace("storm")
	final := random.IntN(10) == 0
	exec := func(statement string, args ...any) error {
		_, err := conn.ExecContext(ctx, statement, args...)
		if err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
		return nil
	}
	switch random.IntN(11) {
	case 0, 1, 2:
		return exec(`SELECT sessionsql.cache_set_batch($1::uuid[],
			array_fill($2::integer, ARRAY[$3::integer]),
			array_fill($4::text::bytea, ARRAY[$3]), array_fill($5::float8, ARRAY[$3]), NULL,
			array_fill($6::float8, ARRAY[$3]))`,
			keys, space, n, fmt.Sprint(random.IntN(3)), ttl, float64(random.IntN(2)))
	case 3:
		return exec("SELECT sessionsql.cache_delete_batch($1::uuid[], $2)", keys, final)
	case 4:
		return exec(`SELECT sessionsql.cache_touch_batch($1::uuid[],
			array_fill($3::float8, ARRAY[$2::integer]))`, keys, n, float64(random.IntN(100)))
	case 5:
		return exec("SELECT sessionsql.cache_add($1::uuid, $2, '1', $3)", one, space, ttl)
	case 6:
		return exec("SELECT sessionsql.cache_swap($1::uuid, sha256('1'), $2::text::bytea, $3, $4)", one,
			[]any{nil, "2"}[random.IntN(2)], ttl, final)
	case 7:
		return exec(`SELECT sessionsql.cache_fetch_lease_by_key(
			$1::uuid, sessionsql.cache_lease_key($1), $2, 'me', 0.01)`, one, space)
	case 8:
		return exec("SELECT sessionsql.cache_clear($1, $2)", space, final)
	case 9:
		return exec("SELECT sessionsql.cache_reap($1, $2, false, ARRAY[$3::integer], ARRAY[$4::bigint])",
			1+random.IntN(20), 1+random.IntN(3), space, 1000+random.IntN(2000))
	default:
		i, delta := random.IntN(len(s.increments)), int64(random.IntN(10)-3)
		err := exec("SELECT sessionsql.cache_increment('counters', $1, $2)", fmt.Sprint(i), delta)
		if err == nil {
			s.increments[i].Add(delta)
		}
		return err
	}
}

// Calls of every kind run from 20 connections on few keys.
func TestAStormOfCallsDeadlocksNobodyAndLosesNoIncrement(t *testing.T) {
	random := seeded(t)
	for name, prepare := range map[string]struct{ table, connection string }{
		"analyzed": {"ANALYZE sessionsql.cache_entry", "SET plan_cache_mode = auto"},
		"empty":    {"TRUNCATE sessionsql.cache_entry", "SET plan_cache_mode = auto"},
		"generic":  {"TRUNCATE sessionsql.cache_entry", "SET plan_cache_mode = force_generic_plan"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t)
			d.primary.MustExec("ALTER TABLE sessionsql.cache_entry SET (autovacuum_enabled = off)")
			d.primary.MustExec(`INSERT INTO sessionsql.cache_entry (key, expires_at, space, value)
				SELECT gen_random_uuid(), now() + interval '1 hour', 1, 'v' FROM generate_series(1, 20000)`)
			d.primary.MustExec(prepare.table)
			s := &storm{increments: make([]atomic.Int64, 4)}
			ctx, cancel := context.WithTimeout(t.Context(), stormTime(t))
			defer cancel()
			var calls atomic.Int64
			randoms := make([]*rand.Rand, 20)
			for i := range randoms {
				randoms[i] = testkit.Fork(random)
			}
			conns := make([]*sqlx.Conn, len(randoms))
			for i := range conns {
				conns[i] = d.conn(t)
				execute(t, conns[i], prepare.connection)
				// A plan without the usual joins would be compiled.
				execute(t, conns[i], "SET jit = off")
				for setting := range strings.SplitSeq(lostPlans[i%len(lostPlans)], ",") {
					if setting != "" {
						execute(t, conns[i], "SET "+setting+" = off")
					}
				}
			}
			atOnce(len(conns), func(i int) {
				for ctx.Err() == nil {
					// A call that has begun ends, so that the test knows what it added.
					if err := s.call(context.Background(), conns[i], randoms[i]); err != nil {
						t.Errorf("connection %d: %v", i, err)
						return
					}
					calls.Add(1)
				}
			})
			for i := range s.increments {
				got := get[string](t, d.primary, `
					SELECT COALESCE(convert_from(sessionsql.cache_get('counters', $1), 'UTF8'), '0')`,
					fmt.Sprint(i))
				if want := fmt.Sprint(s.increments[i].Load()); got != want {
					t.Errorf("counter %d is %s, want %s", i, got, want)
				}
			}
			if deadlocks := get[int](t, d.primary, `SELECT deadlocks FROM pg_stat_database
				WHERE datname = current_database()`); deadlocks != 0 {
				t.Errorf("%d deadlocks", deadlocks)
			}
			t.Logf("%d calls", calls.Load())
		})
	}
}

func TestNoIncrementIsLost(t *testing.T) {
	d := newDatabase(t)
	seen := make([]atomic.Bool, 3201)
	atOnce(16, func(int) {
		for range 200 {
			total := 0
			if err := d.primary.Get(&total, "SELECT sessionsql.cache_increment('s', 'n')"); err != nil {
				t.Errorf("increment: %v", err)
				return
			}
			if seen[total].Swap(true) {
				t.Errorf("two callers got %d", total)
			}
		}
	})
	if got := d.cacheValue(t, "n"); got != "3200" {
		t.Errorf("16 callers of 200 increments counted %s", got)
	}
}

func TestOneOfManyAddsAndLeasesWins(t *testing.T) {
	d := newDatabase(t)
	for round := range 20 {
		key := fmt.Sprint(round)
		if round%2 == 1 { // a dead entry stands there
			d.primary.MustExec("SELECT sessionsql.cache_set('s', $1, 'dead', '-1 second')", key)
		}
		for name, call := range map[string]string{
			"add":   "SELECT sessionsql.cache_add(sessionsql.cache_key('s', $1), 1, $2::text::bytea, 60)",
			"lease": "SELECT l.leased FROM sessionsql.cache_fetch_lease('leases', $1, $2::text::bytea) AS l",
		} {
			var winners atomic.Int64
			atOnce(16, func(i int) {
				won := false
				if err := d.primary.Get(&won, call, key, fmt.Sprint("caller ", i)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if won {
					winners.Add(1)
				}
			})
			if winners.Load() != 1 {
				t.Errorf("%s: %d of 16 callers won", name, winners.Load())
			}
		}
	}
}

func TestALeaseIsItsOwners(t *testing.T) {
	d := newDatabase(t)
	fetch := func(owner, lease, stale string) bool {
		t.Helper()
		return get[bool](t, d.primary, `SELECT l.leased FROM sessionsql.cache_fetch_lease(
			's', 'k', $1::text::bytea, $2::interval, $3::interval) AS l`, owner, lease, stale)
	}
	end := func(owner string) bool {
		t.Helper()
		return get[bool](t, d.primary, "SELECT sessionsql.cache_end_lease('s', 'k', $1::text::bytea)", owner)
	}
	if !fetch("a", "1 minute", "0") || fetch("b", "1 minute", "0") || fetch("a", "1 minute", "0") {
		t.Error("not the first caller alone got the lease")
	}
	if end("b") || !end("a") || end("a") {
		t.Error("not the owner alone ended the lease")
	}
	if !fetch("b", "1 minute", "0") {
		t.Error("nobody gets a lease that has ended")
	}
	// A lease that lapsed is another's, and its first owner ends nothing.
	d.primary.MustExec("UPDATE sessionsql.cache_entry SET expires_at = clock_timestamp()")
	if !fetch("c", "1 minute", "0") || end("b") || !end("c") {
		t.Error("the owner of a lapsed lease ended another's")
	}
	// A fresh entry needs no lease, and a stale one is returned with it.
	d.primary.MustExec("SELECT sessionsql.cache_set('s', 'k', 'v', '1 minute')")
	if fetch("d", "1 minute", "0") || fetch("d", "1 minute", "50 seconds") ||
		!fetch("d", "1 minute", "61 seconds") {
		t.Error("the lease of a fresh or stale entry")
	}
	const size = "SELECT sessionsql.cache_len(sessionsql.cache_space_id('s'))"
	if got := get[int](t, d.primary, size); got != 1 {
		t.Errorf("with a lease, the space has %d entries", got)
	}
}

// Two transactions run with every order of their steps. Where one ends an entry for good, nothing may bring
// it back, also not a set that was waiting for the row.
func TestNoOrderOfStepsBringsAFinallyDeletedEntryBack(t *testing.T) {
	const (
		del      = "SELECT sessionsql.cache_delete('s', 'a', true)"
		both     = "ARRAY[sessionsql.cache_key('s', 'a'), sessionsql.cache_key('s', 'b')]"
		back     = "ARRAY[sessionsql.cache_key('s', 'b'), sessionsql.cache_key('s', 'a')]"
		setBoth  = "SELECT sessionsql.cache_set_batch(" + both + ", '{1,1}', '{late,late}', '{60,60}')"
		setBack  = "SELECT sessionsql.cache_set_batch(" + back + ", '{1,1}', '{late,late}', '{60,60}')"
		delBack  = "SELECT sessionsql.cache_delete_batch(" + back + ", true)"
		touch    = "SELECT sessionsql.cache_touch_batch(" + both + ", '{7200,7200}')"
		increase = "SELECT sessionsql.cache_increment('s', 'a')"
		swap     = "SELECT sessionsql.cache_swap(sessionsql.cache_key('s', 'a'), sha256('1'), '2')"
		add      = "SELECT sessionsql.cache_add(sessionsql.cache_key('s', 'a'), 1, 'late', 60)"
		clear    = "SELECT sessionsql.cache_clear(sessionsql.cache_space_id('s'), true)"
		reap     = "SELECT sessionsql.cache_reap(spaces => '{1}', budgets => '{1}')"
		slackly  = "SELECT sessionsql.cache_set('s', 'a', '1', '1 hour', '1 minute')"
	)
	in := func(name, end string, steps ...string) transaction {
		return transaction{name, append(append([]string{"BEGIN"}, steps...), end)}
	}
	deletes := in("final delete", "COMMIT", del)
	undeletes := in("delete, rolled back", "ROLLBACK", del)
	deletesBoth := in("final delete of both", "COMMIT", delBack)
	clears := in("final clear", "COMMIT", clear)
	d := newDatabase(t)
	var pairs []pair
	for name, steps := range map[string][]string{
		"set": {setBoth, setBoth}, "set backwards": {setBack}, "touch": {touch}, "increment": {increase},
		"swap": {swap}, "add": {add}, "reap": {reap}, "set with slack": {slackly},
	} {
		other := in(name, "COMMIT", steps...)
		pairs = append(pairs, pair{deletes, other}, pair{undeletes, other})
		if len(steps) > 1 || name == "set backwards" {
			pairs = append(pairs, pair{deletesBoth, other}, pair{clears, other})
		}
	}
	pairs = append(pairs, pair{deletes, deletesBoth}, pair{clears, deletesBoth}, pair{deletes, deletes},
		pair{in("set both", "COMMIT", setBoth), in("set both backwards", "COMMIT", setBack, setBack)})
	all := trials(pairs)
	for _, each := range all {
		d.emptyCache()
		d.primary.MustExec(`SELECT sessionsql.cache_set('s', 'a', '1', '1 hour');
			SELECT sessionsql.cache_set('s', 'b', '1', '1 hour')`)
		each.play(t, d, nil)
		ended := strings.HasPrefix(each.pair[0].name, "final") ||
			strings.HasPrefix(each.pair[1].name, "final")
		switch got := d.cacheValue(t, "a"); {
		case ended && got != "none":
			t.Errorf("%s: the entry is back as %q", each.name, got)
		case !ended && got == "none":
			t.Errorf("%s: the entry is gone", each.name)
		case ended && get[bool](t, d.primary, "SELECT sessionsql.cache_set('s', 'a', 'late')"):
			t.Errorf("%s: no tombstone stands", each.name)
		}
	}
	t.Logf("the test ran %d interleavings", len(all))
}

func TestATombstoneEndsByItself(t *testing.T) {
	d := newDatabase(t)
	d.primary.MustExec("SELECT sessionsql.cache_set('s', 'k', 'v'), sessionsql.cache_delete('s', 'k', true)")
	left := get[float64](t, d.primary, `SELECT date_part('epoch', e.expires_at - now())
		FROM sessionsql.cache_entry AS e WHERE e.value IS NULL`)
	if left > 3600 || left < 3500 {
		t.Errorf("a tombstone stands for %.0f seconds", left)
	}
	if get[bool](t, d.primary, "SELECT sessionsql.cache_delete('s', 'k')") ||
		get[bool](t, d.primary, "SELECT sessionsql.cache_set('s', 'k', 'late')") {
		t.Error("another delete ended the tombstone")
	}
	if n := get[int](t, d.primary, "SELECT count(*) FROM sessionsql.cache_delete_batch('{}', true)"); n != 0 {
		t.Errorf("a delete of nothing ended %d entries", n)
	}
	if get[bool](t, d.primary, "SELECT sessionsql.cache_delete('s', 'none', true)") ||
		!get[bool](t, d.primary, "SELECT sessionsql.cache_set('s', 'none', 'v')") {
		t.Error("the delete of a key without an entry left a tombstone")
	}
	d.expire("k", "-1 microsecond")
	if !get[bool](t, d.primary, "SELECT sessionsql.cache_set('s', 'k', 'v')") || d.cacheValue(t, "k") != "v" {
		t.Error("a tombstone outlives its hour")
	}
}
