package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
	bundle "github.com/sessionsql/postgres/sql"
)

// A fleet is one router and the servers of its shards.
type fleet struct {
	router  *pgcluster.Cluster
	servers [2]*pgcluster.Cluster
	dsns    []string // of the shards, as their owner
}

const routerUser = "router"

// newFleet makes a router with one shard, and so many databases that are to become shards. The two of a pair
// are on different servers.
func newFleet(t *testing.T, shards int) *fleet {
	t.Helper()
	f := &fleet{}
	settings := map[string]string{
		"wal_level": "logical", "max_logical_replication_workers": "16", "max_worker_processes": "24",
		"max_replication_slots": "24", "max_wal_senders": "24", "max_connections": "300",
	}
	f.router = sessiontest.StartCluster(t, nil)
	admin := testkit.OpenPool(t, f.router.Primary.DSN("postgres"))
	sessiontest.RequireProxy(t, admin)
	for i := range f.servers {
		f.servers[i] = sessiontest.StartCluster(t, &pgcluster.Options{Settings: settings})
		exec(t, f.servers[i].Primary.DSN("postgres"), "CREATE ROLE "+routerUser+" LOGIN")
	}
	for i := range shards {
		server := f.server(i)
		name := fmt.Sprint("shard", i)
		exec(t, server.Primary.DSN("postgres"), "CREATE DATABASE "+name)
		exec(t, server.Primary.DSN(name), bundle.Install(), bundle.Roles(),
			"GRANT sessionsql_app, sessionsql_support TO "+routerUser)
		f.dsns = append(f.dsns,
			fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s user=postgres", server.Primary.Port, name))
	}
	option, err := routerOption(f.dsns[0])
	testkit.Must(t, err)
	exec(t, f.router.Primary.DSN("postgres"), bundle.Install(), bundle.Roles(), bundle.Router(),
		"CREATE SERVER sessionsql FOREIGN DATA WRAPPER plproxy OPTIONS (p0 "+literal(option)+")",
		"GRANT USAGE ON FOREIGN SERVER sessionsql TO sessionsql_owner",
		"CREATE USER MAPPING FOR sessionsql_owner SERVER sessionsql OPTIONS (user '"+routerUser+"')")
	return f
}

// server returns the server of a shard. The number of a shard and that of its new one differ in one bit.
func (f *fleet) server(shard int) *pgcluster.Cluster {
	server := 0
	for ; shard > 0; shard /= 2 {
		server ^= shard % 2
	}
	return f.servers[server]
}

// reshard returns a run that makes so many shards.
func (f *fleet) reshard(shards int, say func(string)) *reshard {
	return &reshard{
		shards: f.dsns[:shards], routers: []string{f.router.Primary.DSN("postgres")},
		say: func(format string, values ...any) { say(fmt.Sprintf(format, values...)) },
	}
}

func exec(t *testing.T, dsn string, statements ...string) {
	t.Helper()
	pool := testkit.OpenPool(t, dsn)
	defer func() { _ = pool.Close() }()
	for _, statement := range statements {
		if _, err := pool.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%.80s: %v", statement, err)
		}
	}
}

// A load is what programs do with their sessions and cache entries while the shards are divided. It checks
// each answer, and tries again what is unavailable.
type load struct {
	t     *testing.T
	store *sessionsql.Store
	cache *sessionsql.Cache

	// calls keeps a kill out while calls are under way, because a kill loses commits that did not wait for
	// the disk, and an answer to an interrupted call tells nothing.
	calls sync.RWMutex

	mu        sync.Mutex
	disturbed []time.Time // begin and end of each fault, in turn
	longest   time.Duration
	slowest   string
	count     int
}

// call tries until the answer is no longer that the database is unavailable. It counts the time of the call,
// unless a fault was on.
func (l *load) call(name string, do func() error) (tries int, err error) {
	begun := time.Now()
	for {
		tries++
		l.calls.RLock()
		err = do()
		l.calls.RUnlock()
		if !errors.Is(err, sessionsql.ErrUnavailable) {
			break
		}
		if time.Since(begun) > testkit.Patience {
			l.t.Errorf("%s is unavailable for too long: %v", name, err)
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	ended := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	for i := 0; i < len(l.disturbed); i += 2 {
		over := i+1 < len(l.disturbed) && l.disturbed[i+1].Before(begun)
		if !over && l.disturbed[i].Before(ended) {
			return tries, err
		}
	}
	if took := ended.Sub(begun); took > l.longest {
		l.longest, l.slowest = took, fmt.Sprintf("%s, %d tries", name, tries)
	}
	return tries, err
}

// disturb runs a fault, in which slow calls do not count, and for a second after it.
func (l *load) disturb(fault func()) {
	l.mu.Lock()
	l.disturbed = append(l.disturbed, time.Now())
	l.mu.Unlock()
	fault()
	l.mu.Lock()
	l.disturbed = append(l.disturbed, time.Now().Add(time.Second))
	l.mu.Unlock()
}

// A worker knows what its sessions and its entry should hold.
type worker struct {
	*load
	random  *rand.Rand
	subject string
	live    []known
	ended   []sessionsql.Token
	entry   int // the number in the worker's cache entry
	unknown int // sessions that a call may have made before it was tried again
}

type known struct {
	token   sessionsql.Token
	version int32
	payload string
}

func (w *worker) work(ctx context.Context, background context.Context) {
	for ctx.Err() == nil && !w.t.Failed() {
		switch n := w.random.IntN(200); {
		case n < 40 || len(w.live) == 0:
			w.insert(background)
		case n < 90:
			w.lookup(background, w.random.IntN(len(w.live)))
		case n < 120:
			w.update(background, w.random.IntN(len(w.live)))
		case n < 135:
			w.revoke(background, w.random.IntN(len(w.live)))
		case n < 150:
			w.rotate(background, w.random.IntN(len(w.live)))
		case n < 195:
			w.setAndGet(background)
		case n < 199:
			w.list(background)
		default:
			w.revokeSubject(background)
		}
		if len(w.ended) > 0 {
			w.gone(background, w.ended[w.random.IntN(len(w.ended))])
		}
	}
}

func (w *worker) insert(ctx context.Context) {
	k := known{version: 1, payload: fmt.Sprint(w.random.Uint64())}
	tries, err := w.call("Insert", func() (err error) {
		k.token, err = w.store.Insert(ctx, k.payload, &sessionsql.InsertOptions{Subject: w.subject})
		return err
	})
	w.unknown += tries - 1
	if err != nil {
		w.t.Errorf("Insert: %v", err)
		return
	}
	w.live = append(w.live, k)
}

func (w *worker) lookup(ctx context.Context, i int) {
	k := w.live[i]
	var sess sessionsql.Session
	_, err := w.call("Lookup", func() (err error) {
		sess, err = w.store.Lookup(ctx, k.token)
		return err
	})
	if err != nil || sess.Payload != k.payload || sess.Version != k.version {
		w.t.Errorf("%s: Lookup of version %d returned %d, %v", w.subject, k.version, sess.Version, err)
	}
}

func (w *worker) update(ctx context.Context, i int) {
	k := &w.live[i]
	payload := fmt.Sprint(w.random.Uint64())
	tries, err := w.call("Update", func() error {
		_, err := w.store.Update(ctx, k.token, payload, k.version)
		return err
	})
	if err != nil && (tries == 1 || err != sessionsql.ErrConflict) {
		w.t.Errorf("%s: Update of version %d: %v", w.subject, k.version, err)
		return
	}
	k.version, k.payload = k.version+1, payload
}

func (w *worker) revoke(ctx context.Context, i int) {
	k := w.live[i]
	tries, err := w.call("Revoke", func() error { return w.store.Revoke(ctx, k.token) })
	if err != nil && (tries == 1 || err != sessionsql.ErrNoSession) {
		w.t.Errorf("%s: Revoke: %v", w.subject, err)
	}
	w.live = slices.Delete(w.live, i, i+1)
	w.ended = append(w.ended, k.token)
}

func (w *worker) rotate(ctx context.Context, i int) {
	k := &w.live[i]
	old := k.token
	tries, err := w.call("Rotate", func() (err error) {
		k.token, err = w.store.Rotate(ctx, old, &sessionsql.RotateOptions{Grace: -1})
		return err
	})
	switch {
	case err != nil && tries == 1:
		w.t.Errorf("%s: Rotate: %v", w.subject, err)
		return
	case err != nil: // an earlier try has rotated it
		w.live = slices.Delete(w.live, i, i+1)
		w.unknown++
	}
	w.ended = append(w.ended, old)
}

func (w *worker) setAndGet(ctx context.Context) {
	key := w.subject
	if w.entry > 0 {
		var entry sessionsql.Entry
		_, err := w.call("Get", func() (err error) { entry, err = w.cache.Get(ctx, key); return err })
		if err != nil || string(entry.Value) != fmt.Sprint(w.entry) {
			w.t.Errorf("Get of the entry %d returned %q, %v", w.entry, entry.Value, err)
		}
	}
	w.entry++
	_, err := w.call("Set", func() error { return w.cache.Set(ctx, key, fmt.Append(nil, w.entry), 0) })
	if err != nil {
		w.t.Errorf("Set: %v", err)
	}
}

func (w *worker) list(ctx context.Context) {
	var list []sessionsql.SubjectSession
	_, err := w.call("ListSubject", func() (err error) {
		list, err = w.store.ListSubject(ctx, w.subject, "")
		return err
	})
	if err != nil || len(list) < len(w.live) || len(list) > len(w.live)+w.unknown {
		w.t.Errorf("%s: ListSubject returned %d sessions of %d, %v", w.subject, len(list), len(w.live), err)
	}
}

func (w *worker) revokeSubject(ctx context.Context) {
	tries, err := w.call("RevokeSubject", func() error {
		n, err := w.store.RevokeSubject(ctx, w.subject, "")
		if err == nil && n > int64(len(w.live)+w.unknown) {
			err = fmt.Errorf("it ended %d sessions of %d", n, len(w.live))
		}
		return err
	})
	if err != nil {
		w.t.Errorf("%s: RevokeSubject, %d tries: %v", w.subject, tries, err)
	}
	for _, k := range w.live {
		w.ended = append(w.ended, k.token)
	}
	w.live, w.unknown = nil, 0
}

func (w *worker) gone(ctx context.Context, token sessionsql.Token) {
	_, err := w.call("Lookup", func() error { _, err := w.store.Lookup(ctx, token); return err })
	if err != sessionsql.ErrNoSession {
		w.t.Errorf("%s: Lookup of a session that has ended: %v", w.subject, err)
	}
}

// faults are what happens to a run at a step.
type faults struct {
	*fleet
	load   *load
	random *rand.Rand

	mu   sync.Mutex
	seen map[string]bool
	stop context.CancelFunc
}

// at is called at each step. The first step of each kind meets a fault.
func (f *faults) at(step string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.load.t.Log(step)
	kind := strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789.", r) {
			return -1
		}
		return r
	}, step)
	if f.seen[kind] || strings.HasPrefix(step, "done") || strings.HasPrefix(step, "attempt") {
		return
	}
	f.seen[kind] = true
	switch n := f.random.IntN(4); n {
	case 0:
		f.load.t.Log("  fault: the program stops")
		f.load.disturb(f.stop)
	case 1:
		f.kill("router", f.router)
	default:
		f.kill(fmt.Sprint("server ", n-2), f.servers[n-2])
	}
}

// kill kills a server and starts it again.
func (f *faults) kill(name string, cluster *pgcluster.Cluster) {
	t := f.load.t
	t.Logf("  fault: %s is killed", name)
	f.load.disturb(func() {
		f.load.calls.Lock()
		for i := range f.servers {
			err := connected(t.Context(), f.servers[i].Primary.DSN("postgres"), func(conn *pgx.Conn) error {
				_, err := conn.Exec(t.Context(), "SELECT pg_logical_emit_message(true, 'sessionsql', '')")
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
		err := cluster.Primary.Kill()
		f.load.calls.Unlock()
		if err == nil {
			err = cluster.Primary.Start(t.Context())
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// watchOwners fails if a new shard owns what the old one owns too. It asks the new one first, because the
// ownership moves to there.
func (f *fleet) watchOwners(ctx context.Context, t *testing.T, shards int) {
	owns := func(shard, part int) (n int) { // -1 without an answer
		err := primary{shard, f.dsns[shard]}.with(ctx, func(conn *pgx.Conn) (err error) {
			n, err = get[int](ctx, conn, `SELECT count(*) FROM generate_series(0::bigint, 255) AS b (bits)
				WHERE sessionsql.is_home(b.bits) AND b.bits & $1 = $2`, shards-1, part)
			return err
		})
		if err != nil {
			return -1
		}
		return n
	}
	emptied := map[int]bool{} // until then a new database owns everything, and nobody asks it
	for ctx.Err() == nil {
		for i := range shards / 2 {
			part := i + shards/2
			if n := owns(part, part); n == 0 {
				emptied[part] = true
			} else if n > 0 && emptied[part] && owns(i, part) > 0 {
				t.Errorf("shards %d and %d both own shard %d of %d", i, part, part, shards)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// The shards become two, four and eight while programs use them, and the servers and the program are killed
// between the steps.
func TestShardsAreDividedUnderLoad(t *testing.T) {
	random := testkit.Random(t)
	f := newFleet(t, 8)
	store := sessiontest.OpenStore(t, f.router.Primary.DSN("postgres"), nil, &sessionsql.Options{
		Timeout: 2 * time.Second, FlushInterval: 500 * time.Millisecond, ReapInterval: time.Second,
		Logger: slog.New(slog.DiscardHandler),
	})
	l := &load{t: t, store: store, cache: store.Cache("c", nil)}
	ctx, stop := context.WithCancel(t.Context())
	workers := make([]*worker, 8)
	var wait sync.WaitGroup
	for i := range workers {
		w := &worker{load: l, random: testkit.Fork(random), subject: fmt.Sprint("u", i)}
		workers[i] = w
		wait.Go(func() { w.work(ctx, t.Context()) })
	}
	for _, shards := range []int{2, 4, 8} {
		watch, end := context.WithCancel(t.Context())
		wait.Go(func() { f.watchOwners(watch, t, shards) })
		f.divide(t, l, shards, testkit.Fork(random))
		end()
	}
	stop()
	wait.Wait()
	live, ended := 0, 0
	for _, w := range workers {
		live, ended = live+len(w.live), ended+len(w.ended)
		for i := range w.live {
			w.lookup(t.Context(), i)
		}
		for _, token := range w.ended {
			w.gone(t.Context(), token)
		}
	}
	t.Logf("%d calls, %d live sessions and %d ended ones; the longest call took %v (%s)",
		l.count, live, ended, l.longest, l.slowest)
	if l.longest > 2*time.Second {
		t.Error("that is too long")
	}
	for i := range f.dsns {
		pool := testkit.OpenPool(t, f.server(i).Primary.DSN(fmt.Sprint("shard", i)))
		left := testkit.Get[string](t, pool, `SELECT concat_ws(', ',
			(SELECT count(*) FROM sessionsql.session AS s WHERE NOT sessionsql.is_home(s.id)),
			(SELECT count(*) FROM sessionsql.cache_entry AS e WHERE NOT sessionsql.is_home(e.key)),
			(SELECT count(*) FROM pg_publication), (SELECT count(*) FROM pg_subscription),
			(SELECT count(*) FROM pg_replication_slots))`)
		if left != "0, 0, 0, 0, 0" {
			t.Errorf("shard %d has left rows of others, entries, publications, subscriptions and slots: %s",
				i, left)
		}
		t.Logf("shard %d has %d sessions", i,
			testkit.Get[int](t, pool, "SELECT count(*) FROM sessionsql.session"))
	}
}

// divide runs until a run ends without an error.
func (f *fleet) divide(t *testing.T, l *load, shards int, random *rand.Rand) {
	t.Helper()
	faults := &faults{fleet: f, load: l, random: random, seen: map[string]bool{}}
	for run := 1; ; run++ {
		ctx, cancel := context.WithCancel(t.Context())
		faults.stop = cancel
		err := f.reshard(shards, faults.at).run(ctx)
		cancel()
		if err == nil {
			t.Logf("%d shards after %d runs", shards, run)
			return
		}
		t.Logf("run %d: %v", run, err)
		if run == 100 || t.Failed() {
			t.Fatal("no run has ended well")
		}
		time.Sleep(100 * time.Millisecond) // as an operator would take
	}
}

func TestReshardRefusesWhatItCannotFinish(t *testing.T) {
	f := newFleet(t, 4)
	ctx := t.Context()
	refuses := func(want string, dsns ...string) {
		t.Helper()
		r := f.reshard(0, func(string) {})
		r.shards = dsns
		if err := r.run(ctx); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	refuses("are one database", f.dsns[0], f.dsns[0])
	refuses("the first must be shard 0 of 2", f.dsns...)
	refuses("write the DSN as", f.dsns[0], f.server(1).Primary.DSN("shard1"))
	exec(t, f.router.Primary.DSN("postgres"), "CREATE DATABASE replicated")
	exec(t, f.router.Primary.DSN("replicated"), bundle.Install())
	replicated := fmt.Sprintf("host=127.0.0.1 port=%d dbname=replicated user=postgres", f.router.Primary.Port)
	refuses("wal_level = replica", replicated, f.dsns[1])

	shard1 := f.server(1).Primary.DSN("shard1")
	exec(t, shard1, "SELECT sessionsql.insert(sha256('1'), 'p')")
	refuses("or empty", f.dsns[0], f.dsns[1])
	exec(t, shard1, "SELECT sessionsql.shard(2, NULL)")
	refuses("has rows", f.dsns[0], f.dsns[1])
	exec(t, shard1, "SELECT sessionsql.shard(2, 1)")
	refuses("the first must be shard 0 of 1", f.dsns[0], f.dsns[1])
	exec(t, shard1, "TRUNCATE sessionsql.session", "SELECT sessionsql.shard(1, 0)",
		"REVOKE sessionsql_app, sessionsql_support FROM "+routerUser)
	refuses("permission denied", f.dsns[0], f.dsns[1])
	for i, server := range f.servers {
		pool := testkit.OpenPool(t, server.Primary.DSN(fmt.Sprint("shard", i)))
		if testkit.Get[int](t, pool, "SELECT COALESCE(sessionsql.shards(), 0)") != 1 ||
			testkit.Get[int](t, pool, `SELECT (SELECT count(*) FROM pg_replication_slots) +
				(SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_subscription)`) != 0 {
			t.Errorf("shard %d is not as it was", i)
		}
	}
}

// A transaction that looked up before the division does not know of it, and would find nothing where the
// moved rows were deleted.
func TestRowsStayUntilEveryReaderKnowsOfTheDivision(t *testing.T) {
	f := newFleet(t, 2)
	ctx := t.Context()
	old := testkit.OpenPool(t, f.server(0).Primary.DSN("shard0"))
	var moved int64
	for moved&1 == 0 {
		moved = testkit.Get[int64](t, old, "SELECT sessionsql.insert(sha256('1'), 'p')")
	}
	tx, err := old.Begin()
	testkit.Must(t, err)
	defer func() { _ = tx.Rollback() }()
	const lookup = "SELECT count(*) FROM sessionsql.lookup($1, sha256('1'))"
	if n := testkit.Get[int](t, tx, lookup, moved); n != 1 {
		t.Fatalf("the lookup found %d sessions", n)
	}
	waits, done := make(chan bool, 1), make(chan error, 1)
	go func() {
		done <- f.reshard(2, func(step string) {
			t.Log(step)
			if strings.Contains(step, "waiting for transactions") {
				waits <- true
			}
		}).run(ctx)
	}()
	select {
	case <-waits:
	case err := <-done:
		t.Fatalf("the run did not wait: %v", err)
	}
	if n := testkit.Get[int](t, tx, lookup, moved); n != 1 {
		t.Errorf("in the transaction, the lookup found %d sessions after the division", n)
	}
	if err := f.reshard(2, func(string) {}).run(ctx); err == nil ||
		!strings.Contains(err.Error(), "another run") {
		t.Errorf("a second run beside the first: %v", err)
	}
	testkit.Must(t, tx.Rollback())
	testkit.Must(t, <-done)
	_, err = old.Exec(lookup, moved)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "SQ001" {
		t.Errorf("after the division: %v", err)
	}
}

func TestADSNHoldsNoPassword(t *testing.T) {
	for dsn, want := range map[string]string{
		"host=a port=5 user=u dbname=d":         "host=a port=5 dbname=d target_session_attrs=read-write",
		`host = a  user='it\'s u' dbname='d d'`: `host=a dbname='d d' target_session_attrs=read-write`,
		`user=it\ is host=a`:                    "host=a target_session_attrs=read-write",
		"host=a password=p dbname=d":            errPassword.Error(),
		"password = 'p p' host=a":               errPassword.Error(),
		"service=s target_session_attrs=any":    "service=s target_session_attrs=any",
		"postgres://u:p@a/d":                    errNoKeywords.Error(),
		"postgres://u:p@a/d?sslmode=disable":    errNoKeywords.Error(),
		"host":                                  errNoKeywords.Error(),
	} {
		got, err := routerOption(dsn)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", dsn, got, want)
		}
	}
}
