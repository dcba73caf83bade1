package sessionsql_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/sessionsql"
)

func TestAnyBytesAreAKeyAndAValue(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	cache := d.Store(t, nil).Cache("c", nil)
	large := make([]byte, 1<<20)
	for i := range large {
		large[i] = byte(random.IntN(256))
	}
	for key, value := range map[string][]byte{
		"binary": large, "empty": {}, "nil": nil, "not UTF-8": {0xff, 0xfe}, "NUL": {0, 1, 0},
		"quotes": []byte(`"\'{},`), "NULL": []byte("NULL"),
		"\x00\xff": []byte("v"), strings.Repeat("long", 10_000): []byte("v"), " ": []byte("v"),
	} {
		must(t, cache.Set(t.Context(), key, value, time.Hour))
		entry, err := cache.Get(t.Context(), key)
		if err != nil || !bytes.Equal(entry.Value, value) || entry.Value == nil {
			t.Errorf("%.20q: %d bytes, %v", key, len(entry.Value), err)
		}
		must(t, cache.SetMany(t.Context(), map[string][]byte{key: value, "other": []byte("v")}, time.Hour))
		found, err := cache.GetMany(t.Context(), []string{key})
		if err != nil || !bytes.Equal(found[key].Value, value) || found[key].Value == nil {
			t.Errorf("%.20q: %d bytes, %v", key, len(found[key].Value), err)
		}
	}
}

func TestATTLIsExactAndNoneIsForEver(t *testing.T) {
	d := newDatabase(t)
	cache := d.Store(t, nil).Cache("c", nil)
	mustSet(t, cache, "k", "v", time.Hour)
	if left := d.entryExpiresIn(t); left < 3590 || left > 3600 {
		t.Errorf("%v seconds left, want 3600", left)
	}
	entry, err := cache.Get(t.Context(), "k")
	if err != nil || entry.ExpiresIn < 3590*time.Second || entry.ExpiresIn > time.Hour {
		t.Errorf("expires in %v, %v", entry.ExpiresIn, err)
	}
	mustSet(t, cache, "k", "v", 0)
	if !get[bool](t, d.primary, "SELECT expires_at = 'infinity' FROM sessionsql.cache_entry") {
		t.Error("the entry expires")
	}
	if entry, err := cache.Get(t.Context(), "k"); err != nil || entry.ExpiresIn != 0 {
		t.Errorf("expires in %v, %v", entry.ExpiresIn, err)
	}
	mustSet(t, cache, "k", "v", -1)
	wantNoEntry(t, cache, "k")
	mustSet(t, cache, "k", "v", time.Hour)
	d.setAll("-1 microsecond")
	wantNoEntry(t, cache, "k")
}

func TestConcurrentSetsShareRoundTripsAndTheLastOfOneKeyCounts(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	cache := store.Cache("c", nil)
	atOnce(500, func(i int) { mustSet(t, cache, fmt.Sprint(i%50), fmt.Sprint("v", i), time.Hour) })
	for i := range 50 {
		entry, err := cache.Get(t.Context(), fmt.Sprint(i))
		must(t, err)
		var written int
		if _, err := fmt.Sscanf(string(entry.Value), "v%d", &written); err != nil || written%50 != i {
			t.Errorf("key %d has the value %q", i, entry.Value)
		}
	}
	if stats := store.Stats(); stats.CacheSets != 500 || stats.CacheSetBatches >= 500 {
		t.Errorf("%d sets in %d round trips", stats.CacheSets, stats.CacheSetBatches)
	}
}

func TestSetManyWritesAnyNumberOfEntries(t *testing.T) {
	d := newDatabase(t)
	options := quiet()
	options.MaxBatchBytes = 10_000
	store := d.Store(t, options)
	cache := store.Cache("c", nil)
	values := map[string][]byte{}
	var keys []string
	for i := range 2500 {
		key := fmt.Sprint("key", i)
		keys = append(keys, key)
		values[key] = bytes.Repeat([]byte{byte(i)}, i%30)
	}
	values["larger than a batch"] = make([]byte, 20_000)
	must(t, cache.SetMany(t.Context(), values, time.Hour))
	found, err := cache.GetMany(t.Context(), append(keys, "larger than a batch"))
	if err != nil || len(found) != len(values) {
		t.Fatalf("GetMany finds %d entries, %v", len(found), err)
	}
	for key, value := range values {
		if !bytes.Equal(found[key].Value, value) {
			t.Errorf("%s has another value", key)
		}
	}
	if n := store.Stats().CacheSets; n != int64(len(values)) {
		t.Errorf("%d sets", n)
	}
	must(t, cache.SetMany(t.Context(), nil, 0))
	if found, err := cache.GetMany(t.Context(), nil); err != nil || len(found) != 0 {
		t.Errorf("GetMany of nothing: %v, %v", found, err)
	}
}

func TestOneBadEntryFailsNoOthersSet(t *testing.T) {
	d := newDatabase(t)
	cache := d.Store(t, nil).Cache("c", nil)
	d.refuse(t, "cache_entry", "value <> 'bad'::bytea")
	atOnce(200, func(i int) {
		value := "good"
		if i%20 == 0 {
			value = "bad"
		}
		err := cache.Set(t.Context(), fmt.Sprint(i), []byte(value), 0)
		if (err == nil) != (value == "good") {
			t.Errorf("%s: %v", value, err)
		}
		if err != nil && strings.Contains(err.Error(), "bad") {
			t.Errorf("the error quotes the value: %v", err)
		}
	})
}

func TestJitterShortensEachTTLByUpToItsShare(t *testing.T) {
	d := newDatabase(t)
	cache := d.Store(t, nil).Cache("c", &sessionsql.CacheOptions{Jitter: 0.5})
	values := map[string][]byte{}
	for i := range 500 {
		values[fmt.Sprint(i)] = nil
	}
	must(t, cache.SetMany(t.Context(), values, time.Hour))
	spread := get[struct{ Least, Most, Average float64 }](t, d.primary, `
		SELECT min(left_) AS least, max(left_) AS most, avg(left_) AS average
		FROM (
		  SELECT date_part('epoch', expires_at - clock_timestamp()) AS left_ FROM sessionsql.cache_entry
		) AS e`)
	if spread.Least < 1780 || spread.Least > 1900 || spread.Most > 3600 || spread.Most < 3450 ||
		spread.Average < 2500 || spread.Average > 2900 {
		t.Errorf("the TTLs are spread like %+v", spread)
	}
}

// rowVersion tells whether the one entry was written.
func rowVersion(t testing.TB, pool sqlx.Queryer) string {
	t.Helper()
	return get[string](t, pool, "SELECT xmin::text || ctid::text FROM sessionsql.cache_entry")
}

func TestSlackSparesTheWriteOfAnUnchangedEntry(t *testing.T) {
	d := newDatabase(t)
	cache := d.Store(t, nil).Cache("c", &sessionsql.CacheOptions{Slack: 10 * time.Minute})
	mustSet(t, cache, "k", "v", time.Hour)
	for _, step := range []struct {
		name, expiresIn, value string
		ttl                    time.Duration
		written                bool
	}{
		{"unchanged", "51 minutes", "v", time.Hour, false},
		{"due", "49 minutes", "v", time.Hour, true},
		{"another value", "1 hour", "w", time.Hour, true},
		{"a nearer expiry", "1 hour", "w", 30 * time.Minute, true},
		{"a TTL below the slack, in use", "5 minutes", "w", 6 * time.Minute, false},
		{"a TTL below the slack, due", "3 minutes", "w", 6 * time.Minute, true},
		{"for ever", "1 hour", "w", 0, true},
		{"for ever already", "infinity", "w", 0, false},
	} {
		if step.expiresIn == "infinity" {
			d.primary.MustExec("UPDATE sessionsql.cache_entry SET expires_at = 'infinity'")
		} else {
			d.setAll(step.expiresIn)
		}
		before := rowVersion(t, d.primary)
		mustSet(t, cache, "k", step.value, step.ttl)
		if written := rowVersion(t, d.primary) != before; written != step.written {
			t.Errorf("%s: written: %v", step.name, written)
		}
	}
	// The slack counts for the TTL alone, because the entry is gone for Get when that is over.
	stale := d.Store(t, nil).Cache("c", &sessionsql.CacheOptions{Slack: time.Hour, StaleFor: time.Hour})
	mustSet(t, stale, "k", "v", time.Minute)
	d.setAll("1 hour")
	mustSet(t, stale, "k", "v", time.Minute)
	wantEntry(t, stale, "k", "v")
}

func TestAStaleEntryIsGoneForGet(t *testing.T) {
	d := newDatabase(t)
	cache := d.Store(t, nil).Cache("c", &sessionsql.CacheOptions{StaleFor: time.Hour, KeepKeys: true})
	mustSet(t, cache, "k", "v", time.Minute)
	if left := d.entryExpiresIn(t); left < 3650 || left > 3660 {
		t.Errorf("the row has %v seconds left, want 3660", left)
	}
	entry, err := cache.Get(t.Context(), "k")
	if err != nil || entry.ExpiresIn > time.Minute || entry.ExpiresIn < 50*time.Second {
		t.Errorf("expires in %v, %v", entry.ExpiresIn, err)
	}
	d.setAll("59 minutes")
	wantNoEntry(t, cache, "k")
	if found, err := cache.GetMany(t.Context(), []string{"k"}); err != nil || len(found) != 0 {
		t.Errorf("GetMany finds %d entries, %v", len(found), err)
	}
	for entry, err := range cache.All(t.Context()) {
		t.Errorf("All finds %v, %v", entry, err)
	}
	mustSet(t, cache, "forever", "v", 0)
	wantEntry(t, cache, "forever", "v")
}
