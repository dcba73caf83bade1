package sessionsqlgorilla

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gorilla/sessions"

	"github.com/sessionsql/postgres/sessionsql"
)

// LogIn makes a session one of login.Subject, and sets a cookie with a token that nobody has seen before. The
// token from before is dead when LogIn returns nil, so whoever planted it is not logged in (session fixation;
// OWASP ASVS 5.0, 7.2.4). It writes no Values; set them afterwards and call Save.
//
// An anonymous session goes on under the new token if login sets no timeout and no Label. Otherwise a new
// session takes its place. The stored values are kept, unless they were another subject's: then LogIn empties
// Values.
//
// It returns [sessionsql.ErrOptions] for bad input, or [sessionsql.ErrUnavailable]. After an error it has not
// touched the cookie; call it again.
func (s *Store) LogIn(
	r *http.Request, w http.ResponseWriter, session *sessions.Session, login sessionsql.InsertOptions,
) error {
	if login.Subject == "" {
		return fmt.Errorf("sessionsql/gorilla: log in: %w: the subject is empty", sessionsql.ErrOptions)
	}
	st, err := s.known(session)
	if err != nil {
		return err
	}
	next, err := s.logIn(r.Context(), *st, login)
	if err != nil {
		return err
	}
	if st.subject != "" && st.subject != login.Subject {
		session.Values = values{}
	}
	*st = next
	session.ID = idOf(st.token)
	setCookie(w, session, st.token)
	return nil
}

// logIn returns the state after a login.
func (s *Store) logIn(ctx context.Context, st state, login sessionsql.InsertOptions) (state, error) {
	// A rotate sets no label and no timeout.
	fits := login.Label == "" && login.IdleTimeout == 0 && login.Lifetime == 0
	if st.token != "" && st.subject == "" && fits {
		token, err := s.store.Rotate(ctx, st.token, &sessionsql.RotateOptions{
			Subject:     login.Subject,
			MaxSessions: login.MaxSessions,
		})
		if err == nil {
			st.token, st.subject = token, login.Subject
			return st, nil
		}
		if !errors.Is(err, sessionsql.ErrNoSession) && !errors.Is(err, sessionsql.ErrRotated) {
			return st, err
		}
	}
	payload := st.payload
	if st.subject != "" && st.subject != login.Subject {
		payload = ""
	}
	// The old session is of use until the new one is there. But one of the same subject counts in
	// MaxSessions, and the insert would end that of another device for it.
	endFirst := login.MaxSessions > 0 && st.subject == login.Subject
	if endFirst {
		if err := s.end(ctx, st.token); err != nil {
			return st, err
		}
	}
	token, err := s.store.Insert(ctx, payload, &login)
	if err == nil && !endFirst {
		err = s.end(ctx, st.token)
	}
	return state{token: token, payload: payload, version: 1, subject: login.Subject}, err
}
