package web_test

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
)

func TestLogOut(t *testing.T) {
	s := newSite(t)
	s.addPages()
	ann := subject("ann")
	b := s.browser()
	if got := b.want("/logout", http.StatusOK, ""); got.Header["Set-Cookie"] != nil {
		t.Error("without a cookie one is removed")
	}
	b.want("/login?name="+ann, http.StatusOK, "")
	token := b.token()
	b.want("/logout", http.StatusOK, "")
	s.mustBeDead(token, "after the logout")
	if b.token() != "" {
		t.Error("the cookie is still there")
	}
	b.plant(string(token))
	b.want("/cart", http.StatusUnauthorized, "sessionsql: no such session\n")
	b.want("/logout", http.StatusOK, "") // once more, from another tab
	if b.token() != "" {
		t.Error("the cookie of a dead session is still there")
	}
}

// After a logout or a login, the same request sees the state that the browser will have.
func TestOneRequestSeesItsOwnLogInAndLogOut(t *testing.T) {
	s := newSite(t)
	ann := subject("ann")
	s.page("/", func(w http.ResponseWriter, r *http.Request) error {
		ctx := r.Context()
		_, err := s.sessions.LogIn(ctx, as(ann), func(v *visitor) error { v.Views = 1; return nil })
		must(t, err)
		sess, err := s.sessions.Save(ctx, func(v *visitor) error { v.Views++; return nil })
		if err != nil || sess.Subject != ann || sess.Value.Views != 2 {
			t.Errorf("after the login: %d views, %v", sess.Value.Views, err)
		}
		must(t, s.sessions.LogOut(ctx))
		_, err = s.sessions.Load(ctx)
		return err
	})
	b := s.browser()
	b.plant(string(s.insert("", "")))
	b.want("/", http.StatusUnauthorized, "sessionsql: no such session\n")
	if b.token() != "" {
		t.Error("the cookie is still there")
	}
}

func TestASubjectsOtherSessions(t *testing.T) {
	s := newSite(t)
	s.addPages()
	s.page("/list", func(w http.ResponseWriter, r *http.Request) error {
		list, err := s.sessions.List(r.Context())
		for _, sess := range list {
			fmt.Fprint(w, sess.Current)
		}
		return err
	})
	s.page("/end", func(w http.ResponseWriter, r *http.Request) error {
		id, err := strconv.ParseInt(r.FormValue("id"), 10, 64)
		must(t, err)
		return s.sessions.End(r.Context(), id)
	})
	number := func(w http.ResponseWriter, n int64, err error) error {
		if err == nil {
			fmt.Fprint(w, n)
		}
		return err
	}
	s.page("/others", func(w http.ResponseWriter, r *http.Request) error {
		n, err := s.sessions.LogOutOthers(r.Context())
		return number(w, n, err)
	})
	s.page("/everywhere", func(w http.ResponseWriter, r *http.Request) error {
		n, err := s.sessions.LogOutEverywhere(r.Context())
		return number(w, n, err)
	})

	ann, bob := subject("ann"), subject("bob")
	mine, others, bobs, nobody := s.browser(), s.browser(), s.browser(), s.browser()
	nobody.want("/add?item=tea", http.StatusOK, "")
	for _, path := range []string{"/list", "/end?id=1", "/others", "/everywhere"} {
		for _, b := range []*browser{s.browser(), nobody} {
			b.want(path, http.StatusUnauthorized, "sessionsql: no such session\n")
		}
	}
	mine.want("/login?name="+ann, http.StatusOK, "")
	others.want("/login?name="+ann, http.StatusOK, "")
	bobs.want("/login?name="+bob, http.StatusOK, "")
	mine.want("/list", http.StatusOK, "falsetrue")
	list, err := s.store.ListSubject(t.Context(), ann, mine.token())
	must(t, err)
	id := fmt.Sprint(list[0].ID)
	bobs.want("/end?id="+id, http.StatusUnauthorized, "sessionsql: no such session\n")
	mine.want("/end?id="+id, http.StatusOK, "")
	s.mustBeDead(others.token(), "the one that was ended")

	others.want("/login?name="+ann, http.StatusOK, "")
	mine.want("/others", http.StatusOK, "1")
	s.mustBeDead(others.token(), "another one")
	s.mustBeAlive(mine.token(), ann, "the own one")

	others.want("/login?name="+ann, http.StatusOK, "")
	token := mine.token()
	mine.want("/everywhere", http.StatusOK, "2")
	s.mustBeDead(token, "the own one")
	s.mustBeDead(others.token(), "the other one")
	if mine.token() != "" {
		t.Error("the cookie is still there")
	}
	s.mustBeAlive(bobs.token(), bob, "another subject's")
	mine.want("/cart", http.StatusUnauthorized, "sessionsql: no such session\n")
}
