package sitetest

import (
	"database/sql"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

var must = testkit.Must

// cluster is a primary and a replica, so that a lookup may read an older row.
var cluster *pgcluster.Cluster

// Main is the TestMain of an adapter. It starts the servers and sets databaseURL. All tests use this one
// database, and each its own subjects.
func Main(m *testing.M, databaseURL *string) {
	sessiontest.Main(m, &pgcluster.Options{Replicas: 1}, func(c *pgcluster.Cluster) {
		cluster, *databaseURL = c, c.Primary.DSN("postgres")
	})
}

// OpenStore opens a Store over the primary and the replica that closes with the test.
func OpenStore(t testing.TB) *sessionsql.Store {
	t.Helper()
	return openStoreAt(t, cluster.Primary.DSN("postgres"))
}

// openStoreAt is OpenStore with another DSN of the primary.
func openStoreAt(t testing.TB, primary string) *sessionsql.Store {
	t.Helper()
	options := sessiontest.Quiet()
	options.Timeout = 2 * time.Second
	// A test may hold the replica back and want its older rows, without a poll that tells of the newer ones.
	options.MaxReplicaLag = time.Minute
	options.NearCache.MaxStaleness = time.Minute
	store := sessiontest.OpenStore(t, primary, []string{cluster.Replicas[0].DSN("postgres")}, options)
	sessiontest.AwaitProbe(store)
	return store
}

// pools connect to the primary and the replica, past every Store.
func pools(t testing.TB) (primary, replica *sql.DB) {
	t.Helper()
	primary = testkit.OpenPool(t, cluster.Primary.DSN("postgres"))
	return primary, testkit.OpenPool(t, cluster.Replicas[0].DSN("postgres"))
}

// HoldReplica makes the replica replay all that was written, and nothing more before the test ends.
func HoldReplica(t testing.TB) {
	t.Helper()
	primary, replica := pools(t)
	sessiontest.WaitReplayed(t, primary, replica)
	run := func(command string) { _, err := replica.Exec("SELECT " + command); must(t, err) }
	run("pg_wal_replay_pause()")
	t.Cleanup(func() { run("pg_wal_replay_resume()") })
	testkit.Eventually(t, "replay is paused", func() bool {
		return testkit.Get[string](t, replica, "SELECT pg_get_wal_replay_pause_state()") == "paused"
	})
}

var subjects atomic.Int64

// Subject returns one that no other test has.
func Subject(name string) string { return name + "-" + strconv.FormatInt(subjects.Add(1), 10) }
