package sessionsql

import "context"

// Version returns the version of the bundle that the primary holds. It returns ErrNotInstalled, ErrClosed or
// ErrUnavailable.
func (s *Store) Version(ctx context.Context) (string, error) {
	if !s.calls.enter() {
		return "", ErrClosed
	}
	defer s.calls.leave()
	return s.version(ctx, "version")
}

func (s *Store) version(ctx context.Context, op string) (string, error) {
	var installed string
	err := s.primary.read(ctx, op, func(ctx context.Context, on Tx) (err error) {
		installed, err = s.queries.Version(ctx, on)
		return err
	})
	return installed, err
}
