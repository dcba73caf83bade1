package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

func TestADeletedEntryIsGoneAndCanBeSetAgain(t *testing.T) {
	d := newDatabase(t)
	cache := d.Store(t, nil).Cache("c", nil)
	must(t, cache.Delete(t.Context(), "absent"))
	for i := range 100 {
		mustSet(t, cache, fmt.Sprint(i), "v", 0)
	}
	atOnce(200, func(i int) { must(t, cache.Delete(t.Context(), fmt.Sprint(i/4))) })
	for i := range 100 {
		if i < 50 {
			wantNoEntry(t, cache, fmt.Sprint(i))
		} else {
			wantEntry(t, cache, fmt.Sprint(i), "v")
		}
	}
	mustSet(t, cache, "0", "again", 0)
	wantEntry(t, cache, "0", "again")
}

func TestNothingBringsBackAFinallyDeletedEntry(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	ctx, cache := t.Context(), store.Cache("c", &sessionsql.CacheOptions{Final: true, KeepKeys: true})
	kill := map[string]func(key string) error{
		"Delete": func(key string) error { return cache.Delete(ctx, key) },
		"Swap":   func(key string) error { return cache.Swap(ctx, key, []byte("v"), nil, 0) },
		"Clear":  func(string) error { return cache.Clear(ctx) },
	}
	for name, kill := range kill {
		mustSet(t, cache, name, "v", time.Hour)
		must(t, kill(name))
		must(t, cache.Delete(ctx, name)) // again
		value := []byte("w")
		for method, call := range map[string]func() error{
			"Set": func() error { return cache.Set(ctx, name, value, 0) },
			"SetMany": func() error {
				return cache.SetMany(ctx, map[string][]byte{name: value, "other": value}, 0)
			},
			"Increment": func() error { _, err := cache.Increment(ctx, name, 1, 0); return err },
			"Fetch": func() error {
				_, err := cache.Fetch(ctx, name, 0, loading("w"))
				return err
			},
		} {
			if err := call(); err != sessionsql.ErrEntryEnded {
				t.Errorf("%s after %s: %v", method, name, err)
			}
		}
		wantEntry(t, cache, "other", "w")
		if added, err := cache.Add(ctx, name, value, 0); added || err != nil {
			t.Errorf("Add after %s: %v, %v", name, added, err)
		}
		if err := cache.Swap(ctx, name, []byte("v"), value, 0); err != sessionsql.ErrNoEntry {
			t.Errorf("Swap after %s: %v", name, err)
		}
		wantNoEntry(t, cache, name)
		must(t, cache.Delete(ctx, "other"))
		d.primary.MustExec(`DELETE FROM sessionsql.cache_entry
			WHERE key = sessionsql.cache_key('c', 'other')`)
	}
	if n, err := cache.Len(ctx); n != 0 || err != nil {
		t.Errorf("Len counts %d, %v", n, err)
	}
	for entry, err := range cache.All(ctx) {
		t.Errorf("All finds %v, %v", entry, err)
	}
	d.setAll("-1 microsecond") // the hour is over
	mustSet(t, cache, "Delete", "w", 0)
	wantEntry(t, cache, "Delete", "w")
}

func TestFinalDeletesSurviveACrash(t *testing.T) {
	cluster := ownCluster(t, 0)
	d := newDatabaseIn(t, cluster)
	// This is the strictest case, because the pool does not wait for the disk by default.
	store := sessiontest.OpenStoreOver(t, open(t, d.PrimaryDSN()+"&synchronous_commit=off"), nil)
	final := store.Cache("final", &sessionsql.CacheOptions{Final: true})
	cache := store.Cache("c", nil)
	for i := range 60 {
		mustSet(t, final, fmt.Sprint(i), "v", 0)
	}
	mustSet(t, cache, "kept", "v", 0)
	flush(t, d.primary)
	must(t, cluster.Primary.Signal("walwriter", syscall.SIGSTOP))
	atOnce(40, func(i int) { must(t, final.Delete(t.Context(), fmt.Sprint(i))) })
	for i := 40; i < 50; i++ {
		must(t, final.Swap(t.Context(), fmt.Sprint(i), []byte("v"), nil, 0))
	}
	mustSet(t, cache, "lost", "v", 0)
	must(t, cluster.Primary.Kill())
	must(t, cluster.Primary.Start(t.Context()))
	for i := range 60 {
		if i >= 50 {
			wantEntry(t, final, fmt.Sprint(i), "v")
			continue
		}
		wantNoEntry(t, final, fmt.Sprint(i))
		if err := final.Set(t.Context(), fmt.Sprint(i), nil, 0); err != sessionsql.ErrEntryEnded {
			t.Errorf("a set after the crash: %v", err)
		}
	}
	wantEntry(t, cache, "kept", "v")
	wantNoEntry(t, cache, "lost") // or this test proves nothing
}

func TestASetUnderWayNeverBringsBackAFinallyDeletedEntry(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	final := &sessionsql.CacheOptions{Final: true}
	// The requests of a session run in two programs, and a logout in one of them.
	programs := []*sessionsql.Cache{d.Store(t, nil).Cache("c", final), d.Store(t, nil).Cache("c", final)}
	for round := range 30 {
		key := fmt.Sprint(round)
		mustSet(t, programs[0], key, "v", time.Hour)
		logout := random.IntN(16)
		var ended atomic.Bool
		atOnce(16, func(i int) {
			cache := programs[i%2]
			if i == logout {
				must(t, cache.Delete(t.Context(), key))
				ended.Store(true)
				return
			}
			late := ended.Load()
			err := cache.Set(t.Context(), key, []byte("w"), time.Hour)
			if err != nil && err != sessionsql.ErrEntryEnded || late && err == nil {
				t.Errorf("a set: %v, after the logout: %v", err, late)
			}
		})
		wantNoEntry(t, programs[0], key)
		wantNoEntry(t, programs[1], key)
	}
}

func TestACancelledDeleteFailsNoOther(t *testing.T) {
	d := newDatabase(t)
	cache := d.Store(t, nil).Cache("c", nil)
	atOnce(200, func(i int) {
		ctx, cancel := context.WithCancel(t.Context())
		if i%3 == 0 {
			go cancel()
		}
		err := cache.Delete(ctx, fmt.Sprint(i%20))
		cancel()
		if err != nil && (i%3 != 0 || !errors.Is(err, context.Canceled)) {
			t.Errorf("delete %d: %v", i, err)
		}
	})
}
