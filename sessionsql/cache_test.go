package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

// setAll gives every entry another expiry, because a test cannot wait for it.
func (d *database) setAll(expiresIn string) {
	d.primary.MustExec(`UPDATE sessionsql.cache_entry
		SET expires_at = clock_timestamp() + $1::interval`, expiresIn)
}

// entryExpiresIn returns the seconds that the one entry has left.
func (d *database) entryExpiresIn(t testing.TB) float64 {
	t.Helper()
	return get[float64](t, d.primary,
		"SELECT date_part('epoch', expires_at - clock_timestamp()) FROM sessionsql.cache_entry")
}

func mustSet(t testing.TB, cache *sessionsql.Cache, key, value string, ttl time.Duration) {
	t.Helper()
	must(t, cache.Set(t.Context(), key, []byte(value), ttl))
}

// wantEntry checks that a key has this value.
func wantEntry(t testing.TB, cache *sessionsql.Cache, key, value string) {
	t.Helper()
	if entry, err := cache.Get(t.Context(), key); err != nil || string(entry.Value) != value {
		t.Errorf("%q has the value %q, %v; want %q", key, entry.Value, err, value)
	}
}

// wantNoEntry checks that a key has no entry.
func wantNoEntry(t testing.TB, cache *sessionsql.Cache, key string) {
	t.Helper()
	if entry, err := cache.Get(t.Context(), key); err != sessionsql.ErrNoEntry {
		t.Errorf("%q has the value %q, %v; want no entry", key, entry.Value, err)
	}
}

// keyCalls returns a call of every method that sends a statement about one key.
func keyCalls(cache *sessionsql.Cache, key, text string) map[string]func(context.Context) error {
	value := []byte(text)
	return map[string]func(context.Context) error{
		"Get": func(ctx context.Context) error { _, err := cache.Get(ctx, key); return err },
		"GetMany": func(ctx context.Context) error {
			_, err := cache.GetMany(ctx, []string{key})
			return err
		},
		"GetAndTouch": func(ctx context.Context) error {
			_, err := cache.GetAndTouch(ctx, key, time.Hour)
			return err
		},
		"Set": func(ctx context.Context) error { return cache.Set(ctx, key, value, 0) },
		"SetMany": func(ctx context.Context) error {
			return cache.SetMany(ctx, map[string][]byte{key: value}, 0)
		},
		"Delete": func(ctx context.Context) error { return cache.Delete(ctx, key) },
		"Add":    func(ctx context.Context) error { _, err := cache.Add(ctx, key, value, 0); return err },
		"Swap":   func(ctx context.Context) error { return cache.Swap(ctx, key, value, value, 0) },
		"Increment": func(ctx context.Context) error {
			_, err := cache.Increment(ctx, key, 1, 0)
			return err
		},
		"Fetch": func(ctx context.Context) error {
			_, err := cache.Fetch(ctx, key, 0, loading(text))
			return err
		},
	}
}

// spaceCalls returns a call of every method of a whole cache, which needs KeepKeys.
func spaceCalls(cache *sessionsql.Cache) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Clear": cache.Clear,
		"Len":   func(ctx context.Context) error { _, err := cache.Len(ctx); return err },
		"All": func(ctx context.Context) error {
			for _, err := range cache.All(ctx) {
				return err
			}
			return nil
		},
	}
}

func allCalls(cache *sessionsql.Cache, key string) map[string]func(context.Context) error {
	calls := spaceCalls(cache)
	for name, call := range keyCalls(cache, key, "v") {
		calls[name] = call
	}
	calls["Touch"] = func(ctx context.Context) error { return cache.Touch(ctx, key, time.Hour) }
	return calls
}

func TestACacheWithABadNameOrOptionsRefusesEveryCall(t *testing.T) {
	store := sessiontest.OpenStoreOver(t, nowhere(t), nil)
	for name, cache := range map[string]*sessionsql.Cache{
		"no name":                  store.Cache("", nil),
		"64 bytes":                 store.Cache(strings.Repeat("x", 64), nil),
		"a NUL in the name":        store.Cache("a\x00b", nil),
		"a name not in UTF-8":      store.Cache("\xff", nil),
		"a budget below 0":         store.Cache("c", &sessionsql.CacheOptions{MaxBytes: -1}),
		"a budget and Final":       store.Cache("c", &sessionsql.CacheOptions{MaxBytes: 1, Final: true}),
		"StaleFor below 0":         store.Cache("c", &sessionsql.CacheOptions{StaleFor: -1}),
		"StaleFor above 100 years": store.Cache("c", &sessionsql.CacheOptions{StaleFor: math.MaxInt64}),
		"Jitter below 0":           store.Cache("c", &sessionsql.CacheOptions{Jitter: -0.1}),
		"Jitter above 1":           store.Cache("c", &sessionsql.CacheOptions{Jitter: 1.1}),
		"Jitter that is no number": store.Cache("c", &sessionsql.CacheOptions{Jitter: math.NaN()}),
		"Slack below 0":            store.Cache("c", &sessionsql.CacheOptions{Slack: -1}),
	} {
		for method, call := range allCalls(cache, "k") {
			if err := call(t.Context()); !errors.Is(err, sessionsql.ErrOptions) {
				t.Errorf("%s: %s: %v", name, method, err)
			}
		}
	}
	for method, call := range allCalls(store.Cache(strings.Repeat("x", 63), nil), "k") {
		err := call(t.Context())
		if want := sessionsql.ErrUnavailable; method != "Touch" && method != "All" && !errors.Is(err, want) {
			t.Errorf("a name of 63 bytes: %s: %v", method, err)
		}
	}
}

func TestBadKeysTTLsAndValuesAreRefusedBeforeAnySQL(t *testing.T) {
	options := quiet()
	options.MaxPayloadBytes = 10
	store := sessiontest.OpenStoreOver(t, nowhere(t), options)
	cache := store.Cache("c", &sessionsql.CacheOptions{StaleFor: time.Hour})
	calls := keyCalls(cache, "", "v")
	calls["Touch"] = func(ctx context.Context) error { return cache.Touch(ctx, "", time.Hour) }
	for method, call := range calls {
		if err := call(t.Context()); !errors.Is(err, sessionsql.ErrOptions) {
			t.Errorf("an empty key: %s: %v", method, err)
		}
	}
	const century = 100 * 365.25 * 24 * time.Hour
	ctx, k, v := t.Context(), "k", []byte("v")
	for method, call := range map[string]func(ttl time.Duration) error{
		"Set": func(ttl time.Duration) error { return cache.Set(ctx, k, v, ttl) },
		"SetMany": func(ttl time.Duration) error {
			return cache.SetMany(ctx, map[string][]byte{k: v}, ttl)
		},
		"Touch":     func(ttl time.Duration) error { return cache.Touch(ctx, k, ttl) },
		"Add":       func(ttl time.Duration) error { _, err := cache.Add(ctx, k, v, ttl); return err },
		"Swap":      func(ttl time.Duration) error { return cache.Swap(ctx, k, v, v, ttl) },
		"Increment": func(ttl time.Duration) error { _, err := cache.Increment(ctx, k, 1, ttl); return err },
		"Fetch":     func(ttl time.Duration) error { _, err := cache.Fetch(ctx, k, ttl, nil); return err },
	} {
		for _, ttl := range []time.Duration{century, math.MaxInt64} {
			if err := call(ttl); !errors.Is(err, sessionsql.ErrOptions) {
				t.Errorf("a TTL of %v: %s: %v", ttl, method, err)
			}
		}
	}
	large := make([]byte, 11)
	for method, call := range map[string]func() error{
		"Set":     func() error { return cache.Set(ctx, k, large, 0) },
		"SetMany": func() error { return cache.SetMany(ctx, map[string][]byte{k: large}, 0) },
		"Add":     func() error { _, err := cache.Add(ctx, k, large, 0); return err },
		"Swap":    func() error { return cache.Swap(ctx, k, v, large, 0) },
	} {
		var refused *sessionsql.PayloadError
		if err := call(); !errors.As(err, &refused) || refused.Size != 11 || refused.Max != 10 {
			t.Errorf("a value that is too large: %s: %v", method, err)
		}
	}
}

func TestCacheCallsEndWithTheirContextOrTheStore(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	cache := store.Cache("c", &sessionsql.CacheOptions{KeepKeys: true})
	mustSet(t, cache, "k", "v", 0)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for method, call := range allCalls(cache, "k") {
		if err := call(cancelled); method != "Touch" && !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v", method, err)
		}
	}
	wantEntry(t, cache, "k", "v")
	closeStore(t, store)
	for method, call := range allCalls(cache, "k") {
		if err := call(t.Context()); err != sessionsql.ErrClosed {
			t.Errorf("%s after Close: %v", method, err)
		}
	}
}

func TestCacheCallsSayThatTheBundleIsOlder(t *testing.T) {
	d := newDatabase(t)
	d.primary.MustExec(readFile(t, "../sql/uninstall.sql"))
	d.primary.MustExec(readFile(t, "testdata/bundle-0.1.0-3068df4.sql"))
	cache := sessiontest.OpenStoreOver(t, d.primary, nil).Cache("c", &sessionsql.CacheOptions{KeepKeys: true})
	for method, call := range allCalls(cache, "k") {
		if err := call(t.Context()); method != "Touch" && !errors.Is(err, sessionsql.ErrNotInstalled) {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestEveryCacheCallEndsWithoutADeadlineOfItsCallers(t *testing.T) {
	f := newFaulty(t, 0)
	options := quiet()
	options.Timeout = 300 * time.Millisecond
	store := sessiontest.OpenStore(t, f.through(t, f.primaryProxy), nil, options)
	cache := store.Cache("c", &sessionsql.CacheOptions{KeepKeys: true})
	mustSet(t, cache, "k", "v", 0)
	calls := allCalls(cache, "k")
	delete(calls, "Touch")
	f.primaryProxy.Freeze()
	for method, call := range calls {
		done := make(chan error, 8)
		for range cap(done) { // alone, and in shared round trips
			go func() { done <- call(context.Background()) }()
		}
		for range cap(done) {
			select {
			case err := <-done:
				if !errors.Is(err, sessionsql.ErrUnavailable) || errors.Is(err, sessionsql.ErrNoEntry) {
					t.Errorf("%s: %v", method, err)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%s hangs", method)
			}
		}
	}
}

func TestKeysAreThoseOfSQL(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	store := d.Store(t, nil)
	for _, name := range []string{"c", "Überraschung", "near:c", strings.Repeat("x", 63)} {
		cache := store.Cache(name, nil)
		for i := range 50 {
			key := make([]byte, 1+random.IntN(100))
			for j := range key {
				key[j] = byte(random.IntN(256))
			}
			mustSet(t, cache, string(key), fmt.Sprint(i), time.Hour)
			got := get[string](t, d.primary, `SELECT convert_from(g.value, 'UTF8')
				FROM sessionsql.cache_get_batch(ARRAY[sessionsql.cache_key($1, $2::bytea)]) AS g`, name, key)
			if got != fmt.Sprint(i) {
				t.Errorf("SQL finds %q", got)
			}
		}
	}
	if n := get[int](t, d.primary, `SELECT count(*) FROM sessionsql.cache_entry
		WHERE space = sessionsql.cache_space_id('Überraschung')`); n != 50 {
		t.Errorf("the space has %d entries", n)
	}
}

func TestCachesOfOtherNamesAreApart(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	a, b := store.Cache("a", nil), store.Cache("b", nil)
	mustSet(t, a, "k", "of a", 0)
	wantNoEntry(t, b, "k")
	mustSet(t, b, "k", "of b", 0)
	must(t, b.Clear(t.Context()))
	wantNoEntry(t, b, "k")
	wantEntry(t, a, "k", "of a")
	wantEntry(t, store.Cache("a", nil), "k", "of a")
}

// useCache makes every call of a Cache, batches included.
func useCache(t *testing.T, store *sessionsql.Store) {
	t.Helper()
	ctx := t.Context()
	cache := store.Cache("used", &sessionsql.CacheOptions{
		KeepKeys: true, MaxBytes: 1 << 30, StaleFor: time.Minute, Jitter: 0.1, Slack: time.Second,
	})
	// Each use has another name, because tombstones stay.
	final := store.Cache(fmt.Sprint("for good ", users.Add(1)), &sessionsql.CacheOptions{Final: true})
	atOnce(100, func(i int) {
		key := fmt.Sprint(i)
		for _, cache := range []*sessionsql.Cache{cache, final} {
			mustSet(t, cache, key, "v\x00\xff", time.Hour)
			wantEntry(t, cache, key, "v\x00\xff")
			must(t, cache.Touch(ctx, key, 2*time.Hour))
			if i%2 == 0 {
				must(t, cache.Delete(ctx, key))
				wantNoEntry(t, cache, key)
			}
		}
	})
	must(t, store.Flush(ctx))
	if entry, err := cache.GetAndTouch(ctx, "1", time.Hour); err != nil || entry.ExpiresIn <= time.Hour {
		t.Errorf("GetAndTouch after Touch: %v, %v", entry.ExpiresIn, err)
	}
	must(t, cache.SetMany(ctx, map[string][]byte{"a": nil, "b": []byte("b")}, 0))
	if found, err := cache.GetMany(ctx, []string{"a", "b", "c"}); err != nil || len(found) != 2 {
		t.Errorf("GetMany: %d entries, %v", len(found), err)
	}
	if added, err := cache.Add(ctx, "a", nil, 0); added || err != nil {
		t.Errorf("Add: %v, %v", added, err)
	}
	must(t, cache.Swap(ctx, "b", []byte("b"), []byte{}, time.Hour))
	must(t, cache.Swap(ctx, "b", nil, nil, 0))
	if sum, err := cache.Increment(ctx, "n", 7, time.Hour); sum != 7 || err != nil {
		t.Errorf("Increment: %d, %v", sum, err)
	}
	if value, err := cache.Fetch(ctx, "f", 0, loading("loaded")); string(value) != "loaded" || err != nil {
		t.Errorf("Fetch: %q, %v", value, err)
	}
	listed := int64(0)
	for _, err := range cache.All(ctx) {
		must(t, err)
		listed++
	}
	if n, err := cache.Len(ctx); n != 53 || listed != 53 || err != nil {
		t.Errorf("%d entries, %d listed, %v; want 53", n, listed, err)
	}
	if err := final.Set(ctx, "0", nil, 0); err != sessionsql.ErrEntryEnded {
		t.Errorf("Set after a final delete: %v", err)
	}
	_, err := store.ReapCache(ctx)
	must(t, err)
	must(t, cache.Clear(ctx))
	must(t, final.Clear(ctx))
}

func TestCachesWorkInEveryModeOfTheDriver(t *testing.T) {
	d := newDatabase(t)
	for _, mode := range execModes {
		dsn := d.PrimaryDSN() + "&default_query_exec_mode=" + mode
		useCache(t, sessiontest.OpenStore(t, dsn, nil, nil))
		if t.Failed() {
			t.Fatalf("in the mode %s", mode)
		}
	}
}
