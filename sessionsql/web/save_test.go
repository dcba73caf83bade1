package web_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/sessionsql/postgres/internal/sitetest"
	"github.com/sessionsql/postgres/sessionsql"
	"github.com/sessionsql/postgres/sessionsql/web"
)

// Between the load and the write of one request another one writes: the change is made again on its value.
func TestSaveMakesItsChangeAgainOnTheNewerVersion(t *testing.T) {
	s := newSite(t)
	calls := 0
	s.page("/change", func(w http.ResponseWriter, r *http.Request) error {
		_, err := s.sessions.Save(r.Context(), func(v *visitor) error {
			if calls++; calls == 1 {
				newer := `{"Cart": {"milk": 1}}`
				_, err := s.Store.Update(r.Context(), cookieOf(r), newer, sessionsql.AnyVersion)
				must(t, err)
			}
			v.Cart["tea"] = 1
			return nil
		})
		return err
	})
	b := s.Browser()
	token := s.Insert("", `{"Cart": {"bread": 1}}`)
	b.Plant(token)
	b.OK("/change")
	sess := s.MustBeAlive(token, "", "the session")
	if sess.Payload != `{"Cart":{"milk":1,"tea":1},"Views":0}` || calls != 2 {
		t.Errorf("%s after %d calls", sess.Payload, calls)
	}
}

func cookieOf(r *http.Request) sessionsql.Token {
	c, err := r.Cookie(sitetest.CookieName)
	if err != nil {
		return ""
	}
	return sessionsql.Token(c.Value)
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
	s.page("/fail", func(w http.ResponseWriter, r *http.Request) error {
		_, err := s.sessions.LogIn(r.Context(), as(ann), refuse)
		return err
	})
	b := s.Browser()
	before := s.Store.Stats().Inserts
	for _, path := range []string{"/save", "/fail"} {
		b.Want(path, http.StatusInternalServerError, "refused\n")
	}
	if b.Token() != "" || s.Store.Stats().Inserts != before {
		t.Error("a session was begun")
	}
	token := s.Insert("", `{"Views": 1}`)
	b.Plant(token)
	for _, path := range []string{"/save", "/fail"} {
		b.Want(path, http.StatusInternalServerError, "refused\n")
	}
	sess := s.MustBeAlive(token, "", "the anonymous session")
	if sess.Payload != `{"Views": 1}` || b.Token() != token {
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
	late("/late/save", func(r *http.Request) error {
		_, err := s.sessions.Save(r.Context(), view)
		return err
	})
	late("/late/login", func(r *http.Request) error {
		_, err := s.sessions.LogIn(r.Context(), as(ann), view)
		return err
	})
	late("/late/remember", func(r *http.Request) error {
		login := as(ann)
		login.Label = "tea"
		_, err := s.sessions.LogIn(r.Context(), login, view)
		return err
	})
	late("/late/logout", func(r *http.Request) error { return s.sessions.LogOut(r.Context()) })

	b := s.Browser()
	check := func(path string, want error) {
		t.Helper()
		b.Want(path, http.StatusOK, "written")
		if !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	inserts := s.Store.Stats().Inserts
	for _, path := range []string{"/late/save", "/late/login", "/late/remember"} {
		check(path, web.ErrHeaderSent)
	}
	if s.Store.Stats().Inserts != inserts {
		t.Error("a session was begun whose token nobody has")
	}
	token := s.Insert("", `{}`)
	b.Plant(token)
	for _, path := range []string{"/late/login", "/late/remember"} {
		check(path, web.ErrHeaderSent)
	}
	check("/late/save", nil)
	if sess := s.MustBeAlive(token, "", "the session"); sess.Version != 2 {
		t.Errorf("version %d, want 2", sess.Version)
	}
	check("/late/logout", nil)
	s.MustBeDead(token, "after the logout")
}
