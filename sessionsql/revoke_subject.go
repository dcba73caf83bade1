package sessionsql

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/sessionsql/postgres/db"
)

// RevokeSubject logs a user out everywhere, but for the session that except opens; an empty except spares none. It returns
// how many live sessions it ended. They stay dead after a crash: the commit is synchronous. OWASP ASVS 5.0, 7.4.2, 7.4.3
// and 7.4.5.
//
// It returns ErrNoSession when except opens no session of this subject, in which case none was ended, ErrOptions for an
// empty subject, or ErrUnavailable.
func (s *Store) RevokeSubject(ctx context.Context, subject string, except Token) (int64, error) {
	if err := needSubject(subject); err != nil {
		return 0, fmt.Errorf("sessionsql: revoke subject: %w", err)
	}
	if !s.calls.enter() {
		return 0, ErrClosed
	}
	defer s.calls.leave()

	var keep sql.NullInt64
	if except != "" {
		id, err := s.idOf(ctx, subject, except)
		if err != nil {
			return 0, s.failed("revoke subject", err)
		}
		keep = sql.NullInt64{Int64: id, Valid: true}
	}
	var revoked int64
	err := s.primary.write(ctx, "revoke subject", func(ctx context.Context, on Tx) (err error) {
		revoked, err = s.queries.RevokeSubject(ctx, on, db.RevokeSubjectParams{Subject: subject, KeepID: keep})
		return err
	})
	s.recent.markSubject(subject)
	if err != nil {
		return 0, s.failed("revoke subject", err)
	}
	s.stats.revokes.Add(revoked)
	return revoked, nil
}

// idOf returns the id of the live session of a subject that a token opens. An id alone proves nothing: whoever names it has
// to show the secret.
func (s *Store) idOf(ctx context.Context, subject string, token Token) (int64, error) {
	k, ok := token.key()
	if !ok {
		return 0, ErrNoSession
	}
	switch row, err := s.lookupOne(ctx, s.primary, k); {
	case err != nil:
		return 0, err
	case row.Subject.String != subject:
		return 0, ErrNoSession
	}
	return k.id, nil
}

func needSubject(subject string) error {
	if subject == "" {
		return fmt.Errorf("%w: the subject is empty", ErrOptions)
	}
	return checkSubject(subject)
}
