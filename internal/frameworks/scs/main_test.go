package scs_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"testing"

	"github.com/alexedwards/scs/v2"

	sessionsqlscs "github.com/sessionsql/postgres/adapters/scs"
	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
)

var must = testkit.Must

// What Store implements.
var (
	_ scs.CtxStore         = (*sessionsqlscs.Store)(nil)
	_ scs.IterableStore    = (*sessionsqlscs.Store)(nil)
	_ scs.IterableCtxStore = (*sessionsqlscs.Store)(nil)
	_ scs.Codec            = sessionsqlscs.Codec{}
)

// The servers of all tests and examples.
var (
	cluster     *pgcluster.Cluster
	databaseURL string // leads to the database of the examples
)

func TestMain(m *testing.M) {
	sessiontest.Main(m, nil, func(c *pgcluster.Cluster) {
		cluster, databaseURL = c, c.Primary.DSN("postgres")
	})
}

// A site has pages that set, show and end a session.
type site struct {
	*testing.T
	sessions *scs.SessionManager
	mux      *http.ServeMux
	server   *httptest.Server
}

func newSite(t *testing.T, store scs.Store, codec scs.Codec) *site {
	t.Helper()
	s := &site{T: t, sessions: scs.New(), mux: http.NewServeMux()}
	s.sessions.Store, s.sessions.Codec = store, codec
	s.mux.HandleFunc("/set", func(_ http.ResponseWriter, r *http.Request) {
		s.sessions.Put(r.Context(), r.FormValue("key"), r.FormValue("value"))
	})
	s.mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		for _, key := range s.sessions.Keys(r.Context()) {
			_, _ = fmt.Fprint(w, key, "=", s.sessions.Get(r.Context(), key), " ")
		}
	})
	s.mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if err := s.sessions.RenewToken(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		s.sessions.Put(r.Context(), "name", r.FormValue("name"))
	})
	s.mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		if err := s.sessions.Destroy(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	s.server = httptest.NewServer(s.sessions.LoadAndSave(s.mux))
	t.Cleanup(s.server.Close)
	return s
}

// A browser keeps cookies.
type browser struct{ *http.Client }

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	return &browser{&http.Client{Jar: jar}}
}

// want gets a page of a site and checks its text. The sites share one host, and so their cookies.
func (b *browser) want(s *site, path, text string) {
	s.Helper()
	response, err := b.Get(s.server.URL + path)
	must(s, err)
	got, err := io.ReadAll(response.Body)
	must(s, err)
	must(s, response.Body.Close())
	if response.StatusCode != http.StatusOK || string(got) != text {
		s.Errorf("%s answers %d %q, want %q", path, response.StatusCode, got, text)
	}
}

// clone returns a browser with the same cookies, which later answers do not change.
func (b *browser) clone(s *site) *browser {
	s.Helper()
	other, request := newBrowser(s.T), httptest.NewRequest(http.MethodGet, s.server.URL, nil)
	other.Jar.SetCookies(request.URL, b.Jar.Cookies(request.URL))
	return other
}
