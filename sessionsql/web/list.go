package web

import (
	"context"

	"github.com/sessionsql/postgres/sessionsql"
)

// List returns the live sessions of the visitor's subject, newest first, with the visitor's own marked as
// Current. OWASP ASVS 5.0, 7.5.2.
//
// It returns ErrNoSession for a visitor who is not logged in, or ErrUnavailable.
func (s *Sessions[T]) List(ctx context.Context) ([]sessionsql.SubjectSession, error) {
	_, token, session, err := s.loggedIn(ctx)
	if err != nil {
		return nil, err
	}
	return s.store.ListSubject(ctx, session.Subject, token)
}

// End ends another session of the visitor's subject, by the ID that List returned. The ID may come from the
// request, because it ends no session of anybody else. OWASP ASVS 5.0, 7.5.2.
//
// It returns ErrNoSession for a visitor who is not logged in, or whose subject has no other live session with
// this ID; else ErrUnavailable.
func (s *Sessions[T]) End(ctx context.Context, id int64) error {
	_, token, _, err := s.loggedIn(ctx)
	if err != nil {
		return err
	}
	return s.store.RevokeListed(ctx, token, id)
}
