package sessionsql_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

// Each session is logged out by several callers at once: with its secret, with a wrong one, and after a
// rotate with the previous one. One of those that know a secret ends it.
func TestConcurrentLogoutsShareRoundTripsAndEachEndsItsOwn(t *testing.T) {
	const sessions = 200
	d := newDatabase(t)
	stores := []*sessionsql.Store{d.Store(t, nil), d.Store(t, nil)}
	shown := make([][]sessionsql.Token, sessions) // the tokens of each session; the last one opens nothing
	rotated := func(i int) bool { return i%4 == 0 }
	expired := func(i int) bool { return i%4 == 1 }
	spared := func(i int) bool { return i%4 == 2 }
	for i := range shown {
		token := mustInsert(t, stores[0], fmt.Sprint(i), nil)
		wrong := token[:16] + wellFormed[16:]
		switch {
		case rotated(i):
			shown[i] = []sessionsql.Token{token, mustRotate(t, stores[0], token, nil), wrong}
		case expired(i):
			d.setExpiry(idOf(t, token), "-1 second")
			shown[i] = []sessionsql.Token{token, token, wrong}
		case spared(i):
			shown[i] = []sessionsql.Token{wrong, wrong, wrong}
		default:
			shown[i] = []sessionsql.Token{token, token, wrong}
		}
	}
	var ended [sessions]atomic.Int64
	atOnce(3*sessions, func(call int) {
		i, which := call/3, call%3
		switch err := stores[call%2].Revoke(t.Context(), shown[i][which]); {
		case err == nil && which == 2:
			t.Errorf("a wrong secret ended session %d", i)
		case err == nil:
			ended[i].Add(1)
		case err != sessionsql.ErrNoSession:
			t.Errorf("Revoke: %v", err)
		}
	})
	for i := range ended {
		want := int64(1)
		if expired(i) || spared(i) {
			want = 0
		}
		if n := ended[i].Load(); n != want {
			t.Errorf("%d of the logouts ended session %d, want %d", n, i, want)
		}
	}
	if n := d.countAll(t); n != sessions/4 {
		t.Errorf("%d sessions are left, want %d", n, sessions/4)
	}
	if n := d.countWhere(t, "s.payload::integer % 4 <> 2"); n != 0 {
		t.Errorf("%d sessions are left that were logged out", n)
	}
	trips := stores[0].Stats().RevokeBatches + stores[1].Stats().RevokeBatches
	if d.shards == nil && trips >= 3*sessions { // through a router each is alone
		t.Errorf("%d logouts took %d round trips", 3*sessions, trips)
	}
}

// A lone logout waits for a row that another transaction has locked; those that shared its round trip do not.
func TestALogoutOfALockedSessionHoldsUpNoOther(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	tokens := make([]sessionsql.Token, 100)
	for i := range tokens {
		tokens[i] = mustInsert(t, store, "p", nil)
	}
	tx := d.primary.MustBegin()
	defer func() { _ = tx.Rollback() }()
	tx.MustExec("UPDATE sessionsql.session SET label = 'l' WHERE id = ANY ($1)",
		arrayOf([]int64{idOf(t, tokens[1]), idOf(t, tokens[50])}))
	done := make([]chan error, len(tokens))
	for i, token := range tokens {
		done[i] = make(chan error, 1)
		go func() { done[i] <- store.Revoke(t.Context(), token) }()
	}
	locked := map[int]bool{1: true, 50: true}
	for i := range tokens {
		if locked[i] {
			continue
		}
		select {
		case err := <-done[i]:
			if err != nil {
				t.Errorf("Revoke: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("logout %d hangs", i)
		}
	}
	if n := d.countAll(t); n != len(locked) {
		t.Errorf("%d sessions are left, want the locked ones", n)
	}
	must(t, tx.Commit())
	for i := range locked {
		must(t, <-done[i])
	}
}

func TestConcurrentLogoutsWorkWithAnOlderBundle(t *testing.T) {
	d := oldBundle(t, oldInstall)
	store := d.Store(t, nil)
	tokens := make([]sessionsql.Token, 50)
	for i := range tokens {
		tokens[i] = mustInsert(t, store, "p", nil)
	}
	atOnce(len(tokens), func(i int) {
		if err := store.Revoke(t.Context(), tokens[i]); err != nil {
			t.Errorf("Revoke: %v", err)
		}
	})
	if n := d.countAll(t); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}
