package sessionsqlgorilla_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/sessions"

	"github.com/sessionsql/postgres/sessionsql"
)

func TestAPlantedCookieGivesNothing(t *testing.T) {
	s := newSite(t, databaseURL)
	s.addPages()
	planter, mallory := s.browser(), s.browser()
	planter.want("/set?key=cart&value=tea", http.StatusOK, "")
	mallory.want("/set?key=cart&value=poison", http.StatusOK, "")
	mallory.want("/login?name="+subject("mallory"), http.StatusOK, "")
	for planted, values := range map[sessionsql.Token]string{
		planter.token(): "map[cart:tea]", // an anonymous cart goes on
		mallory.token(): "map[]",         // another subject's does not
		"malformed":     "map[]",
		sessionsql.Token(strings.Repeat("A", 32)): "map[]",
	} {
		ann := subject("ann")
		b := s.browser()
		b.plant(planted)
		b.want("/login?name="+ann, http.StatusOK, "")
		if b.token() == planted {
			t.Error("a planted token became the visitor's")
		}
		s.mustBeDead(planted, "a planted token")
		s.mustBeAlive(b.token(), ann, "the visitor's")
		b.want("/get", http.StatusOK, "false "+values)
	}
	// A handler that saves right after the login does not write another subject's values either.
	s.page("/in", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		must(t, s.store.LogIn(r, w, session, sessionsql.InsertOptions{Subject: subject("ann")}))
		session.Values["name"] = "Ann"
		return session.Save(r, w)
	})
	mallory.plant("")
	mallory.want("/set?key=cart&value=poison", http.StatusOK, "")
	mallory.want("/login?name="+subject("mallory"), http.StatusOK, "")
	mallory.want("/in", http.StatusOK, "")
	mallory.want("/get", http.StatusOK, "false map[name:Ann]")
}

func TestLogInThenSave(t *testing.T) {
	s := newSite(t, databaseURL)
	s.addPages()
	s.page("/in", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		session.Values["before"] = true
		login := sessionsql.InsertOptions{
			Subject: r.FormValue("name"), MaxSessions: 2, Label: r.FormValue("label"),
		}
		if err := s.store.LogIn(r, w, session, login); err != nil {
			return err
		}
		session.Values["after"] = true
		return session.Save(r, w)
	})
	ann := subject("ann")
	phone, laptop := s.browser(), s.browser()
	phone.want("/in?name="+ann, http.StatusOK, "")
	laptop.want("/set?key=cart&value=tea", http.StatusOK, "")
	for _, label := range []string{"", "", "laptop"} {
		old := laptop.token()
		laptop.want("/in?name="+ann+"&label="+label, http.StatusOK, "")
		s.mustBeDead(old, "the token before")
		s.mustBeAlive(laptop.token(), ann, "the laptop")
		s.mustBeAlive(phone.token(), ann, "the phone")
		laptop.want("/get", http.StatusOK, "false map[after:true before:true cart:tea]")
	}
	list, err := s.sessions.ListSubject(t.Context(), ann, laptop.token())
	must(t, err)
	if len(list) != 2 || list[0].Label != "laptop" || !list[0].Current {
		t.Errorf("%+v", list)
	}
}

func TestLogInWithItsOwnLifetime(t *testing.T) {
	s := newSite(t, databaseURL)
	s.addPages()
	ann := subject("ann")
	s.page("/public", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		return s.store.LogIn(r, w, session, sessionsql.InsertOptions{Subject: ann, Lifetime: time.Minute})
	})
	b := s.browser()
	b.want("/set?key=cart&value=tea", http.StatusOK, "")
	old := b.token()
	b.want("/public", http.StatusOK, "")
	s.mustBeDead(old, "the anonymous one")
	b.want("/get", http.StatusOK, "false map[cart:tea]")
	if left := s.mustBeAlive(b.token(), ann, "the new one").ExpiresIn; left > time.Minute {
		t.Errorf("it expires in %v", left)
	}
}

// A form that is sent twice: the second login finds the token dead, and still gets a session with the cart.
func TestASecondLogInWithTheSameToken(t *testing.T) {
	s := newSite(t, databaseURL)
	s.addPages()
	ann := subject("ann")
	s.page("/raced", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		first := &sessionsql.RotateOptions{Subject: ann}
		_, err := s.sessions.Rotate(r.Context(), s.store.Token(session), first)
		must(t, err)
		return s.store.LogIn(r, w, session, sessionsql.InsertOptions{Subject: ann})
	})
	b := s.browser()
	b.want("/set?key=cart&value=tea", http.StatusOK, "")
	b.want("/raced", http.StatusOK, "")
	s.mustBeAlive(b.token(), ann, "the second login")
	b.want("/get", http.StatusOK, "false map[cart:tea]")
}

func TestLogInRefusesBadOptions(t *testing.T) {
	s := newSite(t, databaseURL)
	s.addPages()
	s.page("/bad", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		for _, login := range []sessionsql.InsertOptions{
			{}, {Subject: "\x00"}, {Subject: "ann", MaxSessions: -1},
		} {
			if err := s.store.LogIn(r, w, session, login); !errors.Is(err, sessionsql.ErrOptions) {
				t.Errorf("%+v: %v", login, err)
			}
		}
		return nil
	})
	b := s.browser()
	b.want("/bad", http.StatusOK, "")
	b.want("/set?key=cart&value=tea", http.StatusOK, "")
	token := b.token()
	b.want("/bad", http.StatusOK, "")
	if b.token() != token {
		t.Error("the cookie was changed")
	}
	s.mustBeAlive(token, "", "the anonymous session")
}

func TestNoFormatShowsAToken(t *testing.T) {
	s := newSite(t, databaseURL)
	s.addPages()
	var token string
	s.page("/print", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		token = string(s.store.Token(session))
		for _, text := range []string{
			fmt.Sprintf("%v %+v %#v", session, session, session),
			fmt.Sprintf("%v %+v %#v", s.store, s.store, s.store),
			fmt.Sprintf("%+v %#v", *session, r.Context()),
		} {
			if strings.Contains(text, token) || strings.Contains(text, token[11:]) {
				t.Errorf("%s has the token", text)
			}
		}
		return nil
	})
	b := s.browser()
	b.want("/set?key=a&value=b", http.StatusOK, "")
	b.want("/print", http.StatusOK, "")
	if token == "" {
		t.Error("there was no token to look for")
	}
}
