package sessionsql_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/sessionsql/postgres/sessionsql"
)

func TestUpdateTellsUpdatedConflictAndGoneApart(t *testing.T) {
	d := newDatabase(t)
	store := d.store(t, nil)
	token := must1[sessionsql.Token](t)(store.Insert(t.Context(), "1"))
	if version, err := store.Update(t.Context(), token, "2", 1); err != nil || version != 2 {
		t.Errorf("updated: %d, %v", version, err)
	}
	if _, err := store.Update(t.Context(), token, "late", 1); !errors.Is(err, sessionsql.ErrConflict) {
		t.Errorf("conflict: %v", err)
	}
	if version, err := store.Update(t.Context(), token, "3", sessionsql.AnyVersion); err != nil || version != 3 {
		t.Errorf("any version: %d, %v", version, err)
	}
	if sess, err := store.Lookup(t.Context(), token); err != nil || sess.Payload != "3" || sess.Version != 3 {
		t.Errorf("%q, version %d, %v", sess.Payload, sess.Version, err)
	}
	must(t, store.Revoke(t.Context(), token))
	for _, version := range []int32{3, sessionsql.AnyVersion} {
		if _, err := store.Update(t.Context(), token, "late", version); err != sessionsql.ErrNoSession {
			t.Errorf("gone: %v", err)
		}
	}
	if n := get[int](t, d.primary, "SELECT count(*) FROM sessionsql.session"); n != 0 {
		t.Error("a late write brought a session back")
	}
}

func TestConcurrentUpdatesLoseNothing(t *testing.T) {
	d := newDatabase(t)
	store := d.store(t, nil)
	token := must1[sessionsql.Token](t)(store.Insert(t.Context(), "0"))
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
	if sess, err := store.Lookup(t.Context(), token); err != nil || sess.Payload != strconv.Itoa(callers*rounds) {
		t.Errorf("%q, %v; want %d", sess.Payload, err, callers*rounds)
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
	d.primary.MustExec("UPDATE sessionsql.session SET expires_at = now() + interval '1 minute', deadline = now() + interval '1 minute'")
	if version := update(); version != 3 || d.expiresIn(t, id) > 60 {
		t.Errorf("version %d, %v seconds left", version, d.expiresIn(t, id))
	}
}
