package sessionsql

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// A touchBuffer holds each touch once that waits for a flush. The touch of a session is its id, without a
// hash, because a lookup has checked the secret, and a longer expiry gives nobody access.
type touchBuffer[K comparable] struct {
	send    func(ctx context.Context, touches []K) error
	part    func(K) uint64 // its low bits are the shard; see spread and sendChunk
	max     int
	dropped *atomic.Int64 // counts the touches that found no room
	wake    chan struct{} // gets an element when urgent is not empty

	flushing chan struct{} // holds an element while a flush is under way
	flushes  atomic.Uint64 // counts the flushes from 1, so that a near entry is added once before each

	mu        sync.Mutex
	pending   map[K]struct{}
	urgent    map[K]struct{} // those that cannot wait for the next flush
	wasUrgent map[K]struct{} // since the last flush, so that a touch is urgent once
	sending   int            // touches that a flush has taken and not sent yet
	chunk     int            // touches in one statement
}

const (
	maxChunk = 50_000
	minChunk = 1_000
)

// init makes an empty buffer of a Store. The caller has set send and part.
func (b *touchBuffer[K]) init(s *Store) {
	b.max, b.dropped, b.wake = s.options.MaxPendingTouches, &s.stats.touchesDropped, s.touchUrgent
	b.flushing = make(chan struct{}, 1)
	b.pending = map[K]struct{}{}
	b.urgent = map[K]struct{}{}
	b.wasUrgent = map[K]struct{}{}
	b.chunk = maxChunk
	b.flushes.Store(1)
}

// add adds touches, and counts those that find no room.
func (b *touchBuffer[K]) add(touches ...K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, touch := range touches {
		if _, known := b.pending[touch]; known {
			continue
		}
		if len(b.pending)+b.sending >= b.max {
			b.dropped.Add(1)
			continue
		}
		b.pending[touch] = struct{}{}
	}
}

// addUrgent adds a touch to be sent at once. It returns false if it was urgent before or finds no room.
func (b *touchBuffer[K]) addUrgent(touch K) (added bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, before := b.wasUrgent[touch]; before || len(b.wasUrgent) >= min(b.max, maxChunk) {
		return false
	}
	b.wasUrgent[touch] = struct{}{}
	b.urgent[touch] = struct{}{}
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return true
}

// flush sends the touches that wait. Those that it cannot send wait for the next flush.
func (b *touchBuffer[K]) flush(ctx context.Context) error {
	select {
	case b.flushing <- struct{}{}:
		defer func() { <-b.flushing }()
	case <-ctx.Done():
		return contextError(ctx, "flush")
	}
	failed := b.flushUrgent(ctx)
	if failed != nil && !errors.Is(failed, errShard) {
		return failed
	}
	var kept []K // the touches of a shard that did not answer
	parts := b.spread(b.take())
	for i, touches := range parts {
		for len(touches) > 0 {
			chunk := touches[:min(len(touches), b.chunkSize())]
			unsent, err := b.sendChunk(ctx, chunk)
			if err != nil && !errors.Is(err, errShard) {
				b.shrinkChunk()
				b.restore(append(parts[i+1:], touches, kept)...)
				return err
			}
			if err != nil {
				failed, kept = err, append(kept, unsent...)
			}
			b.growChunk()
			b.sent(len(chunk) - len(unsent))
			touches = touches[len(chunk):]
		}
	}
	b.restore(kept)
	return failed
}

// maxShards is the limit of sql/functions/shard.sql.
const maxShards = 256

// sendChunk sends touches in one statement, and returns those that it could not send. If some of them belong
// to another primary, or to a shard that does not answer the router, it sends those of each shard by
// themselves. It drops what another primary owns.
func (b *touchBuffer[K]) sendChunk(ctx context.Context, touches []K) (unsent []K, err error) {
	err = b.send(ctx, touches)
	if err == nil {
		return nil, nil
	}
	if !errors.Is(err, errElsewhere) && !errors.Is(err, errShard) {
		return touches, err
	}
	err = nil
	shards := make(map[uint64][]K, maxShards)
	for _, touch := range touches {
		shard := b.part(touch) % maxShards
		shards[shard] = append(shards[shard], touch)
	}
	for _, touches := range shards {
		switch refused := b.send(ctx, touches); {
		case errors.Is(refused, errElsewhere):
			b.dropped.Add(int64(len(touches)))
		case refused != nil:
			unsent, err = append(unsent, touches...), refused
		}
	}
	return unsent, err
}

func (b *touchBuffer[K]) flushUrgent(ctx context.Context) error {
	touches := b.takeUrgent()
	if len(touches) == 0 {
		return nil
	}
	unsent, err := b.sendChunk(ctx, touches)
	b.add(unsent...)
	return err
}

// spread divides touches into four statements so that neighbours are apart. Rows that were inserted one after
// the other lie on one page and become due together. If one statement extended them all, the page would have
// no room for the new row versions. Between four statements PostgreSQL can clean the page, and the free space
// that the fillfactor of 70 leaves holds a quarter of the rows.
func (b *touchBuffer[K]) spread(touches map[K]struct{}) [][]K {
	parts := make([][]K, 4)
	for touch := range touches {
		part := b.part(touch) % uint64(len(parts))
		parts[part] = append(parts[part], touch)
	}
	return parts
}

func (b *touchBuffer[K]) takeUrgent() []K {
	b.mu.Lock()
	defer b.mu.Unlock()
	touches := slices.Collect(maps.Keys(b.urgent))
	clear(b.urgent)
	return touches
}

// take hands all pending touches to a flush, which calls sent for each chunk or restore for the rest.
func (b *touchBuffer[K]) take() map[K]struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	touches := b.pending
	clear(b.wasUrgent)
	b.pending = map[K]struct{}{}
	b.sending = len(touches)
	b.flushes.Add(1)
	return touches
}

func (b *touchBuffer[K]) sent(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sending -= n
}

// restore takes back the touches that a flush could not send. There is room, because add counts them in
// sending.
func (b *touchBuffer[K]) restore(parts ...[]K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sending = 0
	for _, touches := range parts {
		for _, touch := range touches {
			b.pending[touch] = struct{}{}
		}
	}
}

func (b *touchBuffer[K]) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pending) + b.sending + len(b.urgent)
}

func (b *touchBuffer[K]) chunkSize() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.chunk
}

// shrinkChunk is called after a failure, because the chunk may have been too large for its deadline.
func (b *touchBuffer[K]) shrinkChunk() { b.resizeChunk(func(n int) int { return max(n/2, minChunk) }) }

func (b *touchBuffer[K]) growChunk() { b.resizeChunk(func(n int) int { return min(n*2, maxChunk) }) }

func (b *touchBuffer[K]) resizeChunk(resize func(int) int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.chunk = resize(b.chunk)
}
