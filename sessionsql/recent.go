package sessionsql

import "sync"

// recentWrites knows which sessions this Store wrote so lately that a replica may still hold the older row: they are read
// from the primary. It knows them by id alone: after a rotate two secrets open a session, and what was written through one
// must not be read back older through the other. (An id that was handed out again costs a read from the primary, no more.)
// Where sessions ended by their subject, it knows the subject: whatever a replica still has of it is asked again.
//
// No clock is involved, only positions in the WAL: writes are kept by generation; the primary's position, read after a
// generation was closed, covers every write in it; once all replicas that are read from have replayed that far, the
// generation is forgotten.
type recentWrites struct {
	off bool // there are no replicas

	mu          sync.RWMutex
	generations []generation // the last one is open
	forgotten   int64        // the highest position of a forgotten generation: a replica below it is not read from
	size        int
}

type generation struct {
	position int64 // 0: not known yet
	ids      map[int64]struct{}
	subjects map[string]struct{}
	all      bool // any session may have been written
}

// maxRecentWrites bounds the memory (some 40 bytes each). Beyond it everything counts as lately written until that has
// arrived.
const maxRecentWrites = 1 << 20

// mark remembers writes. It is called after they were acknowledged, or may have been done, and before the caller learns of
// it.
func (r *recentWrites) mark(keys ...key) {
	r.write(func(g *generation) {
		for _, k := range keys {
			g.ids[k.id] = struct{}{}
		}
	})
}

// markSubject remembers a write to sessions of a subject, whose ids are not known.
func (r *recentWrites) markSubject(subject string) {
	r.write(func(g *generation) { g.subjects[subject] = struct{}{} })
}

func (r *recentWrites) write(note func(*generation)) {
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

func (g *generation) len() int { return len(g.ids) + len(g.subjects) }

func (r *recentWrites) open() *generation {
	if len(r.generations) == 0 {
		r.push()
	}
	return &r.generations[len(r.generations)-1]
}

func (r *recentWrites) push() {
	r.generations = append(r.generations, generation{ids: map[int64]struct{}{}, subjects: map[string]struct{}{}})
}

// has reports whether a session may be newer on the primary than on a replica.
func (r *recentWrites) has(k key) bool {
	return r.any(func(g *generation) bool { _, found := g.ids[k.id]; return found })
}

// hasSubject reports whether sessions of a subject may have ended on the primary that a replica still has.
func (r *recentWrites) hasSubject(subject string) bool {
	return r.any(func(g *generation) bool { _, found := g.subjects[subject]; return found })
}

func (r *recentWrites) any(found func(*generation) bool) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for i := range r.generations {
		if g := &r.generations[i]; g.all || found(g) {
			return true
		}
	}
	return false
}

// closeGeneration comes before the primary's position is read. While that fails, no further one is closed: the first
// position that is read covers them all.
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

// covered gives the closed generations the position that was read from the primary after they were closed. A position below
// one that was read before is a new primary's, which lacks what the old one had not sent: nothing waits for that.
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

// forget drops the generations that every replica that is read from has replayed.
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

// reached reports whether a replica has replayed what is already forgotten.
func (r *recentWrites) reached(replayed int64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return replayed >= r.forgotten
}
