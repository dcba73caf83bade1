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
// session takes its place. The newest values are kept, unless they were another subject's: then LogIn empties
// Values.
//
// It returns [sessionsql.ErrOptions] for bad input, or [sessionsql.ErrUnavailable]. After an error call it
// again; the visitor has the old session, perhaps under a new token. After ErrUnavailable the old session may
// be dead, and its values lost.
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
	old := st.token
	err = s.logIn(r.Context(), st, session, login)
	if st.token != old {
		session.ID = idOf(st.token)
		setCookie(w, session, st.token)
	}
	return err
}

// logIn begins a session of login.Subject, or makes the one that there is such a session.
func (s *Store) logIn(
	ctx context.Context, st *state, session *sessions.Session, login sessionsql.InsertOptions,
) error {
	next := state{payload: st.payload, version: 1, subject: login.Subject}
	another := st.subject != "" && st.subject != login.Subject
	switch {
	case another:
		next.payload = ""
	case st.token != "":
		if goesOn, err := s.takeOver(ctx, st, session, login); err != nil || goesOn {
			return err
		}
		next.payload = st.payload
	}
	// The old session is of use until the new one is there. But one of the same subject counts in
	// MaxSessions, and the insert would end that of another device for it.
	endFirst := login.MaxSessions > 0 && st.subject == login.Subject
	if endFirst {
		if err := s.end(ctx, st.token); err != nil {
			return err
		}
	}
	var err error
	if next.token, err = s.store.Insert(ctx, next.payload, &login); err != nil {
		return err
	}
	if !endFirst {
		if err := s.end(ctx, st.token); err != nil {
			return err
		}
	}
	if another {
		session.Values = values{}
	}
	*st = next
	return nil
}

// takeOver gives a session a new token, and tells whether it goes on as one of login.Subject. If not, a new
// session takes its place. The values in it may be a late replica's, and other requests may write them
// meanwhile, so takeOver first takes the token from them and then reads the newest.
func (s *Store) takeOver(
	ctx context.Context, st *state, session *sessions.Session, login sessionsql.InsertOptions,
) (goesOn bool, err error) {
	options := &sessionsql.RotateOptions{Grace: -1}
	// A rotate sets no label and no timeout.
	if st.subject == "" && login.Label == "" && login.IdleTimeout == 0 && login.Lifetime == 0 {
		options.Subject, options.MaxSessions = login.Subject, login.MaxSessions
	}
	token, err := s.store.Rotate(ctx, st.token, options)
	switch {
	case errors.Is(err, sessionsql.ErrNoSession), errors.Is(err, sessionsql.ErrRotated):
		return false, nil // it ended, or another request rotated it
	case err != nil:
		return false, err
	}
	st.token = token
	if options.Subject != "" {
		st.subject = login.Subject
		return true, nil
	}
	before, err := decode(st.payload)
	if err != nil {
		return false, err
	}
	newest, err := s.reload(ctx, st)
	if err != nil {
		return false, err
	}
	changesBetween(before, session.Values).apply(newest)
	session.Values = newest
	return false, nil
}
