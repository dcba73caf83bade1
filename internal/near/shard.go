package near

import "sync"

// A shard evicts by SIEVE (Zhang et al., NSDI 2024). Values queue in the order in which they came. A hand
// walks from the oldest to the newest, spares each value that was used since its last visit, and evicts the
// first that was not. So a hit sets a flag and moves nothing.
type shard[K comparable, V any] struct {
	mu             sync.Mutex
	entries        map[K]*entry[K, V]
	newest, oldest *entry[K, V]
	hand           *entry[K, V] // nil: begins at the oldest
	bytes, max     int64
	era            uint32 // counts the calls of clear
}

// An entry is a value, or the placeholder of one, which is not in the queue.
type entry[K comparable, V any] struct {
	key          K
	value        V
	bytes        int64
	newer, older *entry[K, V]
	era          uint32
	kept         bool // it holds a value
	dropped      bool
	visited      bool // it was used since the hand's last visit
}

func (s *shard[K, V]) clear() {
	s.entries = map[K]*entry[K, V]{}
	s.newest, s.oldest, s.hand, s.bytes = nil, nil, nil, 0
	s.era++
}

// stands reports whether a placeholder stands.
func (s *shard[K, V]) stands(e *entry[K, V]) bool { return e.era == s.era && !e.kept && !e.dropped }

func (s *shard[K, V]) push(e *entry[K, V]) {
	s.bytes += e.bytes
	if e.older = s.newest; e.older != nil {
		e.older.newer = e
	} else {
		s.oldest = e
	}
	s.newest = e
}

// drop removes an entry, which may be nil.
func (s *shard[K, V]) drop(e *entry[K, V]) {
	if e == nil {
		return
	}
	delete(s.entries, e.key)
	e.dropped = true
	if !e.kept {
		return
	}
	s.bytes -= e.bytes
	if s.hand == e {
		s.hand = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		s.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		s.oldest = e.newer
	}
	e.newer, e.older = nil, nil // an old hand or placeholder must not hold on to the others
}

// evict makes room for a value of the given bytes, which are max at most.
func (s *shard[K, V]) evict(bytes int64) {
	for s.bytes+bytes > s.max {
		e := s.hand
		if e == nil {
			e = s.oldest
		}
		s.hand = e.newer
		if e.visited {
			e.visited = false
		} else {
			s.drop(e)
		}
	}
}
