package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

func TestAllReturnsEachLiveEntryOnceWithItsKey(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	ctx, cache := t.Context(), store.Cache("c", &sessionsql.CacheOptions{KeepKeys: true})
	mustSet(t, cache, "expired", "v", time.Hour)
	d.setAll("-1 microsecond")
	values := map[string][]byte{"\xff\x00binary": []byte("v")}
	for i := range 250 {
		values[fmt.Sprint(i)] = []byte(fmt.Sprint("v", i))
	}
	must(t, cache.SetMany(ctx, values, time.Hour))
	_, err := cache.Increment(ctx, "counter", 1, 0)
	must(t, err)
	_, err = cache.Add(ctx, "lock", nil, 0)
	must(t, err)
	values["counter"], values["lock"] = []byte("1"), []byte{}
	mustSet(t, store.Cache("other", &sessionsql.CacheOptions{KeepKeys: true}), "k", "v", 0)
	mustSet(t, store.Cache("c", nil), "without its key", "v", 0)

	found := map[string]bool{}
	for entry, err := range cache.All(ctx) {
		must(t, err)
		if found[entry.Key] || string(entry.Value) != string(values[entry.Key]) {
			t.Errorf("%q with the value %q", entry.Key, entry.Value)
		}
		if forever := entry.Key == "counter" || entry.Key == "lock"; forever != (entry.ExpiresIn == 0) {
			t.Errorf("%q expires in %v", entry.Key, entry.ExpiresIn)
		}
		found[entry.Key] = true
	}
	if len(found) != len(values) {
		t.Errorf("found %d entries, want %d", len(found), len(values))
	}
	n := 0
	for range cache.All(ctx) {
		if n++; n == 120 {
			break
		}
	}
	if n, err := cache.Len(ctx); n != int64(len(values)+1) || err != nil {
		t.Errorf("Len counts %d, %v; want %d", n, err, len(values)+1)
	}
	must(t, cache.Clear(ctx))
	if n, err := cache.Len(ctx); n != 0 || err != nil {
		t.Errorf("after Clear, Len counts %d, %v", n, err)
	}
	wantNoEntry(t, cache, "lock")
	wantEntry(t, store.Cache("other", nil), "k", "v")
	mustSet(t, cache, "lock", "again", 0)
	wantEntry(t, cache, "lock", "again")
}

func TestAllEndsWithAnError(t *testing.T) {
	d := newDatabase(t)
	cache := d.Store(t, nil).Cache("c", nil)
	mustSet(t, cache, "k", "v", 0)
	collect := func(ctx context.Context, cache *sessionsql.Cache) (errs []error) {
		for _, err := range cache.All(ctx) {
			errs = append(errs, err)
		}
		return errs
	}
	if errs := collect(t.Context(), cache); len(errs) != 1 || !errors.Is(errs[0], sessionsql.ErrOptions) {
		t.Errorf("without KeepKeys: %v", errs)
	}
	keeping := d.Store(t, nil).Cache("c", &sessionsql.CacheOptions{KeepKeys: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if errs := collect(ctx, keeping); len(errs) != 1 || !errors.Is(errs[0], context.Canceled) {
		t.Errorf("with a cancelled context: %v", errs)
	}
}
