package sessionsql

import (
	"context"
	"errors"
)

// Close stops the loops, waits for the calls under way, flushes the pending touches, and closes the pools
// that Open made. Later calls return ErrClosed; a second Close returns nil.
//
// It takes [Options.Timeout] at most. When that time or ctx ends first, Close aborts the remaining work and
// returns an error. A session whose touch was not sent keeps the expiry that its last touch gave it.
func (s *Store) Close(ctx context.Context) error {
	s.closing.Lock()
	defer s.closing.Unlock()
	if !s.calls.shut() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	close(s.stopping)
	s.interrupt()
	defer s.abort()

	ended := make(chan struct{})
	go func() {
		s.calls.wait()
		s.loops.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
		err = s.flush(ctx)
	case <-ctx.Done():
		err = contextError(ctx, "close")
		s.abort()
		s.inserts.Abandon()
		s.updates.Abandon()
		s.revokes.Abandon()
		s.sets.Abandon()
		s.deletes.Abandon()
		s.finalDeletes.Abandon()
		for _, n := range append(s.replicas, s.primary) {
			n.lookups.Abandon()
			n.gets.Abandon()
		}
	}
	return errors.Join(err, s.closePools(ctx))
}

// closePools closes the pools that Open made, and waits until ctx ends. A pool whose server does not answer
// closes its connections later.
func (s *Store) closePools(ctx context.Context) error {
	closed := make(chan error, len(s.pools))
	for _, pool := range s.pools {
		go func() { closed <- pool.Close() }()
	}
	var err error
	for range s.pools {
		select {
		case one := <-closed:
			err = errors.Join(err, one)
		case <-ctx.Done():
			return err
		}
	}
	return err
}
