package sessionsql_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

// nearOptions returns quiet options with a near cache.
func nearOptions(staleness time.Duration) *sessionsql.Options {
	options := quiet()
	options.NearCache = sessionsql.NearCache{MaxBytes: 16 << 20, MaxStaleness: staleness}
	return options
}

// hit looks a session up until the near cache has answered, which takes a lease.
func hit(t testing.TB, store *sessionsql.Store, token sessionsql.Token) sessionsql.Session {
	t.Helper()
	hits := store.Stats().NearHits
	var sess sessionsql.Session
	eventually(t, "the near cache answers", func() bool {
		sess = mustLookup(t, store, token)
		return store.Stats().NearHits > hits
	})
	return sess
}

// nearRevokes is how many sessions each fault's test revokes: few by default, and 10,000 for the proof.
func nearRevokes() int {
	if n, err := strconv.Atoi(os.Getenv("SESSIONSQL_NEAR_REVOKES")); err == nil {
		return n
	}
	return 300
}

// A logout is one session, which ends while Stores look it up.
type logout struct {
	token sessionsql.Token
	acked atomic.Pointer[time.Time] // after the call that ended it has returned
}

func (l *logout) ack() bool {
	now := time.Now()
	return l.acked.CompareAndSwap(nil, &now)
}

// A boundCheck revokes sessions while Stores with near caches look them up. No lookup that begins later than
// the bound after a revoke has returned may succeed.
type boundCheck struct {
	staleness time.Duration
	admin     *sessionsql.Store
	stores    []*sessionsql.Store // with near caches
	once      bool                // the fault cannot be repeated

	mu      sync.RWMutex
	logouts []*logout
	revoked atomic.Int64
	paused  sync.RWMutex // held for writing while nothing may be revoked
	worst   atomic.Int64 // the latest begin of a lookup that succeeded, after its revoke
	wrong   atomic.Int64
}

// insert makes a session that readers find, or returns nil.
func (b *boundCheck) insert(ctx context.Context) *logout {
	token, err := b.admin.Insert(ctx, "p", nil)
	if err != nil {
		return nil
	}
	l := &logout{token: token}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.logouts = append(b.logouts, l)
	return l
}

// pick returns one of the last sessions. The more there are, the more of them have ended, and the longer ago.
func (b *boundCheck) pick(random *rand.Rand, last int) *logout {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.logouts[len(b.logouts)-1-random.IntN(min(len(b.logouts), last))]
}

// run revokes n sessions, while fault does its harm, again and again if it can be repeated.
func (b *boundCheck) run(t *testing.T, n int, fault func()) {
	t.Helper()
	seed := seeded(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	before := b.hits()
	eventually(t, "there is a session", func() bool { return b.insert(ctx) != nil })
	var reading, revoking sync.WaitGroup
	for _, store := range b.stores {
		for range 2 {
			random := testkit.Fork(seed)
			reading.Go(func() {
				for ctx.Err() == nil {
					b.look(t, ctx, store, b.pick(random, []int{64, 512, 2048}[random.IntN(3)]))
				}
			})
		}
	}
	var over atomic.Bool
	for range min(n/4, 256) {
		random := testkit.Fork(seed)
		revoking.Go(func() {
			for ctx.Err() == nil && !(over.Load() && b.revoked.Load() >= int64(n)) {
				if l := b.revokeOne(ctx); l != nil { // its next lookups begin just after the bound
					time.Sleep(b.staleness + time.Duration(random.Int64N(int64(b.staleness)/2)))
					b.lookEverywhere(t, ctx, l)
				}
			}
		})
	}
	answered := func() bool { return b.hits()-before >= int64(n) || b.revoked.Load() >= int64(4*n) }
	for more := true; more; more = !b.once && !(b.revoked.Load() >= int64(n) && answered()) {
		fault()
		hits := b.hits()
		eventually(t, "memory answers after the fault", func() bool { return b.once || b.hits() > hits })
		time.Sleep(2 * b.staleness) // revokes go on between two faults
	}
	over.Store(true)
	revoking.Wait()
	// The caches must still answer after the fault, or the test would show nothing.
	live := mustInsert(t, b.admin, "live", nil)
	for _, store := range b.stores {
		eventually(t, "the near cache answers after the fault", func() bool {
			hits := store.Stats().NearHits
			_, err := store.Lookup(t.Context(), live)
			return err == nil && store.Stats().NearHits > hits
		})
	}
	stop()
	reading.Wait()
	hits := b.hits() - before
	t.Logf("%d revokes, %d answers from memory, longest staleness %v of %v", b.revoked.Load(), hits,
		time.Duration(b.worst.Load()), b.staleness)
	if hits < int64(n) {
		t.Errorf("only %d answers from memory, so the test shows little", hits)
	}
}

func (b *boundCheck) hits() (hits int64) {
	for _, store := range b.stores {
		hits += store.Stats().NearHits
	}
	return hits
}

// revokeOne revokes a new session that all Stores have looked up, or returns nil.
func (b *boundCheck) revokeOne(ctx context.Context) *logout {
	b.paused.RLock()
	defer b.paused.RUnlock()
	l := b.insert(ctx)
	if l == nil {
		return nil
	}
	for _, store := range b.stores {
		_, _ = store.Peek(ctx, l.token)
	}
	err := b.admin.Revoke(ctx, l.token)
	if err != nil && !errors.Is(err, sessionsql.ErrNoSession) || !l.ack() {
		return nil
	}
	b.revoked.Add(1)
	return l
}

func (b *boundCheck) lookEverywhere(t *testing.T, ctx context.Context, l *logout) {
	for _, store := range b.stores {
		b.look(t, ctx, store, l)
	}
}

func (b *boundCheck) look(t *testing.T, ctx context.Context, store *sessionsql.Store, l *logout) {
	acked, begun := l.acked.Load(), time.Now()
	_, err := store.Lookup(ctx, l.token)
	if err != nil || acked == nil {
		return
	}
	late := int64(begun.Sub(*acked))
	for worst := b.worst.Load(); late > worst; worst = b.worst.Load() {
		b.worst.CompareAndSwap(worst, late)
	}
	if late > int64(b.staleness) && b.wrong.Add(1) <= 5 {
		t.Errorf("a lookup found a session that began %v after its revoke had returned", time.Duration(late))
	}
}

// bounced starts a PgBouncer in transaction mode before the primary, and returns the DSN through it.
func (f *faulty) bounced(t *testing.T) string {
	t.Helper()
	program := "/usr/sbin/pgbouncer" // Debian installs it outside of the usual path
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("SESSIONSQL_REQUIRE_PACKAGES") != "" {
			t.Fatal("pgbouncer is missing: install it (Debian: pgbouncer)")
		}
		t.Skip("pgbouncer is missing")
	}
	port, err := pgcluster.FreePort()
	must(t, err)
	account, err := pgcluster.ServerCredential() // it refuses to run as root too
	must(t, err)
	settings := filepath.Join(f.Cluster.Primary.DataDir, "pgbouncer.ini") // where this account reads
	must(t, os.WriteFile(settings, fmt.Appendf(nil, `[databases]
* = host=127.0.0.1 port=%d user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 500
`, f.Cluster.Primary.Port, port), 0o644))
	bouncer := exec.CommandContext(t.Context(), program, "-q", settings)
	bouncer.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	must(t, bouncer.Start())
	t.Cleanup(func() { _ = bouncer.Wait() })
	dsn, err := url.Parse(f.PrimaryDSN())
	must(t, err)
	dsn.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	// Versions before 1.21 keep no prepared statements.
	dsn.RawQuery += "&default_query_exec_mode=exec"
	pool := open(t, dsn.String())
	eventually(t, "PgBouncer answers", func() bool { return pool.Ping() == nil })
	return dsn.String()
}

func (f *faulty) nearStore(t *testing.T, staleness time.Duration) *sessionsql.Store {
	t.Helper()
	return nearStoreOn(t, f.through(t, f.primaryProxy), staleness)
}

func nearStoreOn(t *testing.T, dsn string, staleness time.Duration) *sessionsql.Store {
	t.Helper()
	options := nearOptions(staleness)
	options.Timeout = 2 * time.Second
	return sessiontest.OpenStore(t, dsn, nil, options)
}

// TestALogoutIsSeenWithinTheBound has a line for each fault that docs/near-cache.md names.
func TestALogoutIsSeenWithinTheBound(t *testing.T) {
	const staleness = 400 * time.Millisecond
	f := newFaulty(t, 1)
	admin := f.Store(t, nil)
	direct := sessiontest.OpenStore(t, f.PrimaryDSN(), f.ReplicaDSNs(), nearOptions(staleness))
	through := f.nearStore(t, staleness)
	stop := func() error { return f.Cluster.Primary.Stop(t.Context()) }
	restart := func(end func() error) {
		must(t, end())
		must(t, f.Cluster.Primary.Start(t.Context()))
	}
	wait := func(n int) { time.Sleep(time.Duration(n) * staleness) } // how long a fault lasts
	var clock shiftedClock
	for _, each := range []struct {
		name  string
		fault func(*boundCheck)
	}{
		{"load", func(*boundCheck) {}},
		{"open transaction", func(b *boundCheck) { // it outlives the purges of several minutes
			late := b.insert(t.Context())
			tx := f.primary.MustBegin()
			tx.MustExec("SELECT sessionsql.end_session($1)", string(late.token))
			for range 3 {
				b.lookEverywhere(t, t.Context(), late)
				f.later(t)
				wait(1)
			}
			must(t, tx.Commit())
			late.ack()
			wait(1)
			b.lookEverywhere(t, t.Context(), late)
		}},
		{"PgBouncer", func(*boundCheck) {}},
		{"packets held back", func(*boundCheck) { f.primaryProxy.Freeze(); wait(5); f.primaryProxy.Pass() }},
		{"slow network", func(*boundCheck) {
			f.primaryProxy.Slow(64, staleness/20)
			wait(10)
			f.primaryProxy.Pass()
		}},
		{"late answers to polls", func(*boundCheck) { // the snapshot is old when its answer comes
			prompt := get[string](t, f.primary, "SELECT pg_get_functiondef('sessionsql.changes'::regproc)")
			renamed := strings.NewReplacer(
				"sessionsql.changes(", "public.prompt_changes(", "changes.last", "last")
			f.primary.MustExec(renamed.Replace(prompt))
			// Prepared statements hold on to the function, so its body is replaced.
			f.primary.MustExec(fmt.Sprintf(`
				CREATE OR REPLACE FUNCTION sessionsql.changes(last pg_snapshot)
				RETURNS SETOF sessionsql.change_feed LANGUAGE plpgsql AS $$ BEGIN
				  RETURN QUERY SELECT * FROM public.prompt_changes(changes.last);
				  PERFORM pg_sleep(%v);
				END $$`, (staleness * 3 / 4).Seconds()))
			wait(15)
			f.primary.MustExec(prompt)
		}},
		{"connections reset", func(*boundCheck) {
			for range 5 {
				f.primaryProxy.Reset()
				wait(1)
			}
		}},
		{"SIGSTOP of the primary", func(*boundCheck) {
			must(t, f.Cluster.Primary.Signal("", syscall.SIGSTOP))
			wait(5)
			must(t, f.Cluster.Primary.Signal("", syscall.SIGCONT))
		}},
		{"kill -9 of the primary", func(*boundCheck) { restart(f.Cluster.Primary.Kill) }},
		{"kill -9 of a process", func(*boundCheck) {
			must(t, f.Cluster.Primary.Signal("walwriter", syscall.SIGKILL))
			wait(5)
		}},
		{"restart", func(*boundCheck) { restart(stop) }},
		{"TRUNCATE", func(b *boundCheck) {
			b.paused.Lock() // or a session that begins after it would count as ended
			defer b.paused.Unlock()
			b.mu.RLock()
			ended := b.logouts[:len(b.logouts):len(b.logouts)]
			b.mu.RUnlock()
			eventually(t, "the table is truncated", func() bool { // the pool may hold dead connections
				_, err := f.primary.Exec("TRUNCATE sessionsql.session")
				return err == nil
			})
			for _, l := range ended {
				l.ack()
			}
			wait(2)
		}},
		{"wall clock", func(*boundCheck) {
			for _, by := range []string{"-300", "+300", "+0"} {
				clock.by(t, by)
				wait(3)
			}
		}},
		{"promotion", func(b *boundCheck) {
			b.paused.Lock()
			defer b.paused.Unlock()
			f.CatchUp(t) // a logout that the replica lacks is lost by the promotion, and not by a cache
			must(t, f.Cluster.Primary.Kill())
			must(t, f.Cluster.Replicas[0].Promote(t.Context()))
			f.primaryProxy.SetTarget(address(f.Cluster.Replicas[0]))
			f.primaryProxy.Reset()
		}},
	} {
		t.Run(each.name, func(t *testing.T) {
			b := &boundCheck{staleness: staleness, admin: admin, stores: []*sessionsql.Store{direct, through}}
			switch each.name {
			case "PgBouncer":
				dsn := f.bounced(t)
				b.stores[1] = nearStoreOn(t, dsn, staleness)
				b.admin = sessiontest.OpenStore(t, dsn, nil, quiet())
			case "wall clock":
				clock = shiftClock(t, f.Cluster.Primary)
			case "SIGSTOP of the primary", "kill -9 of the primary", "kill -9 of a process", "restart":
				// While the primary is away, a replica serves what it has; its bound is MaxReplicaLag.
				b.stores[0] = nearStoreOn(t, f.PrimaryDSN(), staleness)
			case "promotion":
				b.once = true
				b.stores = b.stores[1:]
				b.admin = sessiontest.OpenStore(t, f.through(t, f.primaryProxy), nil, quiet())
			}
			b.run(t, nearRevokes(), func() { each.fault(b) })
		})
	}
}

// TestAChangeAfterALossyCrashIsNotMissed lets a crash lose asynchronous commits, so that numbers of
// transactions are handed out again. The logout then has a number that the Store's last snapshot includes.
func TestAChangeAfterALossyCrashIsNotMissed(t *testing.T) {
	const next = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
	const staleness = 200 * time.Millisecond
	f := newFaulty(t, 0)
	admin := f.Store(t, nil)
	store := f.nearStore(t, staleness)
	ended, live := mustInsert(t, admin, "p", nil), mustInsert(t, admin, "p", nil)
	flush(t, f.primary)
	hit(t, store, ended)
	must(t, f.Cluster.Primary.Signal("walwriter", syscall.SIGSTOP))
	for range 200 {
		mustInsert(t, admin, "lost", nil)
	}
	lost := get[int64](t, f.primary, next)
	now := get[time.Time](t, f.primary, "SELECT clock_timestamp()")
	eventually(t, "the Store has polled", func() bool {
		return get[bool](t, f.primary, `SELECT EXISTS (SELECT FROM pg_stat_activity AS a
			WHERE a.query LIKE '-- name: Changes%' AND a.state = 'idle' AND a.query_start > $1)`, now)
	})
	hit(t, store, ended)
	f.primaryProxy.Freeze()
	must(t, f.Cluster.Primary.Kill())
	must(t, f.Cluster.Primary.Start(t.Context()))
	eventually(t, "another program begins an epoch", func() bool {
		_, err := f.primary.Exec("SELECT sessionsql.changes(NULL)")
		return err == nil && get[int](t, f.primary, "SELECT count(*) FROM sessionsql.change_epoch") == 1
	})
	eventually(t, "the session is ended", func() bool { return admin.Revoke(t.Context(), ended) == nil })
	time.Sleep(staleness) // the lease from before the crash may hold for that long
	if again := get[int64](t, f.primary, next); again >= lost {
		t.Fatalf("the next transaction is %d and not below %d, so this test proves nothing", again, lost)
	}
	f.primaryProxy.Refuse() // the connections that hang
	f.primaryProxy.Pass()
	eventually(t, "the Store answers again", func() bool {
		_, err := store.Lookup(t.Context(), live)
		return err == nil
	})
	hit(t, store, live)
	if _, err := store.Lookup(t.Context(), ended); err != sessionsql.ErrNoSession {
		t.Errorf("a session that was ended after the crash: %v", err)
	}
}

// A replica that does not replay would show the ended session for as long as MaxReplicaLag.
func TestALogoutElsewhereIsSeenAlthoughAReplicaLags(t *testing.T) {
	for name, maxBytes := range map[string]int64{"near cache": 1 << 20, "no near cache": 0} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t)
			options := quiet()
			options.MaxReplicaLag = time.Hour
			options.NearCache = sessionsql.NearCache{MaxBytes: maxBytes, MaxStaleness: 200 * time.Millisecond}
			admin, store := d.Store(t, nil), d.Store(t, options)
			tokens := make([]sessionsql.Token, 20)
			for i := range tokens {
				tokens[i] = mustInsert(t, admin, "p", nil)
			}
			eventually(t, "the replica is read from", func() bool {
				fresh := mustInsert(t, admin, "p", nil)
				d.CatchUp(t)
				reads := store.Stats().ReplicaReads
				mustLookup(t, store, fresh)
				return store.Stats().ReplicaReads > reads
			})
			for _, token := range tokens {
				mustLookup(t, store, token)
			}
			d.replica.MustExec("SELECT pg_wal_replay_pause()")
			defer d.replica.MustExec("SELECT pg_wal_replay_resume()")
			for i, token := range tokens {
				if i%2 == 0 {
					must(t, admin.Revoke(t.Context(), token))
				}
			}
			eventually(t, "the logouts are seen", func() bool {
				for i, token := range tokens {
					_, err := store.Lookup(t.Context(), token)
					if i%2 == 0 && err != sessionsql.ErrNoSession {
						return false
					}
				}
				return true
			})
			for range 50 {
				for i, token := range tokens {
					if _, err := store.Lookup(t.Context(), token); (err == nil) != (i%2 == 1) {
						t.Fatalf("session %d, of which the even ones have ended: %v", i, err)
					}
				}
				time.Sleep(10 * time.Millisecond) // several polls and probes pass
			}
			if liveOn(t, d.replica) < len(tokens) || !store.Stats().Replicas[0].Usable {
				t.Error("the replica has replayed the logouts or was left out, so this test proves nothing")
			}
		})
	}
}

// While the primary is away, replicas serve sessions that other programs wrote lately. Their answers are not
// kept, because the next poll does not name those sessions again.
func TestReplicasServeWhatOthersWroteWhileThePrimaryIsAway(t *testing.T) {
	f := newFaulty(t, 1)
	options := nearOptions(300 * time.Millisecond)
	options.MaxReplicaLag = time.Hour
	options.Timeout = time.Second
	admin, store := sessiontest.OpenStore(t, f.PrimaryDSN(), nil, nil), f.open(t, options)
	token, other := mustInsert(t, admin, "old", nil), mustInsert(t, admin, "other", nil)
	f.CatchUp(t)
	hit(t, store, token)
	replica := open(t, f.ReplicaDSNs()[0])
	replica.MustExec("SELECT pg_wal_replay_pause()")
	mustUpdate(t, admin, token, "new", 1)
	eventually(t, "the write is seen", func() bool { return mustLookup(t, store, token).Payload == "new" })

	f.primaryProxy.Refuse()
	eventually(t, "the replica serves", func() bool {
		sess, err := store.Lookup(t.Context(), token)
		return err == nil && sess.Payload == "old"
	})
	f.primaryProxy.Pass()
	hit(t, store, other)
	if sess := mustLookup(t, store, token); sess.Payload != "new" {
		t.Errorf("after the outage, memory answers %q", sess.Payload)
	}
	replica.MustExec("SELECT pg_wal_replay_resume()")
}

func TestThePreviousSecretIsNeverAnsweredFromMemory(t *testing.T) {
	d := newDatabase(t)
	store := sessiontest.OpenStore(t, d.PrimaryDSN(), nil, nearOptions(200*time.Millisecond))
	token := mustInsert(t, store, "p", nil)
	hit(t, store, token)
	renewed := mustRotate(t, store, token, &sessionsql.RotateOptions{Grace: time.Hour})
	hits := store.Stats().NearHits
	for range 20 {
		mustLookup(t, store, token)
	}
	if more := store.Stats().NearHits - hits; more > 0 {
		t.Errorf("%d lookups by the previous secret were answered from memory", more)
	}
	hit(t, store, renewed)
	d.primary.MustExec("UPDATE sessionsql.session SET previous_until = now()")
	if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
		t.Errorf("the previous secret after its grace: %v", err)
	}
}

func TestOwnWritesAreNeverReadBackOlderFromMemory(t *testing.T) {
	d := newDatabase(t)
	store := sessiontest.OpenStore(t, d.PrimaryDSN(), d.ReplicaDSNs(), nearOptions(2*time.Second))
	hit(t, store, mustInsert(t, store, "p", nil))
	atOnce(4, func(i int) {
		for round := range 40 {
			subject := fmt.Sprint("user", i, "-", round)
			token := mustInsert(t, store, "1", &sessionsql.InsertOptions{Subject: subject})
			ctx, stop := context.WithCancel(t.Context())
			var wait sync.WaitGroup
			for range 2 { // they fill the cache at any moment
				wait.Go(func() {
					for ctx.Err() == nil {
						_, _ = store.Peek(ctx, token)
					}
				})
			}
			for version := int32(1); version < 5; version++ {
				mustUpdate(t, store, token, fmt.Sprint(version+1), version)
				if sess := mustLookup(t, store, token); sess.Version != version+1 {
					t.Errorf("version %d is read back as %d", version+1, sess.Version)
				}
				_, err := store.Update(t.Context(), token, "late", version)
				if err != sessionsql.ErrConflict {
					t.Errorf("an update of a version that is gone: %v", err)
				}
			}
			how := []string{"Revoke", "RevokeSubject", "Rotate", "MaxSessions", "RevokeListed"}[round%5]
			switch how {
			case "Revoke":
				must(t, store.Revoke(t.Context(), token))
			case "RevokeSubject":
				_, err := store.RevokeSubject(t.Context(), subject, "")
				must(t, err)
			case "Rotate":
				mustRotate(t, store, token, &sessionsql.RotateOptions{Grace: -1})
			case "MaxSessions":
				mustInsert(t, store, "2", &sessionsql.InsertOptions{Subject: subject, MaxSessions: 1})
			case "RevokeListed":
				other := mustInsert(t, store, "2", &sessionsql.InsertOptions{Subject: subject})
				must(t, store.RevokeListed(t.Context(), other, idOf(t, token)))
			}
			for range 20 {
				if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
					t.Errorf("after %s: %v", how, err)
					break
				}
			}
			stop()
			wait.Wait()
		}
	})
	if hits := store.Stats().NearHits; hits < 100 {
		t.Errorf("%d answers from memory, so the test shows little", hits)
	}
}

func TestLookupAtLeastSeesAWriteOfAnotherProgram(t *testing.T) {
	d := newDatabase(t)
	options := nearOptions(time.Minute) // the next poll comes after this test
	writer, reader := d.Store(t, nil), d.Store(t, nearOptions(time.Second))
	token := mustInsert(t, writer, "old", nil)
	d.CatchUp(t)
	hit(t, reader, token)
	patient := sessiontest.OpenStore(t, d.PrimaryDSN(), nil, options)
	eventually(t, "the near cache has a lease", func() bool {
		mustLookup(t, patient, token)
		return patient.Stats().NearHits > 0
	})
	version, err := writer.Update(t.Context(), token, "new", 1)
	must(t, err)
	if sess := mustLookup(t, patient, token); sess.Payload != "old" {
		t.Errorf("memory answers %q, so this test proves nothing", sess.Payload)
	}
	for _, store := range []*sessionsql.Store{patient, reader} {
		sess, err := store.LookupAtLeast(t.Context(), token, version)
		if err != nil || sess.Payload != "new" {
			t.Errorf("LookupAtLeast returned %q, %v", sess.Payload, err)
		}
	}
	if sess := mustLookup(t, patient, token); sess.Payload != "new" {
		t.Errorf("memory still answers %q", sess.Payload)
	}
	// No version is as high, but the session is there.
	sess, err := reader.LookupAtLeast(t.Context(), token, version+1)
	if err != nil || sess.Version != version {
		t.Errorf("a version that was lost: %d, %v", sess.Version, err)
	}
}

func TestAnAnswerFromMemoryTouches(t *testing.T) {
	d := newDatabase(t)
	options := nearOptions(time.Second)
	options.FlushInterval = -1
	store := sessiontest.OpenStore(t, d.PrimaryDSN(), nil, options)
	token := mustInsert(t, store, "p", nil)
	eventually(t, "the near cache answers", func() bool {
		_, err := store.Peek(t.Context(), token)
		must(t, err)
		return store.Stats().NearHits > 0
	})
	if pending := store.Stats().TouchesPending; pending != 0 {
		t.Errorf("Peek touched: %d touches wait", pending)
	}
	for round := range 3 {
		hit(t, store, token)
		if pending := store.Stats().TouchesPending; pending != 1 {
			t.Errorf("round %d: %d touches wait, want one", round, pending)
		}
		must(t, store.Flush(t.Context()))
	}
	if sent := store.Stats().TouchesSent; sent != 3 {
		t.Errorf("%d touches were sent, want one for each flush", sent)
	}
}

// A program that is new runs beside a bundle that is old, and its near cache must not answer.
func TestAnOlderBundleHasNoNearCache(t *testing.T) {
	d := oldBundle(t, oldInstall)
	store := d.Store(t, nearOptions(100*time.Millisecond))
	token := mustInsert(t, store, "p", nil)
	for range 50 {
		mustLookup(t, store, token)
	}
	if hits := store.Stats().NearHits; hits != 0 {
		t.Errorf("%d answers from memory", hits)
	}
	must(t, store.Revoke(t.Context(), token))
}

// A misled pool leads to a standby while misled is true.
type misledPool struct {
	*sqlx.DB
	standby *sqlx.DB
	misled  atomic.Bool
}

func (p *misledPool) Conn(ctx context.Context) (*sql.Conn, error) {
	if p.misled.Load() {
		return p.standby.DB.Conn(ctx)
	}
	return p.DB.DB.Conn(ctx)
}

// The old primary's log of changes goes on without the logouts that the new primary has acknowledged.
func TestAPrimaryThatThawsAfterAPromotionRenewsNoLease(t *testing.T) {
	const staleness = time.Second
	f := newFaulty(t, 1)
	// Open's pools refuse the old primary's new connections, so they would hide a poll that counts there.
	own, replica := open(t, f.through(t, f.primaryProxy)), open(t, f.through(t, f.replicaProxy[0]))
	store, err := sessionsql.OpenDB(own, []sessionsql.DB{replica}, nearOptions(staleness))
	must(t, err)
	t.Cleanup(func() { closeStore(t, store) })
	tokens := f.tokens(t, 100)
	eventually(t, "the near cache has all sessions", func() bool {
		hits := store.Stats().NearHits
		for _, token := range tokens {
			_, err := store.Peek(t.Context(), token)
			must(t, err)
		}
		return store.Stats().NearHits == hits+int64(len(tokens))
	})
	f.silent(t, store)
	must(t, f.Cluster.Replicas[0].Promote(t.Context()))
	leader := sessiontest.OpenStore(t, f.Cluster.Replicas[0].DSN(f.Name), nil, quiet())
	for _, token := range tokens {
		must(t, leader.Revoke(t.Context(), token))
	}
	acked := time.Now()
	f.primaryProxy.Pass()
	for _, token := range tokens { // each once, because a lookup without a lease drops its entry
		begun := time.Now()
		if begun.Sub(acked) > 3*staleness {
			break
		}
		if _, err := store.Peek(t.Context(), token); err == nil && begun.Sub(acked) > staleness {
			t.Fatalf("a lookup found a session that began %v after its revoke had returned", begun.Sub(acked))
		}
		time.Sleep(staleness / 25)
	}
	eventually(t, "the old primary's answers are refused", func() bool {
		why := store.Stats().Primary.Err
		return why != nil && strings.Contains(why.Error(), "another server has been promoted")
	})
}

func TestAStandbyInThePlaceOfThePrimaryFillsNothing(t *testing.T) {
	d := newDatabase(t)
	admin := d.Store(t, nil)
	pool := &misledPool{DB: d.primary, standby: d.replica}
	store := sessiontest.OpenStoreOver(t, pool, nearOptions(10*time.Second))
	token := mustInsert(t, admin, "old", nil)
	d.CatchUp(t)
	d.replica.MustExec("SELECT pg_wal_replay_pause()")
	defer d.replica.MustExec("SELECT pg_wal_replay_resume()")
	mustUpdate(t, admin, token, "new", 1)
	hit(t, store, token)

	pool.misled.Store(true)
	if sess, err := store.LookupAtLeast(t.Context(), token, 3); err != nil || sess.Payload != "old" {
		t.Errorf("the standby answers %q, %v, so this test proves nothing", sess.Payload, err)
	}
	pool.misled.Store(false)
	if sess := hit(t, store, token); sess.Payload != "new" {
		t.Errorf("memory answers %q", sess.Payload)
	}
}

// init turns the test program into the one that TestAProgramThatWasStoppedAsksAServer stops. It prints a line
// for each lookup: when it began, whether it found the session, and the number of answers from memory.
func init() {
	dsn, token, child := strings.Cut(os.Getenv("SESSIONSQL_NEAR_CHILD"), " ")
	if !child {
		return
	}
	ctx := context.Background()
	store, err := sessionsql.Open(ctx, dsn, nil, nearOptions(childStaleness))
	for ; err == nil; time.Sleep(time.Millisecond) {
		begun := time.Now().UnixNano()
		_, failed := store.Lookup(ctx, sessionsql.Token(token))
		_, err = fmt.Println(begun, failed == nil, store.Stats().NearHits)
		if errors.Is(failed, sessionsql.ErrNoSession) {
			break
		}
	}
	os.Exit(0)
}

const childStaleness = 300 * time.Millisecond

func TestAProgramThatWasStoppedAsksAServer(t *testing.T) {
	d := newDatabase(t)
	admin := d.Store(t, nil)
	token := mustInsert(t, admin, "p", nil)
	self, err := os.Executable()
	must(t, err)
	program := exec.CommandContext(t.Context(), self)
	program.Env = append(os.Environ(), "SESSIONSQL_NEAR_CHILD="+d.PrimaryDSN()+" "+string(token))
	out, err := program.StdoutPipe()
	must(t, err)
	must(t, program.Start())
	lines := bufio.NewScanner(out)
	next := func() (begun int64, found bool, hits int64) {
		if !lines.Scan() {
			t.Fatal("the program has ended")
		}
		_, err := fmt.Sscan(lines.Text(), &begun, &found, &hits)
		must(t, err)
		return begun, found, hits
	}
	for hits := int64(0); hits < 10; {
		_, _, hits = next()
	}
	must(t, program.Process.Signal(syscall.SIGSTOP))
	must(t, admin.Revoke(t.Context(), token))
	acked := time.Now()
	time.Sleep(2 * childStaleness)
	must(t, program.Process.Signal(syscall.SIGCONT))
	for {
		begun, found, _ := next()
		if !found {
			break
		}
		if late := time.Unix(0, begun).Sub(acked); late > childStaleness {
			t.Errorf("a lookup found a session that began %v after its revoke had returned", late)
			break
		}
	}
	_ = program.Process.Kill()
	_ = program.Wait()
}
