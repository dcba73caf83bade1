package sessionsql

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgtext"
)

// AnyVersion makes Update write whatever version the session has, so the last writer wins.
const AnyVersion int32 = -1

// Update writes a session's payload if the session still has the version that the caller read, and returns
// the new version. It refuses version 0, which no session has, because the caller then forgot to set it. It
// extends the session's expiry, as a touch does. It never resurrects a session.
//
// The commit is asynchronous, as that of Insert. Concurrent calls share round trips. A call waits while
// another transaction locks the session's row, and may delay calls for other sessions by a tenth of a second.
//
// It returns ErrConflict, ErrNoSession, ErrOptions, a *[PayloadError], or ErrUnavailable. After
// ErrUnavailable, or when ctx ends, the write may have been done; the session's version tells.
func (s *Store) Update(ctx context.Context, token Token, payload string, version int32) (int32, error) {
	k, ok := token.key()
	if !ok {
		return 0, ErrNoSession
	}
	if err := s.checkPayload(payload); err != nil {
		return 0, err
	}
	if version < 1 && version != AnyVersion {
		return 0, fmt.Errorf("sessionsql: update: %w: version %d; it must be that of a Lookup, or AnyVersion",
			ErrOptions, version)
	}
	if !s.calls.enter() {
		return 0, ErrClosed
	}
	defer s.calls.leave()
	outcome, err := s.updates.Do(ctx, payloadWrite{
		key:             k,
		payload:         payload,
		expectedVersion: sql.NullInt32{Int32: version, Valid: version != AnyVersion},
	})
	switch {
	case err != nil:
		s.noteWrite(k) // because the caller may have left while the write is under way
		return 0, s.countError("update", err)
	case outcome > 0:
		s.stats.updates.Add(1)
		return outcome, nil
	case outcome == 0:
		return 0, ErrConflict
	default:
		return 0, ErrNoSession
	}
}

type payloadWrite struct {
	key             key
	payload         string
	expectedVersion sql.NullInt32
}

// updateOne returns the new version, 0 on a conflict, or -1 when there is no such session.
func (s *Store) updateOne(ctx context.Context, w payloadWrite) (int32, error) {
	var outcome int32
	err := s.primary.write(ctx, "update", func(ctx context.Context, on Tx) (err error) {
		outcome, err = s.queries.UpdatePayload(ctx, on, db.UpdatePayloadParams{
			ID:              w.key.id,
			SecretHash:      w.key.hash[:],
			Payload:         pgtext.Payload(w.payload),
			ExpectedVersion: w.expectedVersion,
		})
		return err
	})
	s.noteWrite(w.key)
	return outcome, err
}
