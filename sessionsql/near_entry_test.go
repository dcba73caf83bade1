package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

// hitEntry gets an entry until the near cache has answered.
func hitEntry(t *testing.T, store *sessionsql.Store, cache *sessionsql.Cache, key string) sessionsql.Entry {
	t.Helper()
	hits := store.Stats().NearHits
	var entry sessionsql.Entry
	eventually(t, "the near cache answers", func() (ok bool) {
		var err error
		entry, err = cache.Get(t.Context(), key)
		must(t, err)
		return store.Stats().NearHits > hits
	})
	return entry
}

func TestOnlyEntriesOfNearCachesAreAnsweredFromMemory(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nearOptions(time.Second))
	near, far := store.Cache("near:c", nil), store.Cache("c", nil)
	mustSet(t, near, "k", "v", time.Hour)
	mustSet(t, near, "forever", "v", 0)
	mustSet(t, far, "k", "v", time.Hour)
	for range 3 {
		entry := hitEntry(t, store, near, "k")
		if string(entry.Value) != "v" || entry.ExpiresIn < 3590*time.Second || entry.ExpiresIn > time.Hour {
			t.Errorf("memory answers %q for %v", entry.Value, entry.ExpiresIn)
		}
		entry.Value[0] = 'x' // each caller may change its own
		if entry := hitEntry(t, store, near, "forever"); entry.ExpiresIn != 0 {
			t.Errorf("an entry for ever expires in %v", entry.ExpiresIn)
		}
	}
	hits := store.Stats().NearHits
	for range 20 {
		wantEntry(t, far, "k", "v")
		wantNoEntry(t, near, "none")
	}
	if more := store.Stats().NearHits - hits; more > 0 {
		t.Errorf("%d gets of another cache, or of no entry, were answered from memory", more)
	}
	mustSet(t, near, "short", "v", time.Second)
	hitEntry(t, store, near, "short")
	eventually(t, "the entry expires", func() bool {
		_, err := near.Get(t.Context(), "short")
		return err == sessionsql.ErrNoEntry
	})
}

func TestOwnWritesOfEntriesAreNeverReadBackOlderFromMemory(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nearOptions(2*time.Second))
	cache := store.Cache("near:c", nil)
	mustSet(t, cache, "k", "1", time.Hour)
	hitEntry(t, store, cache, "k")
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for range 4 { // they fill the cache at any moment
		wait.Go(func() {
			for ctx.Err() == nil {
				_, _ = cache.Get(ctx, "k")
			}
		})
	}
	gone := func(key string) { wantNoEntry(t, cache, key) }
	for range 40 {
		mustSet(t, cache, "k", "1", time.Hour)
		wantEntry(t, cache, "k", "1")
		must(t, cache.SetMany(t.Context(), map[string][]byte{"k": []byte("2")}, time.Hour))
		wantEntry(t, cache, "k", "2")
		must(t, cache.Swap(t.Context(), "k", []byte("2"), []byte("3"), time.Hour))
		wantEntry(t, cache, "k", "3")
		_, err := cache.Increment(t.Context(), "k", 1, time.Hour)
		must(t, err)
		wantEntry(t, cache, "k", "4")
		must(t, cache.Delete(t.Context(), "k"))
		gone("k")
		_, err = cache.Add(t.Context(), "k", []byte("5"), time.Hour)
		must(t, err)
		wantEntry(t, cache, "k", "5")
		must(t, cache.Clear(t.Context()))
		gone("k")
		value, err := cache.Fetch(t.Context(), "k", time.Hour, func(context.Context) ([]byte, error) {
			return []byte("6"), nil
		})
		must(t, err)
		wantEntry(t, cache, "k", string(value))
	}
	stop()
	wait.Wait()
}

// An entryWrites is what a writer has done to an entry whose value is the number of its last write.
type entryWrites struct {
	mu     sync.Mutex // held during a write
	number int64
	acked  atomic.Pointer[ackedWrite]
}

type ackedWrite struct {
	number int64
	at     time.Time
}

// TestAWriteOfANearEntryIsSeenWithinTheBound lets one program write entries in every way, and others read
// them. Memory must not answer a get with an earlier value that begins later than the bound after a write.
func TestAWriteOfANearEntryIsSeenWithinTheBound(t *testing.T) {
	const staleness, entries, checks = 400 * time.Millisecond, 60, 5000
	d := newDatabase(t)
	readers := []*sessionsql.Store{
		d.Store(t, nearOptions(staleness)),
		sessiontest.OpenStore(t, d.PrimaryDSN(), nil, nearOptions(staleness)),
	}
	writer := d.Store(t, nil).Cache("near:c", nil)
	random := seeded(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	states := make([]entryWrites, entries)
	var clearing sync.RWMutex // held for writing during a Clear
	var wait, reading sync.WaitGroup
	for i := range states {
		own, w, key := testkit.Fork(random), &states[i], fmt.Sprint(i)
		wait.Go(func() {
			for ctx.Err() == nil {
				clearing.RLock()
				w.mu.Lock()
				w.number++
				value, err := []byte(strconv.FormatInt(w.number, 10)), error(nil)
				switch own.IntN(5) {
				case 0:
					err = writer.Delete(ctx, key)
				case 1:
					if err = writer.Delete(ctx, key); err == nil {
						_, err = writer.Increment(ctx, key, w.number, time.Hour)
					}
				case 2:
					if entry, missing := writer.Get(ctx, key); missing == nil {
						err = writer.Swap(ctx, key, entry.Value, value, time.Hour)
					} else {
						_, err = writer.Add(ctx, key, value, time.Hour)
					}
				default:
					err = writer.Set(ctx, key, value, time.Hour)
				}
				if err == nil {
					w.acked.Store(&ackedWrite{w.number, time.Now()})
				} else if ctx.Err() == nil {
					t.Error(err)
				}
				w.mu.Unlock()
				clearing.RUnlock()
				time.Sleep(time.Duration(own.Int64N(int64(4 * staleness))))
			}
		})
	}
	wait.Go(func() {
		for ctx.Err() == nil {
			time.Sleep(5 * staleness)
			clearing.Lock()
			if err := writer.Clear(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			for i := range states {
				states[i].number++
				states[i].acked.Store(&ackedWrite{states[i].number, time.Now()})
			}
			clearing.Unlock()
		}
	})
	for _, store := range readers {
		own, cache := testkit.Fork(random), store.Cache("near:c", nil)
		reading.Go(func() {
			for checked, wrong := 0, 0; checked < checks && wrong < 5; {
				i, hits := own.IntN(entries), store.Stats().NearHits
				acked, begun := states[i].acked.Load(), time.Now()
				entry, err := cache.Get(t.Context(), fmt.Sprint(i))
				if err != nil || acked == nil || store.Stats().NearHits == hits ||
					begun.Sub(acked.at) <= staleness {
					continue
				}
				checked++
				if number, _ := strconv.ParseInt(string(entry.Value), 10, 64); number < acked.number {
					wrong++
					t.Errorf("write %d is found %v after write %d", number, begun.Sub(acked.at), acked.number)
				}
			}
		})
	}
	reading.Wait()
	stop()
	wait.Wait()
}

// A replica that does not replay would fill the memory with what another program has overwritten.
func TestAWriteElsewhereIsSeenAlthoughAReplicaLags(t *testing.T) {
	d := newDatabase(t)
	options := nearOptions(200 * time.Millisecond)
	options.MaxReplicaLag = time.Hour
	store := d.Store(t, options)
	cache, admin := store.Cache("near:c", nil), d.Store(t, nil).Cache("near:c", nil)
	mustSet(t, admin, "k", "old", time.Hour)
	fresh := 0
	eventually(t, "the replica is read from", func() bool {
		fresh++ // an entry that the primary gave would answer from memory
		mustSet(t, admin, fmt.Sprint(fresh), "v", time.Hour)
		d.CatchUp(t)
		reads := store.Stats().ReplicaReads
		wantEntry(t, cache, fmt.Sprint(fresh), "v")
		return store.Stats().ReplicaReads > reads
	})
	wantEntry(t, cache, "k", "old")
	d.pauseReplay(t)
	mustSet(t, admin, "k", "new", time.Hour)
	eventually(t, "the write is seen", func() bool {
		entry, err := cache.Get(t.Context(), "k")
		return err == nil && string(entry.Value) == "new"
	})
	for range 20 {
		if entry := hitEntry(t, store, cache, "k"); string(entry.Value) != "new" {
			t.Fatalf("memory answers %q", entry.Value)
		}
		time.Sleep(10 * time.Millisecond) // several polls and probes pass
	}
	eventually(t, "GetMany sees the write", func() bool {
		found, err := cache.GetMany(t.Context(), []string{"k"})
		return err == nil && string(found["k"].Value) == "new"
	})
}

func TestAnEntryOfAStandbyInThePlaceOfThePrimaryIsNotKept(t *testing.T) {
	d := newDatabase(t)
	admin := d.Store(t, nil).Cache("near:c", nil)
	mustSet(t, admin, "k", "old", time.Hour)
	mustSet(t, admin, "other", "v", time.Hour)
	d.CatchUp(t)
	d.replica.MustExec("SELECT pg_wal_replay_pause()")
	defer d.replica.MustExec("SELECT pg_wal_replay_resume()")
	mustSet(t, admin, "k", "new", time.Hour)
	pool := &misledPool{DB: d.primary, standby: d.replica}
	store := sessiontest.OpenStoreOver(t, pool, nearOptions(10*time.Second))
	cache := store.Cache("near:c", nil)
	hitEntry(t, store, cache, "other") // it has a lease

	pool.misled.Store(true)
	wantEntry(t, cache, "k", "old") // or this test proves nothing
	pool.misled.Store(false)
	if entry := hitEntry(t, store, cache, "k"); string(entry.Value) != "new" {
		t.Errorf("memory answers %q", entry.Value)
	}
}

func TestAClosedStoreAnswersNothingFromMemory(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nearOptions(10*time.Second))
	cache := store.Cache("near:c", nil)
	token := mustInsert(t, store, "p", nil)
	mustSet(t, cache, "k", "v", time.Hour)
	hit(t, store, token)
	hitEntry(t, store, cache, "k")
	load := func(context.Context) ([]byte, error) { return nil, errors.New("loaded") }
	calls := map[string]func() error{
		"Lookup":      func() error { _, err := store.Lookup(t.Context(), token); return err },
		"Peek":        func() error { _, err := store.Peek(t.Context(), token); return err },
		"Get":         func() error { _, err := cache.Get(t.Context(), "k"); return err },
		"GetAndTouch": func() error { _, err := cache.GetAndTouch(t.Context(), "k", time.Hour); return err },
		"Fetch":       func() error { _, err := cache.Fetch(t.Context(), "k", time.Hour, load); return err },
	}
	before := store.Stats()
	for name, call := range calls {
		if err := call(); err != nil {
			t.Errorf("%s of an open Store: %v", name, err)
		}
	}
	after := store.Stats()
	lookups, gets := after.Lookups-before.Lookups, after.CacheGets-before.CacheGets
	if hits := after.NearHits - before.NearHits; hits != 5 || lookups != 2 || gets != 3 {
		t.Errorf("%d hits, %d lookups and %d gets are counted, want 5, 2 and 3", hits, lookups, gets)
	}
	must(t, store.Close(t.Context()))
	for name, call := range calls {
		if err := call(); err != sessionsql.ErrClosed {
			t.Errorf("%s of a closed Store: %v", name, err)
		}
	}
	if now := store.Stats().NearHits; now != after.NearHits {
		t.Errorf("%d hits of a closed Store", now-after.NearHits)
	}
}
