package sessionsql_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

// shared is a primary and a replica for every test that does not harm them. Each test has its own database.
var shared *pgcluster.Cluster

// primaryDSN and replicaDSN lead the examples to a database with the bundle.
var primaryDSN, replicaDSN string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	shared, err = sessiontest.StartWithBundle(context.Background(), &pgcluster.Options{Replicas: 1})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = shared.Close() }()
	primaryDSN, replicaDSN = shared.Primary.DSN("postgres"), shared.Replicas[0].DSN("postgres")
	return m.Run()
}

// These helpers have short names here, because most tests use them.
var (
	must         = testkit.Must
	eventually   = testkit.Eventually
	seeded       = testkit.Random
	flush        = sessiontest.Flush
	quiet        = sessiontest.Quiet
	waitReplayed = sessiontest.WaitReplayed
)

// A database is a test's own, with pools for a look past the Stores.
type database struct {
	*sessiontest.Database
	primary *sqlx.DB
	replica *sqlx.DB // nil without a replica

	// A router has these.
	shards []*database
	appDSN string // of a user with the role of an application
}

// router is what newDatabase returns while TestTheStoresSuiteThroughARouter runs.
var router *database

// newDatabase makes a database with the bundle on the shared servers.
func newDatabase(t testing.TB) *database {
	t.Helper()
	if router != nil {
		router.empty(t)
		return router
	}
	return newDatabaseIn(t, shared)
}

// Store opens a Store over the primary and the replicas, or over a router, which closes with the test. Nil
// means quiet.
func (d *database) Store(t testing.TB, options *sessionsql.Options) *sessionsql.Store {
	t.Helper()
	if d.shards != nil {
		return sessiontest.OpenStore(t, d.appDSN, nil, options)
	}
	return d.Database.Store(t, options)
}

// tables are the databases that hold the rows: the shards of a router, or the database itself.
func (d *database) tables() []*database {
	if d.shards != nil {
		return d.shards
	}
	return []*database{d}
}

func newDatabaseIn(t testing.TB, cluster *pgcluster.Cluster) *database {
	t.Helper()
	return withPools(t, sessiontest.NewDatabase(t, cluster))
}

// emptyDatabaseIn makes a database without the bundle.
func emptyDatabaseIn(t testing.TB, cluster *pgcluster.Cluster) *database {
	t.Helper()
	return withPools(t, sessiontest.NewEmptyDatabase(t, cluster))
}

func withPools(t testing.TB, inner *sessiontest.Database) *database {
	t.Helper()
	d := &database{Database: inner, primary: open(t, inner.PrimaryDSN())}
	if dsns := inner.ReplicaDSNs(); len(dsns) > 0 {
		d.replica = open(t, dsns[0])
	}
	return d
}

// open opens a pool that closes with the test.
func open(t testing.TB, dsn string) *sqlx.DB {
	t.Helper()
	return sqlx.NewDb(testkit.OpenPool(t, dsn), "pgx")
}

// nobodyDSN leads to a port where nobody listens, so a call that sends SQL is unavailable.
const nobodyDSN = "postgres://nobody@127.0.0.1:1/none?sslmode=disable&connect_timeout=5"

func nowhere(t testing.TB) *sqlx.DB { t.Helper(); return open(t, nobodyDSN) }

// wellFormed is a token in the right form. It opens nothing.
const wellFormed = sessionsql.Token("AAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAA")

// get returns the one row of a query. Unlike testkit.Get it fills structs too.
func get[T any](t testing.TB, pool sqlx.Queryer, query string, args ...any) T {
	t.Helper()
	var value T
	if err := sqlx.Get(pool, &value, query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

// countAll counts the sessions, alive or expired.
func (d *database) countAll(t testing.TB) int { t.Helper(); return d.countWhere(t, "true") }

// countWhere counts the sessions that meet a condition in SQL.
func (d *database) countWhere(t testing.TB, condition string, args ...any) int {
	t.Helper()
	return get[int](t, d.primary, "SELECT count(*) FROM sessionsql.session AS s WHERE "+condition, args...)
}

// liveOn counts the live sessions that a server has.
func liveOn(t testing.TB, pool sqlx.Queryer) int {
	t.Helper()
	return get[int](t, pool, "SELECT count(*) FROM sessionsql.live_session")
}

// liveOf counts the live sessions of a subject.
func liveOf(t testing.TB, pool sqlx.Queryer, subject string) int {
	t.Helper()
	return get[int](t, pool, "SELECT count(*) FROM sessionsql.live_session AS s WHERE s.subject = $1",
		subject)
}

// conn takes a connection out of the pool until the test ends.
func (d *database) conn(t testing.TB) *sqlx.Conn {
	t.Helper()
	conn, err := d.primary.Connx(t.Context())
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// execute runs a statement that must succeed on one connection.
func execute(t testing.TB, conn *sqlx.Conn, statement string, args ...any) {
	t.Helper()
	if _, err := conn.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	must(t, err)
	return string(text)
}

// pretendOlder makes the next installation replace everything that an upgrade replaces.
func (d *database) pretendOlder() {
	d.primary.MustExec(`CREATE OR REPLACE FUNCTION sessionsql.version() RETURNS text
		LANGUAGE sql IMMUTABLE RETURN '0.1.9'::text`)
}

// closeStore closes a Store, which must succeed.
func closeStore(t testing.TB, store *sessionsql.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	must(t, store.Close(ctx))
}

func mustInsert(
	t testing.TB, store *sessionsql.Store, payload string, own *sessionsql.InsertOptions,
) sessionsql.Token {
	t.Helper()
	token, err := store.Insert(t.Context(), payload, own)
	must(t, err)
	return token
}

func mustInsertTx(
	t testing.TB, store *sessionsql.Store, tx *sqlx.Tx, payload string, own *sessionsql.InsertOptions,
) sessionsql.Token {
	t.Helper()
	token, err := store.InsertTx(t.Context(), tx, payload, own)
	must(t, err)
	return token
}

func mustLookup(t testing.TB, store *sessionsql.Store, token sessionsql.Token) sessionsql.Session {
	t.Helper()
	sess, err := store.Lookup(t.Context(), token)
	must(t, err)
	return sess
}

func mustUpdate(
	t testing.TB, store *sessionsql.Store, token sessionsql.Token, payload string, version int32,
) {
	t.Helper()
	_, err := store.Update(t.Context(), token, payload, version)
	must(t, err)
}

func mustRotate(
	t testing.TB, store *sessionsql.Store, token sessionsql.Token, own *sessionsql.RotateOptions,
) sessionsql.Token {
	t.Helper()
	renewed, err := store.Rotate(t.Context(), token, own)
	must(t, err)
	return renewed
}

func mustList(
	t testing.TB, store *sessionsql.Store, subject string, current sessionsql.Token,
) []sessionsql.SubjectSession {
	t.Helper()
	list, err := store.ListSubject(t.Context(), subject, current)
	must(t, err)
	return list
}

func mustReap(t testing.TB, store *sessionsql.Store) sessionsql.ReapResult {
	t.Helper()
	result, err := store.Reap(t.Context())
	must(t, err)
	return result
}

// raw returns the 24 bytes of a token.
func raw(t testing.TB, token sessionsql.Token) []byte {
	t.Helper()
	bytes, err := base64.RawURLEncoding.DecodeString(string(token))
	must(t, err)
	return bytes
}

func idOf(t testing.TB, token sessionsql.Token) int64 {
	t.Helper()
	return int64(binary.BigEndian.Uint64(raw(t, token)))
}

// loginAs makes a session of a subject, whose name is its payload too.
func loginAs(t testing.TB, store *sessionsql.Store, subject string) sessionsql.Token {
	t.Helper()
	return mustInsert(t, store, subject, &sessionsql.InsertOptions{Subject: subject})
}

// atOnce runs work in n goroutines and waits for all of them.
func atOnce(n int, work func(i int)) {
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { work(i) })
	}
	wait.Wait()
}

// underLoad does something while eight callers use a Store, and checks that no call fails.
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
					t.Errorf("a call under load failed: %v", err)
					return
				}
			}
		})
	}
	do()
	stop()
	wait.Wait()
}

// users numbers the users of the databases, because all databases of a cluster share their users.
var users atomic.Int64

// fill makes sessions 1 to n that expire in the given interval, with an idle timeout of 30 minutes, and
// returns their ids, which grow on one primary. The secret of session n is the text of n, so its hash is
// sha256(n).
func (d *database) fill(t testing.TB, n int, expiresIn string) []int64 {
	t.Helper()
	ids, tables := make([]int64, n), d.tables()
	for i, table := range tables {
		var made []int64
		must(t, table.primary.Select(&made, `
			WITH made AS (
			  INSERT INTO sessionsql.session AS s (
			    expires_at, created_at, idle_seconds, version, secret_hash, payload
			  )
			  SELECT now() + $4::interval, now(), 1800, 1, sha256(n::text::bytea), n::text || repeat('x', 200)
			  FROM generate_series($1::integer, $2, $3) AS n
			  RETURNING s.id
			)
			SELECT m.id FROM made AS m ORDER BY m.id`, i+1, n, len(tables), expiresIn))
		for j, id := range made {
			ids[i+j*len(tables)] = id
		}
	}
	return ids
}

func arrayOf(ids []int64) string {
	text := make([]string, len(ids))
	for i, id := range ids {
		text[i] = strconv.FormatInt(id, 10)
	}
	return "{" + strings.Join(text, ",") + "}"
}
