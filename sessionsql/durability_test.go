package sessionsql_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

// These tests stop the server processes that flush WAL on their own. A commit record is then on disk only if
// a commit has waited for it.

// A call is an SQL expression. Its braces name the sessions of a cast.
type call struct{ name, text string }

// logoutCalls are all calls that end {victim}. A rotate ends the old secret.
var logoutCalls = []call{
	{"end_session", `sessionsql.end_session({victim})`},
	{"revoke", `sessionsql.revoke(sessionsql.token_id({victim}), sessionsql.token_hash({victim}))`},
	{"revoke_batch", `(SELECT count(*) FROM sessionsql.revoke_batch(
		ARRAY[sessionsql.token_id({victim})], ARRAY[sessionsql.token_hash({victim})]))`},
	{"revoke_listed", `sessionsql.revoke_listed(
		sessionsql.token_id({mate}), sessionsql.token_hash({mate}), sessionsql.token_id({victim}))`},
	{"revoke_subject", `sessionsql.revoke_subject({subject})`},
	{"rotate", `sessionsql.rotate(
		sessionsql.token_id({victim}), sessionsql.token_hash({victim}), sha256('new'), grace => '0')`},
	{"eviction by insert", `sessionsql.insert(sha256('new'), 'p', subject => {subject}, max_sessions => 1)`},
	{"eviction by rotate", `sessionsql.rotate(
		sessionsql.token_id({mate}), sessionsql.token_hash({mate}), sha256('new'),
		subject => {subject}, max_sessions => 1)`},
}

// asynchronousCalls are all calls whose commit does not wait for the disk. A function that returns rows
// stands in a subselect, because a set in a target list repeats the other functions of the list.
var asynchronousCalls = []call{
	{"insert", `sessionsql.insert(sha256('new'), 'p'{durable})`},
	{"insert_batch", `(SELECT count(*) FROM sessionsql.insert_batch(
		ARRAY[sha256('new')], '{p}', '{1800}', '{NULL}', '{NULL}'{durable}))`},
	{"new_session", `sessionsql.new_session('p'{durable})`},
	{"update_payload", `sessionsql.update_payload(
		sessionsql.token_id({other}), sessionsql.token_hash({other}), 'q'{durable})`},
	{"update_payload_batch", `(SELECT count(*) FROM sessionsql.update_payload_batch(
		ARRAY[sessionsql.token_id({other})], ARRAY[sessionsql.token_hash({other})],
		'{q}', '{NULL}'{durable}))`},
	{"touch_batch", `sessionsql.touch_batch(ARRAY[sessionsql.token_id({other})]{durable})`},
	{"reap", `(SELECT sum(reaped) FROM sessionsql.reap(1000{durable}))`},
	{"cache_set", `sessionsql.cache_set('s', 'set', 'v'{durable})`},
	{"cache_add", `sessionsql.cache_add(gen_random_uuid(), 1, 'v', 60{durable})`},
	{"cache_increment", `sessionsql.cache_increment('s', 'number'{durable})`},
	{"cache_swap", `sessionsql.cache_swap(sessionsql.cache_key('s', 'swap'), sha256('old'), 'new'{durable})`},
	{"cache_touch", `sessionsql.cache_touch('s', 'touch', '1 hour'{durable})`},
	{"cache_delete", `sessionsql.cache_delete('s', 'delete'{durable})`},
	{"cache_clear", `sessionsql.cache_clear(sessionsql.cache_space_id('clear'){durable})`},
	{"cache_reap", `(SELECT sum(reaped) FROM sessionsql.cache_reap(1000{durable}))`},
}

// durably returns the call with durable => true.
func (c call) durably() call {
	return call{c.name + " durably", strings.ReplaceAll(c.text, "{durable}", ", durable => true")}
}

// A cast is the set of sessions that one transaction works on.
type cast struct {
	subject      string
	victim, mate string // tokens of two sessions of the subject
	other        string // token of an anonymous session that is due for a touch
}

// newCast makes a cast, with an expired session for reap and with entries for the calls of the cache.
func (d *lossyDatabase) newCast(t *testing.T) cast {
	t.Helper()
	d.casts++
	c := cast{subject: fmt.Sprint("subject", d.casts)}
	must(t, d.primary.QueryRow(`
		SELECT
		  sessionsql.new_session('p', subject => $1),
		  sessionsql.new_session('p', subject => $1),
		  sessionsql.new_session('p'),
		  sessionsql.new_session('p', idle_timeout => '1 microsecond')`,
		c.subject).Scan(&c.victim, &c.mate, &c.other, new(string)))
	d.setExpiry(idOf(t, sessionsql.Token(c.other)), "1 minute")
	d.primary.MustExec(`
		SELECT sessionsql.cache_set('s', 'swap', 'old');
		SELECT sessionsql.cache_set('s', 'touch', 'v', '1 minute');
		SELECT sessionsql.cache_set('s', 'delete', 'v');
		SELECT sessionsql.cache_set('clear', 'k', 'v');
		SELECT sessionsql.cache_set('s', 'dead', 'v', '-1 second');
		UPDATE sessionsql.cache_reaper SET next_page = 0;
		DELETE FROM sessionsql.cache_entry WHERE value IS NULL;
		SELECT sessionsql.cache_set('s', 'victim', 'v')`)
	return c
}

// texts puts the cast's tokens into the calls. An answer as text has one form in every protocol.
func (c cast) texts(calls ...call) (texts []string) {
	names := strings.NewReplacer("{subject}", quoted(c.subject), "{victim}", quoted(c.victim),
		"{mate}", quoted(c.mate), "{other}", quoted(c.other), "{durable}", "")
	for _, call := range calls {
		texts = append(texts, fmt.Sprintf("(%s)::text", names.Replace(call.text)))
	}
	return texts
}

func quoted(word string) string { return "'" + word + "'" }

// A shape is a way to make several calls in one transaction. It returns the answers.
type shape struct {
	name string
	run  func(ctx context.Context, conn *pgx.Conn, texts []string) ([]string, error)
}

var shapes = []shape{
	{"one statement", func(ctx context.Context, conn *pgx.Conn, texts []string) ([]string, error) {
		return sendEach(ctx, conn, "SELECT "+strings.Join(texts, ", "))
	}},
	{"one query string", func(ctx context.Context, conn *pgx.Conn, texts []string) ([]string, error) {
		results, err := conn.PgConn().Exec(ctx, "SELECT "+strings.Join(texts, "; SELECT ")).ReadAll()
		return answersIn(results...), err
	}},
	{"a transaction block", func(ctx context.Context, conn *pgx.Conn, texts []string) ([]string, error) {
		statements := []string{"BEGIN"}
		for _, text := range texts {
			statements = append(statements, "SELECT "+text)
		}
		return sendEach(ctx, conn, append(statements, "COMMIT")...)
	}},
	{"a pipeline", func(ctx context.Context, conn *pgx.Conn, texts []string) ([]string, error) {
		answers, batch := make([]string, len(texts)), &pgx.Batch{}
		for i, text := range texts {
			batch.Queue("SELECT " + text).QueryRow(func(row pgx.Row) error { return row.Scan(&answers[i]) })
		}
		return answers, conn.SendBatch(ctx, batch).Close()
	}},
	{"savepoints", func(ctx context.Context, conn *pgx.Conn, texts []string) ([]string, error) {
		statements := []string{"BEGIN"}
		for _, text := range texts {
			statements = append(statements, "SAVEPOINT a", "SELECT "+text, "RELEASE a")
		}
		return sendEach(ctx, conn, append(statements, "COMMIT")...)
	}},
}

// sendEach sends each statement by the extended protocol.
func sendEach(ctx context.Context, conn *pgx.Conn, statements ...string) (answers []string, err error) {
	for _, statement := range statements {
		result := conn.PgConn().ExecParams(ctx, statement, nil, nil, nil, nil).Read()
		if result.Err != nil {
			return nil, fmt.Errorf("%s: %w", statement, result.Err)
		}
		answers = append(answers, answersIn(result)...)
	}
	return answers, nil
}

func answersIn(results ...*pgconn.Result) (answers []string) {
	for _, result := range results {
		for _, row := range result.Rows {
			for _, value := range row {
				answers = append(answers, string(value))
			}
		}
	}
	return answers
}

// A lossyDatabase belongs to a server whose crash loses every commit that did not wait for the disk. The
// caller makes the calls, and the watcher reads the flush position of the WAL.
type lossyDatabase struct {
	*database
	caller, watcher *pgx.Conn
	casts           int
}

// newLossyDatabase starts a cluster whose background processes sleep for as long as PostgreSQL allows.
func newLossyDatabase(t *testing.T) *lossyDatabase {
	t.Helper()
	cluster := sessiontest.StartCluster(t, &pgcluster.Options{Settings: map[string]string{
		"wal_writer_delay": "10s", "bgwriter_delay": "10s", "checkpoint_timeout": "1h", "autovacuum": "off",
	}})
	d := &lossyDatabase{database: newDatabaseIn(t, cluster)}
	d.primary.MustExec(`
		CREATE TABLE own (n integer);
		CREATE FUNCTION own_write() RETURNS integer LANGUAGE sql AS 'INSERT INTO own VALUES (1) RETURNING n'`)
	d.stopFlushing(t)
	return d
}

// stopFlushing connects the caller and the watcher, and stops the WAL writer and the background writer. It
// stops them while they sleep, because a stopped process keeps its locks.
func (d *lossyDatabase) stopFlushing(t *testing.T) {
	t.Helper()
	d.caller, d.watcher = connect(t, d.PrimaryDSN()), connect(t, d.PrimaryDSN())
	eventually(t, "the WAL writer and the background writer sleep", func() bool {
		return get[int](t, d.primary, `
			SELECT count(*)
			FROM pg_stat_activity
			WHERE backend_type IN ('walwriter', 'background writer') AND wait_event_type = 'Activity'`) == 2
	})
	// The names of both processes contain this word.
	must(t, d.Cluster.Primary.Signal("writer", syscall.SIGSTOP))
	// The first run may write WAL, because it reads the catalog.
	d.flushed(t)
}

// connect opens a connection without prepared statements, so that a batch is one pipeline with one Sync.
func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	must(t, err)
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// flushed reports whether all WAL is on disk. After a record that ends with its page, the insert position
// lies behind the header of the next page, and no record is missing.
func (d *lossyDatabase) flushed(t *testing.T) bool {
	t.Helper()
	var inserted, flushed, page int64
	must(t, d.watcher.QueryRow(t.Context(), `
		SELECT
		  pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint,
		  pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint,
		  current_setting('wal_block_size')::bigint`).Scan(&inserted, &flushed, &page))
	const shortHeader, longHeader = 24, 40
	missing := inserted - flushed
	return missing == 0 || flushed%page == 0 && (missing == shortHeader || missing == longHeader)
}

// setDefault sets synchronous_commit for the caller's connection.
func (d *lossyDatabase) setDefault(t *testing.T, synchronousCommit string) {
	t.Helper()
	_, err := d.caller.Exec(t.Context(), "SET synchronous_commit = "+synchronousCommit)
	must(t, err)
}

// commit makes the calls in one transaction, checks each answer, and reports whether the commit is on disk.
func (d *lossyDatabase) commit(t *testing.T, s shape, c cast, calls ...call) bool {
	t.Helper()
	answers, err := s.run(t.Context(), d.caller, c.texts(calls...))
	flushed := d.flushed(t)
	must(t, err)
	if len(answers) != len(calls) {
		t.Fatalf("%s: %s: answers %q", s.name, named(calls), answers)
	}
	for i, answer := range answers {
		if slices.Contains([]string{"", "false", "-1", "0"}, answer) {
			t.Fatalf("%s: %s: %s answers %q", s.name, named(calls), calls[i].name, answer)
		}
	}
	return flushed
}

// named returns the names of calls in their order.
func named(calls []call) string {
	var names []string
	for _, call := range calls {
		names = append(names, call.name)
	}
	return strings.Join(names, ", then ")
}

// opens reports whether a token opens a session.
func (d *lossyDatabase) opens(t *testing.T, token string) bool {
	t.Helper()
	return get[bool](t, d.primary, "SELECT EXISTS (SELECT FROM sessionsql.find_session($1))", token)
}

func TestALogoutIsOnDiskWhateverAsynchronousCallSharesItsTransaction(t *testing.T) {
	d := newLossyDatabase(t)
	count := 0
	for _, synchronousCommit := range []string{"on", "off"} {
		d.setDefault(t, synchronousCommit)
		check := func(s shape, calls ...call) {
			c := d.newCast(t)
			if !d.commit(t, s, c, calls...) {
				t.Errorf("%s: %s: the commit is not on disk", s.name, named(calls))
			}
			if d.opens(t, c.victim) || !d.opens(t, c.other) {
				t.Errorf("%s: %s: ended the wrong sessions", s.name, named(calls))
			}
			count++
		}
		for _, s := range shapes {
			for _, logout := range logoutCalls {
				check(s, logout)
				for _, asynchronous := range asynchronousCalls {
					check(s, logout, asynchronous)
					check(s, asynchronous, logout)
				}
			}
		}
	}
	t.Logf("the log has %d transactions", count)
}

func TestALogoutSurvivesACrashBesideAnAsynchronousCall(t *testing.T) {
	d := newLossyDatabase(t)
	random := seeded(t)
	// Savepoints are left out, because they commit as a transaction block does.
	for _, s := range shapes[:len(shapes)-1] {
		// Each shape meets every logout once.
		lasts := random.Perm(len(asynchronousCalls))
		for i, logout := range logoutCalls {
			last := asynchronousCalls[lasts[i]]
			t.Run(fmt.Sprintf("%s, %s, %s", s.name, logout.name, last.name), func(t *testing.T) {
				d.primary = open(t, d.PrimaryDSN())
				c := d.newCast(t)
				flush(t, d.primary)
				d.stopFlushing(t)
				flushed := d.commit(t, s, c, logout, last)
				lost := get[string](t, d.primary, "SELECT sessionsql.new_session('lost')")
				must(t, d.Cluster.Primary.Kill())
				must(t, d.Cluster.Primary.Start(t.Context()))
				d.primary = open(t, d.PrimaryDSN())
				back := d.opens(t, c.victim)
				if back {
					t.Error("the revoked session is back")
				}
				if back == flushed {
					t.Errorf("the crash and the flush position disagree: flushed %v, back %v", flushed, back)
				}
				if !d.opens(t, c.other) {
					t.Error("another session is lost")
				}
				if d.opens(t, lost) {
					t.Error("an asynchronous commit is kept, so this test proves nothing")
				}
			})
		}
	}
}

// finalDeletes are all calls that end an entry for good.
var finalDeletes = []call{
	{"cache_delete", `sessionsql.cache_delete('s', 'victim', true)`},
	{"cache_delete_batch", `(SELECT count(*) FROM sessionsql.cache_delete_batch(
		ARRAY[sessionsql.cache_key('s', 'victim')], true))`},
	{"cache_clear", `sessionsql.cache_clear(sessionsql.cache_space_id('s'), true)`},
	{"cache_swap", `sessionsql.cache_swap(
		sessionsql.cache_key('s', 'victim'), sha256('v'), NULL, final => true)`},
}

func TestAFinalDeleteIsOnDiskAndSurvivesACrash(t *testing.T) {
	d := newLossyDatabase(t)
	for _, synchronousCommit := range []string{"on", "off"} {
		d.setDefault(t, synchronousCommit)
		for _, s := range shapes {
			for _, final := range finalDeletes {
				for _, calls := range [][]call{
					{final}, {final, asynchronousCalls[0]}, {asynchronousCalls[0], final},
				} {
					if !d.commit(t, s, d.newCast(t), calls...) {
						t.Errorf("%s: %s: the commit is not on disk", s.name, named(calls))
					}
				}
			}
		}
	}
	for _, final := range finalDeletes {
		d.newCast(t)
		flush(t, d.primary)
		d.primary.MustExec("SELECT " + final.text)
		d.primary.MustExec("SELECT sessionsql.cache_set('s', 'lost', 'v')")
		must(t, d.Cluster.Primary.Kill())
		must(t, d.Cluster.Primary.Start(t.Context()))
		d.primary = open(t, d.PrimaryDSN())
		if got := d.cacheValue(t, "victim"); got != "none" {
			t.Errorf("%s: the crash brought the entry back as %q", final.name, got)
		}
		if get[bool](t, d.primary, "SELECT sessionsql.cache_set('s', 'victim', 'late')") {
			t.Errorf("%s: the crash lost the tombstone", final.name)
		}
		if got := d.cacheValue(t, "lost"); got != "none" {
			t.Error("an asynchronous commit is kept, so this test proves nothing")
		}
		d.stopFlushing(t)
	}
}

// This test shows that the tests above can fail.
func TestAnAsynchronousCallAloneDoesNotWaitForTheDisk(t *testing.T) {
	d := newLossyDatabase(t)
	for _, s := range shapes {
		for _, asynchronous := range asynchronousCalls {
			if d.commit(t, s, d.newCast(t), asynchronous) {
				t.Errorf("%s: %s waits for the disk", s.name, asynchronous.name)
			}
			if !d.commit(t, s, d.newCast(t), asynchronous.durably()) {
				t.Errorf("%s: %s is not on disk", s.name, asynchronous.durably().name)
			}
		}
	}
}

// ownWrite is a call that writes to a table of the caller.
var ownWrite = call{"the caller's write", "own_write()"}

func TestAnAsynchronousCallLeavesWhatWasWrittenBeforeDurable(t *testing.T) {
	d := newLossyDatabase(t)
	for _, s := range shapes {
		for _, asynchronous := range asynchronousCalls {
			calls := []call{ownWrite, asynchronous}
			if !d.commit(t, s, d.newCast(t), calls...) {
				t.Errorf("%s: %s: the commit is not on disk", s.name, named(calls))
			}
			slices.Reverse(calls)
			if d.commit(t, s, d.newCast(t), calls...) {
				t.Errorf("%s: %s: the commit is on disk", s.name, named(calls))
			}
		}
	}
}

func TestADurableCallLeavesTheTransactionAsDurableAsItWas(t *testing.T) {
	d := newLossyDatabase(t)
	for _, synchronousCommit := range []string{"on", "off"} {
		d.setDefault(t, synchronousCommit)
		for _, s := range shapes {
			for _, asynchronous := range asynchronousCalls {
				durable := asynchronous.durably()
				for _, calls := range [][]call{{durable}, {durable, ownWrite}, {ownWrite, durable}} {
					if got := d.commit(t, s, d.newCast(t), calls...); got != (synchronousCommit == "on") {
						t.Errorf("synchronous_commit %s, %s: %s: on disk: %v",
							synchronousCommit, s.name, named(calls), got)
					}
				}
			}
		}
	}
}
