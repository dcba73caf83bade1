package sessionsqlgorilla

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/sessions"

	"github.com/sessionsql/postgres/sessionsql"
)

// Save writes the changes of session.Values and sets the cookie. Afterwards Values also holds the keys that
// other requests have written meanwhile. It begins a session where there is none. If Options.MaxAge is
// negative, it ends the session for good and removes the cookie (OWASP ASVS 5.0, 7.4.1). Call it before the
// response is written.
//
// It returns [sessionsql.ErrNoSession] for a session that has ended while the request was under way,
// [ErrValues], a *[sessionsql.PayloadError], or [sessionsql.ErrUnavailable]. After an error it has not
// touched the cookie.
func (s *Store) Save(r *http.Request, w http.ResponseWriter, session *sessions.Session) error {
	st, err := s.known(session)
	if err != nil {
		return err
	}
	if session.Options.MaxAge < 0 {
		if err := s.end(r.Context(), st.token); err != nil {
			return err
		}
		*st = state{}
		setCookie(w, session, "")
		return nil
	}
	if st.token == "" {
		err = s.insert(r.Context(), st, session)
	} else {
		err = s.update(r.Context(), st, session)
	}
	if err != nil {
		return err
	}
	session.ID = idOf(st.token)
	setCookie(w, session, st.token)
	return nil
}

// known returns the state of a session, or the reason why there is none.
func (s *Store) known(session *sessions.Session) (*state, error) {
	st := s.states.of(session)
	if st.unknown != nil {
		return nil, fmt.Errorf("sessionsql/gorilla: the session was not loaded: %w", st.unknown)
	}
	return st, nil
}

func (s *Store) insert(ctx context.Context, st *state, session *sessions.Session) error {
	payload, err := encode(session.Values)
	if err != nil {
		return err
	}
	token, err := s.store.Insert(ctx, payload, nil)
	if err != nil {
		return err
	}
	*st = state{token: token, payload: payload, version: 1}
	return nil
}

// update writes what session.Values has changed, and again on the newer version as long as others write
// first. One of the writers succeeds each time, so each makes progress.
func (s *Store) update(ctx context.Context, st *state, session *sessions.Session) error {
	stored, err := decode(st.payload)
	if err != nil {
		return err
	}
	own := changesBetween(stored, session.Values)
	if own.empty() {
		return nil
	}
	for {
		own.apply(stored)
		payload, err := encode(stored)
		if err != nil {
			return err
		}
		version, err := s.store.Update(ctx, st.token, payload, st.version)
		if err == nil {
			st.payload, st.version, session.Values = payload, version, stored
			return nil
		}
		if !errors.Is(err, sessionsql.ErrConflict) {
			return err
		}
		if stored, err = s.reload(ctx, st); err != nil {
			return err
		}
	}
}

// reload reads a session that the Store has just written or found to be newer, and so from the primary.
func (s *Store) reload(ctx context.Context, st *state) (values, error) {
	newer, err := s.store.Peek(ctx, st.token)
	if err != nil {
		return nil, err
	}
	st.payload, st.version = newer.Payload, newer.Version
	return decode(newer.Payload)
}

// end ends a session that may be dead already.
func (s *Store) end(ctx context.Context, token sessionsql.Token) error {
	err := s.store.Revoke(ctx, token)
	if errors.Is(err, sessionsql.ErrNoSession) {
		return nil
	}
	return err
}

// setCookie sets the session's cookie in place of one that LogIn has set before. It also keeps the response
// out of caches, unless the handler has decided about them (OWASP ASVS 5.0, 14.3.2). Options often lack the
// attributes without which browsers refuse a name with __Host- (RFC 6265bis, section 4.1.3.2), also when they
// are to remove the cookie.
func setCookie(w http.ResponseWriter, session *sessions.Session, token sessionsql.Token) {
	cookie := sessions.NewCookie(session.Name(), string(token), session.Options)
	if strings.HasPrefix(cookie.Name, "__Host-") {
		cookie.Path, cookie.Domain, cookie.Secure = "/", "", true
	}
	header := w.Header()
	header["Set-Cookie"] = slices.DeleteFunc(header["Set-Cookie"], func(line string) bool {
		return strings.HasPrefix(line, cookie.Name+"=")
	})
	http.SetCookie(w, cookie)
	if header.Get("Cache-Control") == "" {
		header.Set("Cache-Control", "no-store")
	}
}
