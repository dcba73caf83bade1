package sessionsqlgorilla

import (
	"errors"
	"net/http"

	"github.com/gorilla/sessions"

	"github.com/sessionsql/postgres/sessionsql"
)

// A Store implements [sessions.Store] over a [sessionsql.Store]. It is safe for concurrent use.
type Store struct {
	// Options are those of new sessions. Defaults to Path "/", Secure, HttpOnly and SameSite=Lax, and a
	// cookie that ends with the browser. Without Secure, browsers refuse a cookie whose name begins with
	// __Host-. Do not change it while requests are served.
	Options *sessions.Options

	store  *sessionsql.Store
	states states
}

var _ sessions.Store = (*Store)(nil)

// NewStore returns a Store over another one, which the caller closes. It makes no round trip.
func NewStore(store *sessionsql.Store) *Store {
	return &Store{store: store, Options: &sessions.Options{
		Path:     "/",
		Secure:   true,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	}}
}

// Get returns the request's session of this name, which is looked up once per request. It returns the errors
// of New.
func (s *Store) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(s, name)
}

// New looks up the session that the request's cookie of this name opens, and keeps it alive. Without one it
// returns an empty session, whose IsNew is true, and makes no round trip if no well-formed token came with
// the request.
//
// With an error it returns an empty session as well, as gorilla's stores do: [ErrValues], or
// [sessionsql.ErrUnavailable], after which Save returns that error too.
func (s *Store) New(r *http.Request, name string) (*sessions.Session, error) {
	session := sessions.NewSession(s, name)
	options := *s.Options
	session.Options, session.IsNew = &options, true
	cookie, err := r.Cookie(name)
	if err != nil {
		return session, nil
	}
	token := sessionsql.Token(cookie.Value)
	found, err := s.store.Lookup(r.Context(), token)
	switch {
	case errors.Is(err, sessionsql.ErrNoSession):
		return session, nil
	case err != nil:
		s.states.of(session).unknown = err
		return session, err
	}
	stored, err := decode(found.Payload)
	if err != nil {
		return session, err
	}
	*s.states.of(session) = state{
		token:   token,
		payload: found.Payload,
		version: found.Version,
		subject: found.Subject,
	}
	session.ID, session.Values, session.IsNew = idOf(token), stored, false
	return session, nil
}

// Token returns the token that opens a session, for the methods of a [sessionsql.Store] that take one, such
// as ListSubject, RevokeListed and RevokeSubject. It is empty for a session that was not saved yet.
func (s *Store) Token(session *sessions.Session) sessionsql.Token { return s.states.of(session).token }
