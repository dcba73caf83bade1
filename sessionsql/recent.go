package sessionsql

import "sync"

// recentWrites remembers the rows that this Store wrote so lately that a replica may still hold the older
// one. They are read from the primary. It knows a session by its id alone, because after a rotate two secrets
// open it, and a write through one must be seen through the other. It knows sessions that ended by their
// subject by that subject, and a space of the cache that was cleared by a key without a hash.
//
// It compares positions in the WAL and needs no clock. Writes belong to generations. The primary's position
// after the end of a generation covers every write in it. When all usable replicas have replayed that
// position, the generation is forgotten.
type recentWrites struct {
	off bool // because there are no replicas

	mu          sync.RWMutex
	generations []generation // the last one is open
	forgotten   int64        // the highest position of a forgotten generation
	size        int
}

type generation struct {
	position int64 // 0 until it is known
	ids      map[int64]struct{}
	subjects map[string]struct{}
	entries  map[entryKey]struct{}
	all      bool // it stands for every row
}

// maxRecentWrites bounds the memory. Beyond it every row counts as lately written,
// until the replicas have replayed that generation.
const maxRecentWrites = 1 << 20

// mark is called after the server may have done the writes, and before the caller learns of it.
func (r *recentWrites) mark(keys ...key) {
	r.add(func(g *generation) {
		for _, k := range keys {
			g.ids[k.id] = struct{}{}
		}
	})
}

// markSubject remembers a write to all sessions of a subject, because their ids are unknown.
func (r *recentWrites) markSubject(subject string) {
	r.add(func(g *generation) { g.subjects[subject] = struct{}{} })
}

// markEntries remembers writes to cache entries, or to a whole space by a key without a hash.
func (r *recentWrites) markEntries(keys ...entryKey) {
	r.add(func(g *generation) {
		for _, k := range keys {
			g.entries[k] = struct{}{}
		}
	})
}

// markAll remembers that any row may have been written.
func (r *recentWrites) markAll() { r.add(func(g *generation) { g.all = true }) }

func (r *recentWrites) add(note func(*generation)) {
	if r.off {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.open()
	if r.size >= maxRecentWrites {
		g.all = true
		return
	}
	before := g.len()
	note(g)
	r.size += g.len() - before
}

func (g *generation) len() int { return len(g.ids) + len(g.subjects) + len(g.entries) }

func (r *recentWrites) open() *generation {
	if len(r.generations) == 0 {
		r.push()
	}
	return &r.generations[len(r.generations)-1]
}

func (r *recentWrites) push() {
	r.generations = append(r.generations, generation{
		ids: map[int64]struct{}{}, subjects: map[string]struct{}{}, entries: map[entryKey]struct{}{},
	})
}

// has reports whether a replica may hold an older row of a session than the primary.
func (r *recentWrites) has(k key) bool {
	return r.any(func(g *generation) bool { _, found := g.ids[k.id]; return found })
}

// hasSubject reports whether a replica may still hold sessions of a subject that have ended on the primary.
func (r *recentWrites) hasSubject(subject string) bool {
	return r.any(func(g *generation) bool { _, found := g.subjects[subject]; return found })
}

// hasEntry reports whether a replica may hold an older cache entry than the primary.
func (r *recentWrites) hasEntry(k entryKey) bool {
	return r.any(func(g *generation) bool {
		_, found := g.entries[k]
		if !found {
			_, found = g.entries[entryKey{space: k.space}]
		}
		return found
	})
}

func (r *recentWrites) any(found func(*generation) bool) bool {
	if r.off {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for i := range r.generations {
		if g := &r.generations[i]; g.all || found(g) {
			return true
		}
	}
	return false
}

// closeGeneration is called before the primary's position is read. While the position of a closed generation
// is unknown, it closes no further one, so that generations do not pile up in an outage.
func (r *recentWrites) closeGeneration() {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.open()
	if n := len(r.generations); n > 1 && r.generations[n-2].position == 0 {
		return
	}
	if g.all || g.len() > 0 {
		r.push()
	}
}

// covered gives the closed generations the position that the primary had after they were closed. A lower
// position than before is that of a new primary, which lacks the writes that the old one had not sent, so
// nothing waits for those.
func (r *recentWrites) covered(position int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgotten = min(r.forgotten, position)
	for i := range len(r.generations) - 1 {
		if g := &r.generations[i]; g.position == 0 || g.position > position {
			g.position = position
		}
	}
}

// forget drops the generations that the slowest usable replica has replayed.
func (r *recentWrites) forget(replayed int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.generations) > 1 {
		oldest := &r.generations[0]
		if oldest.position == 0 || oldest.position > replayed {
			return
		}
		r.forgotten = max(r.forgotten, oldest.position)
		r.size -= oldest.len()
		r.generations = r.generations[1:]
	}
}

// reached reports whether a replica has replayed every forgotten generation.
func (r *recentWrites) reached(replayed int64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return replayed >= r.forgotten
}
