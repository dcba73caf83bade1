package sessionsql

import (
	"context"
	"fmt"
	"time"

	"github.com/sessionsql/postgres/db"
)

// A SubjectSession is one live session in the list of its user.
type SubjectSession struct {
	// ID is the number of the session's row; it opens nothing.
	ID int64

	// Label is the label that the session was inserted with; empty for none.
	Label string

	// Current says that the token given to ListSubject opens this session.
	Current bool

	// CreatedAt is when the session was inserted, by the server's clock.
	CreatedAt time.Time

	// ExpiresIn is the time that the session has left, by the server's clock.
	ExpiresIn time.Duration
}

// ListSubject returns the live sessions of a user from the primary, newest first. It marks the session that
// current opens; an empty current marks none. [Store.RevokeListed] ends one of them. OWASP ASVS 5.0, 7.5.2.
//
// It returns ErrNoSession when current opens no session of this subject, ErrOptions for an empty subject, or
// ErrUnavailable.
func (s *Store) ListSubject(ctx context.Context, subject string, current Token) ([]SubjectSession, error) {
	if err := requireSubject(subject); err != nil {
		return nil, fmt.Errorf("sessionsql: list subject: %w", err)
	}
	if !s.calls.enter() {
		return nil, ErrClosed
	}
	defer s.calls.leave()
	var currentID int64
	if current != "" {
		id, err := s.idOf(ctx, subject, current)
		if err != nil {
			return nil, s.countError("list subject", err)
		}
		currentID = id
	}
	var rows []db.ListedSession
	err := s.primary.read(ctx, "list subject", func(ctx context.Context, on Tx) (err error) {
		rows, err = s.queries.ListSubject(ctx, on, subject)
		return err
	})
	if err != nil {
		return nil, s.countError("list subject", err)
	}
	sessions := make([]SubjectSession, len(rows))
	for i, row := range rows {
		sessions[i] = SubjectSession{
			ID:        row.ID,
			Label:     row.Label.String,
			Current:   row.ID == currentID,
			CreatedAt: row.CreatedAt,
			ExpiresIn: fromSeconds(row.ExpiresIn),
		}
	}
	return sessions, nil
}
