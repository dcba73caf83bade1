package sessionsqlgorilla_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/gorilla/sessions"

	sessionsqlgorilla "github.com/sessionsql/postgres/adapters/gorilla"
	"github.com/sessionsql/postgres/internal/sitetest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

const cookieName = sitetest.CookieName

var (
	must    = testkit.Must
	subject = sitetest.Subject
)

// databaseURL leads to the database of all tests and examples.
var databaseURL string

func TestMain(m *testing.M) { sitetest.Main(m, &databaseURL) }

func TestThePromisesOfEveryAdapter(t *testing.T) { sitetest.Run(t, shop) }

func FuzzCookie(f *testing.F) { sitetest.FuzzCookie(f, shop) }

func shop(store *sessionsql.Store, during func()) http.Handler {
	return pages(sessionsqlgorilla.NewStore(store), during)
}

// A handler gets the request's session.
type handler func(http.ResponseWriter, *http.Request, *sessions.Session) error

func page(store *sessionsqlgorilla.Store, handle handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		session, err := store.Get(r, cookieName)
		if err == nil {
			err = handle(w, r, session)
		}
		sitetest.Fail(w, err)
	}
}

// pages serves those of a sitetest.Shop. Each item is a value of its own.
func pages(store *sessionsqlgorilla.Store, during func()) *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(path string, h handler) { mux.Handle(path, page(store, h)) }
	handle("/cart", func(w http.ResponseWriter, _ *http.Request, s *sessions.Session) error {
		_, err := fmt.Fprint(w, s.Values)
		return err
	})
	handle("/add", func(w http.ResponseWriter, r *http.Request, s *sessions.Session) error {
		during()
		s.Values[r.FormValue("item")] = 1
		return s.Save(r, w)
	})
	handle("/login", func(w http.ResponseWriter, r *http.Request, s *sessions.Session) error {
		during()
		options, err := sitetest.InsertOptions(r)
		if err == nil {
			err = store.LogIn(r, w, s, options)
		}
		if err == nil {
			err = s.Save(r, w)
		}
		return err
	})
	handle("/logout", func(w http.ResponseWriter, r *http.Request, s *sessions.Session) error {
		during()
		s.Options.MaxAge = -1
		return s.Save(r, w)
	})
	return mux
}

// A site is a shop with more pages.
type site struct {
	*sitetest.Site
	store *sessionsqlgorilla.Store
	mux   *http.ServeMux
}

func newSite(t *testing.T) *site { t.Helper(); return newSiteOver(t, sitetest.OpenStore(t)) }

func newSiteOver(t *testing.T, sessionStore *sessionsql.Store) *site {
	t.Helper()
	store := sessionsqlgorilla.NewStore(sessionStore)
	mux := pages(store, func() {})
	return &site{Site: sitetest.NewSite(t, sessionStore, mux), store: store, mux: mux}
}

func (s *site) page(path string, handle handler) { s.mux.Handle(path, page(s.store, handle)) }
