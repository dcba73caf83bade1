package sitetest

import (
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/sessionsql/postgres/sessionsql"
)

// A Site serves a handler over HTTPS until the test ends.
type Site struct {
	*testing.T
	*httptest.Server
	Store *sessionsql.Store

	during func() // what a page does after it has loaded its session; nil for nothing
}

// NewSite serves a handler whose sessions are in store.
func NewSite(t *testing.T, store *sessionsql.Store, handler http.Handler) *Site {
	s := &Site{T: t, Server: httptest.NewTLSServer(handler), Store: store}
	t.Cleanup(s.Server.Close)
	return s
}

// open serves a shop over a Store of its own, as one more program of the same application.
func open(t *testing.T, shop Shop) *Site { return openOver(t, shop, OpenStore(t)) }

func openOver(t *testing.T, shop Shop, store *sessionsql.Store) *Site {
	var s *Site
	s = NewSite(t, store, shop(store, func() {
		if s.during != nil {
			s.during()
		}
	}))
	return s
}

// A Browser keeps cookies.
type Browser struct {
	Client *http.Client

	site *Site
}

// Browser returns one without cookies.
func (s *Site) Browser() *Browser {
	jar, err := cookiejar.New(nil)
	must(s, err)
	return &Browser{site: s, Client: &http.Client{Transport: s.Server.Client().Transport, Jar: jar}}
}

// BrowserWith returns one with a token that somebody planted.
func (s *Site) BrowserWith(token sessionsql.Token) *Browser {
	b := s.Browser()
	b.Plant(token)
	return b
}

// An Answer is a response that was read to its end.
type Answer struct {
	*http.Response
	Text string
}

// SetsCookie tells whether the response sets or removes a cookie.
func (a Answer) SetsCookie() bool { return a.Header["Set-Cookie"] != nil }

// Get gets a page.
func (b *Browser) Get(path string) Answer {
	b.site.Helper()
	response, err := b.Client.Get(b.site.URL + path)
	must(b.site, err)
	text, err := io.ReadAll(response.Body)
	must(b.site, err)
	must(b.site, response.Body.Close())
	return Answer{response, string(text)}
}

// Want gets a page, and checks its status and its text.
func (b *Browser) Want(path string, status int, text string) Answer {
	b.site.Helper()
	got := b.Get(path)
	if got.StatusCode != status || got.Text != text {
		b.site.Errorf("%s answers %d %q, want %d %q", path, got.StatusCode, got.Text, status, text)
	}
	return got
}

// OK gets a page that prints nothing.
func (b *Browser) OK(path string) Answer { b.site.Helper(); return b.Want(path, http.StatusOK, "") }

// WantNoSession gets a page that must answer that the session has ended.
func (b *Browser) WantNoSession(path string) Answer {
	b.site.Helper()
	return b.Want(path, http.StatusUnauthorized, sessionsql.ErrNoSession.Error()+"\n")
}

// WantCart checks what the visitor has in the cart.
func (b *Browser) WantCart(cart string) { b.site.Helper(); b.Want("/cart", http.StatusOK, cart) }

func (b *Browser) url() *url.URL {
	parsed, err := url.Parse(b.site.URL)
	must(b.site, err)
	return parsed
}

// Token is the one in the browser's cookie; empty for none.
func (b *Browser) Token() sessionsql.Token {
	for _, c := range b.Client.Jar.Cookies(b.url()) {
		if c.Name == CookieName {
			return sessionsql.Token(c.Value)
		}
	}
	return ""
}

// Plant puts a token into the browser, as an attacker would.
func (b *Browser) Plant(token sessionsql.Token) {
	cookie := &http.Cookie{Name: CookieName, Value: string(token), Path: "/", Secure: true}
	b.Client.Jar.SetCookies(b.url(), []*http.Cookie{cookie})
}

// MustBeDead checks that a token opens nothing.
func (s *Site) MustBeDead(token sessionsql.Token, which string) {
	s.Helper()
	if _, err := s.Store.Peek(s.Context(), token); !errors.Is(err, sessionsql.ErrNoSession) {
		s.Errorf("%s: %v, want ErrNoSession", which, err)
	}
}

// MustBeAlive checks that a token opens a session of a subject.
func (s *Site) MustBeAlive(token sessionsql.Token, subject, which string) sessionsql.Session {
	s.Helper()
	session, err := s.Store.Peek(s.Context(), token)
	if err != nil || session.Subject != subject {
		s.Errorf("%s: subject %q, %v; want %q", which, session.Subject, err, subject)
	}
	return session
}

// Insert makes a session of a subject, as another program would.
func (s *Site) Insert(subject, payload string) sessionsql.Token {
	s.Helper()
	token, err := s.Store.Insert(s.Context(), payload, &sessionsql.InsertOptions{Subject: subject})
	must(s, err)
	return token
}
