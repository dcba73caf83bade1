package web_test

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

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
	"github.com/sessionsql/postgres/sessionsql/web"
)

var must = testkit.Must

// cluster is a primary and a replica, so that a lookup may read an older row.
var cluster *pgcluster.Cluster

// databaseURL is the example's.
var databaseURL string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	if cluster, err = sessiontest.StartWithBundle(ctx, &pgcluster.Options{Replicas: 1}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = cluster.Close() }()
	databaseURL = cluster.Primary.DSN("postgres")
	return m.Run()
}

// openStore opens a Store that closes with the test. All tests use one database, and each its own subjects.
func openStore(t testing.TB, primary string) *sessionsql.Store {
	t.Helper()
	options := sessiontest.Quiet()
	options.Timeout = 2 * time.Second
	return sessiontest.OpenStore(t, primary, []string{cluster.Replicas[0].DSN("postgres")}, options)
}

// visitor is what the tests' sites keep.
type visitor struct {
	Cart  []string
	Views int
}

// A site serves the handlers of a test over HTTPS.
type site struct {
	*testing.T
	store    *sessionsql.Store
	sessions *web.Sessions[visitor]
	server   *httptest.Server
	mux      *http.ServeMux
}

const cookieName = "__Host-session"

func newSite(t *testing.T) *site { t.Helper(); return newSiteOver(t, openStore(t, databaseURL)) }

func newSiteOver(t *testing.T, store *sessionsql.Store) *site {
	t.Helper()
	sessions, err := web.New[visitor](store, nil)
	must(t, err)
	s := &site{T: t, store: store, sessions: sessions, mux: http.NewServeMux()}
	s.server = httptest.NewTLSServer(sessions.Wrap(s.mux))
	t.Cleanup(s.server.Close)
	return s
}

// page serves a handler that may fail. An error is answered as Status says, and its text is the body.
func (s *site) page(path string, handler func(http.ResponseWriter, *http.Request) error) {
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if err := handler(w, r); err != nil {
			http.Error(w, err.Error(), web.Status(err))
		}
	})
}

// addPages serves the pages that most tests need.
func (s *site) addPages() {
	s.page("/cart", func(w http.ResponseWriter, r *http.Request) error {
		sess, err := s.sessions.Load(r.Context())
		if err == nil {
			fmt.Fprint(w, sess.Subject, sess.Value.Cart)
		}
		return err
	})
	s.page("/add", func(w http.ResponseWriter, r *http.Request) error {
		_, err := s.sessions.Save(r.Context(), func(v *visitor) error {
			v.Cart = append(v.Cart, r.FormValue("item"))
			return nil
		})
		return err
	})
	s.page("/login", func(w http.ResponseWriter, r *http.Request) error {
		_, err := s.sessions.LogIn(r.Context(), as(r.FormValue("name")), nil)
		return err
	})
	s.page("/logout", func(w http.ResponseWriter, r *http.Request) error {
		return s.sessions.LogOut(r.Context())
	})
}

// as is a login without options of its own.
func as(subject string) web.Login {
	return web.Login{InsertOptions: sessionsql.InsertOptions{Subject: subject}}
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

// An answer is a response that was read to its end.
type answer struct {
	*http.Response
	body string
}

func (b *browser) get(path string) answer {
	b.site.Helper()
	response, err := b.client.Get(b.site.server.URL + path)
	must(b.site, err)
	body, err := io.ReadAll(response.Body)
	must(b.site, err)
	must(b.site, response.Body.Close())
	return answer{response, string(body)}
}

// want gets a page, and checks its status and its text.
func (b *browser) want(path string, status int, body string) answer {
	b.site.Helper()
	got := b.get(path)
	if got.StatusCode != status || got.body != body {
		b.site.Errorf("%s answers %d %q, want %d %q", path, got.StatusCode, got.body, status, body)
	}
	return got
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

// plant puts a token into the browser, as an attacker would.
func (b *browser) plant(token string) {
	cookie := &http.Cookie{Name: cookieName, Value: token, Path: "/", Secure: true}
	b.client.Jar.SetCookies(b.url(), []*http.Cookie{cookie})
}

// mustBeDead checks that a token opens nothing.
func (s *site) mustBeDead(token sessionsql.Token, which string) {
	s.Helper()
	if _, err := s.store.Peek(s.Context(), token); !errors.Is(err, sessionsql.ErrNoSession) {
		s.Errorf("%s: %v, want ErrNoSession", which, err)
	}
}

// mustBeAlive checks that a token opens a session of a subject.
func (s *site) mustBeAlive(token sessionsql.Token, subject, which string) sessionsql.Session {
	s.Helper()
	sess, err := s.store.Peek(s.Context(), token)
	if err != nil || sess.Subject != subject {
		s.Errorf("%s: subject %q, %v; want %q", which, sess.Subject, err, subject)
	}
	return sess
}

// insert makes a session with a cart, as another program would.
func (s *site) insert(subject, payload string) sessionsql.Token {
	s.Helper()
	token, err := s.store.Insert(s.Context(), payload, &sessionsql.InsertOptions{Subject: subject})
	must(s, err)
	return token
}
