package sessionsql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/faultproxy"
	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

// A faulty database is reached through proxies, which disturb connections as a network does.
type faulty struct {
	*database
	primaryProxy *faultproxy.Proxy
	replicaProxy []*faultproxy.Proxy
}

// newFaulty starts a cluster for one test and installs the bundle.
func newFaulty(t *testing.T, replicas int) *faulty {
	t.Helper()
	f := &faulty{database: newDatabaseIn(t, ownCluster(t, replicas))}
	proxy := func(node *pgcluster.Node) *faultproxy.Proxy {
		p, err := faultproxy.New(address(node))
		must(t, err)
		t.Cleanup(func() { _ = p.Close() })
		return p
	}
	f.primaryProxy = proxy(f.Cluster.Primary)
	for _, replica := range f.Cluster.Replicas {
		f.replicaProxy = append(f.replicaProxy, proxy(replica))
	}
	return f
}

func address(node *pgcluster.Node) string {
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(node.Port))
}

// through returns the DSN that leads through a proxy.
func (f *faulty) through(t *testing.T, p *faultproxy.Proxy) string {
	t.Helper()
	dsn, err := url.Parse(f.PrimaryDSN())
	must(t, err)
	dsn.Host = p.Addr()
	return dsn.String()
}

// open opens a Store through the proxies, and waits until it reads from the replicas.
func (f *faulty) open(t *testing.T, options *sessionsql.Options) *sessionsql.Store {
	t.Helper()
	if options == nil {
		options = quiet()
	}
	var replicas []string
	for _, p := range f.replicaProxy {
		replicas = append(replicas, f.through(t, p))
	}
	store := sessiontest.OpenStore(t, f.through(t, f.primaryProxy), replicas, options)
	eventually(t, "the replicas are read from", func() bool {
		for _, replica := range store.Stats().Replicas {
			if !replica.Usable {
				return false
			}
		}
		return true
	})
	return store
}

// tokens makes sessions of different users, and waits until every replica has them.
func (f *faulty) tokens(t *testing.T, n int) (tokens []sessionsql.Token) {
	t.Helper()
	for i := range n {
		tokens = append(tokens, sessionsql.Token(get[string](t, f.primary,
			"SELECT sessionsql.new_session('p', subject => $1)", fmt.Sprint("user", i))))
	}
	for _, replica := range f.Cluster.Replicas {
		waitReplayed(t, f.primary, open(t, replica.DSN(f.Name)))
	}
	return tokens
}

// lookUp looks up sessions from several callers for a while, and reports every failure.
func lookUp(t *testing.T, store *sessionsql.Store, tokens []sessionsql.Token, during time.Duration) {
	t.Helper()
	var wait sync.WaitGroup
	var ok atomic.Int64
	end := time.Now().Add(during)
	for caller := range 8 {
		wait.Go(func() {
			for i := caller; time.Now().Before(end); i++ {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				_, err := store.Lookup(ctx, tokens[i%len(tokens)])
				cancel()
				if err != nil {
					t.Errorf("a live session: %v", err)
					return
				}
				ok.Add(1)
			}
		})
	}
	wait.Wait()
	t.Logf("the Store made %d lookups", ok.Load())
}

func TestAHungPrimaryTakesNoReplicaOut(t *testing.T) {
	f := newFaulty(t, 1)
	tokens := f.tokens(t, 20)
	unknown := f.tokens(t, 1)[0]
	store := f.open(t, nil)
	must(t, store.Revoke(t.Context(), unknown))
	f.CatchUp(t)
	f.primaryProxy.Freeze()

	// A lookup that misses on the replica waits for the primary, and must delay no other lookup.
	var forged sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 20 {
		forged.Go(func() {
			for ctx.Err() == nil {
				own, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				_, err := store.Lookup(own, unknown)
				if err == nil || errors.Is(err, sessionsql.ErrNoSession) {
					t.Errorf("a lookup without a usable server returned %v", err)
				}
				cancel()
			}
		})
	}
	lookUp(t, store, tokens, 5*time.Second)
	stop()
	forged.Wait()
	if stats := store.Stats(); stats.Primary.Usable || !stats.Replicas[0].Usable {
		t.Errorf("the primary has %+v and the replica has %+v", stats.Primary, stats.Replicas[0])
	}
	f.primaryProxy.Pass()
	f.primaryProxy.Reset()
	eventually(t, "the primary is back", func() bool {
		_, err := store.Lookup(t.Context(), unknown)
		return errors.Is(err, sessionsql.ErrNoSession) && store.Stats().Primary.Usable
	})
}

func TestAStrayReplicaIsNotReadFromAfterAFailover(t *testing.T) {
	f := newFaulty(t, 2)
	tokens := f.tokens(t, 10)
	next, stray := f.Cluster.Replicas[0], f.Cluster.Replicas[1]
	f.replicaProxy = f.replicaProxy[1:]
	store := f.open(t, nil)

	// The next primary lacks WAL that the stray has when the old primary dies.
	must(t, next.Signal("walreceiver", syscall.SIGSTOP))
	f.primary.MustExec("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
	flush(t, f.primary)
	waitReplayed(t, f.primary, open(t, stray.DSN(f.Name)))
	must(t, f.Cluster.Primary.Kill())
	must(t, next.Signal("walreceiver", syscall.SIGCONT))
	f.primaryProxy.SetTarget(address(next))
	f.primaryProxy.Reset()
	must(t, next.Promote(t.Context()))
	eventually(t, "the new primary takes the revokes", func() bool {
		err := store.Revoke(t.Context(), tokens[0])
		return err == nil || errors.Is(err, sessionsql.ErrNoSession)
	})
	for _, token := range tokens[1:] {
		must(t, store.Revoke(t.Context(), token))
	}
	if n := liveOn(t, open(t, stray.DSN(f.Name))); n != len(tokens) {
		t.Fatalf("the stray has %d sessions, so this test proves nothing", n)
	}
	// The lookups go on until the new primary's WAL is beyond the stray's, and a while longer.
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); {
		for _, token := range tokens {
			if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
				t.Fatalf("a session that this Store has revoked: %v", err)
			}
		}
		mustInsert(t, store, strings.Repeat("x", 1<<19), nil)
	}
	if replica := store.Stats().Replicas[0]; replica.Usable {
		t.Errorf("the replica is usable: %+v", replica)
	}
}

// Until the old primary is fenced, two servers accept writes. A replica may follow one of them while the
// Store uses the other.
func TestAReplicaThatSawAPromotionFirstIsNotReadFrom(t *testing.T) {
	f := newFaulty(t, 2)
	tokens := f.tokens(t, 10)
	next, early := f.Cluster.Replicas[0], f.Cluster.Replicas[1]
	f.replicaProxy = f.replicaProxy[1:]
	replica, promoted := open(t, early.DSN(f.Name)), open(t, next.DSN(f.Name))
	replica.MustExec(fmt.Sprintf("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=%d user=postgres'",
		next.Port))
	replica.MustExec("SELECT pg_reload_conf()")
	eventually(t, "the replica follows the next primary", func() bool {
		return get[bool](t, promoted,
			"SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')")
	})
	store := f.open(t, nil)

	must(t, next.Promote(t.Context()))
	// as a program does after it has seen the promotion
	promoted.MustExec("SELECT sessionsql.note_timeline()")
	waitReplayed(t, promoted, replica)
	wantRevoked := func() {
		t.Helper()
		for _, token := range tokens {
			if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
				t.Fatalf("a session that this Store has revoked: %v", err)
			}
		}
	}
	for _, token := range tokens {
		must(t, store.Revoke(t.Context(), token))
	}
	// By its position alone, the replica has replayed these logouts.
	promoted.MustExec("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
	waitReplayed(t, promoted, replica)
	if n := liveOn(t, replica); n != len(tokens) {
		t.Fatalf("the replica has %d sessions, so this test proves nothing", n)
	}
	eventually(t, "the replica is left out for its timeline", func() bool {
		wantRevoked()
		return strings.Contains(fmt.Sprint(store.Stats().Replicas[0].Err), "timeline")
	})
	wantRevoked()

	must(t, f.Cluster.Primary.Kill())
	f.primaryProxy.SetTarget(address(next))
	f.primaryProxy.Reset()
	for _, token := range tokens { // the failover has undone their logouts
		eventually(t, "the new primary takes the logout",
			func() bool { return store.Revoke(t.Context(), token) == nil })
	}
	eventually(t, "the replica is read from again", func() bool {
		wantRevoked()
		return store.Stats().Replicas[0].Usable
	})
	wantRevoked()
}

func TestALateStandbyNeverSaysThatThereIsNoSession(t *testing.T) {
	f := newFaulty(t, 1)
	f.pauseReplay(t)
	token := sessionsql.Token(get[string](t, f.primary, "SELECT sessionsql.new_session('late')"))
	opened := f.openPrimary(t)
	pool := open(t, f.through(t, f.primaryProxy))
	made := sessiontest.OpenStoreOver(t, pool, nil)
	defer closeStore(t, made)
	for name, store := range map[string]*sessionsql.Store{"Open": opened, "OpenDB": made} {
		f.primaryProxy.SetTarget(address(f.Cluster.Primary))
		f.primaryProxy.Reset()
		found := func() bool { _, err := store.Lookup(t.Context(), token); return err == nil }
		eventually(t, "the session is found", found)
		f.primaryProxy.SetTarget(address(f.Cluster.Replicas[0]))
		f.primaryProxy.Reset()
		for range 20 {
			if _, err := store.Lookup(t.Context(), token); !errors.Is(err, sessionsql.ErrUnavailable) {
				t.Errorf("%s: a late standby in the primary's place: %v", name, err)
			}
		}
		var wait sync.WaitGroup
		for range 64 { // enough callers for batches
			wait.Go(func() {
				if _, err := store.Lookup(t.Context(), token); !errors.Is(err, sessionsql.ErrUnavailable) {
					t.Errorf("%s: a late standby in the primary's place: %v", name, err)
				}
			})
		}
		wait.Wait()
		f.primaryProxy.SetTarget(address(f.Cluster.Primary))
		f.primaryProxy.Reset()
		eventually(t, "the primary is back", found)
	}
}

// openPrimary opens a Store without replicas through the proxy.
func (f *faulty) openPrimary(t *testing.T) *sessionsql.Store {
	t.Helper()
	store := sessiontest.OpenStore(t, f.through(t, f.primaryProxy), nil, nil)
	t.Cleanup(func() { closeStore(t, store) })
	return store
}

// openEither opens a Store whose primary is the first of two servers that accepts writes.
func (f *faulty) openEither(t *testing.T, second string, replicas ...string) *sessionsql.Store {
	t.Helper()
	dsn, err := url.Parse(f.through(t, f.primaryProxy))
	must(t, err)
	dsn.Host += "," + second
	query := dsn.Query()
	query.Set("target_session_attrs", "read-write")
	query.Set("connect_timeout", "60") // longer than any test waits
	dsn.RawQuery = query.Encode()
	store := sessiontest.OpenStore(t, dsn.String(), replicas, nil)
	t.Cleanup(func() { closeStore(t, store) })
	return store
}

func TestTheSecondHostIsReachedWhenTheFirstVanishes(t *testing.T) {
	f := newFaulty(t, 1)
	store := f.openEither(t, address(f.Cluster.Replicas[0]))
	mustInsert(t, store, "p", nil)

	f.primaryProxy.Freeze() // the kernel still answers, which is worse than no answer
	must(t, f.Cluster.Primary.Kill())
	must(t, f.Cluster.Replicas[0].Promote(t.Context()))
	var served atomic.Bool
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			for end := time.Now().Add(30 * time.Second); !served.Load() && time.Now().Before(end); {
				// The deadline is far shorter than a connection attempt at the first host.
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				if _, err := store.Insert(ctx, "p", nil); err == nil {
					served.Store(true)
				}
				cancel()
			}
		})
	}
	wait.Wait()
	if !served.Load() {
		t.Error("no caller reached the second host")
	}
}

func TestAPrimaryThatThawsAfterAPromotionIsNotUsed(t *testing.T) {
	f := newFaulty(t, 1)
	second := f.replicaProxy[0]
	store := f.openEither(t, second.Addr(), f.through(t, second))
	mustInsert(t, store, "p", nil)
	const count = "SELECT count(*) FROM sessionsql.session"
	before := get[int](t, f.primary, count)

	f.primaryProxy.Freeze()
	must(t, f.Cluster.Replicas[0].Promote(t.Context()))
	leader := open(t, f.Cluster.Replicas[0].DSN(f.Name))
	eventually(t, "the Store has seen the promotion", func() bool {
		return get[int](t, leader, "SELECT noted FROM sessionsql.timeline") == 2
	})
	f.primaryProxy.Pass()
	var made atomic.Int64
	for range 10 {
		second.Reset() // the next statements need new connections
		var wait sync.WaitGroup
		for range 40 {
			wait.Go(func() {
				token, err := store.Insert(t.Context(), "p", nil)
				if err != nil {
					return // its connection was reset
				}
				made.Add(1)
				if get[int](t, leader, countFound, string(token)) != 1 {
					t.Error("the new primary lacks an acknowledged session")
				}
				if err := store.Revoke(t.Context(), token); err == sessionsql.ErrNoSession {
					t.Error("the old primary was asked for a session")
				}
			})
		}
		wait.Wait()
	}
	if after := get[int](t, f.primary, count); after != before {
		t.Errorf("%d sessions were made on the old primary", after-before)
	}
	if made.Load() < 100 {
		t.Errorf("%d sessions were made, so this test proves nothing", made.Load())
	}
	eventually(t, "the new primary is in use", func() bool { return store.Stats().Primary.Usable })
}

// silent freezes the primary until it may have been replaced.
func (f *faulty) silent(t *testing.T, store *sessionsql.Store) {
	t.Helper()
	f.primaryProxy.Freeze()
	eventually(t, "the primary has been silent for long", func() bool {
		primary := store.Stats().Primary
		return !primary.Usable && time.Since(primary.Since) > 2*time.Second
	})
}

// Statements that reached the old primary before the promotion are done when it goes on.
func TestAPrimaryThatThawsRightAfterAPromotionAcknowledgesNothing(t *testing.T) {
	for _, opens := range []string{"Open", "OpenDB"} {
		t.Run(opens, func(t *testing.T) {
			f := newFaulty(t, 1)
			second := f.replicaProxy[0]
			var store *sessionsql.Store
			own := open(t, f.through(t, f.primaryProxy))
			if opens == "Open" {
				store = f.openEither(t, second.Addr(), f.through(t, second))
			} else {
				replica := open(t, f.through(t, second))
				var err error
				store, err = sessionsql.OpenDB(own, []sessionsql.DB{replica}, nil)
				must(t, err)
				t.Cleanup(func() { closeStore(t, store) })
			}
			insertTx := func() (sessionsql.Token, error) {
				tx, err := own.BeginTx(t.Context(), nil)
				if err != nil {
					return "", sessionsql.ErrUnavailable
				}
				defer func() { _ = tx.Rollback() }()
				token, err := store.InsertTx(t.Context(), tx, "p", nil)
				if err == nil && tx.Commit() != nil {
					err = sessionsql.ErrUnavailable
				}
				return token, err
			}
			insert := func(callers int) (made []sessionsql.Token) {
				var wait sync.WaitGroup
				var mu sync.Mutex
				for i := range callers {
					wait.Go(func() {
						var token sessionsql.Token
						var err error
						if i%4 == 0 {
							token, err = insertTx()
						} else {
							token, err = store.Insert(t.Context(), "p", nil)
						}
						if err != nil {
							if !errors.Is(err, sessionsql.ErrUnavailable) {
								t.Errorf("Insert: %v", err)
							}
							return
						}
						mu.Lock()
						defer mu.Unlock()
						made = append(made, token)
					})
				}
				wait.Wait()
				return made
			}
			insert(100) // opens the connections that stay with the old primary
			eventually(t, "the replica is read from", func() bool { return store.Stats().Replicas[0].Usable })
			const count = "SELECT count(*) FROM sessionsql.session"
			before := get[int](t, f.primary, count)
			f.silent(t, store)
			var made []sessionsql.Token
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				made = insert(100)
			}()
			eventually(t, "callers wait for the old primary", func() bool {
				pool := store.Stats().Primary.Pool
				return pool.InUse > 0 && pool.Idle == 0
			})
			must(t, f.Cluster.Replicas[0].Promote(t.Context()))
			f.primaryProxy.Pass()
			<-sent

			leader := open(t, f.Cluster.Replicas[0].DSN(f.Name))
			for end := time.Now().Add(3 * time.Second); time.Now().Before(end) && len(made) < 200; {
				made = append(made, insert(20)...)
			}
			if get[int](t, f.primary, count) == before {
				t.Fatal("the old primary wrote nothing, so this test proves nothing")
			}
			for _, token := range made {
				if get[int](t, leader, countFound, string(token)) != 1 {
					t.Error("the new primary lacks an acknowledged session")
				}
				if _, err := store.Peek(t.Context(), token); err == sessionsql.ErrNoSession {
					t.Error("the old primary was asked for a session")
				}
			}
			if opens == "Open" && len(made) == 0 {
				t.Error("the new primary was not used")
			}
		})
	}
}

// Callers that share a round trip share its server, and none of its answers counts.
func TestABatchThatAnOldPrimaryHasWrittenIsNotAcknowledged(t *testing.T) {
	f := newFaulty(t, 1)
	tokens := f.tokens(t, 200)
	// Open's pools refuse the old primary's new connections, and few callers would have an older one.
	own, replica := open(t, f.through(t, f.primaryProxy)), open(t, f.through(t, f.replicaProxy[0]))
	store, err := sessionsql.OpenDB(own, []sessionsql.DB{replica}, nil)
	must(t, err)
	t.Cleanup(func() { closeStore(t, store) })
	eventually(t, "the replica is read from", func() bool { return store.Stats().Replicas[0].Usable })
	f.silent(t, store)
	before := store.Stats()
	errs := make([]error, len(tokens))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		atOnce(len(tokens), func(i int) {
			if i%2 == 0 {
				errs[i] = store.Revoke(t.Context(), tokens[i])
			} else {
				_, errs[i] = store.Update(t.Context(), tokens[i], "late", sessionsql.AnyVersion)
			}
		})
	}()
	eventually(t, "callers share round trips to the old primary", func() bool {
		now := store.Stats()
		return now.RevokeBatches > before.RevokeBatches+1 && now.UpdateBatches > before.UpdateBatches+1
	})
	must(t, f.Cluster.Replicas[0].Promote(t.Context()))
	f.primaryProxy.Pass()
	<-ended

	leader := open(t, f.Cluster.Replicas[0].DSN(f.Name))
	lost := map[bool]int{}
	for i, token := range tokens {
		revoked := i%2 == 0
		unwritten := get[int](t, leader, countFound+" AS f WHERE f.payload = 'p'", string(token)) == 1
		if unwritten && errs[i] == nil {
			t.Errorf("the new primary lacks an acknowledged write: session %d", i)
		}
		if unwritten && f.countWhere(t, "s.id = $1 AND s.payload = 'p'", idOf(t, token)) == 0 {
			lost[revoked]++
		}
	}
	if lost[true] < 2 || lost[false] < 2 {
		t.Errorf("the old primary wrote %v alone, so this test proves nothing", lost)
	}
}

// A replica that someone promotes by mistake is no successor of a primary that answers.
func TestAPromotionByMistakeDoesNotShutOutThePrimary(t *testing.T) {
	f := newFaulty(t, 1)
	store := f.open(t, nil)
	must(t, f.Cluster.Replicas[0].Promote(t.Context()))
	eventually(t, "the Store has seen it", func() bool { return !store.Stats().Replicas[0].Usable })
	mustInsert(t, store, "before", nil)
	f.silent(t, store)
	f.primaryProxy.Pass()
	for range 20 {
		mustOpen(t, store, mustInsert(t, store, "after", nil), "after", "after the silence")
	}
	eventually(t, "the primary is in use", func() bool { return store.Stats().Primary.Usable })
}

func TestAFailedLogoutEverywhereEndsNoOthersReplicaReads(t *testing.T) {
	f := newFaulty(t, 1)
	tokens := f.tokens(t, 20)
	store := f.open(t, nil)
	f.primaryProxy.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	capped := &sessionsql.InsertOptions{Subject: "user0", MaxSessions: 1}
	if _, err := store.Insert(ctx, "p", capped); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Insert: %v", err)
	}
	if _, err := store.RevokeSubject(ctx, "user1", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("RevokeSubject: %v", err)
	}
	lookUp(t, store, tokens[2:], 3*time.Second)
	// These sessions may have ended, and the primary cannot tell.
	for _, token := range tokens[:2] {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if _, err := store.Lookup(ctx, token); err == nil || errors.Is(err, sessionsql.ErrNoSession) {
			t.Errorf("a session that may have ended: %v", err)
		}
		cancel()
	}
	f.primaryProxy.Pass()
}

func TestLagStandsStillWhileThePrimaryIsAway(t *testing.T) {
	f := newFaulty(t, 1)
	tokens := f.tokens(t, 20)
	options := quiet()
	options.MaxReplicaLag = time.Second
	store := f.open(t, options)
	must(t, f.Cluster.Primary.Signal("walsender", syscall.SIGSTOP)) // the server sends no further WAL
	f.primary.MustExec("SELECT sessionsql.new_session('unsent', durable => true)")
	must(t, f.Cluster.Primary.Kill())
	lookUp(t, store, tokens, 3*options.MaxReplicaLag)
}

func TestAHungReplicaCostsNobodyTheirLookup(t *testing.T) {
	f := newFaulty(t, 1)
	tokens := f.tokens(t, 20)
	var log logBuffer
	options := quiet()
	options.Logger = log.logger()
	store := f.open(t, options)
	f.replicaProxy[0].Freeze()
	lookUp(t, store, tokens, 3*time.Second)
	if text := log.String(); strings.Count(text, "left out") != 1 ||
		strings.Contains(text, "read from again") {
		t.Errorf("the log reports a hung replica more than once:\n%s", text)
	}
	if replica := store.Stats().Replicas[0]; replica.Usable || replica.Err == nil {
		t.Errorf("the hung replica is usable or has no error: %+v", replica)
	}
	f.replicaProxy[0].Pass()
	f.replicaProxy[0].Reset()
	eventually(t, "the replica is read from again", func() bool { return store.Stats().Replicas[0].Usable })
}

func TestAReplicaThatOftenFailsIsBetterThanNone(t *testing.T) {
	f := newFaulty(t, 1)
	token := f.tokens(t, 1)[0]
	store := f.open(t, nil)
	usable := func() bool { return store.Stats().Replicas[0].Usable }
	fail := func() {
		f.replicaProxy[0].Refuse()
		eventually(t, "the replica is left out", func() bool {
			mustLookup(t, store, token)
			return !usable()
		})
		f.replicaProxy[0].Pass()
	}
	for range 3 { // the replica is left out for longer each time
		fail()
		eventually(t, "the replica is read from again", usable)
	}
	fail() // now the replica is left out for eight seconds
	f.primaryProxy.Freeze()
	frozen := time.Now()
	eventually(t, "the replica is read from at once", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := store.Lookup(ctx, token)
		return err == nil
	})
	if took := time.Since(frozen); took > 5*time.Second {
		t.Errorf("a session was not found for %v although a server has it", took)
	}
}

func TestEveryVerbEndsWithoutADeadlineOfItsCallers(t *testing.T) {
	f := newFaulty(t, 0)
	token := f.tokens(t, 1)[0]
	options := quiet()
	options.Timeout = 300 * time.Millisecond
	store := sessiontest.OpenStore(t, f.through(t, f.primaryProxy), nil, options)
	mustLookup(t, store, token)
	f.primaryProxy.Freeze()
	ctx := context.Background()
	for verb, call := range map[string]func() error{
		"Insert":        func() error { _, err := store.Insert(ctx, "p", nil); return err },
		"Lookup":        func() error { _, err := store.Lookup(ctx, token); return err },
		"Peek":          func() error { _, err := store.Peek(ctx, token); return err },
		"Update":        func() error { _, err := store.Update(ctx, token, "p", 1); return err },
		"Rotate":        func() error { _, err := store.Rotate(ctx, token, nil); return err },
		"Revoke":        func() error { return store.Revoke(ctx, token) },
		"RevokeListed":  func() error { return store.RevokeListed(ctx, token, 1) },
		"RevokeSubject": func() error { _, err := store.RevokeSubject(ctx, "s", ""); return err },
		"ListSubject":   func() error { _, err := store.ListSubject(ctx, "s", ""); return err },
		"Version":       func() error { _, err := store.Version(ctx); return err },
		"Health":        func() error { _, err := store.Health(ctx); return err },
	} {
		done := make(chan error, 8)
		for range cap(done) { // alone, and in shared round trips
			go func() { done <- call() }()
		}
		for range cap(done) {
			select {
			case err := <-done:
				if !errors.Is(err, sessionsql.ErrUnavailable) {
					t.Errorf("%s: %v", verb, err)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%s hangs", verb)
			}
		}
	}
	closed := make(chan error, 1)
	go func() { closed <- store.Close(ctx) }()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Fatal("Close hangs")
	}
	if _, err := store.Version(ctx); err != sessionsql.ErrClosed {
		t.Errorf("Version after Close: %v", err)
	}
}

func TestAReplicaDSNThatLeadsToTwoServersIsRefused(t *testing.T) {
	f := newFaulty(t, 2)
	f.replicaProxy = f.replicaProxy[:1]
	store := f.open(t, nil)
	// New connections lead to another server than the open ones, and one open connection ends.
	f.replicaProxy[0].SetTarget(address(f.Cluster.Replicas[1]))
	get[bool](t, open(t, f.Cluster.Replicas[0].DSN("postgres")),
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1
		ORDER BY backend_start DESC LIMIT 1`, f.Name)
	eventually(t, "the replica is left out", func() bool {
		replica := store.Stats().Replicas[0]
		return !replica.Usable && strings.Contains(fmt.Sprint(replica.Err), "more than one server")
	})
}

// A balancer leads the probes of a Store to one server, and its reads to another.
type balancer struct {
	sessionsql.DB // where the reads go
	probes        atomic.Pointer[sqlx.DB]
	onConn        hook // before the next read gets its connection
	onAnswer      hook // before it gets its answer
	asked         atomic.Bool
}

// A hook holds what is done once.
type hook struct{ atomic.Pointer[func()] }

func (h *hook) call() {
	if do := h.Swap(nil); do != nil {
		(*do)()
	}
}

// Conn knows a probe by the second that it has, because a read of a replica has 300 ms.
func (b *balancer) Conn(ctx context.Context) (*sql.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < 500*time.Millisecond {
		conn, err := b.DB.Conn(ctx)
		b.onConn.call()
		b.asked.Store(true)
		return conn, err
	}
	return b.probes.Load().Conn(ctx)
}

type balancedConn struct {
	net.Conn
	balancer *balancer
}

func (c balancedConn) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	if c.balancer.asked.Swap(false) {
		c.balancer.onAnswer.call()
	}
	return n, err
}

// Reads may reach another server than the probes, for ever or until the next probe, which comes while a read
// is under way.
func TestAnswersOfAServerThatIsNotProbedDoNotCount(t *testing.T) {
	f := newFaulty(t, 2)
	token := f.tokens(t, 1)[0]
	f.primary.MustExec("SELECT sessionsql.cache_set('c', 'k', 'old')")
	probed, lagging := open(t, f.Cluster.Replicas[0].DSN(f.Name)), open(t, f.Cluster.Replicas[1].DSN(f.Name))
	waitReplayed(t, f.primary, lagging)
	lagging.MustExec("SELECT pg_wal_replay_pause()")
	get[bool](t, f.primary, "SELECT sessionsql.end_session($1)", string(token))
	f.primary.MustExec("SELECT sessionsql.cache_set('c', 'k', 'new')")
	waitReplayed(t, f.primary, probed)

	lookup := func(store *sessionsql.Store) {
		if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
			t.Errorf("a server that was not probed answered a lookup: %v", err)
		}
	}
	read := func(store *sessionsql.Store) {
		entry, err := store.Cache("c", nil).Get(t.Context(), "k")
		if err != nil || string(entry.Value) != "new" {
			t.Errorf("a server that was not probed answered a Get: %q, %v", entry.Value, err)
		}
	}
	for name, ask := range map[string]func(*sessionsql.Store){"Lookup": lookup, "Get": read} {
		t.Run(name, func(t *testing.T) {
			var replica balancer
			config, err := pgx.ParseConfig(f.Cluster.Replicas[1].DSN(f.Name))
			must(t, err)
			config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				return balancedConn{conn, &replica}, err
			}
			pool := stdlib.OpenDB(*config)
			defer func() { must(t, pool.Close()) }()
			must(t, pool.PingContext(t.Context()))
			replica.DB = pool
			replica.probes.Store(probed)
			options := quiet()
			options.MaxReplicaLag = time.Second // and so ten probes a second
			store, err := sessionsql.OpenDB(f.primary, []sessionsql.DB{&replica}, options)
			must(t, err)
			defer closeStore(t, store)
			usable := func() bool { return store.Stats().Replicas[0].Usable }

			for _, moment := range []*hook{&replica.onConn, &replica.onAnswer} {
				eventually(t, "a probe reaches the lagging server during a read from it", func() bool {
					replica.probes.Store(probed)
					eventually(t, "the replica is usable", usable)
					found := false
					leaveOut := func() {
						replica.probes.Store(lagging)
						for end := time.Now().Add(200 * time.Millisecond); !found && time.Now().Before(end); {
							found = !usable()
							time.Sleep(time.Millisecond)
						}
					}
					moment.Store(&leaveOut)
					ask(store)
					return found
				})
			}
			replica.probes.Store(probed)
			eventually(t, "the replica is usable", usable)
			ask(store)
			reason := fmt.Sprint(store.Stats().Replicas[0].Err)
			if !strings.Contains(reason, "more than one server") {
				t.Errorf("the replica is left out for another reason: %s", reason)
			}
		})
	}
}

func TestAReadOnlyPrimaryCausesNoStormOfConnections(t *testing.T) {
	f := newFaulty(t, 0)
	store := f.openPrimary(t)
	f.primary.MustExec("ALTER SYSTEM SET default_transaction_read_only = on")
	f.primary.MustExec("SELECT pg_reload_conf()")
	eventually(t, "the primary is read-only", func() bool {
		_, err := store.Insert(t.Context(), "p", nil)
		return errors.Is(err, sessionsql.ErrReadOnly)
	})
	sessions := "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
	before := get[int](t, f.primary, sessions)
	var wait sync.WaitGroup
	end := time.Now().Add(3 * time.Second)
	for range 16 {
		wait.Go(func() {
			for time.Now().Before(end) {
				if _, err := store.Insert(t.Context(), "p", nil); !errors.Is(err, sessionsql.ErrReadOnly) {
					t.Errorf("Insert: %v", err)
					return
				}
			}
		})
	}
	wait.Wait()
	// The Store replaces its pool at most once a second, with 16 connections each time.
	if n := get[int](t, f.primary, sessions) - before; n > 5*16 {
		t.Errorf("the Store made %d connections", n)
	}
}

// database/sql does not know the idle connections of a pgxpool, so it cannot drop the dead ones after a
// restart.
func TestLookupsOverAPgxpoolSurviveARestart(t *testing.T) {
	f := newFaulty(t, 0)
	token := f.tokens(t, 1)[0]
	inner, err := pgxpool.New(t.Context(), f.PrimaryDSN())
	must(t, err)
	defer inner.Close()
	pool := stdlib.OpenDBFromPool(inner)
	defer func() { must(t, pool.Close()) }()
	store := sessiontest.OpenStoreOver(t, pool, nil)
	defer closeStore(t, store)
	each := func() {
		var wait sync.WaitGroup
		for range 40 {
			wait.Go(func() {
				if _, err := store.Lookup(t.Context(), token); err != nil {
					t.Errorf("Lookup: %v", err)
				}
			})
		}
		wait.Wait()
	}
	each()
	flush(t, f.primary)
	must(t, f.Cluster.Primary.Kill())
	must(t, f.Cluster.Primary.Start(t.Context()))
	each()
}

func TestAnOutageLogsChangesOnly(t *testing.T) {
	f := newFaulty(t, 1)
	var log logBuffer
	store := f.open(t, &sessionsql.Options{
		IdleTimeout: 3 * time.Second, FlushInterval: time.Second, ReapInterval: 50 * time.Millisecond,
		Logger: log.logger(),
	})
	token := mustInsert(t, store, "p", &sessionsql.InsertOptions{IdleTimeout: time.Minute})
	f.CatchUp(t)
	f.primaryProxy.Refuse()
	end := time.Now().Add(4 * time.Second)
	for time.Now().Before(end) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, _ = store.Lookup(ctx, token)
		cancel()
	}
	f.primaryProxy.Pass()
	eventually(t, "all is well again", func() bool {
		_, _ = store.Lookup(t.Context(), token)
		text := log.String()
		return strings.Contains(text, "primary answers again") &&
			strings.Contains(text, "reaping works again")
	})
	if lines := strings.Count(log.String(), "\n"); lines > 12 {
		t.Errorf("the log has %d lines:\n%s", lines, log.String())
	}
}

// A panicking is a driver's hook that panics once it is armed.
type panicking struct{ armed atomic.Bool }

func (p *panicking) TraceQueryStart(
	ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData,
) context.Context {
	if p.armed.Load() {
		panic("a tracer's fault")
	}
	return ctx
}

func (p *panicking) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestAPanicOfADriversHookReachesItsCallers(t *testing.T) {
	d := newDatabase(t)
	config, err := pgx.ParseConfig(d.PrimaryDSN())
	must(t, err)
	hook := &panicking{}
	config.Tracer = hook
	pool := stdlib.OpenDB(*config)
	defer func() { _ = pool.Close() }()
	store := sessiontest.OpenStoreOver(t, pool, nil)
	token := mustInsert(t, store, "p", nil)
	hook.armed.Store(true)
	var caught atomic.Int64
	var wait sync.WaitGroup
	for range 64 {
		wait.Go(func() {
			defer func() {
				if recover() != nil {
					caught.Add(1)
				}
			}()
			_, err := store.Lookup(t.Context(), token)
			t.Errorf("a lookup returned %v", err)
		})
	}
	wait.Wait()
	if caught.Load() != 64 {
		t.Errorf("%d of 64 callers met the panic", caught.Load())
	}
	hook.armed.Store(false)
	mustLookup(t, store, token)
	closeStore(t, store)
}

func TestErrorsOfContextsAndPoolsAreTyped(t *testing.T) {
	f := newFaulty(t, 0)
	token := f.tokens(t, 1)[0]
	store := f.openPrimary(t)
	f.primaryProxy.Freeze()
	reason := errors.New("the user went away")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(reason) })
	if _, err := store.Lookup(ctx, token); !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
		t.Errorf("cancelled with a cause: %v", err)
	}
	fresh := sessiontest.OpenStoreOver(t, open(t, f.through(t, f.primaryProxy)+"&connect_timeout=5"), nil)
	for range 50 { // these contexts end while the pool connects
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		_, err := fresh.Lookup(ctx, token)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sessionsql.ErrUnavailable) {
			t.Fatalf("a deadline during dialling: %v", err)
		}
	}
	f.primaryProxy.Pass()
	f.primaryProxy.Reset()

	pool := open(t, f.PrimaryDSN())
	closed := sessiontest.OpenStoreOver(t, pool, nil)
	must(t, pool.Close())
	if _, err := closed.Lookup(t.Context(), token); !errors.Is(err, sessionsql.ErrUnavailable) ||
		!strings.Contains(err.Error(), "pool is closed") {
		t.Errorf("a closed pool: %v", err)
	}
	_ = closed.Close(t.Context())
}
