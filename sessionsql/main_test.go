package sessionsql_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/sessionsql"
)

// shared is the cluster of all tests that do not break theirs: a primary and a replica. Each test has a database of its own.
var shared *pgcluster.Cluster

// The DSNs of a database with the bundle in it, for the examples.
var primaryDSN, replicaDSN string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	var err error
	if shared, err = pgcluster.Start(ctx, &pgcluster.Options{Replicas: 1}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = shared.Close() }()
	primaryDSN, replicaDSN = shared.Primary.DSN("postgres"), shared.Replicas[0].DSN("postgres")
	pool := sqlx.MustOpen("pgx", primaryDSN)
	defer func() { _ = pool.Close() }()
	if err := sessionsql.Install(ctx, pool); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// seeded returns a source of randomness, and prints its seed; SESSIONSQL_SEED repeats a run.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if given := os.Getenv("SESSIONSQL_SEED"); given != "" {
		parsed, err := strconv.ParseUint(given, 10, 64)
		if err != nil {
			t.Fatalf("SESSIONSQL_SEED: %v", err)
		}
		seed = parsed
	}
	t.Logf("SESSIONSQL_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// A database is one of a cluster's, with pools for looking at it from the side.
type database struct {
	cluster *pgcluster.Cluster
	name    string
	primary *sqlx.DB
	replica *sqlx.DB // nil without one
}

var databases atomic.Int64

// newDatabase makes an empty database with the bundle in it.
func newDatabase(t testing.TB) *database { t.Helper(); return newDatabaseIn(t, shared) }

func newDatabaseIn(t testing.TB, cluster *pgcluster.Cluster) *database {
	t.Helper()
	d := emptyDatabaseIn(t, cluster)
	must(t, sessionsql.Install(t.Context(), d.primary))
	d.catchUp(t)
	return d
}

// pretendOlder has the next installation replace everything that an upgrade replaces.
func (d *database) pretendOlder() {
	d.primary.MustExec(`CREATE OR REPLACE FUNCTION sessionsql.version() RETURNS text LANGUAGE sql IMMUTABLE RETURN '0.1.9'::text`)
}

func emptyDatabaseIn(t testing.TB, cluster *pgcluster.Cluster) *database {
	t.Helper()
	d := &database{cluster: cluster, name: fmt.Sprintf("test%d", databases.Add(1))}
	admin := open(t, cluster.Primary.DSN("postgres"))
	admin.MustExec("CREATE DATABASE " + d.name)
	d.primary = open(t, d.primaryDSN())
	for i, replica := range cluster.Replicas {
		waitReplayed(t, admin, open(t, replica.DSN("postgres")))
		if i == 0 {
			d.replica = open(t, replica.DSN(d.name))
		}
	}
	return d
}

func open(t testing.TB, dsn string) *sqlx.DB {
	t.Helper()
	pool, err := sqlx.Open("pgx", dsn)
	must(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}

func (d *database) primaryDSN() string { return d.cluster.Primary.DSN(d.name) }

func (d *database) replicaDSNs() (dsns []string) {
	for _, replica := range d.cluster.Replicas {
		dsns = append(dsns, replica.DSN(d.name))
	}
	return dsns
}

// store opens a Store over the primary and the replicas. Without options it runs no loops, so that a test's own steps are
// all that happens.
func (d *database) store(t testing.TB, options *sessionsql.Options) *sessionsql.Store {
	t.Helper()
	if options == nil {
		options = quiet()
	}
	store, err := sessionsql.Open(t.Context(), d.primaryDSN(), d.replicaDSNs(), options)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = store.Close(ctx)
	})
	return store
}

func quiet() *sessionsql.Options {
	return &sessionsql.Options{FlushInterval: -1, ReapInterval: -1, Logger: slog.New(slog.DiscardHandler)}
}

// underLoad does something while eight callers use a store, none of whom may notice.
func underLoad(t testing.TB, store *sessionsql.Store, do func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for ctx.Err() == nil {
				token, err := store.Insert(t.Context(), "p", nil)
				if err == nil {
					_, err = store.Lookup(t.Context(), token)
				}
				if err == nil {
					_, err = store.Update(t.Context(), token, "q", 1)
				}
				if err == nil {
					err = store.Flush(t.Context())
				}
				if err != nil {
					t.Errorf("a caller noticed: %v", err)
					return
				}
			}
		})
	}
	do()
	stop()
	wait.Wait()
}

// catchUp waits until the replica has what the primary has, asynchronous commits included.
func (d *database) catchUp(t testing.TB) {
	t.Helper()
	if d.replica != nil {
		waitReplayed(t, d.primary, d.replica)
	}
}

func waitReplayed(t testing.TB, primary, replica *sqlx.DB) {
	t.Helper()
	flush(primary)
	position := get[string](t, primary, "SELECT pg_current_wal_insert_lsn()::text")
	eventually(t, "replica has replayed "+position, func() bool {
		return get[bool](t, replica, "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", position)
	})
}

// flush makes everything that was committed before durable: a synchronous commit of a transaction that wrote WAL.
func flush(primary *sqlx.DB) {
	primary.MustExec("SELECT pg_logical_emit_message(true, 'sessionsql', '')")
}

// eventually polls a condition that must come true.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("still not true: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func get[T any](t testing.TB, pool sqlx.Queryer, query string, args ...any) T {
	t.Helper()
	var value T
	if err := sqlx.Get(pool, &value, query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must1[T any](t testing.TB) func(T, error) T {
	return func(value T, err error) T { t.Helper(); must(t, err); return value }
}

// fill makes n sessions that anybody can name: the secret's hash of the session with payload p is sha256(p). Each expires in
// the given interval, with an idle timeout of 30 minutes; it returns their ids in order.
func (d *database) fill(t testing.TB, n int, expiresIn string) []int64 {
	t.Helper()
	var ids []int64
	must(t, d.primary.Select(&ids, `
		WITH made AS (
		  INSERT INTO sessionsql.session AS s (expires_at, created_at, idle_seconds, version, secret_hash, payload)
		  SELECT now() + $2::interval, now(), 1800, 1, sha256(n::text::bytea), n::text || repeat('x', 200)
		  FROM generate_series(1, $1) AS n
		  RETURNING s.id
		)
		SELECT m.id FROM made AS m ORDER BY m.id`, n, expiresIn))
	return ids
}

func arrayOf(ids []int64) string {
	text := make([]string, len(ids))
	for i, id := range ids {
		text[i] = strconv.FormatInt(id, 10)
	}
	return "{" + strings.Join(text, ",") + "}"
}
