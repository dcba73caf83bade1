package sessionsql_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

func TestNoEntryUnwrapsToErrNoRows(t *testing.T) {
	err := sessionsql.ErrNoEntry
	if !errors.Is(err, sql.ErrNoRows) || errors.Is(err, sessionsql.ErrNoSession) {
		t.Error("ErrNoEntry is no sql.ErrNoRows")
	}
}

func TestGetReadsFromTheReplica(t *testing.T) {
	d := newDatabase(t)
	writer, reader := d.Store(t, nil), d.Store(t, nil)
	mustSet(t, writer.Cache("c", nil), "k", "v", time.Hour)
	d.CatchUp(t)
	cache := reader.Cache("c", nil)
	for range 10 {
		wantEntry(t, cache, "k", "v")
	}
	if found, err := cache.GetMany(t.Context(), []string{"k"}); err != nil || len(found) != 1 {
		t.Errorf("GetMany: %v, %v", found, err)
	}
	if stats := reader.Stats(); stats.ReplicaReads != 11 || stats.PrimaryReads != 0 || stats.CacheGets != 11 {
		t.Errorf("the replica did not answer every get: %+v", stats)
	}
}

func TestOwnEntriesAreNeverReadBackOlder(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	ctx, cache := t.Context(), store.Cache("c", nil)
	keys := []string{"set", "many", "deleted", "added", "swapped", "incremented", "fetched", "cleared"}
	for _, key := range keys {
		if key != "added" && key != "fetched" && key != "incremented" {
			mustSet(t, cache, key, "old", 0)
		}
	}
	other := store.Cache("other", nil)
	mustSet(t, other, "cleared", "old", 0)
	_, err := cache.Increment(ctx, "incremented", 1, 0)
	must(t, err)
	d.CatchUp(t)
	eventually(t, "the replica is read from", func() bool {
		wantEntry(t, cache, "set", "old")
		return store.Stats().ReplicaReads > 0
	})
	d.pauseReplay(t)
	mustSet(t, cache, "set", "new", 0)
	must(t, cache.SetMany(ctx, map[string][]byte{"many": []byte("new")}, 0))
	must(t, cache.Delete(ctx, "deleted"))
	if added, err := cache.Add(ctx, "added", []byte("new"), 0); !added || err != nil {
		t.Errorf("Add: %v, %v", added, err)
	}
	must(t, cache.Swap(ctx, "swapped", []byte("old"), []byte("new"), 0))
	_, err = cache.Increment(ctx, "incremented", 1, 0)
	must(t, err)
	_, err = cache.Fetch(ctx, "fetched", 0, loading("new"))
	must(t, err)
	must(t, other.Clear(ctx))
	for range 50 {
		for _, key := range []string{"set", "many", "added", "swapped", "fetched"} {
			wantEntry(t, cache, key, "new")
		}
		wantEntry(t, cache, "incremented", "2")
		wantNoEntry(t, cache, "deleted")
		wantNoEntry(t, other, "cleared")
		found, err := cache.GetMany(ctx, keys)
		if err != nil || len(found) != 7 || string(found["many"].Value) != "new" {
			t.Errorf("GetMany finds %d entries, %v", len(found), err)
		}
		if t.Failed() {
			return
		}
	}
	d.replica.MustExec("SELECT pg_wal_replay_resume()")
	before := store.Stats().ReplicaReads
	eventually(t, "the replica is read from again", func() bool {
		wantEntry(t, cache, "set", "new")
		return t.Failed() || store.Stats().ReplicaReads > before
	})
}

func TestAReplicasMissIsAskedAgainOnThePrimary(t *testing.T) {
	d := newDatabase(t)
	writer, reader := d.Store(t, nil), d.Store(t, nil)
	values := map[string][]byte{}
	var keys []string
	for i := range 200 {
		keys = append(keys, fmt.Sprint(i))
		values[fmt.Sprint(i)] = []byte(fmt.Sprint("v", i))
	}
	mustSet(t, writer.Cache("c", nil), "replayed", "v", 0)
	d.CatchUp(t)
	d.pauseReplay(t)
	must(t, writer.Cache("c", nil).SetMany(t.Context(), values, time.Hour))
	cache := reader.Cache("c", nil)
	atOnce(200, func(i int) { wantEntry(t, cache, keys[i], "v"+keys[i]) })
	found, err := cache.GetMany(t.Context(), append(keys, "replayed", "absent", "replayed"))
	if err != nil || len(found) != 201 || string(found["7"].Value) != "v7" {
		t.Errorf("GetMany finds %d entries, %v", len(found), err)
	}
	if misses := reader.Stats().ReplicaMisses; misses != 401 {
		t.Errorf("%d replica misses", misses)
	}
}

func TestReplicasServeEntriesWhileThePrimaryIsAway(t *testing.T) {
	cluster := ownCluster(t, 1)
	d := newDatabaseIn(t, cluster)
	store := d.Store(t, nil)
	cache := store.Cache("c", &sessionsql.CacheOptions{KeepKeys: true})
	mustSet(t, cache, "k", "v", time.Hour)
	d.CatchUp(t)
	eventually(t, "the replica is read from", func() bool {
		wantEntry(t, cache, "k", "v")
		return store.Stats().ReplicaReads > 0
	})
	must(t, cluster.Primary.Kill())
	wantEntry(t, cache, "k", "v")
	found, err := cache.GetMany(t.Context(), []string{"k"})
	if err != nil || string(found["k"].Value) != "v" {
		t.Errorf("GetMany: %v, %v", found, err)
	}
	// Nobody knows whether there is such an entry, and nobody can write.
	for method, call := range allCalls(cache, "absent") {
		err := call(t.Context())
		unknown := errors.Is(err, sessionsql.ErrUnavailable) && !errors.Is(err, sessionsql.ErrNoEntry)
		if method != "Touch" && !unknown {
			t.Errorf("%s with the primary away: %v", method, err)
		}
	}
	must(t, cluster.Primary.Start(t.Context()))
	eventually(t, "the primary answers", func() bool {
		return cache.Set(t.Context(), "k", []byte("w"), 0) == nil
	})
	wantEntry(t, cache, "k", "w")
}

func TestALateStandbyNeverSaysThatThereIsNoEntry(t *testing.T) {
	d := newDatabase(t)
	d.pauseReplay(t)
	mustSet(t, d.Store(t, nil).Cache("c", nil), "k", "v", 0)
	// The pool that is meant to lead to the primary leads to a standby.
	cache := sessiontest.OpenStoreOver(t, d.replica, nil).Cache("c", nil)
	for name, call := range map[string]func() error{
		"Get":     func() error { _, err := cache.Get(t.Context(), "k"); return err },
		"GetMany": func() error { _, err := cache.GetMany(t.Context(), []string{"k"}); return err },
	} {
		if err := call(); !errors.Is(err, sessionsql.ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConcurrentGetsShareRoundTripsAndNoMemory(t *testing.T) {
	d := newDatabase(t)
	store := sessiontest.OpenStoreOver(t, d.primary, nil)
	cache := store.Cache("c", nil)
	mustSet(t, cache, "hot", "value", 0)
	atOnce(500, func(i int) {
		if i%10 == 0 {
			wantNoEntry(t, cache, fmt.Sprint("absent", i))
			return
		}
		entry, err := cache.Get(t.Context(), "hot")
		if err != nil || string(entry.Value) != "value" {
			t.Errorf("got %q, %v", entry.Value, err)
			return
		}
		copy(entry.Value, "mine!")
	})
	stats := store.Stats()
	if stats.CacheGets != 500 || stats.CacheMisses != 50 || stats.CacheGetBatches >= 500 {
		t.Errorf("%+v", stats)
	}
}

func TestReplicasThatCannotReadAnUnloggedTableStayInUse(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	cache := store.Cache("c", nil)
	d.primary.MustExec("ALTER TABLE sessionsql.cache_entry SET UNLOGGED")
	token := mustInsert(t, store, "p", nil)
	must(t, cache.SetMany(t.Context(), map[string][]byte{"k": []byte("v"), "l": []byte("w")}, 0))
	d.CatchUp(t)
	reader := d.Store(t, nil)
	for range 10 {
		wantEntry(t, reader.Cache("c", nil), "k", "v")
		wantNoEntry(t, reader.Cache("c", nil), "absent")
		mustLookup(t, reader, token)
	}
	found, err := d.Store(t, nil).Cache("c", nil).GetMany(t.Context(), []string{"k", "l", "absent"})
	if err != nil || len(found) != 2 {
		t.Errorf("GetMany finds %d entries, %v", len(found), err)
	}
	stats := reader.Stats()
	if !stats.Replicas[0].Usable || stats.ReplicaReads != 10 || stats.ReplicaMisses != 0 ||
		stats.PrimaryReads != 20 {
		t.Errorf("%+v", stats)
	}
	if stats.CacheGetBatches != 21 {
		t.Errorf("%d round trips of gets, want one in vain", stats.CacheGetBatches)
	}
}

func TestEntriesPrintNoValue(t *testing.T) {
	d := newDatabase(t)
	cache := d.Store(t, nil).Cache("c", &sessionsql.CacheOptions{KeepKeys: true})
	mustSet(t, cache, "canary-key", "canary-value", 0)
	entry, err := cache.Get(t.Context(), "canary-key")
	must(t, err)
	for keyed, err := range cache.All(t.Context()) {
		must(t, err)
		text := fmt.Sprintf("%v %+v %#v %s %x %v %+v", entry, entry, entry, entry, entry, keyed, &keyed)
		if strings.Contains(text, "canary") || strings.Contains(text, fmt.Sprintf("%x", "canary")) {
			t.Errorf("printed: %s", text)
		}
	}
}

func TestWithPrimaryFirstNoOtherProgramsWriteIsMissed(t *testing.T) {
	cluster := ownCluster(t, 1)
	d := newDatabaseIn(t, cluster)
	options := &sessionsql.CacheOptions{PrimaryFirst: true}
	reader := d.Store(t, nil)
	writer, cache := d.Store(t, nil).Cache("c", options), reader.Cache("c", options)
	mustSet(t, writer, "k", "old", 0)
	d.CatchUp(t)
	wantEntry(t, cache, "k", "old")
	d.pauseReplay(t)
	for i := range 20 {
		mustSet(t, writer, "k", fmt.Sprint(i), 0)
		wantEntry(t, cache, "k", fmt.Sprint(i))
		found, err := cache.GetMany(t.Context(), []string{"k"})
		if err != nil || string(found["k"].Value) != fmt.Sprint(i) {
			t.Errorf("GetMany finds %q, %v", found["k"].Value, err)
		}
		value, err := cache.Fetch(t.Context(), "k", 0, nil)
		if err != nil || string(value) != fmt.Sprint(i) {
			t.Errorf("Fetch finds %q, %v", value, err)
		}
	}
	if n := reader.Stats().ReplicaReads; n != 0 {
		t.Errorf("%d reads went to the replica", n)
	}
	must(t, cluster.Primary.Kill())
	eventually(t, "the replica serves while the primary is away", func() bool {
		entry, err := cache.Get(t.Context(), "k")
		return err == nil && string(entry.Value) == "old"
	})
}
