package web_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/sessionsql/postgres/internal/sitetest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
	"github.com/sessionsql/postgres/sessionsql/web"
)

var (
	must      = testkit.Must
	openStore = sitetest.OpenStore
	subject   = sitetest.Subject
)

// databaseURL is the example's.
var databaseURL string

func TestMain(m *testing.M) { sitetest.Main(m, &databaseURL) }

func TestThePromisesOfEveryAdapter(t *testing.T) { sitetest.Run(t, shop) }

func FuzzCookie(f *testing.F) { sitetest.FuzzCookie(f, shop) }

// visitor is what the tests' sites keep.
type visitor struct {
	Cart  map[string]int
	Views int
}

func shop(store *sessionsql.Store, during func()) http.Handler {
	sessions, _ := web.New[visitor](store, nil) // it fails only for a bad name
	return sessions.Wrap(pages(sessions, during))
}

// page is a handler whose error Status answers.
type page func(http.ResponseWriter, *http.Request) error

func (p page) ServeHTTP(w http.ResponseWriter, r *http.Request) { sitetest.Fail(w, p(w, r)) }

// pages serves those of a sitetest.Shop.
func pages(sessions *web.Sessions[visitor], during func()) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/cart", page(func(w http.ResponseWriter, r *http.Request) error {
		sess, err := sessions.Load(r.Context())
		if err != nil && !errors.Is(err, sessionsql.ErrNoSession) {
			return err
		}
		_, err = fmt.Fprint(w, sess.Value.Cart)
		return err
	}))
	change := func(path string, change page) {
		mux.Handle(path, page(func(w http.ResponseWriter, r *http.Request) error {
			_, err := sessions.Load(r.Context())
			if err != nil && !errors.Is(err, sessionsql.ErrNoSession) {
				return err
			}
			during()
			return change(w, r)
		}))
	}
	change("/add", func(w http.ResponseWriter, r *http.Request) error {
		_, err := sessions.Save(r.Context(), func(v *visitor) error {
			if v.Cart == nil {
				v.Cart = map[string]int{}
			}
			v.Cart[r.FormValue("item")] = 1
			return nil
		})
		return err
	})
	change("/login", func(w http.ResponseWriter, r *http.Request) error {
		options, err := sitetest.InsertOptions(r)
		if err == nil {
			_, err = sessions.LogIn(r.Context(), web.Login{InsertOptions: options}, nil)
		}
		return err
	})
	change("/logout", func(w http.ResponseWriter, r *http.Request) error {
		return sessions.LogOut(r.Context())
	})
	return mux
}

// A site is a shop with more pages.
type site struct {
	*sitetest.Site
	sessions *web.Sessions[visitor]
	mux      *http.ServeMux
}

func newSite(t *testing.T) *site {
	t.Helper()
	store := openStore(t)
	sessions, err := web.New[visitor](store, nil)
	must(t, err)
	mux := pages(sessions, func() {})
	return &site{Site: sitetest.NewSite(t, store, sessions.Wrap(mux)), sessions: sessions, mux: mux}
}

func (s *site) page(path string, handler page) { s.mux.Handle(path, handler) }

// as is a login without options of its own.
func as(subject string) web.Login {
	return web.Login{InsertOptions: sessionsql.InsertOptions{Subject: subject}}
}
