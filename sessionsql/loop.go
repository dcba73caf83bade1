package sessionsql

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// backgroundTimeout bounds every statement that no caller waits for.
const backgroundTimeout = 30 * time.Second

var errPanic = errors.New("sessionsql: panic")

// startLoops starts the goroutines that Close ends.
func (s *Store) startLoops() {
	if s.options.FlushInterval > 0 {
		s.loops.Go(s.flushLoop)
	}
	if s.options.ReapInterval > 0 {
		s.loops.Go(func() { s.reapLoop(s.interruptible) })
	}
	s.loops.Go(func() { s.probeLoop(s.interruptible, s.probePrimary) })
	if len(s.replicas) > 0 || s.options.NearCache.MaxBytes > 0 {
		s.loops.Go(func() { s.changesLoop(s.interruptible) })
	}
	for i := range s.replicas {
		s.loops.Go(func() {
			s.probeLoop(s.interruptible, func(ctx context.Context) { s.probeReplica(ctx, i) })
		})
	}
}

// recovered turns a panic into an error. A driver's hook that the application wrote may panic, and in the
// background there is no caller who could recover.
func recovered(run func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	return run()
}

// jitter varies an interval by a tenth either way, so that many programs do not work in step.
func jitter(interval time.Duration) time.Duration {
	return time.Duration((0.9 + 0.2*rand.Float64()) * float64(interval))
}

// sleep waits, and reports whether the loop should go on.
func (s *Store) sleep(ctx context.Context, interval time.Duration) bool {
	timer := time.NewTimer(interval)
	defer timer.Stop()
	select {
	case <-s.stopping:
		return false
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// stopped reports whether Close was called.
func (s *Store) stopped() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}
