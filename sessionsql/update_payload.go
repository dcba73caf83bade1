package sessionsql

import (
	"context"
	"database/sql"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgtext"
)

// AnyVersion makes Update write whatever the session's version is: the last writer wins.
const AnyVersion int32 = 0

// Update writes a session's payload if the session still has the version that the caller read, and returns the new version.
// It keeps the session alive, as a lookup does. It never brings a session back: after a logout it returns ErrNoSession.
//
// The commit is asynchronous, as Insert's. It returns ErrConflict, ErrNoSession, a *[PayloadError], or ErrUnavailable; after
// the last, the write may or may not have been done, and the version tells.
func (s *Store) Update(ctx context.Context, token Token, payload string, version int32) (int32, error) {
	k, ok := token.key()
	if !ok {
		return 0, ErrNoSession
	}
	if err := s.checkPayload(payload); err != nil {
		return 0, err
	}
	if !s.calls.enter() {
		return 0, ErrClosed
	}
	defer s.calls.leave()
	var outcome int32
	err := s.primary.write(ctx, "update", func(ctx context.Context, on Tx) (err error) {
		outcome, err = s.queries.UpdatePayload(ctx, on, db.UpdatePayloadParams{
			ID:              k.id,
			SecretHash:      k.hash[:],
			Payload:         pgtext.Payload(payload),
			ExpectedVersion: sql.NullInt32{Int32: version, Valid: version != AnyVersion},
		})
		return err
	})
	s.recent.mark(k)
	switch {
	case err != nil:
		return 0, err
	case outcome > 0:
		s.stats.updates.Add(1)
		return outcome, nil
	case outcome == 0:
		return 0, ErrConflict
	default:
		return 0, ErrNoSession
	}
}
