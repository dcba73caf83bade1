package sessionsql

import (
	"context"
)

// Version returns the version of the bundle that the primary holds. It returns ErrNotInstalled or ErrUnavailable.
func (s *Store) Version(ctx context.Context) (string, error) {
	installed, err := s.queries.Version(ctx, s.primary.db)
	return installed, databaseError(ctx, "version", s.primary, err)
}
