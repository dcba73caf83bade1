package sessionsql

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sessionsql/postgres/internal/pgtext"
)

// touchBuffer holds the ids of sessions that were used and wait to be kept alive, each once. Ids do here, without hashes: a
// session was looked up before its id came here, and being kept alive gives nobody access.
type touchBuffer struct {
	flushing chan struct{} // holds one element while a flush is under way
	urgent   chan struct{} // readable when soon is not empty
	max      int

	mu      sync.Mutex
	pending map[int64]struct{}
	hurried map[int64]struct{} // what has been urgent since the last flush: once is enough
	sending int                // ids that a flush has taken and not sent yet
	soon    map[int64]struct{} // what cannot wait for the next flush
	chunk   int                // ids in one statement
}

const (
	maxChunk = 50_000
	minChunk = 1_000
)

func (b *touchBuffer) init(maxPending int) {
	b.flushing = make(chan struct{}, 1)
	b.urgent = make(chan struct{}, 1)
	b.max = maxPending
	b.pending = map[int64]struct{}{}
	b.soon = map[int64]struct{}{}
	b.hurried = map[int64]struct{}{}
	b.chunk = maxChunk
}

// add takes ids in, and returns how many it had no room for.
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

// addUrgent takes an id in that is to be written at once, unless there is no room for it either.
func (b *touchBuffer) addUrgent(id int64) (taken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, done := b.hurried[id]; done || len(b.hurried) >= min(b.max, maxChunk) {
		return false
	}
	b.hurried[id] = struct{}{}
	b.soon[id] = struct{}{}
	select {
	case b.urgent <- struct{}{}:
	default:
	}
	return true
}

func (b *touchBuffer) takeUrgent() []int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := slices.Collect(maps.Keys(b.soon))
	clear(b.soon)
	return ids
}

// take hands everything that is pending to a flush, which sends and reports it by chunks; what comes in meanwhile waits for
// the next one.
func (b *touchBuffer) take() map[int64]struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := b.pending
	clear(b.hurried)
	b.pending = map[int64]struct{}{}
	b.sending = len(ids)
	return ids
}

// sent reports that n ids of a flush were sent.
func (b *touchBuffer) sent(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sending -= n
}

// restore takes back what a flush could not send. There is room for it: it was counted all the while.
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
	return len(b.pending) + b.sending + len(b.soon)
}

func (b *touchBuffer) chunkSize() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.chunk
}

// failed makes the next chunk smaller, down to a bound, in case this one was too large for its deadline; succeeded makes it
// larger again.
func (b *touchBuffer) failed() { b.resize(func(n int) int { return max(n/2, minChunk) }) }

func (b *touchBuffer) succeeded() { b.resize(func(n int) int { return min(n*2, maxChunk) }) }

func (b *touchBuffer) resize(to func(int) int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.chunk = to(b.chunk)
}

// keepAlive records the use of a session that has so much left. One that might not live until the flush after next is
// written at once, in the background.
func (s *Store) keepAlive(id int64, left time.Duration) {
	if interval := s.options.FlushInterval; interval > 0 && left < 2*interval && s.touches.addUrgent(id) {
		return
	}
	s.addTouches(id)
}

func (s *Store) addTouches(ids ...int64) { s.stats.touchesDropped.Add(int64(s.touches.add(ids...))) }

// Flush keeps alive, now, the sessions that were looked up since the last flush. What fails stays for the next one.
// It returns ErrUnavailable.
func (s *Store) Flush(ctx context.Context) error {
	if !s.calls.enter() {
		return ErrClosed
	}
	defer s.calls.leave()
	return s.flush(ctx)
}

func (s *Store) flush(ctx context.Context) error {
	select {
	case s.touches.flushing <- struct{}{}:
		defer func() { <-s.touches.flushing }()
	case <-ctx.Done():
		return contextError(ctx, "flush")
	}
	if err := s.flushUrgent(ctx); err != nil {
		return err
	}
	parts := spread(s.touches.take())
	for i, ids := range parts {
		for len(ids) > 0 {
			chunk := ids[:min(len(ids), s.touches.chunkSize())]
			if err := s.touch(ctx, chunk); err != nil {
				s.touches.failed()
				s.touches.restore(append(parts[i+1:], ids)...)
				return err
			}
			s.touches.succeeded()
			s.touches.sent(len(chunk))
			ids = ids[len(chunk):]
		}
	}
	return nil
}

// spread divides ids so that neighbours travel apart. Sessions that were inserted one after the other lie on one page and
// come due together. Written by one statement, the new version of each would have to fit on the page beside the old ones;
// by four, the page is cleaned in between, and a quarter always fits into the room that the fillfactor of 70 leaves.
func spread(ids map[int64]struct{}) [][]int64 {
	parts := make([][]int64, 4)
	for id := range ids {
		part := uint64(id) % uint64(len(parts))
		parts[part] = append(parts[part], id)
	}
	return parts
}

// flushUrgent writes what cannot wait.
func (s *Store) flushUrgent(ctx context.Context) error {
	ids := s.touches.takeUrgent()
	if len(ids) == 0 {
		return nil
	}
	if err := s.touch(ctx, ids); err != nil {
		s.addTouches(ids...)
		return err
	}
	return nil
}

// touch extends sessions.
func (s *Store) touch(ctx context.Context, ids []int64) error {
	var extended int64
	err := s.upkeep.write(ctx, "flush", func(ctx context.Context, on Tx) (err error) {
		extended, err = s.queries.TouchBatch(ctx, on, pgtext.IDs(ids))
		return err
	})
	if err != nil {
		s.stats.flushErrors.Add(1)
		return err
	}
	now(&s.stats.lastFlush)
	s.stats.touchesSent.Add(int64(len(ids)))
	s.stats.sessionsExtended.Add(extended)
	return nil
}

// keepAliveLoop flushes at every interval, and in between what cannot wait.
func (s *Store) keepAliveLoop() {
	keepalive := condition{worse: "keepalive failed, and is tried again", better: "keepalive works again"}
	round := func(flush func(context.Context) error) {
		ctx, cancel := s.detached(context.Background(), backgroundTimeout)
		defer cancel()
		err := recovered(func() error { return flush(ctx) })
		if s.stopped() {
			return
		}
		s.book.note(&keepalive, err)
		if err != nil {
			s.sleep(ctx, time.Second) // a primary that is away is not asked at every lookup
		}
	}
	timer := time.NewTimer(jitter(s.options.FlushInterval))
	defer timer.Stop()
	for {
		select {
		case <-s.stopping:
			return
		case <-s.touches.urgent:
			round(s.flushUrgent)
		case <-timer.C:
			round(s.flush)
			timer.Reset(jitter(s.options.FlushInterval))
		}
	}
}
