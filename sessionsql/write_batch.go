package sessionsql

import "context"

// writeBatch is write for a statement that many callers share. On a router it sends nothing, so that each of
// them writes alone, because each shard commits by itself, and a second attempt would conflict with what a
// failed batch has written.
func (s *Store) writeBatch(ctx context.Context, op string, run func(context.Context, Tx) error) error {
	return s.primary.write(ctx, op, func(ctx context.Context, on Tx) error {
		if router, err := s.isRouter(ctx, on); err != nil || router {
			return err
		}
		return run(ctx, on)
	})
}
