package sessionsql

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/sessionsql/postgres/db"
)

// RevokeSubject ends all sessions of a user except the one that except opens; an empty except spares none. It
// returns the number of live sessions that it ended. They stay dead after a crash of the server, because the
// commit is synchronous. OWASP ASVS 5.0, 7.4.2, 7.4.3 and 7.4.5.
//
// It returns ErrNoSession, and ends no session, when except opens no session of this subject. It returns
// ErrOptions for an empty subject, or ErrUnavailable.
func (s *Store) RevokeSubject(ctx context.Context, subject string, except Token) (int64, error) {
	if err := requireSubject(subject); err != nil {
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
			return 0, s.countError("revoke subject", err)
		}
		keep = sql.NullInt64{Int64: id, Valid: true}
	}
	var revoked int64
	err := s.primary.write(ctx, "revoke subject", func(ctx context.Context, on Tx) (err error) {
		params := db.RevokeSubjectParams{Subject: subject, KeepID: keep}
		revoked, err = s.queries.RevokeSubject(ctx, on, params)
		return err
	})
	s.noteSubjectWrite(subject)
	if err != nil {
		return 0, s.countError("revoke subject", err)
	}
	s.stats.revokes.Add(revoked)
	return revoked, nil
}

// idOf returns the id of a subject's live session that a token opens. It checks the secret on the primary,
// because an id alone proves nothing.
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
