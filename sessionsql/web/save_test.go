package web_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/sessionsql/postgres/sessionsql"
	"github.com/sessionsql/postgres/sessionsql/web"
)

func TestSaveBeginsASession(t *testing.T) {
	s := newSite(t)
	s.addPages()
	b := s.browser()
	b.want("/add?item=tea", http.StatusOK, "")
	b.want("/cart", http.StatusOK, "[tea]")
	token := b.token()
	again := b.want("/add?item=milk", http.StatusOK, "")
	if again.Header["Set-Cookie"] != nil || b.token() != token {
		t.Error("the second Save sets another cookie")
	}
	b.want("/cart", http.StatusOK, "[tea milk]")
}

// Two requests of one session at once lose no change of each other, in one request after the other either.
func TestConcurrentSavesLoseNothing(t *testing.T) {
	s := newSite(t)
	s.page("/view", func(w http.ResponseWriter, r *http.Request) error {
		for i := 1; i <= 2; i++ {
			sess, err := s.sessions.Save(r.Context(), func(v *visitor) error { v.Views++; return nil })
			if err != nil {
				return err
			}
			if sess.Value.Views < i {
				return fmt.Errorf("%d views after %d", sess.Value.Views, i)
			}
		}
		return nil
	})
	b := s.browser()
	b.want("/view", http.StatusOK, "")
	const tabs, views = 8, 10
	var wait sync.WaitGroup
	for range tabs {
		wait.Go(func() {
			for range views {
				if got := b.get("/view"); got.StatusCode != http.StatusOK {
					t.Errorf("%d: %s", got.StatusCode, got.body)
				}
			}
		})
	}
	wait.Wait()
	want := fmt.Sprintf(`{"Cart":null,"Views":%d}`, 2+2*tabs*views)
	if sess := s.mustBeAlive(b.token(), "", "the session"); sess.Payload != want {
		t.Errorf("%s, want %s", sess.Payload, want)
	}
}

// Between the load and the write of one request another one writes: the change is made again on its value.
func TestSaveMakesItsChangeAgainOnTheNewerVersion(t *testing.T) {
	s := newSite(t)
	calls := 0
	s.page("/add", func(w http.ResponseWriter, r *http.Request) error {
		_, err := s.sessions.Save(r.Context(), func(v *visitor) error {
			if calls++; calls == 1 {
				newer := `{"Cart": ["milk"]}`
				_, err := s.store.Update(r.Context(), cookieOf(r), newer, sessionsql.AnyVersion)
				must(t, err)
			}
			v.Cart = append(v.Cart, "tea")
			return nil
		})
		return err
	})
	b := s.browser()
	token := s.insert("", `{"Cart": ["bread"]}`)
	b.plant(string(token))
	b.want("/add", http.StatusOK, "")
	sess := s.mustBeAlive(token, "", "the session")
	if sess.Payload != `{"Cart":["milk","tea"],"Views":0}` || calls != 2 {
		t.Errorf("%s after %d calls", sess.Payload, calls)
	}
}

func cookieOf(r *http.Request) sessionsql.Token {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return ""
	}
	return sessionsql.Token(c.Value)
}

// A session that ends while a request is under way stays dead, and no other takes its place.
func TestALateSaveBringsNothingBack(t *testing.T) {
	s := newSite(t)
	inserts := func() int64 { return s.store.Stats().Inserts }
	for path, during := range map[string]bool{"/before-the-change": false, "/during-the-change": true} {
		s.page(path, func(w http.ResponseWriter, r *http.Request) error {
			_, err := s.sessions.Load(r.Context())
			must(t, err)
			before := inserts()
			if !during {
				must(t, s.store.Revoke(r.Context(), cookieOf(r)))
			}
			_, err = s.sessions.Save(r.Context(), func(v *visitor) error {
				if during {
					must(t, s.store.Revoke(r.Context(), cookieOf(r)))
				}
				v.Cart = append(v.Cart, "tea")
				return nil
			})
			if got := inserts() - before; got != 0 {
				t.Errorf("%s: %d new sessions", path, got)
			}
			return err
		})
		b := s.browser()
		b.plant(string(s.insert("", `{}`)))
		got := b.want(path, http.StatusUnauthorized, sessionsql.ErrNoSession.Error()+"\n")
		if got.Header["Set-Cookie"] != nil {
			t.Errorf("%s: the cookie is removed, which may be a newer one by now", path)
		}
	}
}

func TestAChangeThatFailsWritesNothing(t *testing.T) {
	s := newSite(t)
	refused := errors.New("refused")
	refuse := func(v *visitor) error { v.Views = 9; return refused }
	ann := subject("ann")
	s.page("/save", func(w http.ResponseWriter, r *http.Request) error {
		_, err := s.sessions.Save(r.Context(), refuse)
		return err
	})
	s.page("/login", func(w http.ResponseWriter, r *http.Request) error {
		_, err := s.sessions.LogIn(r.Context(), as(ann), refuse)
		return err
	})
	b := s.browser()
	before := s.store.Stats().Inserts
	for _, path := range []string{"/save", "/login"} {
		b.want(path, http.StatusInternalServerError, "refused\n")
	}
	if b.token() != "" || s.store.Stats().Inserts != before {
		t.Error("a session was begun")
	}
	token := s.insert("", `{"Views": 1}`)
	b.plant(string(token))
	for _, path := range []string{"/save", "/login"} {
		b.want(path, http.StatusInternalServerError, "refused\n")
	}
	sess := s.mustBeAlive(token, "", "the anonymous session")
	if sess.Payload != `{"Views": 1}` || b.token() != token {
		t.Error("the session was changed")
	}
}

func TestAHandlerThatHasWrittenTheHeader(t *testing.T) {
	s := newSite(t)
	ann := subject("ann")
	// late runs a call after the header, and keeps its error.
	var got error
	late := func(path string, call func(*http.Request) error) {
		s.page(path, func(w http.ResponseWriter, r *http.Request) error {
			fmt.Fprint(w, "written")
			got = call(r)
			return nil
		})
	}
	view := func(v *visitor) error { v.Views++; return nil }
	late("/save", func(r *http.Request) error { _, err := s.sessions.Save(r.Context(), view); return err })
	late("/login", func(r *http.Request) error {
		_, err := s.sessions.LogIn(r.Context(), as(ann), view)
		return err
	})
	late("/remember", func(r *http.Request) error {
		login := as(ann)
		login.Label = "tea"
		_, err := s.sessions.LogIn(r.Context(), login, view)
		return err
	})
	late("/logout", func(r *http.Request) error { return s.sessions.LogOut(r.Context()) })

	b := s.browser()
	check := func(path string, want error) {
		t.Helper()
		b.want(path, http.StatusOK, "written")
		if !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	inserts := s.store.Stats().Inserts
	for _, path := range []string{"/save", "/login", "/remember"} {
		check(path, web.ErrHeaderSent)
	}
	if s.store.Stats().Inserts != inserts {
		t.Error("a session was begun whose token nobody has")
	}
	token := s.insert("", `{}`)
	b.plant(string(token))
	for _, path := range []string{"/login", "/remember"} {
		check(path, web.ErrHeaderSent)
	}
	check("/save", nil)
	if sess := s.mustBeAlive(token, "", "the session"); sess.Version != 2 {
		t.Errorf("version %d, want 2", sess.Version)
	}
	check("/logout", nil)
	s.mustBeDead(token, "after the logout")
}
