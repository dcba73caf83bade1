package sessionsql_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

func TestListSubjectTellsSessionsApart(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	labels := []string{"Firefox on Linux", "", strings.Repeat("é", 128)}
	var tokens []sessionsql.Token
	for _, label := range labels {
		token := mustInsert(t, store, "p", &sessionsql.InsertOptions{Subject: "ann", Label: label})
		tokens = append(tokens, token)
	}
	list := mustList(t, store, "ann", tokens[1])
	for i, sess := range list {
		want := len(labels) - 1 - i
		if sess.Label != labels[want] || sess.Current != (want == 1) || sess.ID != idOf(t, tokens[want]) {
			t.Errorf("session %d: %+v", i, sess)
		}
	}
	for name, current := range map[string]sessionsql.Token{
		"another's": loginAs(t, store, "bob"), "anonymous": mustInsert(t, store, "p", nil), "malformed": "x",
	} {
		if _, err := store.ListSubject(t.Context(), "ann", current); err != sessionsql.ErrNoSession {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, label := range map[string]string{
		"too long": strings.Repeat("canary", 43), "NUL": "canary\x00", "not UTF-8": "canary\xff",
	} {
		_, err := store.Insert(t.Context(), "p", &sessionsql.InsertOptions{Label: label})
		if !errors.Is(err, sessionsql.ErrOptions) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := d.primary.Exec("SELECT sessionsql.new_session('canary', label => repeat('canary', 43))")
	if sqlState(err) != "22023" || strings.Contains(err.Error(), "canary") {
		t.Errorf("too long in SQL: %v", err)
	}
}

// A batch keeps each session's label.
func TestConcurrentInsertsKeepTheirOwnLabels(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	tokens := make([]sessionsql.Token, 64)
	var wait sync.WaitGroup
	for i := range tokens {
		wait.Go(func() {
			own := &sessionsql.InsertOptions{Subject: "ann"}
			if i%3 > 0 {
				own.Label = strings.Repeat("l", i)
			}
			var err error
			if tokens[i], err = store.Insert(t.Context(), "p", own); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	labels := map[int64]string{}
	for _, sess := range mustList(t, store, "ann", "") {
		labels[sess.ID] = sess.Label
	}
	for i, token := range tokens {
		if label := labels[idOf(t, token)]; len(label) != i && i%3 > 0 || i%3 == 0 && label != "" {
			t.Errorf("session %d has label %q", i, label)
		}
	}
}

func TestRevokeListedEndsOneOtherSessionOfItsSubject(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	mine, other, third := loginAs(t, store, "ann"), loginAs(t, store, "ann"), loginAs(t, store, "ann")
	bob := loginAs(t, store, "bob")
	anonymous := []sessionsql.Token{mustInsert(t, store, "p", nil), mustInsert(t, store, "p", nil)}
	refused := func(what string, token sessionsql.Token, id int64) {
		t.Helper()
		if err := store.RevokeListed(t.Context(), token, id); err != sessionsql.ErrNoSession {
			t.Errorf("%s: %v", what, err)
		}
	}
	for name, token := range hostileTokens(mine) {
		refused("presenting a token that is "+name, token, idOf(t, other))
	}
	refused("another subject's session", bob, idOf(t, other))
	refused("a session of nobody, for nobody's", anonymous[0], idOf(t, anonymous[1]))
	refused("its own session", mine, idOf(t, mine))
	refused("an id that is nobody's", mine, 1<<60)
	d.setExpiry(idOf(t, third), "0")
	refused("an expired one as the one that asks", third, idOf(t, other))
	refused("an expired one as the one to end", mine, idOf(t, third))
	for _, token := range []sessionsql.Token{mine, other} {
		mustOpen(t, store, token, "ann", "after refused calls")
	}

	must(t, store.RevokeListed(t.Context(), mine, idOf(t, other)))
	mustBeDead(t, store, other, "ended out of the list")
	mustOpen(t, store, mine, "ann", "the one that ended it")
	refused("once more", mine, idOf(t, other))
	if n := store.Stats().Revokes; n != 1 {
		t.Errorf("%d revokes counted, want 1", n)
	}

	// Within the grace of a rotate, an open page still works with the old token.
	next := loginAs(t, store, "ann")
	renewed := mustRotate(t, store, mine, &sessionsql.RotateOptions{Grace: time.Minute})
	must(t, store.RevokeListed(t.Context(), mine, idOf(t, next)))
	mustBeDead(t, store, next, "ended by the token before")
	mustOpen(t, store, renewed, "ann", "the rotated one")
}

func TestOwnRevokeListedIsNeverReadBackOlder(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	mine, other := loginAs(t, store, "ann"), loginAs(t, store, "ann")
	d.CatchUp(t)
	forgetRecentWrites(t, store, other)
	d.pauseReplay(t)
	must(t, store.RevokeListed(t.Context(), mine, idOf(t, other)))
	for range 20 {
		if _, err := store.Lookup(t.Context(), other); err != sessionsql.ErrNoSession {
			t.Fatalf("a session that was ended: %v", err)
		}
	}
	if n := liveOn(t, d.replica); n != 2 {
		t.Errorf("the replica has %d sessions, want the 2 old ones, so this test proves nothing", n)
	}
}

// A session that ends while it waits to end another one ends nothing.
func TestRevokeListedByASessionThatEndsWhileItWaitsEndsNothing(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	mine, other := loginAs(t, store, "ann"), loginAs(t, store, "ann")
	tx := d.primary.MustBegin()
	tx.MustExec("SELECT FROM sessionsql.session WHERE id = $1 FOR UPDATE", idOf(t, other))
	ended := make(chan error, 1)
	go func() { ended <- store.RevokeListed(context.Background(), mine, idOf(t, other)) }()
	d.waitsForLock(t, get[int](t, tx, "SELECT pg_backend_pid()"))
	must(t, store.Revoke(t.Context(), mine))
	must(t, tx.Rollback())
	if err := <-ended; err != sessionsql.ErrNoSession {
		t.Errorf("RevokeListed: %v", err)
	}
	mustOpen(t, store, other, "ann", "the other one")
}
