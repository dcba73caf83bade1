package sessionsql_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

func TestUpdateTellsUpdatedConflictAndGoneApart(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	token := mustInsert(t, store, "1", nil)
	if version, err := store.Update(t.Context(), token, "2", 1); err != nil || version != 2 {
		t.Errorf("Update at the right version: version %d, error %v", version, err)
	}
	if _, err := store.Update(t.Context(), token, "late", 1); !errors.Is(err, sessionsql.ErrConflict) {
		t.Errorf("Update at an old version: %v", err)
	}
	if version, err := store.Update(t.Context(), token, "3", sessionsql.AnyVersion); err != nil ||
		version != 3 {
		t.Errorf("Update at any version: version %d, error %v", version, err)
	}
	if sess, err := store.Lookup(t.Context(), token); err != nil || sess.Payload != "3" || sess.Version != 3 {
		t.Errorf("payload %q, version %d, error %v", sess.Payload, sess.Version, err)
	}
	must(t, store.Revoke(t.Context(), token))
	for _, version := range []int32{3, sessionsql.AnyVersion} {
		if _, err := store.Update(t.Context(), token, "late", version); err != sessionsql.ErrNoSession {
			t.Errorf("Update of a revoked session: %v", err)
		}
	}
	if n := d.countAll(t); n != 0 {
		t.Error("a late write brought a session back")
	}
}

func TestConcurrentUpdatesLoseNothing(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	token := mustInsert(t, store, "0", nil)
	const callers, rounds = 16, 20
	var wait sync.WaitGroup
	for range callers {
		wait.Go(func() {
			for done := 0; done < rounds; {
				sess, err := store.Lookup(t.Context(), token)
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(sess.Payload)
				_, err = store.Update(t.Context(), token, strconv.Itoa(n+1), sess.Version)
				switch {
				case err == nil:
					done++
				case !errors.Is(err, sessionsql.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	if sess, err := store.Lookup(t.Context(), token); err != nil ||
		sess.Payload != strconv.Itoa(callers*rounds) {
		t.Errorf("payload %q, error %v; want %d", sess.Payload, err, callers*rounds)
	}
}

func TestBatchOfUpdatesWritesOnlyWhatALoneOneWould(t *testing.T) {
	d := newDatabase(t)
	ids := d.fill(t, 7, "1 minute")
	const live, otherVersion, anyVersion, otherSecret, expired, locked, late = 0, 1, 2, 3, 4, 5, 6
	d.setExpiry(ids[expired], "0")
	d.primary.MustExec(`UPDATE sessionsql.session SET deadline = now() + interval '1 minute'
		WHERE id = $1`, ids[late])
	lock := d.primary.MustBegin()
	defer func() { _ = lock.Rollback() }()
	lock.MustExec("SELECT FROM sessionsql.session WHERE id = $1 FOR NO KEY UPDATE", ids[locked])

	params := db.UpdatePayloadBatchParams{IDs: append(ids, 1<<40)} // the last id does not exist
	for i := range params.IDs {
		secret := strconv.Itoa(i + 1)
		if i == otherSecret {
			secret = "guessed"
		}
		params.SecretHashes = append(params.SecretHashes, sha256.Sum256([]byte(secret)))
		params.Payloads = append(params.Payloads, fmt.Sprint("{\"it's\", ", i))
		params.ExpectedVersions = append(params.ExpectedVersions,
			sql.NullInt32{Int32: 1, Valid: i != anyVersion})
	}
	params.ExpectedVersions[otherVersion].Int32 = 7
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // it would wait for the lock otherwise
	defer cancel()
	written, err := db.New().UpdatePayloadBatch(ctx, d.primary, params)
	must(t, err)
	want := []db.PayloadVersion{
		{ID: ids[live], Version: 2},
		{ID: ids[anyVersion], Version: 2},
		{ID: ids[late], Version: 2},
	}
	for _, each := range [][]db.PayloadVersion{written, want} {
		slices.SortFunc(each, func(a, b db.PayloadVersion) int { return cmp.Compare(a.ID, b.ID) })
	}
	if !slices.Equal(written, want) {
		t.Errorf("the written sessions are %v, want %v", written, want)
	}
	for i, id := range ids {
		row := get[struct {
			Payload string
			Version int
		}](t, d.primary, "SELECT payload, version FROM sessionsql.session WHERE id = $1", id)
		if i == live || i == anyVersion || i == late {
			if row.Payload != params.Payloads[i] || row.Version != 2 {
				t.Errorf("session %d is %+v", i, row)
			}
		} else if strings.HasPrefix(row.Payload, "{") || row.Version != 1 {
			t.Errorf("session %d was written: %+v", i, row)
		}
	}
	if left := d.expiresIn(t, ids[live]); left < 2390 {
		t.Errorf("the update did not extend the session: %v seconds left", left)
	}
	if left := d.expiresIn(t, ids[late]); left > 60 {
		t.Errorf("the update extended the session past its deadline: %v seconds left", left)
	}
}

// Callers update at the same moment, some of them one session. Each learns the result of its own update.
func TestConcurrentUpdatesOfManySessionsLoseNothing(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	stores := []*sessionsql.Store{d.Store(t, nil), d.Store(t, nil)}
	tokens := make([]sessionsql.Token, 40)
	for i := range tokens {
		tokens[i] = mustInsert(t, stores[0], "0", nil)
	}
	const callers, rounds = 64, 30
	var written [40]atomic.Int64
	var conflicts atomic.Int64
	var wait sync.WaitGroup
	for caller := range callers {
		own := testkit.Fork(random)
		store := stores[caller%len(stores)]
		wait.Go(func() {
			for range rounds {
				i := own.IntN(len(tokens))
				sess, err := store.Lookup(t.Context(), tokens[i])
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(sess.Payload)
				if int32(n+1) != sess.Version {
					t.Errorf("payload %q at version %d", sess.Payload, sess.Version)
				}
				version, err := store.Update(t.Context(), tokens[i], strconv.Itoa(n+1), sess.Version)
				switch {
				case err == nil && version == sess.Version+1:
					written[i].Add(1)
				case err == sessionsql.ErrConflict:
					conflicts.Add(1)
				default:
					t.Errorf("version %d after %d, %v", version, sess.Version, err)
				}
			}
		})
	}
	wait.Wait()
	for i, token := range tokens {
		sess := mustLookup(t, stores[0], token)
		if want := strconv.FormatInt(written[i].Load(), 10); sess.Payload != want {
			t.Errorf("session %d: %q, want %q", i, sess.Payload, want)
		}
	}
	t.Logf("%d conflicts", conflicts.Load())
}

func TestALockedSessionHoldsUpNoOtherUpdate(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	locked := mustInsert(t, store, "p", nil)
	lock := d.primary.MustBegin()
	defer func() { _ = lock.Rollback() }()
	lock.MustExec("SELECT FROM sessionsql.session WHERE id = $1 FOR UPDATE", idOf(t, locked))
	results := make(chan error, 3)
	waiting := func(n int) {
		eventually(t, "updates wait for the row", func() bool {
			return get[int](t, d.primary, `SELECT count(*) FROM pg_stat_activity
				WHERE datname = current_database() AND wait_event_type = 'Lock'`) >= n
		})
	}
	for i := range cap(results) {
		go func() {
			_, err := store.Update(t.Context(), locked, "late", 1)
			results <- err
		}()
		if i == 0 {
			waiting(1) // the first update travels alone, and the others in batches
		}
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				token, err := store.Insert(t.Context(), "p", nil)
				if err == nil {
					_, err = store.Update(t.Context(), token, "q", 1)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
	}
	waiting(cap(results))
	must(t, lock.Commit())
	var done, conflicts int
	for range cap(results) {
		switch err := <-results; err {
		case nil:
			done++
		case sessionsql.ErrConflict:
			conflicts++
		default:
			t.Error(err)
		}
	}
	if done != 1 || conflicts != cap(results)-1 {
		t.Errorf("%d updated, %d conflicts", done, conflicts)
	}
}

func TestOneBadUpdateFailsAlone(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	tokens := make([]sessionsql.Token, badWriters)
	for i := range tokens {
		tokens[i] = mustInsert(t, store, "p", nil)
	}
	badFailsAlone(t, d, func(caller int, payload string) error {
		_, err := store.Update(t.Context(), tokens[caller], payload, sessionsql.AnyVersion)
		return err
	})
	if n := d.countWhere(t, "version = 11 AND payload = 'good'"); n != 56 {
		t.Errorf("%d sessions were written ten times, want 56", n)
	}
}

// The first call plans on an empty table, and its plan serves all later calls.
func TestBatchOfUpdatesFindsRowsByID(t *testing.T) {
	d := newDatabase(t)
	conn := d.conn(t)
	tableScans := func() int {
		execute(t, conn, "SELECT pg_stat_force_next_flush()")
		return get[int](t, d.primary, `SELECT seq_scan FROM pg_stat_user_tables
			WHERE schemaname = 'sessionsql' AND relname = 'session'`)
	}
	var ids []int64
	before := 0
	for _, rows := range []int{0, 10_000} {
		ids = append(ids, d.fill(t, rows, "1 hour")...)
		before = tableScans()
		for n := range 8 {
			params := db.UpdatePayloadBatchParams{}
			for i, id := range ids[:min(1<<n, len(ids))] {
				params.IDs = append(params.IDs, id)
				params.SecretHashes = append(params.SecretHashes, sha256.Sum256([]byte(strconv.Itoa(i+1))))
				params.Payloads = append(params.Payloads, "p")
				params.ExpectedVersions = append(params.ExpectedVersions, sql.NullInt32{})
			}
			written, err := db.New().UpdatePayloadBatch(t.Context(), conn, params)
			must(t, err)
			if len(written) != len(params.IDs) {
				t.Errorf("%d of %d were written", len(written), len(params.IDs))
			}
		}
	}
	if n := tableScans() - before; n > 0 {
		t.Errorf("%d scans of the whole table", n)
	}
}

func TestUpdateKeepsAliveWithinTheDeadline(t *testing.T) {
	d := newDatabase(t)
	id := d.fill(t, 1, "1 minute")[0]
	update := func() int {
		return get[int](t, d.primary, "SELECT sessionsql.update_payload($1, sha256('1'), 'p')", id)
	}
	if version := update(); version != 2 || d.expiresIn(t, id) < 2390 {
		t.Errorf("version %d, %v seconds left", version, d.expiresIn(t, id))
	}
	d.primary.MustExec(`UPDATE sessionsql.session
		SET expires_at = now() + interval '1 minute', deadline = now() + interval '1 minute'`)
	if version := update(); version != 3 || d.expiresIn(t, id) > 60 {
		t.Errorf("version %d, %v seconds left", version, d.expiresIn(t, id))
	}
}
