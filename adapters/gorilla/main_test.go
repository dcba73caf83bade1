package sessionsqlgorilla_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/sessions"

	sessionsqlgorilla "github.com/sessionsql/postgres/adapters/gorilla"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

var must = testkit.Must

// databaseURL leads to the database of all tests and examples.
var databaseURL string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cluster, err := sessiontest.StartWithBundle(ctx, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = cluster.Close() }()
	databaseURL = cluster.Primary.DSN("postgres")
	return m.Run()
}

func openStore(t testing.TB, dsn string) *sessionsql.Store {
	t.Helper()
	options := sessiontest.Quiet()
	options.Timeout = 2 * time.Second
	return sessiontest.OpenStore(t, dsn, nil, options)
}

// A site serves the handlers of a test over HTTPS.
type site struct {
	*testing.T
	sessions *sessionsql.Store
	store    *sessionsqlgorilla.Store
	server   *httptest.Server
	mux      *http.ServeMux
}

const cookieName = "__Host-session"

func newSite(t *testing.T, dsn string) *site {
	t.Helper()
	opened := openStore(t, dsn)
	s := &site{T: t, sessions: opened, store: sessionsqlgorilla.NewStore(opened), mux: http.NewServeMux()}
	s.server = httptest.NewTLSServer(s.mux)
	t.Cleanup(s.server.Close)
	return s
}

// page serves a handler, and answers its errors with their text.
func (s *site) page(path string, handle func(http.ResponseWriter, *http.Request, *sessions.Session) error) {
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		session, err := s.store.Get(r, cookieName)
		if err == nil {
			err = handle(w, r, session)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

// addPages serves the pages that most tests need.
func (s *site) addPages() {
	s.page("/set", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		session.Values[r.FormValue("key")] = r.FormValue("value")
		return session.Save(r, w)
	})
	s.page("/get", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		_, err := fmt.Fprint(w, session.IsNew, session.Values)
		return err
	})
	s.page("/login", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		return s.store.LogIn(r, w, session, sessionsql.InsertOptions{Subject: r.FormValue("name")})
	})
	s.page("/logout", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		session.Options.MaxAge = -1
		return session.Save(r, w)
	})
}

var subjects atomic.Int64

// subject returns one that no other test has.
func subject(name string) string { return fmt.Sprintf("%s%d", name, subjects.Add(1)) }

// A browser keeps cookies.
type browser struct {
	site   *site
	client *http.Client
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	must(s, err)
	return &browser{site: s, client: &http.Client{Transport: s.server.Client().Transport, Jar: jar}}
}

// want gets a page, and checks its status and its text.
func (b *browser) want(path string, status int, body string) *http.Response {
	b.site.Helper()
	response, err := b.client.Get(b.site.server.URL + path)
	must(b.site, err)
	text, err := io.ReadAll(response.Body)
	must(b.site, err)
	must(b.site, response.Body.Close())
	if response.StatusCode != status || string(text) != body {
		b.site.Errorf("%s answers %d %q, want %d %q", path, response.StatusCode, text, status, body)
	}
	return response
}

func (b *browser) url() *url.URL {
	parsed, err := url.Parse(b.site.server.URL)
	must(b.site, err)
	return parsed
}

// token is the one in the browser's cookie; empty for none.
func (b *browser) token() sessionsql.Token {
	for _, c := range b.client.Jar.Cookies(b.url()) {
		if c.Name == cookieName {
			return sessionsql.Token(c.Value)
		}
	}
	return ""
}

func (b *browser) plant(token sessionsql.Token) {
	cookie := &http.Cookie{Name: cookieName, Value: string(token), Path: "/", Secure: true}
	b.client.Jar.SetCookies(b.url(), []*http.Cookie{cookie})
}

func (s *site) mustBeDead(token sessionsql.Token, which string) {
	s.Helper()
	if _, err := s.sessions.Peek(s.Context(), token); !errors.Is(err, sessionsql.ErrNoSession) {
		s.Errorf("%s: %v, want ErrNoSession", which, err)
	}
}

func (s *site) mustBeAlive(token sessionsql.Token, subject, which string) sessionsql.Session {
	s.Helper()
	sess, err := s.sessions.Peek(s.Context(), token)
	if err != nil || sess.Subject != subject {
		s.Errorf("%s: subject %q, %v; want %q", which, sess.Subject, err, subject)
	}
	return sess
}
