package web_test

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

func TestLogInChangesTheValue(t *testing.T) {
	s := newSite(t)
	s.page("/pay", func(w http.ResponseWriter, r *http.Request) error {
		login := as(r.FormValue("name"))
		login.Lifetime = time.Hour * time.Duration(len(r.FormValue("short")))
		sess, err := s.sessions.LogIn(r.Context(), login, func(v *visitor) error {
			v.Cart["milk"] = 1
			return nil
		})
		if err == nil && (sess.Subject != login.Subject || len(sess.Value.Cart) != 2) {
			t.Errorf("LogIn returns the subject %q and %d items", sess.Subject, len(sess.Value.Cart))
		}
		return err
	})
	for name, short := range map[string]string{"the same session goes on": "", "another session": "1"} {
		ann := subject("ann")
		b := s.Browser()
		b.OK("/add?item=tea")
		anonymous := b.Token()
		b.OK("/pay?name=" + ann + "&short=" + short)
		s.MustBeDead(anonymous, name)
		b.WantCart("map[milk:1 tea:1]")
		goesOn := idOf(t, b.Token()) == idOf(t, anonymous)
		if goesOn != (short == "") {
			t.Errorf("%s: the id is kept: %v", name, goesOn)
		}
	}
}

// idOf is the id in front of a token.
func idOf(t *testing.T, token sessionsql.Token) uint64 {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(string(token))
	must(t, err)
	return binary.BigEndian.Uint64(raw)
}

// A value that the store refuses leaves the visitor logged in with the one before.
func TestLogInWithAValueThatIsRefused(t *testing.T) {
	s := newSite(t)
	ann := subject("ann")
	s.page("/large", func(w http.ResponseWriter, r *http.Request) error {
		_, err := s.sessions.LogIn(r.Context(), as(ann), func(v *visitor) error {
			v.Cart[strings.Repeat("x", 2<<20)] = 1
			return nil
		})
		var refused *sessionsql.PayloadError
		if !errors.As(err, &refused) {
			t.Errorf("%v, want a PayloadError", err)
		}
		return nil
	})
	b := s.Browser()
	b.OK("/add?item=tea")
	anonymous := b.Token()
	b.OK("/large")
	s.MustBeDead(anonymous, "the anonymous token")
	s.MustBeAlive(b.Token(), ann, "the new one")
	b.WantCart("map[tea:1]")
}
