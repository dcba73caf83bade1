// Package near keeps values in memory, bounded in bytes. It does not know their meaning.
//
// A value is kept only if nothing dropped its key since the caller began to fetch it. The caller sets a
// placeholder before the fetch, and a drop removes the placeholder too:
//
//	p := m.Begin(key)
//	defer m.End(p)
//	value := fetch(key)
//	m.Keep(p, value, size)
package near

import "hash/maphash"

// A Map is safe for concurrent use.
type Map[K comparable, V any] struct {
	seed   maphash.Seed
	shards []shard[K, V]
}

const (
	// A shard has room for this many bytes at least, so that a single large value does not fill it.
	minShardBytes = 4 << 20

	// With more shards, callers on many CPUs no longer wait less for each other.
	maxShards = 64

	// entryBytes is what an entry occupies apart from its value.
	entryBytes = 112
)

// New makes a Map that holds at most maxBytes.
func New[K comparable, V any](maxBytes int64) *Map[K, V] {
	n := min(max(maxBytes/minShardBytes, 1), maxShards)
	m := &Map[K, V]{seed: maphash.MakeSeed(), shards: make([]shard[K, V], n)}
	for i := range m.shards {
		m.shards[i].max = maxBytes / n
		m.shards[i].clear()
	}
	return m
}

// Get returns the value that is kept for a key, or nil.
func (m *Map[K, V]) Get(key K) *V {
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	if e == nil || !e.kept {
		return nil
	}
	if !e.visited { // else a hit would take the entry's cache line from other CPUs
		e.visited = true
	}
	return &e.value
}

// A Placeholder stands for a value that is being fetched.
type Placeholder[K comparable, V any] struct{ entry *entry[K, V] }

// Begin puts a placeholder in the place of the value. Callers that fetch the same key at once share it, which
// is safe, because it stands only if nothing dropped the key since the first of them began.
func (m *Map[K, V]) Begin(key K) Placeholder[K, V] {
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	if e == nil || e.kept {
		s.drop(e)
		e = &entry[K, V]{key: key, era: s.era}
		s.entries[key] = e
	}
	return Placeholder[K, V]{e}
}

// Keep keeps a value of the given bytes if its placeholder still stands, and reports whether it did.
func (m *Map[K, V]) Keep(p Placeholder[K, V], value V, bytes int64) bool {
	s := m.shard(p.entry.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes += entryBytes
	if !s.stands(p.entry) || bytes > s.max {
		return false
	}
	p.entry.value, p.entry.bytes, p.entry.kept = value, bytes, true
	s.evict(bytes)
	s.push(p.entry)
	return true
}

// End removes a placeholder if it still stands.
func (m *Map[K, V]) End(p Placeholder[K, V]) {
	s := m.shard(p.entry.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stands(p.entry) {
		s.drop(p.entry)
	}
}

// Drop drops the values and the placeholders of keys.
func (m *Map[K, V]) Drop(keys ...K) {
	for _, key := range keys {
		s := m.shard(key)
		s.mu.Lock()
		s.drop(s.entries[key])
		s.mu.Unlock()
	}
}

// Clear drops all values and placeholders.
func (m *Map[K, V]) Clear() {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.clear()
		s.mu.Unlock()
	}
}

func (m *Map[K, V]) shard(key K) *shard[K, V] {
	return &m.shards[maphash.Comparable(m.seed, key)%uint64(len(m.shards))]
}
