package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

func TestATouchExtendsAnEntryByFourThirdsOfItsTTL(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	ctx, cache := t.Context(), store.Cache("c", nil)
	touches := map[string]func(ttl time.Duration){
		"Touch": func(ttl time.Duration) { must(t, cache.Touch(ctx, "k", ttl)) },
		"GetAndTouch": func(ttl time.Duration) {
			entry, err := cache.GetAndTouch(ctx, "k", ttl)
			if err != nil || string(entry.Value) != "v" {
				t.Errorf("GetAndTouch: %q, %v", entry.Value, err)
			}
		},
	}
	for name, touch := range touches {
		mustSet(t, cache, "k", "v", time.Hour)
		for _, step := range []struct {
			expiresIn string
			ttl       time.Duration
			want      float64
		}{
			{"29 minutes", 30 * time.Minute, 2400}, // due
			{"31 minutes", 30 * time.Minute, 1860}, // not due
			{"10 hours", 30 * time.Minute, 36000},  // never shortens
			{"29 minutes", -1, 1740},
		} {
			d.setAll(step.expiresIn)
			touch(step.ttl)
			must(t, store.Flush(ctx))
			if left := d.entryExpiresIn(t); left < step.want-10 || left > step.want {
				t.Errorf("%s of %v with %s left: %v seconds left, want %v",
					name, step.ttl, step.expiresIn, left, step.want)
			}
		}
		touch(time.Hour) // of two touches the longer counts
		touch(0)
		touch(time.Minute)
		must(t, store.Flush(ctx))
		if !get[bool](t, d.primary, "SELECT expires_at = 'infinity' FROM sessionsql.cache_entry") {
			t.Errorf("%s of 0: the entry still expires", name)
		}
		touch(time.Minute)
		must(t, store.Flush(ctx))
		if entry, err := cache.Get(ctx, "k"); err != nil || entry.ExpiresIn != 0 {
			t.Errorf("%s shortened to %v, %v", name, entry.ExpiresIn, err)
		}
	}
	stats := store.Stats()
	if stats.EntriesExtended != 4 || stats.SessionsExtended != 0 || stats.TouchesPending != 0 {
		t.Errorf("%+v", stats)
	}
}

func TestATouchOfAnEntryNeverResurrects(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	ctx, cache := t.Context(), store.Cache("c", &sessionsql.CacheOptions{Final: true})
	mustSet(t, cache, "expired", "v", time.Hour)
	d.setAll("-1 microsecond")
	mustSet(t, cache, "deleted", "v", time.Hour)
	must(t, cache.Delete(ctx, "deleted"))
	for _, key := range []string{"expired", "deleted", "absent"} {
		must(t, cache.Touch(ctx, key, time.Hour))
		if _, err := cache.GetAndTouch(ctx, key, time.Hour); err != sessionsql.ErrNoEntry {
			t.Errorf("%s: %v", key, err)
		}
	}
	must(t, store.Flush(ctx))
	for _, key := range []string{"expired", "deleted", "absent"} {
		wantNoEntry(t, cache, key)
	}
}

func TestATouchLeavesAStaleEntryItsStaleTime(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	cache := store.Cache("c", &sessionsql.CacheOptions{StaleFor: time.Hour})
	mustSet(t, cache, "k", "v", time.Minute)
	d.setAll("60 minutes 10 seconds")
	must(t, cache.Touch(t.Context(), "k", time.Minute))
	must(t, store.Flush(t.Context()))
	if entry, err := cache.Get(t.Context(), "k"); err != nil || entry.ExpiresIn < time.Minute {
		t.Errorf("expires in %v, %v", entry.ExpiresIn, err)
	}
}

func TestTouchesOfEntriesSurviveAFailedFlushAndClose(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	ctx, cache := t.Context(), store.Cache("c", nil)
	values := map[string][]byte{}
	for i := range 2000 {
		values[fmt.Sprint(i)] = nil
	}
	must(t, cache.SetMany(ctx, values, time.Hour))
	d.setAll("1 minute")
	for key := range values {
		must(t, cache.Touch(ctx, key, time.Hour))
	}
	token := mustInsert(t, store, "p", nil)
	mustLookup(t, store, token)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := store.Flush(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush: %v", err)
	}
	if pending := store.Stats().TouchesPending; pending != 2001 {
		t.Errorf("%d touches wait, want 2001", pending)
	}
	closeStore(t, store)
	if n := get[int](t, d.primary, `SELECT count(*) FROM sessionsql.cache_entry
		WHERE expires_at > now() + interval '1 hour'`); n != 2000 {
		t.Errorf("Close extended %d entries, want 2000", n)
	}
}

func TestTheLoopKeepsAnEntryOfAShortTTLAlive(t *testing.T) {
	d := newDatabase(t)
	options := quiet()
	options.FlushInterval = time.Hour // but a TTL of 3 seconds needs a flush every 300 ms
	store := d.Store(t, options)
	cache := store.Cache("c", nil)
	mustSet(t, cache, "touched", "v", 3*time.Second)
	mustSet(t, cache, "read", "v", 3*time.Second)
	mustSet(t, cache, "left alone", "v", 3*time.Second)
	eventually(t, "the entry that nobody touches is gone, and so is twice its time", func() bool {
		must(t, cache.Touch(t.Context(), "touched", 3*time.Second))
		if _, err := cache.GetAndTouch(t.Context(), "read", 3*time.Second); err != nil {
			t.Fatalf("the entry that is read died: %v", err)
		}
		_, err := cache.Get(t.Context(), "left alone")
		return err == sessionsql.ErrNoEntry && get[bool](t, d.primary, `
			SELECT expires_at < now() - interval '3 seconds'
			FROM sessionsql.cache_entry
			WHERE key = sessionsql.cache_key('c', 'left alone')`)
	})
	wantEntry(t, cache, "touched", "v")
	if stats := store.Stats(); stats.EntriesExtended < 4 {
		t.Errorf("%+v", stats)
	}
}
