package sessionsql

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sessionsql/postgres/internal/pgtext"
)

// touch puts a session that a lookup found into the buffer. A session that may expire before the flush after
// next is urgent: the background loop extends it at once.
func (s *Store) touch(id int64, expiresIn time.Duration) {
	if expiresIn < s.lastMoments() && s.touches.addUrgent(id) {
		return
	}
	s.touches.add(id)
}

// lastMoments is the time before its expiry in which a session may expire before the flush after next.
func (s *Store) lastMoments() time.Duration { return 2 * max(s.options.FlushInterval, 0) }

// Flush sends the touches that wait, so that they extend the expiry of their sessions and cache entries now.
// Touches that it cannot send wait for the next flush. It returns ErrUnavailable.
func (s *Store) Flush(ctx context.Context) error {
	if !s.calls.enter() {
		return ErrClosed
	}
	defer s.calls.leave()
	return s.flush(ctx)
}

func (s *Store) flush(ctx context.Context) error {
	return errors.Join(s.touches.flush(ctx), s.entryTouches.flush(ctx))
}

func (s *Store) flushUrgent(ctx context.Context) error {
	return errors.Join(s.touches.flushUrgent(ctx), s.entryTouches.flushUrgent(ctx))
}

func (s *Store) sendTouches(ctx context.Context, ids []int64) error {
	return s.sendTouchBatch(ctx, len(ids), &s.stats.sessionsExtended,
		func(ctx context.Context, on Tx) (int64, error) {
			return s.queries.TouchBatch(ctx, on, pgtext.IDs(ids))
		})
}

// sendTouchBatch sends touches in one statement, and counts them and the rows that it extended.
func (s *Store) sendTouchBatch(
	ctx context.Context, touches int, extended *atomic.Int64, send func(context.Context, Tx) (int64, error),
) error {
	var rows int64
	err := s.upkeep.write(ctx, "flush", func(ctx context.Context, on Tx) (err error) {
		rows, err = send(ctx, on)
		return err
	})
	if err != nil {
		s.stats.flushErrors.Add(1)
		return err
	}
	setNow(&s.stats.lastFlush)
	s.stats.touchesSent.Add(int64(touches))
	extended.Add(rows)
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
	timer := time.NewTimer(jitter(s.flushInterval()))
	defer timer.Stop()
	for {
		select {
		case <-s.stopping:
			return
		case <-s.touchUrgent:
			round(s.flushUrgent)
		case <-s.flushSooner:
			timer.Reset(jitter(s.flushInterval()))
		case <-timer.C:
			round(s.flush)
			timer.Reset(jitter(s.flushInterval()))
		}
	}
}
