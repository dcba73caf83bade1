package sessionsqlgorilla_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/sessions"

	"github.com/sessionsql/postgres/sessionsql"
)

// Values that are not saved yet go on too, but no values of another subject.
func TestLogInThenSave(t *testing.T) {
	s := newSite(t)
	s.page("/in", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		session.Values["before"] = true
		login := sessionsql.InsertOptions{Subject: r.FormValue("name"), Label: r.FormValue("label")}
		if err := s.store.LogIn(r, w, session, login); err != nil {
			return err
		}
		session.Values["after"] = true
		if err := session.Save(r, w); err != nil {
			return err
		}
		if got := len(w.Header()["Set-Cookie"]); got == 0 || session.ID == "" {
			t.Errorf("%d cookies, and the ID is %q", got, session.ID)
		}
		return nil
	})
	ann := subject("ann")
	b := s.Browser()
	b.OK("/add?item=tea")
	for _, options := range []string{"", "", "&label=laptop"} {
		b.OK("/in?name=" + ann + options)
		b.WantCart("map[after:true before:true tea:1]")
	}
	b.OK("/in?name=" + subject("bob"))
	b.WantCart("map[after:true]")
}

func TestNoFormatShowsAToken(t *testing.T) {
	s := newSite(t)
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
	b := s.Browser()
	b.OK("/add?item=tea")
	b.OK("/print")
	if token == "" {
		t.Error("there was no token to look for")
	}
}
