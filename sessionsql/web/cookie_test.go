package web_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/sessionsql/postgres/sessionsql"
	"github.com/sessionsql/postgres/sessionsql/web"
)

func TestTheCookieIsStrictByDefault(t *testing.T) {
	store := openStore(t)
	remembered := as(subject("ann"))
	remembered.Remember = true
	for _, c := range []struct {
		options *web.Options
		login   web.Login
		name    string
		persist string
		rest    string
	}{
		{nil, as(subject("ann")), "__Host-session", "", "HttpOnly; Secure; SameSite=Lax"},
		{&web.Options{Name: "id"}, as(subject("ann")), "__Host-id", "", "HttpOnly; Secure; SameSite=Lax"},
		{&web.Options{PlainHTTP: true}, as(subject("ann")), "session", "", "HttpOnly; SameSite=Lax"},
		{nil, remembered, "__Host-session", "Max-Age=34560000; ", "HttpOnly; Secure; SameSite=Lax"},
	} {
		sessions, err := web.New[visitor](store, c.options)
		must(t, err)
		for _, logOut := range []bool{false, true} {
			w := answerOf(sessions, func(ctx context.Context) {
				_, err := sessions.LogIn(ctx, c.login, nil)
				must(t, err)
				if logOut {
					must(t, sessions.LogOut(ctx))
				}
			})
			want := fmt.Sprintf(`^%s=[\w-]{32}; Path=/; %s%s$`, c.name, c.persist, c.rest)
			if logOut {
				want = fmt.Sprintf(`^%s=; Path=/; Max-Age=0; %s$`, c.name, c.rest)
			}
			got := w.Header()["Set-Cookie"]
			if len(got) != 1 || !regexp.MustCompile(want).MatchString(got[0]) {
				t.Errorf("%q, want %s", got, want)
			}
		}
	}
	for _, name := range []string{"a b", "a;b", "a=b", "a\n", "é"} {
		_, err := web.New[visitor](store, &web.Options{Name: name})
		if !errors.Is(err, sessionsql.ErrOptions) {
			t.Errorf("the name %q: %v, want ErrOptions", name, err)
		}
	}
}

// answerOf records the answer of a handler that writes nothing itself.
func answerOf(sessions *web.Sessions[visitor], handle func(context.Context)) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	sessions.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(r.Context()) })).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w
}

func TestWhatCachesAreTold(t *testing.T) {
	s := newSite(t)
	s.page("/public", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "public, max-age=60")
		fmt.Fprint(w, "the same for all")
		return nil
	})
	s.page("/private", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "private, max-age=60")
		_, err := s.sessions.Load(r.Context())
		return err
	})
	s.page("/begin", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "public, max-age=60")
		_, err := s.sessions.Save(r.Context(), nil)
		return err
	})
	b := s.Browser()
	for _, c := range []struct {
		path, vary, cacheControl string
		setsCookie               bool
	}{
		{"/public", "", "public, max-age=60", false},
		{"/cart", "Cookie", "", false}, // without a session it holds nothing of the visitor
		{"/begin", "Cookie", "no-store", true},
		{"/begin", "Cookie", "public, max-age=60", false}, // the session is there already
		{"/cart", "Cookie", "no-store", false},
		{"/private", "Cookie", "private, max-age=60", false},
		{"/public", "", "public, max-age=60", false},
		{"/logout", "Cookie", "no-store", true},
	} {
		got := b.Get(c.path)
		vary, cacheControl := got.Header.Get("Vary"), got.Header.Get("Cache-Control")
		setsCookie := got.SetsCookie()
		if vary != c.vary || cacheControl != c.cacheControl || setsCookie != c.setsCookie {
			t.Errorf("%s: %q, want %+v", c.path, got.Header, c)
		}
	}
}

// One handler can have sessions of users and, under another name, of administrators.
func TestTwoSessionsSideBySide(t *testing.T) {
	store := openStore(t)
	users, err := web.New[visitor](store, nil)
	must(t, err)
	admins, err := web.New[int](store, &web.Options{Name: "admin"})
	must(t, err)
	w := httptest.NewRecorder()
	users.Wrap(admins.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := users.Save(r.Context(), func(v *visitor) error { v.Views = 1; return nil })
		must(t, err)
		_, err = admins.Save(r.Context(), func(level *int) error { *level = 2; return nil })
		must(t, err)
		user, err := users.Load(r.Context())
		must(t, err)
		admin, err := admins.Load(r.Context())
		must(t, err)
		if user.Value.Views != 1 || admin.Value != 2 {
			t.Errorf("%d and %d, want 1 and 2", user.Value.Views, admin.Value)
		}
	}))).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if got := w.Result().Cookies(); len(got) != 2 {
		t.Errorf("cookies: %d, want 2", len(got))
	}
}
