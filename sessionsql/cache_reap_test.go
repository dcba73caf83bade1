package sessionsql_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

func mustReapCache(t testing.TB, store *sessionsql.Store) sessionsql.ReapResult {
	t.Helper()
	result, err := store.ReapCache(t.Context())
	must(t, err)
	return result
}

// fillEntries sets n entries of 1,000 random bytes, which do not compress, under keys that begin with prefix.
func fillEntries(t testing.TB, cache *sessionsql.Cache, prefix string, n int) {
	t.Helper()
	random := seeded(t)
	values := map[string][]byte{}
	for i := range n {
		value := make([]byte, 1000)
		for j := range value {
			value[j] = byte(random.IntN(256))
		}
		values[fmt.Sprint(prefix, i)] = value
	}
	must(t, cache.SetMany(t.Context(), values, time.Hour))
}

func TestReapCacheDeletesWhatIsExpired(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	cache := store.Cache("c", nil)
	fillEntries(t, cache, "expired", 1500)
	d.setAll("-1 second")
	fillEntries(t, cache, "live", 100)
	token := mustInsert(t, store, "p", nil)
	total := int64(0)
	for calls := 0; ; calls++ {
		result := mustReapCache(t, store)
		if result.Reaped > 1000 || result.Busy || result.Evicted != 0 {
			t.Errorf("%+v", result)
		}
		if total += result.Reaped; result.LapDone {
			break
		}
	}
	if stats := store.Stats(); total != 1500 || stats.EntriesReaped != 1500 || stats.Reaped != 0 {
		t.Errorf("reaped %d: %+v", total, stats)
	}
	if n, err := cache.Len(t.Context()); n != 100 || err != nil {
		t.Errorf("%d entries are left, %v; want 100", n, err)
	}
	mustLookup(t, store, token)
	locked := d.primary.MustBegin()
	locked.MustExec("SELECT FROM sessionsql.cache_reaper FOR UPDATE")
	if result := mustReapCache(t, store); !result.Busy {
		t.Errorf("beside another reaper: %+v", result)
	}
	if result := mustReap(t, store); result.Busy {
		t.Errorf("the reaper of sessions: %+v", result)
	}
	must(t, locked.Rollback())
	health, err := store.CacheHealth(t.Context())
	if err != nil || health.HeapBytes == 0 || health.IndexBytes == 0 || !health.LastLapEndedAt.Valid {
		t.Errorf("%+v, %v", health, err)
	}
	closeStore(t, store)
	if _, err := store.ReapCache(t.Context()); err != sessionsql.ErrClosed {
		t.Errorf("ReapCache after Close: %v", err)
	}
	if _, err := store.CacheHealth(t.Context()); err != sessionsql.ErrClosed {
		t.Errorf("CacheHealth after Close: %v", err)
	}
	nowhere := sessiontest.OpenStoreOver(t, nowhere(t), nil)
	if _, err := nowhere.ReapCache(t.Context()); !errors.Is(err, sessionsql.ErrUnavailable) {
		t.Errorf("ReapCache: %v", err)
	}
}

func TestTheLoopReapsACacheAndKeepsItsBudget(t *testing.T) {
	d := newDatabase(t)
	options := quiet()
	options.ReapInterval = 20 * time.Millisecond
	store := d.Store(t, options)
	const budget = 500_000
	cache := store.Cache("c", &sessionsql.CacheOptions{MaxBytes: budget})
	_ = store.Cache("c", nil) // the budget stays
	other := store.Cache("other", nil)
	final := store.Cache("final", &sessionsql.CacheOptions{Final: true})
	fillEntries(t, other, "k", 200)
	fillEntries(t, final, "k", 200)
	must(t, final.Delete(t.Context(), "k0"))
	size := func() int64 {
		return get[int64](t, d.primary, `SELECT COALESCE(sum(octet_length(value)), 0)::bigint
			FROM sessionsql.cache_entry WHERE space = sessionsql.cache_space_id('c')`)
	}
	for round := range 3 {
		fillEntries(t, cache, fmt.Sprint("round", round, "-"), 2000)
		eventually(t, "the cache is within its budget", func() bool { return size() <= budget })
	}
	if left := size(); left < budget/4 {
		t.Errorf("only %d bytes are left of %d", left, budget)
	}
	for name, want := range map[*sessionsql.Cache]int64{other: 200, final: 199} {
		if n, err := name.Len(t.Context()); n != want || err != nil {
			t.Errorf("another cache has %d entries, %v; want %d", n, err, want)
		}
	}
	if err := final.Set(t.Context(), "k0", nil, 0); err != sessionsql.ErrEntryEnded {
		t.Errorf("the tombstone is gone: %v", err)
	}
	stats := store.Stats()
	if stats.EntriesEvicted < 5000 || stats.EntriesEvicted > 6000 || stats.ReapErrors != 0 {
		t.Errorf("%+v", stats)
	}
}

func TestAStoreWithoutACacheDoesNotAskForOne(t *testing.T) {
	d := newDatabase(t)
	d.primary.MustExec(readFile(t, "../sql/uninstall.sql"))
	d.primary.MustExec(readFile(t, "testdata/bundle-0.1.0-3068df4.sql"))
	options := quiet()
	options.ReapInterval, options.FlushInterval = 10*time.Millisecond, 10*time.Millisecond
	store := sessiontest.OpenStoreOver(t, d.primary, options)
	lap := func() time.Time { return store.Stats().LastReap }
	eventually(t, "it reaps", func() bool { return !lap().IsZero() })
	first := lap()
	eventually(t, "it reaps again", func() bool { return lap().After(first) })
	if errors := store.Stats().ReapErrors; errors != 0 {
		t.Errorf("%d rounds failed", errors)
	}
	_ = store.Cache("c", nil)
	eventually(t, "the reaper misses the function", func() bool { return store.Stats().ReapErrors > 0 })
}
