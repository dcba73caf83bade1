package web_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"github.com/sessionsql/postgres/internal/sitetest"
)

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
	b := s.BrowserWith(s.Insert("", ""))
	b.WantNoSession("/")
	if b.Token() != "" {
		t.Error("the cookie is still there")
	}
}

func TestALogOutWithoutACookieRemovesNone(t *testing.T) {
	if newSite(t).Browser().OK("/logout").SetsCookie() {
		t.Error("it sets a cookie")
	}
}

// Somebody holds a token of a session that its user has ended through another program. A late replica still
// shows that session, which must not list or end those that the user has begun since.
func TestADeadSessionEndsNoOther(t *testing.T) {
	one, two := newSite(t), newSite(t)
	for path, revoke := range map[string]func(context.Context) (int64, error){
		"/others": two.sessions.LogOutOthers, "/everywhere": two.sessions.LogOutEverywhere,
	} {
		two.page(path, func(_ http.ResponseWriter, r *http.Request) error {
			_, err := revoke(r.Context())
			return err
		})
	}
	two.page("/list", func(_ http.ResponseWriter, r *http.Request) error {
		_, err := two.sessions.List(r.Context())
		return err
	})
	ann := subject("ann")
	stolen, own := one.Browser(), one.Browser()
	stolen.OK("/add?item=tea")
	stolen.OK("/login?name=" + ann)
	sitetest.HoldReplica(t)
	own.OK("/login?name=" + ann)
	must(t, one.Store.Revoke(t.Context(), stolen.Token()))
	for _, path := range []string{"/list", "/others", "/everywhere"} {
		b := two.BrowserWith(stolen.Token())
		b.WantCart("map[tea:1]") // the replica shows it
		b.WantNoSession(path)
		one.MustBeAlive(own.Token(), ann, "the session after "+path)
	}
}

func TestASubjectsOtherSessions(t *testing.T) {
	s := newSite(t)
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
	mine, others, bobs, nobody := s.Browser(), s.Browser(), s.Browser(), s.Browser()
	nobody.OK("/add?item=tea")
	for _, path := range []string{"/list", "/end?id=1", "/others", "/everywhere"} {
		for _, b := range []*sitetest.Browser{s.Browser(), nobody} {
			b.WantNoSession(path)
		}
	}
	mine.OK("/login?name=" + ann)
	others.OK("/login?name=" + ann)
	bobs.OK("/login?name=" + bob)
	mine.Want("/list", http.StatusOK, "falsetrue")
	list, err := s.Store.ListSubject(t.Context(), ann, mine.Token())
	must(t, err)
	id := fmt.Sprint(list[0].ID)
	bobs.WantNoSession("/end?id=" + id)
	mine.OK("/end?id=" + id)
	s.MustBeDead(others.Token(), "the one that was ended")

	others.OK("/login?name=" + ann)
	mine.Want("/others", http.StatusOK, "1")
	s.MustBeDead(others.Token(), "another one")
	s.MustBeAlive(mine.Token(), ann, "the own one")

	others.OK("/login?name=" + ann)
	token := mine.Token()
	mine.Want("/everywhere", http.StatusOK, "2")
	s.MustBeDead(token, "the own one")
	s.MustBeDead(others.Token(), "the other one")
	if mine.Token() != "" {
		t.Error("the cookie is still there")
	}
	s.MustBeAlive(bobs.Token(), bob, "another subject's")
	mine.WantCart("map[]")
}
