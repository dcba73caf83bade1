package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/pgschema"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
	bundle "github.com/sessionsql/postgres/sql"
)

// These files hold the bundle of commit 3068df4.
const (
	oldInstall = "testdata/bundle-0.1.0-3068df4.sql"
	oldRoles   = "testdata/roles-0.1.0-3068df4.sql"
)

// oldBundle makes a database and runs these files in it in one transaction.
func oldBundle(t testing.TB, files ...string) *database {
	t.Helper()
	d := emptyDatabaseIn(t, shared)
	tx := d.primary.MustBegin()
	for _, file := range files {
		tx.MustExec(readFile(t, file))
	}
	must(t, tx.Commit())
	d.CatchUp(t)
	return d
}

// A ledger records the sessions of the clients and the duration of their longest call.
type ledger struct {
	mu      sync.Mutex
	alive   map[string]string // payloads by token
	dead    []string
	calls   int
	longest time.Duration
	lists   bool // clients call list_subject as well
}

// timed makes a client's call and notes its duration.
func (l *ledger) timed(call func() error) error {
	begin := time.Now()
	err := call()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	l.longest = max(l.longest, time.Since(begin))
	return err
}

func (l *ledger) ended(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.alive, token)
	l.dead = append(l.dead, token)
}

func (l *ledger) lives(token, payload string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alive[token] = payload
}

// goClient makes, updates and looks up sessions through a Store, and ends every other one.
func (l *ledger) goClient(ctx context.Context, store *sessionsql.Store, name string) error {
	for i := 0; ctx.Err() == nil; i++ {
		payload := fmt.Sprint(name, i)
		var token sessionsql.Token
		for _, call := range []func() error{
			func() (err error) {
				token, err = store.Insert(context.Background(), "new",
					&sessionsql.InsertOptions{Subject: name})
				return err
			},
			func() error { _, err := store.Update(context.Background(), token, payload, 1); return err },
			func() error {
				sess, err := store.Lookup(context.Background(), token)
				if err == nil && sess.Payload != payload {
					err = fmt.Errorf("payload %q, want %q", sess.Payload, payload)
				}
				return err
			},
			func() (err error) { token, err = store.Rotate(context.Background(), token, nil); return err },
			func() error { return store.Flush(context.Background()) },
			func() error { _, err := store.Reap(context.Background()); return err },
		} {
			if err := l.timed(call); err != nil {
				return err
			}
		}
		l.lives(string(token), payload)
		if i%2 == 0 {
			continue
		}
		if err := l.timed(func() error { return store.Revoke(context.Background(), token) }); err != nil {
			return err
		}
		l.ended(string(token))
	}
	return nil
}

// sqlClient does the same by SQL alone.
func (l *ledger) sqlClient(ctx context.Context, pool *sqlx.DB, name string) error {
	for i := 0; ctx.Err() == nil; i++ {
		payload := fmt.Sprint(name, i)
		var token, found string
		var id int64
		for _, call := range []func() error{
			func() error {
				return pool.Get(&token, "SELECT sessionsql.new_session($1, subject => $2)", payload, name)
			},
			func() error {
				return pool.QueryRow("SELECT id, payload FROM sessionsql.find_session($1)", token).Scan(&id,
					&found)
			},
			func() error {
				_,
					err := pool.Exec("SELECT sessionsql.touch_batch(ARRAY[$1::bigint])", id)
				return err
			},
			func() error { _, err := pool.Exec("SELECT * FROM sessionsql.reap()"); return err },
			func() error {
				if !l.lists {
					return nil
				}
				_, err := pool.Exec("SELECT id FROM sessionsql.list_subject($1)", name)
				return err
			},
			func() error { _, err := pool.Exec("SELECT count(*) FROM sessionsql.live_session"); return err },
		} {
			if err := l.timed(call); err != nil {
				return err
			}
		}
		if found != payload {
			return fmt.Errorf("payload %q, want %q", found, payload)
		}
		l.lives(token, payload)
		if i%2 == 0 {
			continue
		}
		ended := false
		err := l.timed(func() error { return pool.Get(&ended, "SELECT sessionsql.end_session($1)", token) })
		if err != nil || !ended {
			return fmt.Errorf("end_session: %v, %w", ended, err)
		}
		l.ended(token)
	}
	return nil
}

// run lets clients of every kind work until do returns, and checks that no call failed.
func (l *ledger) run(t *testing.T, d *database, do func()) {
	t.Helper()
	l.alive = map[string]string{}
	stores := []*sessionsql.Store{
		d.Store(t, nil),
		sessiontest.OpenStore(t, d.PrimaryDSN(), nil, &sessionsql.Options{
			FlushInterval: 20 * time.Millisecond, ReapInterval: 20 * time.Millisecond,
		}),
	}
	defer closeStore(t, stores[1])
	// The first pool uses psql's protocol, and the second one prepares its statements.
	pools := []*sqlx.DB{
		open(t, d.PrimaryDSN()+"&default_query_exec_mode=simple_protocol"),
		open(t, d.PrimaryDSN()),
	}
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for i := range 2 {
		for kind, client := range map[string]func(string) error{
			"store": func(name string) error { return l.goClient(ctx, stores[i], name) },
			"sql":   func(name string) error { return l.sqlClient(ctx, pools[i], name) },
		} {
			for n := range 2 {
				name := fmt.Sprint(kind, i, "-", n)
				wait.Go(func() {
					if err := client(name); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
		}
	}
	func() {
		defer wait.Wait() // also if do ends the test
		defer stop()
		do()
	}()

	lost := 0
	for token, payload := range l.alive {
		if sess, err := stores[0].Lookup(t.Context(), sessionsql.Token(token)); err != nil ||
			sess.Payload != payload {
			lost++
		}
	}
	for _, token := range l.dead {
		if _, err := stores[0].Lookup(t.Context(), sessionsql.Token(token)); err != sessionsql.ErrNoSession {
			t.Errorf("a session that was ended: %v", err)
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d sessions are lost", lost, len(l.alive))
	}
	t.Logf("%d calls, %d sessions alive and %d ended, longest call %v", l.calls, len(l.alive), len(l.dead),
		l.longest)
}

func TestUpgradeUnderLoadBesideALongReaderDisturbsNobody(t *testing.T) {
	for name, test := range map[string]struct {
		roles   bool
		install func(context.Context, sessionsql.DB) error
	}{
		"Install":       {false, sessionsql.Install},
		"Install roles": {true, sessionsql.Install},
		"psql -1":       {false, installInOneTransaction},
		"psql -1 roles": {true, installInOneTransaction},
	} {
		t.Run(name, func(t *testing.T) {
			files := []string{oldInstall, oldRoles}
			if !test.roles {
				files = files[:1]
			}
			// docs/operations.md names this limit: a waiting call of list_subject sees its columns change.
			l := ledger{lists: name == "Install" || name == "Install roles"}
			l.upgrade(t, oldBundle(t, files...), test.install)
		})
	}
}

// A call looks up its function by name and runs it later. Here it waits for a table between the two.
func TestUpgradeKeepsAFunctionWhileCallsOfItAreUnderWay(t *testing.T) {
	d := oldBundle(t, oldInstall)
	d.primary.MustExec("CREATE TABLE public.own (n integer); INSERT INTO public.own VALUES (1)")
	d.primary.MustExec("SELECT sessionsql.new_session('p', subject => 's')")
	own := d.primary.MustBegin()
	own.MustExec("LOCK TABLE public.own")
	conn := d.conn(t)
	var listed int
	called := make(chan error, 1)
	go func() {
		called <- conn.GetContext(context.Background(), &listed,
			"SELECT count(*) FROM sessionsql.list_subject('s') CROSS JOIN public.own")
	}()
	d.waitsForLock(t, get[int](t, own, "SELECT pg_backend_pid()"))
	for _, step := range bundle.UpgradeSteps() {
		d.primary.MustExec(step)
	}
	must(t, own.Commit())
	if err := <-called; err != nil || listed != 1 {
		t.Errorf("the running call found %d sessions, error %v", listed, err)
	}
	must(t, conn.Close())
	must(t, sessionsql.Install(t.Context(), d.primary))
	if get[bool](t, d.primary, "SELECT EXISTS (SELECT FROM pg_proc WHERE proname = 'list_subject_before')") {
		t.Error("the upgrade left its old function")
	}
}

// installInOneTransaction repeats psql -1 until it gets the lock.
func installInOneTransaction(ctx context.Context, pool sessionsql.DB) error {
	for {
		_, err := pool.(*sqlx.DB).ExecContext(ctx, bundle.Install())
		if sqlState(err) != "55P03" {
			return err
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// upgrade installs while the clients work and an open transaction has read the table.
func (l *ledger) upgrade(t *testing.T, d *database, install func(context.Context, sessionsql.DB) error) {
	t.Helper()
	const readingFor = 2 * time.Second
	var fromEnd time.Duration
	l.run(t, d, func() {
		reader := d.primary.MustBegin()
		liveOn(t, reader)
		installed := make(chan error, 1)
		go func() { installed <- install(context.Background(), d.primary) }()
		select {
		case err := <-installed:
			t.Errorf("the upgrade ended beside a transaction that has read the table: %v", err)
			installed <- err
		case <-time.After(readingFor):
		}
		must(t, reader.Commit())
		end := time.Now()
		must(t, <-installed)
		fromEnd = time.Since(end)
		time.Sleep(200 * time.Millisecond) // the clients use the new bundle for a while
	})
	t.Logf("upgraded %v after the reader's end", fromEnd)
	if got := get[string](t, d.primary, "SELECT sessionsql.version()"); got != bundle.Version {
		t.Errorf("version %s", got)
	}
	// Without a lock_timeout, every client would wait until the reader ends.
	if l.longest > readingFor/2 {
		t.Errorf("a call took %v", l.longest)
	}
}

// A client that reads and then writes in one transaction locks in another order than an upgrade.
func TestUpgradeDeadlocksNoClient(t *testing.T) {
	d := oldBundle(t, oldInstall)
	tx := d.primary.MustBegin()
	liveOn(t, tx)
	get[int](t, tx, "SELECT estimated_rows FROM sessionsql.health")
	pid := get[int](t, tx, "SELECT pg_backend_pid()")
	installed := make(chan error, 1)
	go func() { installed <- sessionsql.Install(context.Background(), d.primary) }()
	d.waitsForLock(t, pid)
	get[string](t, tx, "SELECT sessionsql.new_session('p')")
	must(t, tx.Commit())
	must(t, <-installed)
}

func TestUpgradedAndFreshBundlesAreTheSame(t *testing.T) {
	for name, test := range map[string]struct {
		old   []string
		roles bool
	}{
		"no roles":    {old: []string{oldInstall}},
		"roles after": {old: []string{oldInstall}, roles: true},
		"roles":       {old: []string{oldInstall, oldRoles}, roles: true},
	} {
		fresh, upgraded := newDatabase(t), oldBundle(t, test.old...)
		must(t, sessionsql.Install(t.Context(), upgraded.primary))
		if test.roles {
			installRoles(t, fresh.primary)
		}
		if name == "roles after" {
			installRoles(t, upgraded.primary)
		}
		want, got := fresh.catalog(t), upgraded.catalog(t)
		wantLines(t, name+", upgraded", got, want)
		if len(want) < 100 {
			t.Errorf("the catalog has %d lines, so this test proves nothing", len(want))
		}
		compareDumps(t, fresh, upgraded)
	}
}

// catalog describes everything in the schema.
func (d *database) catalog(t *testing.T) []string {
	t.Helper()
	lines, err := pgschema.Describe(t.Context(), d.primary)
	must(t, err)
	return lines
}

// compareDumps compares the output of pg_dump, if the servers came with it.
func compareDumps(t *testing.T, databases ...*database) {
	t.Helper()
	var first string
	for _, d := range databases {
		dump, err := pgschema.Dump(t.Context(), d.PrimaryDSN(), "--schema-only", "--schema=sessionsql")
		if errors.Is(err, pgschema.ErrNoDumper) {
			t.Logf("%v: the catalogs alone were compared", err)
			return
		}
		must(t, err)
		if first == "" {
			first = dump
		}
		if dump != first || len(dump) < 10_000 {
			t.Errorf("dumps differ, of %d and %d bytes", len(first), len(dump))
		}
	}
}

func TestInstallOverTheSameVersionTakesNoLockAndWritesNothing(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	idle := d.primary.MustBegin() // an installation that takes a lock would wait for it
	defer func() { must(t, idle.Rollback()) }()
	get[string](t, idle, "SELECT sessionsql.new_session('p')")
	idle.MustExec("LOCK TABLE sessionsql.reaper, sessionsql.migration IN SHARE ROW EXCLUSIVE MODE")
	underLoad(t, store, func() {
		for range 100 {
			must(t, sessionsql.Install(t.Context(), d.primary))
		}
	})

	tx := d.primary.MustBegin()
	defer func() { must(t, tx.Rollback()) }()
	tx.MustExec(bundle.Install())
	var locks []string
	must(t, tx.Select(&locks, `
		SELECT concat_ws(' ', l.locktype, l.relation::regclass, l.mode) FROM pg_locks AS l
		WHERE l.pid = pg_backend_pid() AND l.mode <> 'AccessShareLock' AND l.locktype <> 'virtualxid'`))
	if len(locks) > 0 || get[bool](t, tx, "SELECT pg_current_xact_id_if_assigned() IS NOT NULL") {
		t.Errorf("the second install took %v or wrote", locks)
	}
}

func TestInstallNeverDowngrades(t *testing.T) {
	d := newDatabase(t)
	for version, tooOld := range map[string]string{"99.0.0": "program", "0.99.0": "", "0.2.10": ""} {
		d.primary.MustExec(fmt.Sprintf(
			`CREATE OR REPLACE FUNCTION sessionsql.version() RETURNS text
				LANGUAGE sql IMMUTABLE RETURN '%s'::text`, version))
		installing := sessionsql.Install(t.Context(), d.primary)
		store, opening := sessionsql.Open(t.Context(), d.PrimaryDSN(), nil, quiet())
		if opening == nil {
			closeStore(t, store)
		}
		for verb, err := range map[string]error{"Install": installing, "Open": opening} {
			var versions *sessionsql.VersionError
			switch {
			case tooOld == "" && err != nil:
				t.Errorf("%s beside %s: %v", verb, version, err)
			case tooOld != "" &&
				(!errors.As(err, &versions) || versions.TooOld != tooOld || versions.Installed != version):
				t.Errorf("%s beside %s: %v", verb, version, err)
			}
		}
		if got := get[string](t, d.primary, "SELECT sessionsql.version()"); got != version {
			t.Errorf("%s became %s", version, got)
		}
		_, err := d.primary.Exec(bundle.Install())
		if err == nil || !strings.Contains(err.Error(), "newer") {
			t.Errorf("install.sql itself over %s: %v", version, err)
		}
	}
}

func TestInstallRefusesASchemaOfSomebodyElse(t *testing.T) {
	d := emptyDatabaseIn(t, shared)
	mallory := d.login(t)
	d.primary.MustExec("CREATE SCHEMA sessionsql AUTHORIZATION " + mallory +
		"; CREATE SEQUENCE public.trapped; GRANT ALL ON SEQUENCE public.trapped TO PUBLIC")
	open(t, asUser(t, d.PrimaryDSN(), mallory)).MustExec(`
		CREATE FUNCTION sessionsql.version() RETURNS text LANGUAGE sql VOLATILE
		  AS $$ SELECT nextval('public.trapped')::text $$;
		CREATE TABLE sessionsql.migration (id integer, name text);
		CREATE TABLE sessionsql.session (id bigint)`)
	err := sessionsql.Install(t.Context(), d.primary)
	if sqlState(err) != "42501" || !strings.Contains(err.Error(), mallory) {
		t.Errorf("Install: %v", err)
	}
	if get[bool](t, d.primary, "SELECT is_called FROM public.trapped") {
		t.Error("a function of the schema's owner ran")
	}

	// The schema may belong to the installing role, or to a role that may do anything anyway.
	d = emptyDatabaseIn(t, shared)
	owner := d.login(t)
	d.primary.MustExec("CREATE SCHEMA sessionsql AUTHORIZATION " + owner)
	must(t, sessionsql.Install(t.Context(), open(t, asUser(t, d.PrimaryDSN(), owner))))
	d = emptyDatabaseIn(t, shared)
	owner = d.login(t)
	d.primary.MustExec("CREATE SCHEMA sessionsql; GRANT ALL ON SCHEMA sessionsql TO " + owner)
	must(t, sessionsql.Install(t.Context(), open(t, asUser(t, d.PrimaryDSN(), owner))))
}

func TestInstallPutsSettingsBack(t *testing.T) {
	const settings = `SELECT concat_ws('; ', current_setting('search_path'), current_setting('lock_timeout'),
		current_setting('deadlock_timeout'), current_setting('client_min_messages'))`
	for name, text := range map[string]string{
		"install": bundle.Install(),
		"roles":   bundle.Install() + bundle.Roles(),
	} {
		d := emptyDatabaseIn(t, shared)
		conn := d.conn(t)
		ask := func() string { return testkit.Get[string](t, conn, settings) }
		run := func(text string) { execute(t, conn, text) }
		run("SET lock_timeout = '7s'")
		before := ask()
		for range 2 {
			run("BEGIN")
			run(text)
			if got := ask(); got != before {
				t.Errorf("%s: %s became %s in the same transaction", name, before, got)
			}
			run("CREATE TABLE IF NOT EXISTS mine ()")
			run("COMMIT")
			if got := ask(); got != before {
				t.Errorf("%s: %s became %s", name, before, got)
			}
		}
		got := get[string](t, d.primary,
			"SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'mine'")
		if got != "public" {
			t.Errorf("%s: a table made after it is in %s", name, got)
		}
	}
}
