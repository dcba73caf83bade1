package sessionsql

import (
	"context"
	"math/rand/v2"
	"time"
)

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
