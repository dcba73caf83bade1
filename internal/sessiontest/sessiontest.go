// Package sessiontest gives tests real PostgreSQL servers with the bundle installed, and Stores over them.
package sessiontest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

// StartWithBundle starts a cluster whose database postgres holds the bundle. The caller closes the cluster.
func StartWithBundle(ctx context.Context, options *pgcluster.Options) (*pgcluster.Cluster, error) {
	cluster, err := pgcluster.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	pool, err := sql.Open("pgx", cluster.Primary.DSN("postgres"))
	if err == nil {
		err = errors.Join(sessionsql.Install(ctx, pool), pool.Close())
	}
	if err != nil {
		return nil, errors.Join(err, cluster.Close())
	}
	return cluster, nil
}

// Main is the TestMain of a package whose tests share a cluster, whose database postgres holds the bundle. It
// calls use with the cluster before the tests.
func Main(m *testing.M, options *pgcluster.Options, use func(*pgcluster.Cluster)) {
	run := func() int {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cluster, err := StartWithBundle(ctx, options)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = cluster.Close() }()
		use(cluster)
		return m.Run()
	}
	os.Exit(run())
}

// StartCluster starts a cluster that ends with the test.
func StartCluster(t testing.TB, options *pgcluster.Options) *pgcluster.Cluster {
	t.Helper()
	cluster, err := pgcluster.Start(t.Context(), options)
	testkit.Must(t, err)
	t.Cleanup(func() { testkit.Must(t, cluster.Close()) })
	return cluster
}

// A Database is one database of a cluster. Each test has its own.
type Database struct {
	Cluster *pgcluster.Cluster
	Name    string

	primary  *sql.DB
	replicas []*sql.DB
}

var databases atomic.Int64

// NewEmptyDatabase makes a database without the bundle, and returns when every replica has it.
func NewEmptyDatabase(t testing.TB, cluster *pgcluster.Cluster) *Database {
	t.Helper()
	d := &Database{Cluster: cluster, Name: fmt.Sprintf("test%d", databases.Add(1))}
	admin := testkit.OpenPool(t, cluster.Primary.DSN("postgres"))
	_, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+d.Name)
	testkit.Must(t, err)
	d.primary = testkit.OpenPool(t, d.PrimaryDSN())
	for i, dsn := range d.ReplicaDSNs() {
		WaitReplayed(t, admin, testkit.OpenPool(t, cluster.Replicas[i].DSN("postgres")))
		d.replicas = append(d.replicas, testkit.OpenPool(t, dsn))
	}
	return d
}

// RequireProxy skips a test of a router where the server of a pool has no PL/Proxy. Where packages are
// required, it fails the test instead, unless the server is of another major, for which there is no package.
func RequireProxy(t testing.TB, pool *sql.DB) {
	t.Helper()
	if testkit.Get[bool](t, pool,
		"SELECT EXISTS (SELECT FROM pg_available_extensions AS e WHERE e.name = 'plproxy')") {
		return
	}
	if os.Getenv("SESSIONSQL_REQUIRE_PACKAGES") != "" && os.Getenv("SESSIONSQL_PG_MAJOR") == "" {
		t.Fatal("PL/Proxy is missing: install it (Debian: postgresql-15-plproxy)")
	}
	t.Skip("PL/Proxy is missing for this server, so no test has a router")
}

// NewDatabase makes a database with the bundle, and returns when every replica has it.
func NewDatabase(t testing.TB, cluster *pgcluster.Cluster) *Database {
	t.Helper()
	d := NewEmptyDatabase(t, cluster)
	testkit.Must(t, sessionsql.Install(t.Context(), d.primary))
	d.CatchUp(t)
	return d
}

// PrimaryDSN leads to the database on the primary.
func (d *Database) PrimaryDSN() string { return d.Cluster.Primary.DSN(d.Name) }

// ReplicaDSNs lead to the database on each replica.
func (d *Database) ReplicaDSNs() (dsns []string) {
	for _, replica := range d.Cluster.Replicas {
		dsns = append(dsns, replica.DSN(d.Name))
	}
	return dsns
}

// CatchUp waits until every replica has replayed all commits of the primary, the asynchronous ones included.
func (d *Database) CatchUp(t testing.TB) {
	t.Helper()
	for _, replica := range d.replicas {
		WaitReplayed(t, d.primary, replica)
	}
}

// Store opens a Store over the primary and the replicas, which closes with the test. Nil means Quiet. It
// waits as AwaitProbe does.
func (d *Database) Store(t testing.TB, options *sessionsql.Options) *sessionsql.Store {
	t.Helper()
	store := OpenStore(t, d.PrimaryDSN(), d.ReplicaDSNs(), options)
	AwaitProbe(store)
	return store
}

// AwaitProbe waits until the Store knows the lag of its replicas. If the primary wrote something just before
// the Store was opened, the Store leaves them out until its next probe, a second later.
func AwaitProbe(store *sessionsql.Store) {
	deadline := time.Now().Add(2 * time.Second)
	for slices.ContainsFunc(store.Stats().Replicas, LagUnknown) && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
}

// LagUnknown reports whether a replica is left out because it lacks what the primary had when the Store was
// opened.
func LagUnknown(replica sessionsql.ServerStats) bool {
	return replica.Err != nil && strings.HasSuffix(replica.Err.Error(), "its lag is unknown")
}

// Quiet returns options without background loops and without a log, so that only the test's own calls act.
func Quiet() *sessionsql.Options {
	return &sessionsql.Options{FlushInterval: -1, ReapInterval: -1, Logger: slog.New(slog.DiscardHandler)}
}

// OpenStore opens a Store that closes with the test. Nil means Quiet.
func OpenStore(
	t testing.TB, primary string, replicas []string, options *sessionsql.Options,
) *sessionsql.Store {
	t.Helper()
	if options == nil {
		options = Quiet()
	}
	store, err := sessionsql.Open(t.Context(), primary, replicas, options)
	testkit.Must(t, err)
	closeWith(t, store)
	return store
}

// OpenStoreOver opens a Store over a pool of the test, which closes with the test. Nil means Quiet.
func OpenStoreOver(t testing.TB, primary sessionsql.DB, options *sessionsql.Options) *sessionsql.Store {
	t.Helper()
	if options == nil {
		options = Quiet()
	}
	store, err := sessionsql.OpenDB(primary, nil, options)
	testkit.Must(t, err)
	closeWith(t, store)
	return store
}

// closeWith ignores an error of Close, because a test may have ended the servers.
func closeWith(t testing.TB, store *sessionsql.Store) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = store.Close(ctx)
	})
}

// A Conn is a pool, a connection or a transaction.
type Conn interface {
	testkit.Queryer
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Flush makes every earlier commit durable. It commits a transaction that wrote WAL and waits for the disk.
func Flush(t testing.TB, primary Conn) {
	t.Helper()
	_, err := primary.ExecContext(t.Context(), "SELECT pg_logical_emit_message(true, 'sessionsql', '')")
	testkit.Must(t, err)
}

// WaitReplayed waits until a replica has replayed all commits of the primary, the asynchronous ones included.
func WaitReplayed(t testing.TB, primary Conn, replica testkit.Queryer) {
	t.Helper()
	Flush(t, primary)
	position := testkit.Get[string](t, primary, "SELECT pg_current_wal_insert_lsn()::text")
	testkit.Eventually(t, "the replica has replayed "+position, func() bool {
		return testkit.Get[bool](t, replica, "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", position)
	})
}
