package sessionsql

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

var errPanic = errors.New("sessionsql: panic")

// recovered turns a panic, of a hook that the application gave its driver, into an error: in the background there is nobody
// else to meet it.
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
