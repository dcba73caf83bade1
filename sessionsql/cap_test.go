package sessionsql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

// A login makes one session of ann with a cap. A login in a transaction checks there that its session is
// alive.
type login func(d *database, store *sessionsql.Store, limit int32) error

// inTransaction checks a login's session before any other caller can end it. It must be alive and within the
// cap.
func inTransaction(d *database, limit int32, insert func(*sqlx.Tx) (found int, err error)) error {
	tx, err := d.primary.Beginx()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // it does nothing after Commit
	found, err := insert(tx)
	if err != nil {
		return err
	}
	var live int32
	err = tx.Get(&live, "SELECT count(*) FROM sessionsql.live_session AS s WHERE s.subject = 'ann'")
	if err != nil {
		return err
	}
	if found != 1 || live > limit {
		return fmt.Errorf("the new token opens %d sessions, and %d are alive", found, live)
	}
	return tx.Commit()
}

const countFound = "SELECT count(*) FROM sessionsql.find_session($1)"

var logins = map[string]login{
	"new_session": func(d *database, _ *sessionsql.Store, limit int32) error {
		return inTransaction(d, limit, func(tx *sqlx.Tx) (found int, err error) {
			var token string
			err = tx.Get(&token,
				"SELECT sessionsql.new_session('p', subject => 'ann', max_sessions => $1)", limit)
			if err == nil {
				err = tx.Get(&found, countFound, token)
			}
			return found, err
		})
	},
	"rotate": func(d *database, _ *sessionsql.Store, limit int32) error {
		var token string
		if err := d.primary.Get(&token, "SELECT sessionsql.new_session('p')"); err != nil {
			return err
		}
		return inTransaction(d, limit, func(tx *sqlx.Tx) (found int, err error) {
			rotated := false
			err = tx.Get(&rotated, `SELECT sessionsql.rotate(sessionsql.token_id($1),
				sessionsql.token_hash($1), sha256('new'), '0', 'ann', $2)`, token, limit)
			if err == nil && !rotated {
				err = errors.New("rotate returned false")
			}
			if err == nil {
				err = tx.Get(&found,
					"SELECT count(*) FROM sessionsql.lookup(sessionsql.token_id($1), sha256('new'))", token)
			}
			return found, err
		})
	},
	"InsertTx": func(d *database, store *sessionsql.Store, limit int32) error {
		return inTransaction(d, limit, func(tx *sqlx.Tx) (found int, err error) {
			own := sessionsql.InsertOptions{Subject: "ann", MaxSessions: limit}
			token, err := store.InsertTx(context.Background(), tx, "p", &own)
			if err == nil {
				err = tx.Get(&found, countFound, string(token))
			}
			return found, err
		})
	},
	"Insert": func(_ *database, store *sessionsql.Store, limit int32) error {
		own := sessionsql.InsertOptions{Subject: "ann", MaxSessions: limit}
		_, err := store.Insert(context.Background(), "p", &own)
		return err
	},
	"Rotate": func(_ *database, store *sessionsql.Store, limit int32) error {
		token, err := store.Insert(context.Background(), "p", nil)
		if err == nil {
			own := sessionsql.RotateOptions{Subject: "ann", MaxSessions: limit}
			_, err = store.Rotate(context.Background(), token, &own)
		}
		return err
	},
}

// crowded makes a database whose pool keeps a connection for each of many callers.
func crowded(t *testing.T) *database {
	t.Helper()
	d := newDatabase(t)
	d.primary.SetMaxIdleConns(20)
	return d
}

func TestNoLoginIsDeadAtBirthAndTheCapHolds(t *testing.T) {
	random := seeded(t)
	d := crowded(t)
	store := d.Store(t, nil)
	const clients, each = 16, 20
	kinds := slices.Sorted(maps.Keys(logins))
	for _, limit := range []int32{1, 3} {
		var wait sync.WaitGroup
		for range clients {
			own := testkit.Fork(random)
			wait.Go(func() {
				for range each {
					kind := kinds[own.IntN(len(kinds))]
					if err := logins[kind](d, store, limit); err != nil {
						t.Errorf("cap %d: %s: %v", limit, kind, err)
					}
					if n := liveOf(t, d.primary, "ann"); n > int(limit) {
						t.Errorf("cap %d: %d sessions are alive", limit, n)
					}
				}
			})
		}
		wait.Wait()
		if n := liveOf(t, d.primary, "ann"); n != int(limit) {
			t.Errorf("cap %d: %d sessions are alive in the end", limit, n)
		}
	}
}

// setAge makes a session older by a number of hours, because the test cannot wait that long.
func (d *database) setAge(id int64, hours int) {
	d.primary.MustExec(`UPDATE sessionsql.session SET created_at = now() - make_interval(hours => $2)
		WHERE id = $1`, id, hours)
}

// After a clock was set back, older sessions seem younger than a new login.
func TestALoginEvictsSessionsFromTheFuture(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	for kind, login := range logins {
		for _, limit := range []int32{1, 2} {
			d.primary.MustExec("DELETE FROM sessionsql.session")
			var ids []int64
			for i := range 3 {
				ids = append(ids, idOf(t, loginAs(t, store, "ann")))
				d.setAge(ids[i], -1-i)
			}
			if err := login(d, store, limit); err != nil {
				t.Errorf("%s, cap %d: %v", kind, limit, err)
			}
			var left []int64
			must(t, d.primary.Select(&left,
				"SELECT id FROM sessionsql.live_session WHERE id = ANY ($1)", ids))
			// The youngest session stays beside the new one if the cap leaves room.
			if len(left) != int(limit)-1 || limit == 2 && left[0] != ids[2] {
				t.Errorf("%s, cap %d: of %v these are left: %v", kind, limit, ids, left)
			}
			if n := liveOf(t, d.primary, "ann"); n != int(limit) {
				t.Errorf("%s, cap %d: %d sessions are alive", kind, limit, n)
			}
		}
	}
}

// begin begins a transaction at an isolation level.
func (d *database) begin(t *testing.T, level sql.IsolationLevel) *sqlx.Tx {
	t.Helper()
	tx, err := d.primary.BeginTxx(t.Context(), &sql.TxOptions{Isolation: level})
	must(t, err)
	return tx
}

func TestCapIsRefusedByNameWhereItCannotHold(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	kept := loginAs(t, store, "ann")
	anonymous := mustInsert(t, store, "p", nil)
	id := idOf(t, anonymous)
	calls := map[string]func(*sqlx.Tx) error{
		"insert": func(tx *sqlx.Tx) error {
			_, err := tx.Exec(
				"SELECT sessionsql.insert(sha256('1'), 'canary', subject => 'ann', max_sessions => 1)")
			return err
		},
		"new_session": func(tx *sqlx.Tx) error {
			_, err := tx.Exec("SELECT sessionsql.new_session('canary', subject => 'ann', max_sessions => 1)")
			return err
		},
		"rotate": func(tx *sqlx.Tx) error {
			_, err := tx.Exec("SELECT sessionsql.rotate($1, sha256('1'), sha256('2'), '0', 'ann', 1)", id)
			return err
		},
		"InsertTx": func(tx *sqlx.Tx) error {
			own := sessionsql.InsertOptions{Subject: "ann", MaxSessions: 1}
			_, err := store.InsertTx(t.Context(), tx, "canary", &own)
			return err
		},
	}
	for level, refused := range map[sql.IsolationLevel]bool{
		sql.LevelReadUncommitted: false, sql.LevelReadCommitted: false,
		sql.LevelRepeatableRead: true, sql.LevelSerializable: true,
	} {
		for name, call := range calls {
			tx := d.begin(t, level)
			var pg *pgconn.PgError
			switch err := call(tx); {
			case !refused && err != nil:
				t.Errorf("%s at %v: %v", name, level, err)
			case refused && (sqlState(err) != "25000" || !strings.Contains(err.Error(), "read committed")):
				t.Errorf("%s at %v: %v", name, level, err)
			case errors.As(err, &pg) && strings.Contains(fmt.Sprintf("%+v", *pg), "canary"):
				t.Errorf("%s at %v repeats the payload: %+v", name, level, *pg)
			}
			must(t, tx.Rollback())
		}
		// Without a cap, a login works at every level.
		tx := d.begin(t, level)
		mustInsertTx(t, store, tx, "p", &sessionsql.InsertOptions{Subject: "ann"})
		must(t, tx.Rollback())
	}
	mustOpen(t, store, kept, "ann", "after refused logins")
	mustOpen(t, store, anonymous, "p", "after refused rotates")
}

// A slot holds the newest token of a session that several callers use.
type slot struct {
	mu    sync.Mutex
	token sessionsql.Token
}

func (s *slot) get() sessionsql.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

func (s *slot) set(token sessionsql.Token, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.token = token
	}
	return err
}

// renew logs in unless another caller has replaced the old token.
func (s *slot) renew(old sessionsql.Token, logIn func() (sessionsql.Token, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != old {
		return nil
	}
	token, err := logIn()
	if err == nil {
		s.token = token
	}
	return err
}

// forget empties the slot if it still holds the token, because the token opens nothing any more.
func (s *slot) forget(token sessionsql.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token {
		s.token = ""
	}
}

// contend makes a random call for one of a few sessions of ann, and returns its verb.
func contend(
	d *database, store *sessionsql.Store, random *rand.Rand, slots []*slot, limit int32,
) (verb string, err error) {
	ctx := context.Background()
	mine, other := slots[random.IntN(len(slots))], slots[random.IntN(len(slots))].get()
	token := mine.get()
	defer func() {
		if errors.Is(err, sessionsql.ErrNoSession) {
			mine.forget(token)
		}
	}()
	switch n := random.IntN(100); {
	case n < 5 || token == "":
		return "Insert", mine.renew(token, func() (sessionsql.Token, error) {
			return store.Insert(ctx, "p", &sessionsql.InsertOptions{Subject: "ann", MaxSessions: limit})
		})
	case n < 20:
		own := sessionsql.RotateOptions{Subject: "ann", MaxSessions: limit}
		return "Rotate with a cap", mine.set(store.Rotate(ctx, token, &own))
	case n < 35:
		return "Rotate", mine.set(store.Rotate(ctx, token, nil))
	case n < 60:
		_, err = store.Update(ctx, token, "q", sessionsql.AnyVersion)
		return "Update", err
	case n < 80:
		// A flush extends only a session that is due.
		_, err = d.primary.Exec(`UPDATE sessionsql.session
			SET expires_at = clock_timestamp() + interval '1 minute'
			WHERE id = sessionsql.token_id($1)`, string(token))
		if err == nil {
			_, err = store.Lookup(ctx, token)
		}
		if err == nil {
			err = store.Flush(ctx)
		}
		return "Lookup and Flush", err
	case n < 84:
		return "Revoke", store.Revoke(ctx, token)
	case n < 94:
		var id sql.NullInt64 // of the other session; null without one
		err = d.primary.Get(&id, "SELECT sessionsql.token_id($1)", string(other))
		if err == nil {
			err = store.RevokeListed(ctx, token, id.Int64)
		}
		return "RevokeListed", err
	case n < 97:
		_, err = store.RevokeSubject(ctx, "ann", token)
		return "RevokeSubject but one", err
	default:
		_, err = store.RevokeSubject(ctx, "ann", "")
		return "RevokeSubject", err
	}
}

// stricter are the isolation levels at which concurrent writes can make a statement fail.
var stricter = []string{"repeatable read", "serializable"}

// isolatedStore opens a Store whose connections have a default isolation level.
func (d *database) isolatedStore(t *testing.T, level string) *sessionsql.Store {
	t.Helper()
	dsn := d.PrimaryDSN() + "&default_transaction_isolation=" + url.PathEscape(level)
	store := sessiontest.OpenStore(t, dsn, nil, nil)
	t.Cleanup(func() { closeStore(t, store) })
	return store
}

func TestStoreWorksAtAnyDefaultIsolationLevel(t *testing.T) {
	random := seeded(t)
	for _, level := range stricter {
		t.Run(level, func(t *testing.T) {
			d := crowded(t)
			store := d.isolatedStore(t, level)
			const callers, each, limit = 8, 100, 3
			slots := []*slot{{}, {}, {}}
			var mu sync.Mutex
			did := map[string]int{}
			var wait sync.WaitGroup
			for range callers {
				own := testkit.Fork(random)
				wait.Go(func() {
					for range each {
						verb, err := contend(d, store, own, slots, limit)
						switch {
						case err == nil:
							mu.Lock()
							did[verb]++
							mu.Unlock()
						case errors.Is(err, sessionsql.ErrNoSession), errors.Is(err, sessionsql.ErrConflict),
							errors.Is(err, sessionsql.ErrRotated):
						default:
							t.Errorf("%s: %v", verb, err)
						}
						if n := liveOf(t, d.primary, "ann"); n > limit {
							t.Errorf("after %s %d sessions are alive", verb, n)
						}
					}
				})
			}
			wait.Wait()
			t.Logf("the calls done are %v", did)
			if len(did) != 9 {
				t.Error("some verb was never done, so this test proves too little")
			}
			for range limit + 1 {
				own := sessionsql.InsertOptions{Subject: "ann", MaxSessions: limit}
				mustOpen(t, store, mustInsert(t, store, "p", &own), "p", "a login")
			}
			if n := liveOf(t, d.primary, "ann"); n != limit {
				t.Errorf("%d sessions are alive in the end", n)
			}
		})
	}
}

// A commit can fail after its statement has succeeded.
func TestAcknowledgedUpdatesAreDoneAtAnyDefaultIsolationLevel(t *testing.T) {
	for _, level := range stricter {
		t.Run(level, func(t *testing.T) {
			d := crowded(t)
			store := d.isolatedStore(t, level)
			tokens := []sessionsql.Token{loginAs(t, store, "ann"), loginAs(t, store, "bob")}
			const callers, each = 8, 25
			var wait sync.WaitGroup
			for range callers {
				wait.Go(func() {
					for i := range each {
						_, err := store.Update(t.Context(), tokens[i%2], "q", sessionsql.AnyVersion)
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			wait.Wait()
			done := get[int](t, d.primary, "SELECT sum(version - 1) FROM sessionsql.session")
			if done != callers*each {
				t.Errorf("%d updates were acknowledged, and %d done", callers*each, done)
			}
		})
	}
}

// PostgreSQL may refuse a serializable transaction that only reads. Here a prepared transaction of the
// application has read bob's session before a write to it, and has written ann's.
func TestReadsAreNeverRefusedAtAnyDefaultIsolationLevel(t *testing.T) {
	settings := map[string]string{"max_prepared_transactions": "1"}
	d := newDatabaseIn(t, sessiontest.StartCluster(t, &pgcluster.Options{Settings: settings}))
	for _, level := range stricter {
		store := d.isolatedStore(t, level)
		ann, bob := loginAs(t, store, "ann"), loginAs(t, store, "bob")
		tx := d.begin(t, sql.LevelSerializable)
		if n := liveOf(t, tx, "bob"); n != 1 {
			t.Fatalf("bob has %d sessions", n)
		}
		tx.MustExec("UPDATE sessionsql.session SET label = 'l' WHERE id = $1", idOf(t, ann))
		mustUpdate(t, store, bob, "q", 1)
		tx.MustExec("PREPARE TRANSACTION 'pivot'")
		_ = tx.Rollback()
		_, err := store.ListSubject(t.Context(), "ann", "")
		if err != nil {
			t.Errorf("ListSubject at %s: %v", level, err)
		}
		var wait sync.WaitGroup
		for range 20 { // enough callers for batches
			wait.Go(func() {
				if _, err := store.Lookup(t.Context(), ann); err != nil {
					t.Errorf("Lookup at %s: %v", level, err)
				}
			})
		}
		wait.Wait()
		d.primary.MustExec("ROLLBACK PREPARED 'pivot'")
		d.primary.MustExec("DELETE FROM sessionsql.session")
	}
}

func TestRotateWithACapEvictsTheOldestButNotItself(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	var tokens []sessionsql.Token
	for i := range 4 {
		tokens = append(tokens, loginAs(t, store, "ann"))
		d.setAge(idOf(t, tokens[i]), 10-i)
	}
	bob := loginAs(t, store, "bob")
	expired := loginAs(t, store, "ann")
	d.setExpiry(idOf(t, expired), "0") // an expired session does not count
	check := func(when string, alive ...bool) {
		t.Helper()
		for i, want := range alive {
			if got := len(d.found(t, tokens[i])) == 1; got != want {
				t.Errorf("%s: session %d is alive: %v", when, i, got)
			}
		}
		mustOpen(t, store, bob, "bob", when)
	}
	rotate := func(token sessionsql.Token, limit int32) sessionsql.Token {
		t.Helper()
		own := sessionsql.RotateOptions{Subject: "ann", MaxSessions: limit}
		return mustRotate(t, store, token, &own)
	}
	tokens[0] = rotate(tokens[0], 4) // no session ends, because the cap equals their number
	check("a cap of 4", true, true, true, true)
	tokens[0] = rotate(tokens[0], 2) // the oldest session rotates and so stays
	check("a cap of 2", true, false, false, true)

	anonymous := mustInsert(t, store, "p", nil)
	d.setAge(idOf(t, anonymous), 24)
	tokens = append(tokens, rotate(anonymous, 2))
	check("a login by rotate", false, false, false, true, true)
	if sess := mustOpen(t, store, tokens[4], "p", "a login by rotate"); sess.Subject != "ann" {
		t.Errorf("the subject is %q", sess.Subject)
	}
	tokens[4] = rotate(tokens[4], 1)
	check("a cap of 1", false, false, false, false, true)
	// A rotate to another subject counts only the sessions of the new subject.
	loginAs(t, store, "ann")
	own := sessionsql.RotateOptions{Subject: "bob", MaxSessions: 2}
	tokens[4] = mustRotate(t, store, tokens[4], &own)
	check("another's", false, false, false, false, true)
	if n, m := liveOf(t, d.primary, "ann"), liveOf(t, d.primary, "bob"); n != 1 || m != 2 {
		t.Errorf("%d sessions of ann and %d of bob are alive", n, m)
	}
}

func TestAFailedRotateEvictsNobody(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	tokens := []sessionsql.Token{loginAs(t, store, "ann"), loginAs(t, store, "ann")}
	anonymous := mustInsert(t, store, "p", nil)
	expired := mustInsert(t, store, "p", nil)
	d.setExpiry(idOf(t, expired), "0")
	revoked := mustInsert(t, store, "p", nil)
	must(t, store.Revoke(t.Context(), revoked))
	grace := mustInsert(t, store, "p", nil)
	mustRotate(t, store, grace, &sessionsql.RotateOptions{Grace: time.Hour})
	attempts := hostileTokens(anonymous)
	attempts["hostile, of ann"] = hostileTokens(tokens[0])["same id, wrong secret"]
	attempts["expired"], attempts["revoked"], attempts["rotated before"] = expired, revoked, grace
	const rows = "SELECT string_agg(s::text, E'\n' ORDER BY s.id) FROM sessionsql.session AS s"
	before := get[string](t, d.primary, rows)
	for name, token := range attempts {
		_, err := store.Rotate(t.Context(), token, &sessionsql.RotateOptions{Subject: "ann", MaxSessions: 1})
		if want := errors.Is(err, sessionsql.ErrRotated); want != (name == "rotated before") ||
			!want && err != sessionsql.ErrNoSession {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, arguments := range map[string]string{
		"no hash": "NULL, '0', 'ann', 1", "negative grace": "sha256('2'), '-1 second', 'ann', 1",
		"no sessions at all": "sha256('2'), '0', 'ann', 0", "no subject": "sha256('2'), '0', NULL, 1",
		"subject too long": "sha256('2'), '0', repeat('a', 1025), 1",
	} {
		_, err := d.primary.Exec(
			"SELECT sessionsql.rotate(sessionsql.token_id($1), sessionsql.token_hash($1), "+arguments+")",
			string(anonymous))
		if sqlState(err) != "22023" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := get[string](t, d.primary, rows); after != before {
		t.Errorf("the sessions were\n%s\nand are\n%s", before, after)
	}
}

// A contest is two transactions, with the numbers of sessions that they may leave.
type contest struct {
	subjects [2]string // of the two sessions before the contest
	pair     pair
	left     []string // of ann and of bob, such as "1/0"
}

func contests() []contest {
	one := func(name, statement string) transaction {
		return transaction{name, []string{statement, "COMMIT"}}
	}
	rotate := func(first bool, subject string) transaction {
		id, secret, other := "$1", "1", "$2"
		if !first {
			id, secret, other = "$2", "2", "$1"
		}
		return one("rotate "+id+" to "+subject, fmt.Sprintf(
			"SELECT sessionsql.rotate(%s, sha256('%s'), sha256('new'), '0', '%s', 1) WHERE %s::bigint > 0",
			id, secret, subject, other))
	}
	insert := func(subject string) transaction {
		return one("insert of "+subject, fmt.Sprintf(
			`SELECT sessionsql.insert(sha256('3'), 'p', subject => '%s', max_sessions => 1)
				WHERE $1 <> $2::bigint`, subject))
	}
	revoke := func(subject string) transaction {
		return one("revoke of "+subject, fmt.Sprintf(
			"SELECT sessionsql.revoke_subject('%s') WHERE $1 <> $2::bigint", subject))
	}
	const first, second = true, false
	apart, together := [2]string{"ann", "bob"}, [2]string{"ann", "ann"}
	return []contest{
		{apart, pair{rotate(first, "bob"), rotate(second, "ann")}, []string{"0/1", "1/0"}},
		{apart, pair{rotate(first, "bob"), rotate(second, "bob")}, []string{"0/1"}},
		{apart, pair{rotate(first, "bob"), insert("bob")}, []string{"0/1"}},
		{apart, pair{rotate(first, "bob"), insert("ann")}, []string{"1/1"}},
		{apart, pair{rotate(second, "ann"), insert("ann")}, []string{"1/0"}},
		{apart, pair{rotate(first, "bob"), revoke("ann")}, []string{"0/1"}},
		{apart, pair{rotate(second, "ann"), revoke("bob")}, []string{"1/0"}},
		// A session that becomes bob's during the revoke counts as a login after it.
		{apart, pair{rotate(first, "bob"), revoke("bob")}, []string{"0/0", "0/1"}},
		{together, pair{rotate(first, "ann"), rotate(second, "ann")}, []string{"1/0"}},
		{together, pair{rotate(first, "ann"), insert("ann")}, []string{"1/0"}},
		{together, pair{rotate(second, "ann"), insert("ann")}, []string{"1/0"}},
		{together, pair{rotate(second, "bob"), insert("ann")}, []string{"1/1", "1/0"}},
		{together, pair{rotate(second, "ann"), revoke("ann")}, []string{"0/0"}},
		{together, pair{insert("ann"), insert("ann")}, []string{"1/0"}},
		{together, pair{insert("ann"), revoke("ann")}, []string{"0/0", "1/0"}},
	}
}

// compete runs transactions on two sessions in an order, and returns the numbers of sessions left.
func compete(
	t *testing.T, d *database, name string, subjects [2]string, all []transaction, order []int,
) string {
	t.Helper()
	d.primary.MustExec("DELETE FROM sessionsql.session")
	ids := d.fill(t, 2, "1 hour")
	for i, id := range ids {
		d.primary.MustExec("UPDATE sessionsql.session SET subject = $2 WHERE id = $1", id, subjects[i])
	}
	var runners []*runner
	for range all {
		r := newRunner(t, d, "")
		r.run("BEGIN", ids) // BEGIN takes no snapshot, so its place in the order does not matter
		runners = append(runners, r)
	}
	next := make([]int, len(all))
	for _, who := range order {
		runners[who].run(all[who].steps[next[who]], ids)
		next[who]++
	}
	for i, r := range runners {
		for _, err := range r.finish() {
			t.Errorf("%s: %s: %v", name, all[i].name, err)
		}
	}
	return fmt.Sprintf("%d/%d", liveOf(t, d.primary, "ann"), liveOf(t, d.primary, "bob"))
}

func TestEveryInterleavingOfCapsAndRevokeSubject(t *testing.T) {
	d := crowded(t)
	count := 0
	for _, each := range contests() {
		pair := each.pair
		for _, order := range interleavings(len(pair[0].steps), len(pair[1].steps)) {
			count++
			name := fmt.Sprintf("%s, %s, order %v", pair[0].name, pair[1].name, order)
			left := compete(t, d, name, each.subjects, pair[:], order)
			if !strings.Contains(strings.Join(each.left, " "), left) {
				t.Errorf("%s: %s sessions of ann/bob are left, want %v", name, left, each.left)
			}
		}
	}
	t.Logf("the test ran %d interleavings", count)
}

// Three transactions have too many orders to try all of them.
func TestInterleavingsOfThreeCapsNeverDeadlock(t *testing.T) {
	random := seeded(t)
	d := crowded(t)
	all := contests()
	for range 50 {
		a, b := all[random.IntN(len(all))], all[random.IntN(len(all))]
		three := []transaction{a.pair[0], a.pair[1], b.pair[random.IntN(2)]}
		var order []int
		for i, each := range three {
			for range each.steps {
				order = append(order, i)
			}
		}
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		name := fmt.Sprintf("%s, %s, %s, order %v", three[0].name, three[1].name, three[2].name, order)
		var ann, bob int
		left := compete(t, d, name, a.subjects, three, order)
		_, err := fmt.Sscanf(left, "%d/%d", &ann, &bob)
		must(t, err)
		capped := func(subject string) bool {
			return strings.Contains(name, "to "+subject) || strings.Contains(name, "insert of "+subject)
		}
		if ann > 1 && capped("ann") || bob > 1 && capped("bob") {
			t.Errorf("%s: %s sessions of ann/bob are left", name, left)
		}
	}
}

func TestAGraceOfZeroLeavesNoPreviousSecret(t *testing.T) {
	d := newDatabase(t)
	for grace, seconds := range map[string]float64{
		"0": 0, "0 days": 0, "1 day -24 hours": 0, "-1 day 24 hours": 0, "1 mon -30 days": 0,
		"11 mon -330 days": 0, "11 mon -330 days 10 seconds": 10,
		"-11 mon 330 days": 0, "-11 mon 330 days 10 seconds": 10,
		"12 mon -365 days -6 hours": 0, "00:00:01": 1, "1 hour": 3600, "-1 mon 30 days 1 hour": 3600,
	} {
		id := d.fill(t, 1, "1 hour")[0]
		_, err := d.primary.Exec(
			"SELECT sessionsql.rotate($1, sha256('1'), sha256('2'), $2::interval)", id, grace)
		switch row := get[struct {
			Previous bool
			Left     sql.NullFloat64
		}](t, d.primary, `SELECT s.previous_hash IS NOT NULL AS previous,
			date_part('epoch', s.previous_until - clock_timestamp()) AS left
			FROM sessionsql.session AS s WHERE s.id = $1`, id); {
		case err != nil && sqlState(err) != "22023":
			t.Errorf("%s: %v", grace, err)
		case err != nil || seconds == 0:
			if row.Previous || row.Left.Valid {
				t.Errorf("%s: %v; a previous secret for %v seconds", grace, err, row.Left)
			}
		case !row.Previous || row.Left.Float64 > seconds || row.Left.Float64 < seconds-30:
			t.Errorf("%s: a previous secret for %v seconds, want %v", grace, row.Left, seconds)
		}
	}
}

// A statement that began before the rotate judges by its own start, when the old secret was still good.
func TestAStatementThatBeganBeforeARotateWithoutGraceFindsNothing(t *testing.T) {
	d := newDatabase(t)
	d.primary.MustExec(`CREATE FUNCTION public.late(id bigint) RETURNS bigint LANGUAGE plpgsql AS $$
		BEGIN
		  PERFORM pg_advisory_xact_lock(1);
		  RETURN (SELECT count(*) FROM sessionsql.lookup(late.id, sha256('1')))
		    + (SELECT count(*) FROM sessionsql.lookup_batch(ARRAY[late.id], ARRAY[sha256('1')]));
		END $$`)
	id := d.fill(t, 1, "1 hour")[0]
	tx := d.primary.MustBegin()
	tx.MustExec("SELECT pg_advisory_xact_lock(1)")
	found := make(chan int, 1)
	go func() {
		n := -1
		if err := d.primary.Get(&n, "SELECT public.late($1)", id); err != nil {
			t.Error(err)
		}
		found <- n
	}()
	d.waitsForLock(t, get[int](t, tx, "SELECT pg_backend_pid()"))
	rotated := get[bool](t, d.primary,
		"SELECT sessionsql.rotate($1, sha256('1'), sha256('2'), '0', 'root')", id)
	must(t, tx.Commit())
	if n := <-found; n != 0 || !rotated {
		t.Errorf("rotated: %v; the old secret opens %d sessions of root", rotated, n)
	}
}

// collated makes a table with a column for each collation of a caller's text, and returns one expression for
// each. Every column holds the text.
func (d *database) collated(t *testing.T, text string) map[string]string {
	t.Helper()
	d.primary.MustExec(`CREATE TABLE public.input (name text, c text COLLATE "C", p text COLLATE "POSIX")`)
	d.primary.MustExec("INSERT INTO public.input (name, c, p) VALUES ($1, $1, $1)", text)
	expressions := map[string]string{
		"C": "i.c", "explicit C": `i.name COLLATE "C"`,
		"none": "COALESCE(i.c, i.p)", // because the two collations conflict
	}
	_, err := d.primary.Exec(
		"CREATE COLLATION public.blind (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
	if err != nil {
		t.Logf("without ICU: %v", err)
		return expressions
	}
	if !get[bool](t, d.primary, "SELECT 'ann' = 'ÁNN' COLLATE public.blind") {
		t.Error("this collation looks closely: the test shows less than it could")
	}
	d.primary.MustExec("ALTER TABLE public.input ADD COLUMN b text COLLATE public.blind")
	d.primary.MustExec("UPDATE public.input SET b = name")
	expressions["nondeterministic"] = "i.b"
	return expressions
}

// similar are other subjects than ann. A nondeterministic collation may take them for ann.
var similar = []string{"Ann", "ANN", "ánn", "an", "anna", "ann "}

func TestTheCallersCollationChangesNothing(t *testing.T) {
	d := newDatabase(t)
	expressions := d.collated(t, "ann")
	const others = 2_000
	d.fill(t, others, "1 hour")
	d.primary.MustExec("UPDATE sessionsql.session SET subject = 'other' || id")
	d.primary.MustExec("SELECT sessionsql.new_session('p', subject => s) FROM unnest($1::text[]) AS s",
		similar)
	d.primary.MustExec("SELECT sessionsql.new_session('p', subject => 'ann') FROM generate_series(1, 3)")
	d.primary.MustExec("CREATE TABLE public.known AS SELECT sessionsql.insert(sha256('a'), 'p') AS anonymous")
	d.primary.MustExec("ALTER TABLE public.known ADD COLUMN ann bigint")
	d.primary.MustExec(`UPDATE public.known
		SET ann = (SELECT min(s.id) FROM sessionsql.session AS s WHERE s.subject = 'ann')`)
	d.primary.MustExec("VACUUM ANALYZE sessionsql.session, public.input, public.known")

	calls := map[string]int{ // the value is the number of ann's sessions after the call
		"sessionsql.revoke_subject(%s)":                                         0,
		"sessionsql.revoke_subject(%s, k.ann)":                                  1,
		"(SELECT count(*) FROM sessionsql.list_subject(%s))":                    3,
		"sessionsql.new_session(%[1]s, label => %[1]s)":                         3,
		"sessionsql.insert(sha256('1'), %[1]s, subject => %[1]s)":               4,
		"sessionsql.insert(sha256('1'), 'p', subject => %s, max_sessions => 2)": 2,
		"sessionsql.new_session('p', subject => %s, max_sessions => 1)":         1,
		"sessionsql.rotate(k.anonymous, sha256('a'), sha256('b'), '0', %s)":     4,
		"sessionsql.rotate(k.anonymous, sha256('a'), sha256('b'), '0', %s, 2)":  2,
		"sessionsql.update_payload(k.anonymous, sha256('a'), %s)":               3,

		`(SELECT count(*) FROM sessionsql.update_payload_batch(
			ARRAY[k.anonymous], ARRAY[sha256('a')], ARRAY[%s], '{NULL}'))`: 3,
		`(SELECT count(*) FROM sessionsql.insert_batch(
			ARRAY[sha256('1')], ARRAY[%[1]s], '{60}', '{NULL}', ARRAY[%[1]s]))`: 4,
	}
	type counts struct{ Ann, Others int }
	for collation, text := range expressions {
		for call, left := range calls {
			name := collation + ": " + call
			tx := d.primary.MustBegin()
			scans := func() int {
				return get[int](t, tx, `SELECT seq_scan FROM pg_stat_xact_user_tables
					WHERE schemaname = 'sessionsql' AND relname = 'session'`)
			}
			before := scans()
			call := fmt.Sprintf(call, text)
			_, err := tx.Exec("SELECT count(" + call + ") FROM public.input AS i, public.known AS k")
			if err != nil {
				t.Errorf("%s: %v", name, err)
				must(t, tx.Rollback())
				continue
			}
			if n := scans() - before; n != 0 {
				t.Errorf("%s: %d scans of the whole table", name, n)
			}
			got := get[counts](t, tx, `SELECT count(*) FILTER (WHERE s.subject = 'ann') AS ann,
				count(*) FILTER (WHERE s.subject = ANY ($1) OR s.subject LIKE 'other%') AS others
				FROM sessionsql.live_session AS s`, similar)
			if want := (counts{left, others + len(similar)}); got != want {
				t.Errorf("%s: %+v sessions are left, want %+v", name, got, want)
			}
			must(t, tx.Rollback())
		}
	}
}

func TestATokenOfAnyCollationOpensItsSession(t *testing.T) {
	d := newDatabase(t)
	token := get[string](t, d.primary, "SELECT sessionsql.new_session('p', subject => 'ann')")
	expressions := d.collated(t, token)
	for collation, text := range expressions {
		tx := d.primary.MustBegin()
		for call, want := range map[string]string{
			"(SELECT f.payload FROM sessionsql.find_session(%s) AS f)": "p",
			`(SELECT s.subject FROM sessionsql.session AS s
				WHERE s.id = sessionsql.token_id(%[1]s)
				  AND s.secret_hash = sessionsql.token_hash(%[1]s))`: "ann",
			// A nondeterministic collation takes these texts for the token.
			`(SELECT count(*)::text FROM sessionsql.find_session(upper(%s COLLATE "C")) AS f)`: "0",
			"COALESCE(sessionsql.token_id(left(%s, 31) || '=')::text, 'null')":                 "null",
			"COALESCE(sessionsql.token_id(left(%s, 30) || 'é')::text, 'null')":                 "null",
		} {
			got := get[string](t, tx, "SELECT "+fmt.Sprintf(call, text)+" FROM public.input AS i")
			if got != want {
				t.Errorf("%s: %s: %q, want %q", collation, call, got, want)
			}
		}
		if !get[bool](t, tx, "SELECT sessionsql.end_session("+text+") FROM public.input AS i") {
			t.Errorf("%s: end_session does not know the token", collation)
		}
		must(t, tx.Rollback())
	}
}
