package sessionsql_test

import (
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/db/native"
	"github.com/sessionsql/postgres/sessionsql"
)

func TestNoSessionUnwrapsToErrNoRows(t *testing.T) {
	if !errors.Is(sessionsql.ErrNoSession, sql.ErrNoRows) {
		t.Error("ErrNoSession does not unwrap to sql.ErrNoRows")
	}
	if errors.Is(sessionsql.ErrUnavailable, sql.ErrNoRows) {
		t.Error("ErrUnavailable unwraps to sql.ErrNoRows")
	}
	if !errors.Is(sessionsql.ErrReadOnly, sessionsql.ErrUnavailable) {
		t.Error("ErrReadOnly does not unwrap to ErrUnavailable")
	}
}

func TestLookupPlansAnIndexScanByIDAlone(t *testing.T) {
	d := newDatabase(t)
	d.fill(t, 10_000, "1 hour")
	d.primary.MustExec("ANALYZE sessionsql.session")
	var plan []string
	must(t, d.primary.Select(&plan, "EXPLAIN SELECT * FROM sessionsql.lookup(77, sha256('77'))"))
	text := strings.Join(plan, "\n")
	if !strings.Contains(text, "Index Cond: (id = ") || strings.Contains(text, "Function Scan") {
		t.Errorf("lookup is not inlined into an index scan:\n%s", text)
	}
}

// A prepared batch keeps one plan for every length, and finds rows by id after the table has grown.
func TestLookupBatchOfAnyLengthHasOnePlan(t *testing.T) {
	for name, withRoles := range map[string]bool{"inlined": false, "definer": true} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t)
			if withRoles {
				installRoles(t, d.primary)
			}
			conn := d.conn(t)
			lookUp := func(on db.DBTX, ids []int64) int {
				params := db.LookupBatchParams{IDs: ids}
				for _, id := range ids {
					params.SecretHashes = append(params.SecretHashes,
						sha256.Sum256([]byte(strconv.FormatInt(id, 10))))
				}
				rows, err := db.New().LookupBatch(t.Context(), on, params)
				must(t, err)
				var hashes [][]byte
				for i := range params.SecretHashes {
					hashes = append(hashes, params.SecretHashes[i][:])
				}
				must(t, conn.Raw(func(c any) error {
					again, err := native.New().LookupBatch(t.Context(), c.(*stdlib.Conn).Conn(), ids, hashes)
					if len(again) != len(rows) {
						t.Errorf("pgx found %d of %d", len(again), len(rows))
					}
					return err
				}))
				return len(rows)
			}
			for n := range 12 {
				lookUp(conn, make([]int64, 1+5*n))
			}
			var plans []struct{ Generic, Custom int64 }
			must(t, conn.SelectContext(t.Context(), &plans, `
				SELECT generic_plans AS generic, custom_plans AS custom
				FROM pg_prepared_statements WHERE statement LIKE '-- name: LookupBatch%'`))
			if len(plans) != 2 {
				t.Errorf("the server has %d statements, want one of each exec mode", len(plans))
			}
			for _, each := range plans {
				// the server makes five custom plans before it compares
				if each.Generic == 0 || each.Custom > 5 {
					t.Errorf("the server planned the statement again: %+v", each)
				}
			}

			ids := d.fill(t, 10_000, "1 hour")
			type scans struct{ Table, Index int64 }
			for _, analyzed := range []bool{false, true} {
				if analyzed {
					d.primary.MustExec("ANALYZE sessionsql.session")
				}
				for _, n := range []int{1, 2, 64, 5000} {
					tx, err := conn.BeginTxx(t.Context(), nil)
					must(t, err)
					count := func() scans {
						return get[scans](t, tx, `
							SELECT seq_scan AS table, idx_scan AS index FROM pg_stat_xact_user_tables
							WHERE schemaname = 'sessionsql' AND relname = 'session'`)
					}
					before := count()
					if found := lookUp(tx, ids[:n]); found != n {
						t.Errorf("found %d of %d", found, n)
					}
					after := count()
					if after.Table != before.Table || after.Index != before.Index+2*int64(n) {
						t.Errorf("analyzed %v: a batch of %d went from %+v to %+v",
							analyzed, n, before, after)
					}
					must(t, tx.Rollback())
				}
			}
		})
	}
}

func TestLookupReadsFromTheReplica(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	token := mustInsert(t, store, "p", nil)
	d.CatchUp(t)
	for range 10 {
		mustLookup(t, store, token)
	}
	stats := store.Stats()
	if stats.ReplicaReads != 10 || stats.PrimaryReads != 0 || !stats.Replicas[0].Usable {
		t.Errorf("the replica did not answer every lookup: %+v", stats)
	}
}

func TestReplicaMissIsAskedAgainOnThePrimary(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	d.replica.MustExec("SELECT pg_wal_replay_pause()")
	defer d.replica.MustExec("SELECT pg_wal_replay_resume()")
	tokens := make([]sessionsql.Token, 200)
	for i := range tokens {
		tokens[i] = mustInsert(t, store, fmt.Sprint(i), nil)
	}
	var wait sync.WaitGroup
	for i, token := range tokens {
		wait.Go(func() {
			if sess, err := store.Lookup(t.Context(), token); err != nil || sess.Payload != fmt.Sprint(i) {
				t.Errorf("lookup %d returned payload %q and error %v", i, sess.Payload, err)
			}
		})
	}
	wait.Wait()
	if stats := store.Stats(); stats.ReplicaMisses != 200 || stats.PrimaryReads != 200 {
		t.Errorf("not every lookup went to both servers: %+v", stats)
	}
}

func TestOwnWritesAreNeverReadBackOlder(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	kept := mustInsert(t, store, "old", nil)
	ended := mustInsert(t, store, "old", nil)
	d.CatchUp(t)
	mustLookup(t, store, kept)

	d.replica.MustExec("SELECT pg_wal_replay_pause()")
	mustUpdate(t, store, kept, "new", 1)
	must(t, store.Revoke(t.Context(), ended))
	for range 100 {
		sess, err := store.Lookup(t.Context(), kept)
		if err != nil || sess.Payload != "new" || sess.Version != 2 {
			t.Fatalf("after an update: %q, version %d, %v", sess.Payload, sess.Version, err)
		}
		if _, err := store.Lookup(t.Context(), ended); err != sessionsql.ErrNoSession {
			t.Fatalf("after a revoke: %v", err)
		}
	}
	d.replica.MustExec("SELECT pg_wal_replay_resume()")
	d.CatchUp(t)
	before := store.Stats().ReplicaReads
	eventually(t, "the replica is read from again", func() bool {
		sess, err := store.Lookup(t.Context(), kept)
		if err != nil || sess.Payload != "new" {
			t.Fatalf("Lookup returned payload %q and error %v", sess.Payload, err)
		}
		return store.Stats().ReplicaReads > before
	})
}

func TestTwoSecretsForOneIDNeverCross(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	store := d.Store(t, nil)
	tokens := make([]sessionsql.Token, 8)
	for i := range tokens {
		tokens[i] = mustInsert(t, store, fmt.Sprint(i), nil)
	}
	d.CatchUp(t)
	picks := make([][]int, 64)
	for i := range picks {
		picks[i] = random.Perm(len(tokens) * 2)
	}
	var wait sync.WaitGroup
	for _, pick := range picks {
		wait.Go(func() {
			for range 20 {
				for _, i := range pick {
					token, forged := tokens[i/2], i%2 == 1
					if forged {
						token = token[:31] +
							map[bool]sessionsql.Token{true: "B", false: "A"}[token[31] == 'A']
					}
					sess, err := store.Lookup(t.Context(), token)
					if forged && err != sessionsql.ErrNoSession {
						t.Errorf("a forged secret opens %q, %v", sess.Payload, err)
					}
					if !forged && (err != nil || sess.Payload != fmt.Sprint(i/2)) {
						t.Errorf("token %d opens %q, %v", i/2, sess.Payload, err)
					}
				}
			}
		})
	}
	wait.Wait()
}

func TestExpiredSessionsAreInvisibleAtOnce(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	token := mustInsert(t, store, "p", nil)
	d.primary.MustExec("UPDATE sessionsql.session SET expires_at = clock_timestamp()")
	d.CatchUp(t)
	if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
		t.Errorf("Lookup: %v", err)
	}
	_, err := store.Update(t.Context(), token, "late", sessionsql.AnyVersion)
	if err != sessionsql.ErrNoSession {
		t.Errorf("Update: %v", err)
	}
	if err := store.Revoke(t.Context(), token); err != sessionsql.ErrNoSession {
		t.Errorf("Revoke: %v", err)
	}
	if n := liveOn(t, d.primary); n != 0 {
		t.Errorf("live_session has %d rows", n)
	}
}
