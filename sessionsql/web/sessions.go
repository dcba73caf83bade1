package web

import (
	"context"
	"fmt"
	"net/http"

	"github.com/sessionsql/postgres/sessionsql"
)

// Options says how the cookie looks; nil is the zero value.
type Options struct {
	// Name is the cookie's name. The prefix __Host- is put before it. Defaults to "session".
	Name string

	// PlainHTTP lets the cookie pass over plain HTTP, for development: it has neither the prefix nor Secure.
	// Anybody on the way can then read the token and plant another. Defaults to false.
	PlainHTTP bool
}

// Sessions keeps a T in each visitor's session, as JSON. It is safe for concurrent use.
type Sessions[T any] struct {
	store  *sessionsql.Store
	cookie http.Cookie // without value
}

// New returns Sessions over a Store, which the caller closes. It makes no round trip.
//
// The cookie is called __Host-session, and has Secure, HttpOnly, SameSite=Lax and Path=/ (OWASP ASVS 5.0,
// 3.3.1 to 3.3.4). A browser accepts a cookie with the prefix __Host- only over HTTPS and only from this very
// host, so a neighbouring domain can plant none (RFC 6265bis, section 4.1.3.2).
//
// It returns [sessionsql.ErrOptions] for a name that no cookie can have.
func New[T any](store *sessionsql.Store, options *Options) (*Sessions[T], error) {
	var own Options
	if options != nil {
		own = *options
	}
	if own.Name == "" {
		own.Name = "session"
	}
	if !own.PlainHTTP {
		own.Name = "__Host-" + own.Name
	}
	s := &Sessions[T]{store: store, cookie: http.Cookie{
		Name:     own.Name,
		Path:     "/",
		HttpOnly: true,
		Secure:   !own.PlainHTTP,
		SameSite: http.SameSiteLaxMode,
	}}
	if err := s.cookie.Valid(); err != nil {
		return nil, fmt.Errorf("sessionsql/web: %w: no cookie can have the name %q",
			sessionsql.ErrOptions, own.Name)
	}
	return s, nil
}

// Wrap returns a handler that gives the requests of next their sessions. It makes no round trip by itself;
// the first call that needs the session looks it up.
func (s *Sessions[T]) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{token: presented(r, s.cookie.Name)}
		defer v.sendHeader(w.Header()) // of a handler that writes nothing, or panics
		ctx := context.WithValue(r.Context(), s, v)
		next.ServeHTTP(&writer{ResponseWriter: w, visit: v}, r.WithContext(ctx))
	})
}

// visit returns the visit of the request that ctx belongs to. Its key is s, so that a site can have several
// Sessions.
func (s *Sessions[T]) visit(ctx context.Context) (*visit, error) {
	v, ok := ctx.Value(s).(*visit)
	if !ok {
		return nil, ErrNotWrapped
	}
	return v, nil
}
