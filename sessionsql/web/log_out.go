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
// It returns ErrNoSession for a visitor who is not logged in, or ErrUnavailable, after which only the other
// sessions may have ended.
func (s *Sessions[T]) LogOutEverywhere(ctx context.Context) (int64, error) {
	others, err := s.LogOutOthers(ctx)
	if err != nil {
		return 0, err
	}
	if err := s.LogOut(ctx); err != nil {
		return others, err
	}
	return others + 1, nil
}

// LogOutOthers is LogOutEverywhere without the visitor's own session and cookie, as after a change of the
// password. OWASP ASVS 5.0, 7.4.3.
//
// The primary looks at the token again, because a session that a late replica still shows must not end those
// that its user has begun since.
func (s *Sessions[T]) LogOutOthers(ctx context.Context) (int64, error) {
	_, token, session, err := s.loggedIn(ctx)
	if err != nil {
		return 0, err
	}
	return s.store.RevokeSubject(ctx, session.Subject, token)
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
