package sessionsql

import (
	"context"
	"time"

	"github.com/sessionsql/postgres/internal/pgtext"
)

// touch puts a session that a lookup found into the buffer. A session that may expire before the flush after
// next is urgent: the background loop extends it at once.
func (s *Store) touch(id int64, expiresIn time.Duration) {
	if expiresIn < s.lastMoments() && s.touches.addUrgent(id) {
		return
	}
	s.addTouches(id)
}

// lastMoments is the time before its expiry in which a session may expire before the flush after next.
func (s *Store) lastMoments() time.Duration { return 2 * max(s.options.FlushInterval, 0) }

func (s *Store) addTouches(ids ...int64) { s.stats.touchesDropped.Add(int64(s.touches.add(ids...))) }

// Flush sends the touches that wait, so that they extend the expiry of their sessions now. Touches that it
// cannot send wait for the next flush. It returns ErrUnavailable.
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
			if err := s.sendTouches(ctx, chunk); err != nil {
				s.touches.shrinkChunk()
				s.touches.restore(append(parts[i+1:], ids)...)
				return err
			}
			s.touches.growChunk()
			s.touches.sent(len(chunk))
			ids = ids[len(chunk):]
		}
	}
	return nil
}

// spread divides ids into four statements so that neighbours are apart. Sessions that were inserted one after
// the other lie on one page and become due together. If one statement extended them all, the page would have
// no room for the new row versions. Between four statements PostgreSQL can clean the page, and the free space
// that the fillfactor of 70 leaves holds a quarter of the rows.
func spread(ids map[int64]struct{}) [][]int64 {
	parts := make([][]int64, 4)
	for id := range ids {
		part := uint64(id) % uint64(len(parts))
		parts[part] = append(parts[part], id)
	}
	return parts
}

func (s *Store) flushUrgent(ctx context.Context) error {
	ids := s.touches.takeUrgent()
	if len(ids) == 0 {
		return nil
	}
	if err := s.sendTouches(ctx, ids); err != nil {
		s.addTouches(ids...)
		return err
	}
	return nil
}

func (s *Store) sendTouches(ctx context.Context, ids []int64) error {
	var extended int64
	err := s.upkeep.write(ctx, "flush", func(ctx context.Context, on Tx) (err error) {
		extended, err = s.queries.TouchBatch(ctx, on, pgtext.IDs(ids))
		return err
	})
	if err != nil {
		s.stats.flushErrors.Add(1)
		return err
	}
	setNow(&s.stats.lastFlush)
	s.stats.touchesSent.Add(int64(len(ids)))
	s.stats.sessionsExtended.Add(extended)
	return nil
}

// flushLoop flushes at every interval, and sends urgent touches in between.
func (s *Store) flushLoop() {
	flushing := condition{bad: "keepalive failed, and is tried again", good: "keepalive works again"}
	round := func(flush func(context.Context) error) {
		ctx, cancel := s.detached(context.Background(), backgroundTimeout)
		defer cancel()
		err := recovered(func() error { return flush(ctx) })
		if s.stopped() {
			return
		}
		s.log.note(&flushing, err)
		if err != nil {
			s.sleep(ctx, time.Second) // because every lookup may wake the loop while the primary is away
		}
	}
	timer := time.NewTimer(jitter(s.options.FlushInterval))
	defer timer.Stop()
	for {
		select {
		case <-s.stopping:
			return
		case <-s.touches.wake:
			round(s.flushUrgent)
		case <-timer.C:
			round(s.flush)
			timer.Reset(jitter(s.options.FlushInterval))
		}
	}
}
