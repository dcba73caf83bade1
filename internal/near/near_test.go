package near

import (
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sessionsql/postgres/internal/testkit"
)

// bytes returns the bytes that the shards count.
func bytes[K comparable, V any](m *Map[K, V]) (bytes int64) {
	for i := range m.shards {
		bytes += m.shards[i].bytes
	}
	return bytes
}

func put(m *Map[int64, string], key int64, value string) bool {
	return m.Keep(m.Begin(key), value, int64(len(value)))
}

func TestAValueIsKeptOnlyWhileItsPlaceholderStands(t *testing.T) {
	m := New[int64, string](1 << 20)
	drops := map[string]func(){
		"Drop":               func() { m.Drop(2, 1) },
		"Clear":              m.Clear,
		"End":                func() { m.End(m.Begin(1)) },
		"a value kept first": func() { put(m, 1, "first"); m.Drop(1) },
		"drop, begin, keep":  func() { m.Drop(1); put(m, 1, "later") },
		"drop and begin":     func() { m.Drop(1); m.Begin(1) },
	}
	for name, drop := range drops {
		m.Clear()
		p := m.Begin(1)
		drop()
		if m.Keep(p, "stale", 5) {
			t.Errorf("%s: a value is kept although its placeholder was removed", name)
		}
		if value := m.Get(1); value != nil && *value == "stale" {
			t.Errorf("%s: the value is found", name)
		}
		m.End(p)
	}
	m.Clear()
	a, b := m.Begin(1), m.Begin(1)
	if !m.Keep(a, "a", 1) || m.Keep(b, "b", 1) {
		t.Error("of two callers that fetch one key, the first to answer is not the one whose value is kept")
	}
	m.End(a)
	m.End(b)
	if value := m.Get(1); value == nil || *value != "a" {
		t.Error("the end of a fetch removes or changes a value")
	}
	if m.Begin(1); bytes(m) != 0 {
		t.Errorf("beside a placeholder, %d bytes are counted", bytes(m))
	}
}

// TestNoCallerGetsAValueThatWasDroppedBefore lets callers fetch versions of values that writers raise. A
// writer drops the key after the write, so whoever asks later must get that version or a later one.
func TestNoCallerGetsAValueThatWasDroppedBefore(t *testing.T) {
	const keys, rounds, callers = 20, 20_000, 8
	random := testkit.Random(t)
	m := New[int64, int64](20 * keys * entryBytes / 10)
	var mu sync.Mutex
	current, dropped := make([]int64, keys), make([]int64, keys)
	read := func(versions []int64, key int64) int64 {
		mu.Lock()
		defer mu.Unlock()
		return versions[key]
	}
	var wait sync.WaitGroup
	var hits, kept int64
	for range callers {
		own := testkit.Fork(random)
		wait.Go(func() {
			myHits, myKept := int64(0), int64(0)
			for range rounds {
				key := own.Int64N(keys)
				if own.IntN(8) == 0 {
					mu.Lock()
					current[key]++
					version := current[key]
					mu.Unlock()
					if own.IntN(100) == 0 {
						m.Clear()
					} else {
						m.Drop(key)
					}
					mu.Lock()
					dropped[key] = max(dropped[key], version)
					mu.Unlock()
					continue
				}
				least := read(dropped, key)
				if version := m.Get(key); version != nil {
					if myHits++; *version < least {
						t.Errorf("key %d: version %d after the drop of %d", key, *version, least)
						return
					}
					continue
				}
				p := m.Begin(key)
				version := read(current, key)
				if own.IntN(4) == 0 {
					runtime.Gosched()
				}
				if own.IntN(10) > 0 && m.Keep(p, version, 8) {
					myKept++
				}
				m.End(p)
			}
			mu.Lock()
			hits, kept = hits+myHits, kept+myKept
			mu.Unlock()
		})
	}
	wait.Wait()
	if hits < rounds || kept < rounds/10 {
		t.Errorf("%d hits, %d values kept: the test shows little", hits, kept)
	}
}

func TestTheBoundInBytesHolds(t *testing.T) {
	const maxBytes = 32 << 20
	random := testkit.Random(t)
	before := testkit.Heap()
	m := New[int64, string](maxBytes)
	for range 300_000 {
		put(m, random.Int64N(200_000), strings.Repeat("x", 50+random.IntN(500)))
	}
	grown := testkit.Heap() - before
	t.Logf("%d bytes are counted, and the heap has grown by %d", bytes(m), grown)
	if bytes(m) > maxBytes || bytes(m) < maxBytes*9/10 {
		t.Errorf("%d bytes are counted; the bound is %d", bytes(m), maxBytes)
	}
	if grown > maxBytes*5/4 {
		t.Errorf("the heap has grown by %d bytes; the bound is %d", grown, maxBytes)
	}
	if put(m, 1, strings.Repeat("x", maxBytes)) {
		t.Error("a value is kept that has no room")
	}
	m.Clear()
	if bytes(m) != 0 {
		t.Errorf("an empty map counts %d bytes", bytes(m))
	}
}

func TestEvictionSparesWhatIsUsed(t *testing.T) {
	m := New[int64, string](100 * (entryBytes + 1))
	for key := range int64(10_000) {
		put(m, key, "x")
		for used := range int64(10) { // these come back again and again
			if m.Get(used) == nil && key >= used {
				t.Fatalf("key %d was evicted at %d", used, key)
			}
		}
	}
	for key := range int64(10_000) {
		m.Drop(key) // the queue stays whole in whatever order its values leave
	}
	for key := range int64(1000) {
		put(m, key, "x")
	}
	if bytes(m) != 100*(entryBytes+1) {
		t.Errorf("%d bytes", bytes(m))
	}
}
