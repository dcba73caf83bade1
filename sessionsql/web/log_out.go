package web

import (
	"context"
	"errors"

	"github.com/sessionsql/postgres/sessionsql"
)

// LogOut ends the visitor's session and removes the cookie. When it returns nil, the session is dead for
// good, also if it was dead before. OWASP ASVS 5.0, 7.4.1.
//
// It returns ErrUnavailable, and then leaves the cookie; the visitor must try again.
func (s *Sessions[T]) LogOut(ctx context.Context) error {
	v, err := s.visit(ctx)
	if err != nil {
		return err
	}
	token, _, _ := v.state()
	if token == "" {
		return nil
	}
	if err := s.end(ctx, token); err != nil {
		return err
	}
	s.forget(v)
	return nil
}

// LogOutEverywhere ends all sessions of the visitor's subject, removes the cookie, and returns the number of
// live sessions that it ended. OWASP ASVS 5.0, 7.4.2 and 7.5.2.
//
// It returns ErrNoSession for a visitor who is not logged in, or ErrUnavailable.
func (s *Sessions[T]) LogOutEverywhere(ctx context.Context) (int64, error) {
	v, _, subject, err := s.loggedIn(ctx)
	if err != nil {
		return 0, err
	}
	ended, err := s.store.RevokeSubject(ctx, subject, "")
	if err != nil {
		return 0, err
	}
	s.forget(v)
	return ended, nil
}

// LogOutOthers is LogOutEverywhere without the visitor's own session and cookie, as after a change of the
// password. OWASP ASVS 5.0, 7.4.3.
func (s *Sessions[T]) LogOutOthers(ctx context.Context) (int64, error) {
	_, token, subject, err := s.loggedIn(ctx)
	if err != nil {
		return 0, err
	}
	return s.store.RevokeSubject(ctx, subject, token)
}

// end ends a session that may be dead already.
func (s *Sessions[T]) end(ctx context.Context, token sessionsql.Token) error {
	err := s.store.Revoke(ctx, token)
	if errors.Is(err, sessionsql.ErrNoSession) {
		return nil
	}
	return err
}

// forget removes the cookie. Where the header is already sent the cookie stays, and opens nothing.
func (s *Sessions[T]) forget(v *visit) {
	removal := s.cookie
	removal.MaxAge = -1
	_ = v.begin("", nil, removal)
}

// loggedIn is current for the calls that need a subject.
func (s *Sessions[T]) loggedIn(
	ctx context.Context,
) (v *visit, token sessionsql.Token, subject string, err error) {
	v, token, session, err := s.current(ctx)
	if err == nil && session.Subject == "" {
		err = sessionsql.ErrNoSession
	}
	return v, token, session.Subject, err
}
