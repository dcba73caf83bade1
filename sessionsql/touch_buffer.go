package sessionsql

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// A touchBuffer holds each session once whose touch waits for a flush. It holds ids without hashes, because a
// lookup has checked the secret, and a longer expiry gives nobody access.
type touchBuffer struct {
	flushing chan struct{} // holds an element while a flush is under way
	wake     chan struct{} // holds an element when urgent is not empty
	max      int
	flushes  atomic.Uint64 // counts the flushes from 1, so that a near entry is added once before each

	mu        sync.Mutex
	pending   map[int64]struct{}
	urgent    map[int64]struct{} // those that cannot wait for the next flush
	wasUrgent map[int64]struct{} // since the last flush, so that a session is urgent once
	sending   int                // ids that a flush has taken and not sent yet
	chunk     int                // ids in one statement
}

const (
	maxChunk = 50_000
	minChunk = 1_000
)

func (b *touchBuffer) init(maxPending int) {
	b.flushing = make(chan struct{}, 1)
	b.wake = make(chan struct{}, 1)
	b.max = maxPending
	b.pending = map[int64]struct{}{}
	b.urgent = map[int64]struct{}{}
	b.wasUrgent = map[int64]struct{}{}
	b.chunk = maxChunk
	b.flushes.Store(1)
}

// add adds ids, and returns how many found no room.
func (b *touchBuffer) add(ids ...int64) (dropped int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		if _, known := b.pending[id]; known {
			continue
		}
		if len(b.pending)+b.sending >= b.max {
			dropped++
			continue
		}
		b.pending[id] = struct{}{}
	}
	return dropped
}

// addUrgent adds an id to be sent at once. It returns false if the id was urgent before or finds no room.
func (b *touchBuffer) addUrgent(id int64) (added bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, before := b.wasUrgent[id]; before || len(b.wasUrgent) >= min(b.max, maxChunk) {
		return false
	}
	b.wasUrgent[id] = struct{}{}
	b.urgent[id] = struct{}{}
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return true
}

func (b *touchBuffer) takeUrgent() []int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := slices.Collect(maps.Keys(b.urgent))
	clear(b.urgent)
	return ids
}

// take hands all pending ids to a flush, which calls sent for each chunk or restore for the rest.
func (b *touchBuffer) take() map[int64]struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := b.pending
	clear(b.wasUrgent)
	b.pending = map[int64]struct{}{}
	b.sending = len(ids)
	b.flushes.Add(1)
	return ids
}

func (b *touchBuffer) sent(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sending -= n
}

// restore takes back the ids that a flush could not send. There is room, because add counts them in sending.
func (b *touchBuffer) restore(parts ...[]int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sending = 0
	for _, ids := range parts {
		for _, id := range ids {
			b.pending[id] = struct{}{}
		}
	}
}

func (b *touchBuffer) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pending) + b.sending + len(b.urgent)
}

func (b *touchBuffer) chunkSize() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.chunk
}

// shrinkChunk is called after a failure, because the chunk may have been too large for its deadline.
func (b *touchBuffer) shrinkChunk() { b.resizeChunk(func(n int) int { return max(n/2, minChunk) }) }

func (b *touchBuffer) growChunk() { b.resizeChunk(func(n int) int { return min(n*2, maxChunk) }) }

func (b *touchBuffer) resizeChunk(resize func(int) int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.chunk = resize(b.chunk)
}
