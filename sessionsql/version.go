package sessionsql

import "context"

// Version returns the version of the bundle that the primary holds. It returns ErrNotInstalled or ErrUnavailable.
func (s *Store) Version(ctx context.Context) (string, error) {
	return s.version(ctx, "version")
}

func (s *Store) version(ctx context.Context, op string) (string, error) {
	var installed string
	err := s.primary.read(ctx, op, func() (err error) {
		installed, err = s.queries.Version(ctx, s.primary.db)
		return err
	})
	return installed, err
}
