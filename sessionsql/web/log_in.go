package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/sessionsql/postgres/sessionsql"
)

// A Login describes a session that begins at a login.
type Login struct {
	// InsertOptions needs a Subject, such as the user's id. Its other fields say how this login differs from
	// the Store's options.
	sessionsql.InsertOptions

	// Remember lets the browser keep the cookie when it closes, for 400 days, the longest that browsers grant
	// (RFC 6265bis, section 5.5). The server's timeouts end the session before. Defaults to false.
	Remember bool
}

const rememberSeconds = 400 * 24 * 60 * 60

// LogIn makes the visitor's session one of login.Subject, changes its value as Save does, and gives the
// browser a token that nobody has seen before. The token from before is dead when LogIn returns nil, so
// whoever planted it is not logged in (session fixation; OWASP ASVS 5.0, 7.2.4).
//
// An anonymous session goes on under the new token if login sets no timeout and no Label. Otherwise a new
// session takes its place. The newest value is kept, unless it was another subject's: then the new one begins
// at zero.
//
// It returns [sessionsql.ErrOptions] for bad input, and otherwise the errors of Save and of change. After an
// error call it again. The visitor then has the old session, perhaps under a new token, or the new one if no
// more than the write of the value failed; after ErrUnavailable the old one may be dead, and its value lost.
func (s *Sessions[T]) LogIn(ctx context.Context, login Login, change func(*T) error) (Session[T], error) {
	if login.Subject == "" {
		return Session[T]{}, fmt.Errorf("sessionsql/web: log in: %w: the subject is empty",
			sessionsql.ErrOptions)
	}
	v, old, session, err := s.current(ctx)
	switch {
	case errors.Is(err, sessionsql.ErrNoSession):
		return s.replace(ctx, v, "", sessionsql.Session{}, login, change)
	case err != nil:
		return Session[T]{}, err
	case session.Subject != "" && session.Subject != login.Subject:
		return s.replace(ctx, v, old, sessionsql.Session{}, login, change)
	}
	return s.takeOver(ctx, v, old, session, login, change)
}

// fitsAnonymous tells whether an anonymous session can become this one, because a rotate sets no more than a
// subject.
func (l Login) fitsAnonymous() bool { return l.Label == "" && l.IdleTimeout == 0 && l.Lifetime == 0 }

// takeOver logs in with the value of an anonymous session, or of one of the same subject. Session may be a
// late replica's, and other requests may write it meanwhile. So takeOver first takes the token from them, and
// then goes on from the newest value. Before that it tries change, because a change that fails must leave the
// visitor logged out.
func (s *Sessions[T]) takeOver(
	ctx context.Context, v *visit, old sessionsql.Token, session sessionsql.Session,
	login Login, change func(*T) error,
) (Session[T], error) {
	if v.headerSent() {
		return Session[T]{}, ErrHeaderSent
	}
	if _, _, err := changed(session, change); err != nil {
		return Session[T]{}, err
	}
	goesOn := session.Subject == "" && login.fitsAnonymous()
	options := &sessionsql.RotateOptions{Grace: -1}
	if goesOn {
		options.Subject, options.MaxSessions = login.Subject, login.MaxSessions
	}
	token, err := s.store.Rotate(ctx, old, options)
	switch {
	case errors.Is(err, sessionsql.ErrNoSession), errors.Is(err, sessionsql.ErrRotated):
		// It ended, or another request rotated it, so its value as read is the newest that can be had.
		return s.replace(ctx, v, old, session, login, change)
	case err != nil:
		return Session[T]{}, err
	}
	if goesOn {
		session.Subject = login.Subject
	}
	if err := v.begin(token, &session, s.cookieOf(login)); err != nil {
		return Session[T]{}, err
	}
	if goesOn {
		return s.update(ctx, v, token, session, change)
	}
	newest, err := s.store.Peek(ctx, token)
	if err != nil {
		return Session[T]{}, err
	}
	return s.replace(ctx, v, token, newest, login, change)
}

// replace begins a session with the value of another one, and ends that one. An empty old token stands for
// none.
func (s *Sessions[T]) replace(
	ctx context.Context, v *visit, old sessionsql.Token, session sessionsql.Session,
	login Login, change func(*T) error,
) (Session[T], error) {
	if v.headerSent() {
		return Session[T]{}, ErrHeaderSent
	}
	next, payload, err := changed(session, change)
	if err != nil {
		return Session[T]{}, err
	}
	// The old session is of use until the new one is there. But one of the same subject counts in
	// MaxSessions, and the insert would end that of another device for it.
	endFirst := login.MaxSessions > 0 && session.Subject == login.Subject
	if endFirst {
		if err := s.end(ctx, old); err != nil {
			return Session[T]{}, err
		}
	}
	token, err := s.store.Insert(ctx, payload, &login.InsertOptions)
	if err != nil {
		return Session[T]{}, err
	}
	if !endFirst {
		if err := s.end(ctx, old); err != nil {
			return Session[T]{}, err
		}
	}
	next.Subject, next.ExpiresIn = login.Subject, 0
	begun := sessionsql.Session{Payload: payload, Version: 1, Subject: login.Subject}
	return next, v.begin(token, &begun, s.cookieOf(login))
}

func (s *Sessions[T]) cookieOf(login Login) http.Cookie {
	cookie := s.cookie
	if login.Remember {
		cookie.MaxAge = rememberSeconds
	}
	return cookie
}
