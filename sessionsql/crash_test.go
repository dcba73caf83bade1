package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

// ownCluster starts a cluster for one test, because the test will break it.
func ownCluster(t *testing.T, replicas int) *pgcluster.Cluster {
	t.Helper()
	return sessiontest.StartCluster(t, &pgcluster.Options{
		Replicas: replicas,
		// A checkpoint would write WAL to disk although the WAL writer is stopped.
		Settings: map[string]string{"checkpoint_timeout": "1h", "autovacuum": "off"},
	})
}

func TestTokenNeverOpensAReusedRow(t *testing.T) {
	cluster := ownCluster(t, 0)
	d := newDatabaseIn(t, cluster)
	store := d.Store(t, nil)
	insert := func(kind string) (tokens []sessionsql.Token) {
		for i := range 300 {
			tokens = append(tokens, mustInsert(t, store, fmt.Sprint(kind, i), nil))
		}
		return tokens
	}
	// These sessions reach the disk, so the sequence continues behind them after the crash.
	must(t, cluster.Primary.Signal("walwriter", syscall.SIGSTOP))
	kept := insert("kept")
	flush(t, d.primary)
	lost := insert("lost")
	for _, token := range lost {
		must(t, store.Touch(t.Context(), token)) // the Store's memory of a lost session must do no harm
	}
	must(t, cluster.Primary.Kill())
	must(t, cluster.Primary.Start(t.Context()))
	eventually(t, "the restarted server is used", func() bool {
		_, err := store.Insert(t.Context(), "first", nil) // the first call meets the dead connection
		return err == nil
	})
	fresh := insert("fresh")

	ids := map[int64]bool{}
	for _, token := range lost {
		ids[idOf(t, token)] = true
	}
	reused := 0
	for i, token := range fresh {
		if ids[idOf(t, token)] {
			reused++
		}
		if sess, err := store.Lookup(t.Context(), token); err != nil ||
			sess.Payload != fmt.Sprint("fresh", i) {
			t.Errorf("fresh token %d opens %q, %v", i, sess.Payload, err)
		}
	}
	if reused == 0 {
		t.Fatal("the servers handed out no id twice, so the test did not provoke the crash")
	}
	t.Logf("%d of %d ids were handed out twice", reused, len(fresh))
	for i, token := range lost {
		if sess, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
			t.Errorf("lost token %d opens %q, %v", i, sess.Payload, err)
		}
		_, err := store.Update(t.Context(), token, "stolen", sessionsql.AnyVersion)
		if err != sessionsql.ErrNoSession {
			t.Errorf("lost token %d writes: %v", i, err)
		}
		if err := store.Revoke(t.Context(), token); err != sessionsql.ErrNoSession {
			t.Errorf("lost token %d revokes: %v", i, err)
		}
	}
	for i, token := range kept {
		if sess, err := store.Lookup(t.Context(), token); err != nil ||
			sess.Payload != fmt.Sprint("kept", i) {
			t.Errorf("kept token %d opens %q, %v", i, sess.Payload, err)
		}
	}
}

func TestRevokeSurvivesACrash(t *testing.T) {
	cluster := ownCluster(t, 0)
	d := newDatabaseIn(t, cluster)
	// This is the strictest case, because the pool does not wait for the disk by default.
	pool := open(t, d.PrimaryDSN()+"&synchronous_commit=off")
	if got := get[string](t, pool, "SHOW synchronous_commit"); got != "off" {
		t.Fatalf("synchronous_commit is %s", got)
	}
	store := sessiontest.OpenStoreOver(t, pool, nil)
	var revoked []sessionsql.Token
	for range 50 {
		revoked = append(revoked, mustInsert(t, store, "p", nil))
	}
	live := mustInsert(t, store, "live", nil)
	flush(t, d.primary)
	must(t, cluster.Primary.Signal("walwriter", syscall.SIGSTOP))
	for _, token := range revoked {
		must(t, store.Revoke(t.Context(), token))
	}
	must(t, cluster.Primary.Kill())
	must(t, cluster.Primary.Start(t.Context()))
	for i, token := range revoked {
		if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
			t.Errorf("revoked session %d: %v", i, err)
		}
	}
	if sess, err := store.Lookup(t.Context(), live); err != nil || sess.Payload != "live" {
		t.Errorf("live session: %q, %v", sess.Payload, err)
	}
}

func TestUnavailableIsNeverNoSuchSession(t *testing.T) {
	cluster := ownCluster(t, 1)
	d := newDatabaseIn(t, cluster)
	store := d.Store(t, nil)
	var tokens []sessionsql.Token
	for range 20 {
		tokens = append(tokens, mustInsert(t, store, "p", nil))
	}
	d.CatchUp(t)

	// Callers look up sessions throughout. An error may only say that the database is unavailable.
	ctx, stop := context.WithCancel(t.Context())
	var down, wrong sync.Map
	var wait sync.WaitGroup
	for caller := range 16 {
		wait.Go(func() {
			for i := caller; ctx.Err() == nil; i++ {
				_, err := store.Lookup(ctx, tokens[i%len(tokens)])
				switch {
				case err == nil, ctx.Err() != nil:
				case errors.Is(err, sessionsql.ErrUnavailable):
					down.Store(err.Error(), true)
				default:
					wrong.Store(err.Error(), true)
				}
			}
		})
	}
	served := func(n func(sessionsql.Stats) int64) {
		before := n(store.Stats())
		eventually(t, "lookups are served", func() bool { return n(store.Stats()) > before+100 })
	}
	served(func(s sessionsql.Stats) int64 { return s.ReplicaReads })
	must(t, cluster.Replicas[0].Kill())
	served(func(s sessionsql.Stats) int64 { return s.PrimaryReads })
	down.Range(func(err, _ any) bool { t.Errorf("with the primary up: %v", err); return true })
	must(t, cluster.Primary.Kill())
	eventually(t, "lookups fail", func() bool {
		_, err := store.Lookup(t.Context(), tokens[0])
		return errors.Is(err, sessionsql.ErrUnavailable)
	})
	for name, call := range map[string]func() error{
		"Lookup": func() error { _, err := store.Lookup(t.Context(), tokens[0]); return err },
		"Insert": func() error { _, err := store.Insert(t.Context(), "p", nil); return err },
		"Update": func() error { _, err := store.Update(t.Context(), tokens[0], "p", 1); return err },
		"Revoke": func() error { return store.Revoke(t.Context(), tokens[0]) },
		"Flush":  func() error { return store.Flush(t.Context()) },
		"Reap":   func() error { _, err := store.Reap(t.Context()); return err },
	} {
		if err := call(); !errors.Is(err, sessionsql.ErrUnavailable) ||
			errors.Is(err, sessionsql.ErrNoSession) {
			t.Errorf("%s with every server down: %v", name, err)
		}
	}
	if pending := store.Stats().TouchesPending; pending != int64(len(tokens)) {
		t.Errorf("%d touches pending, want %d", pending, len(tokens))
	}

	// The restarted servers serve without a restart of the program.
	must(t, cluster.Primary.Start(t.Context()))
	must(t, cluster.Replicas[0].Start(t.Context()))
	served(func(s sessionsql.Stats) int64 { return s.ReplicaReads })
	stop()
	wait.Wait()
	wrong.Range(func(err, _ any) bool { t.Errorf("a live session: %v", err); return true })
	must(t, store.Flush(t.Context()))
}

func TestReplicaServesWhileThePrimaryIsDown(t *testing.T) {
	cluster := ownCluster(t, 1)
	d := newDatabaseIn(t, cluster)
	store := d.Store(t, nil)
	token := mustInsert(t, store, "p", nil)
	unknown := mustInsert(t, store, "p", nil)
	must(t, store.Revoke(t.Context(), unknown))
	d.CatchUp(t)
	must(t, cluster.Primary.Kill())
	if sess, err := store.Lookup(t.Context(), token); err != nil || sess.Payload != "p" {
		t.Errorf("Lookup returned payload %q and error %v", sess.Payload, err)
	}
	// Nobody knows the answer, because the replica lacks the session and the primary is down.
	if _, err := store.Lookup(t.Context(), unknown); !errors.Is(err, sessionsql.ErrUnavailable) {
		t.Errorf("a session that the replica lacks: %v", err)
	}
}

func TestCloseUnderAHungQueryEndsWithinItsContext(t *testing.T) {
	d := newDatabase(t)
	store, err := sessionsql.Open(t.Context(), d.PrimaryDSN(), nil, &sessionsql.Options{
		FlushInterval: 5 * time.Millisecond, ReapInterval: 5 * time.Millisecond,
	})
	must(t, err)
	token := mustInsert(t, store, "p", nil)
	blocker := d.primary.MustBegin()
	blocker.MustExec("LOCK TABLE sessionsql.session IN ACCESS EXCLUSIVE MODE")
	defer func() { must(t, blocker.Rollback()) }()
	hung := make(chan error, 100)
	for range cap(hung) {
		go func() {
			_, err := store.Lookup(context.Background(), token)
			hung <- err
		}()
	}
	eventually(t, "queries hang", func() bool {
		return get[int](t, d.primary, `SELECT count(*) FROM pg_stat_activity WHERE datname = $1
			AND wait_event_type = 'Lock'`, d.Name) >= 3
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- store.Close(ctx) }()
	select {
	case err := <-done:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Close hangs")
	}
	must(t, store.Close(t.Context())) // Close is idempotent
	if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrClosed {
		t.Errorf("Lookup after Close: %v", err)
	}
	// Close releases every caller of a shared round trip. One call travels alone on its caller's context.
	for range cap(hung) - 1 {
		select {
		case err := <-hung:
			if !errors.Is(err, sessionsql.ErrClosed) {
				t.Errorf("a caller got %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("callers still wait after Close")
		}
	}
}
