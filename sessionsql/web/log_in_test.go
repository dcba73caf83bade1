package web_test

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
	"github.com/sessionsql/postgres/sessionsql/web"
)

// Whatever token somebody plants, the visitor who logs in gets another, and the planted one opens nothing.
func TestAPlantedCookieGivesNothing(t *testing.T) {
	s := newSite(t)
	s.addPages()
	mallory := subject("mallory")
	anonymous, loggedIn := s.insert("", `{"Cart": ["tea"]}`), s.insert(mallory, `{"Cart": ["poison"]}`)
	dead := s.insert("", `{"Cart": ["old"]}`)
	must(t, s.store.Revoke(t.Context(), dead))
	for name, c := range map[string]struct {
		planted sessionsql.Token
		cart    string
	}{
		"anonymous":       {anonymous, "[tea]"},
		"another's login": {loggedIn, "[]"},
		"dead":            {dead, "[]"},
		"unknown":         {sessionsql.Token(strings.Repeat("A", 32)), "[]"},
		"malformed":       {"admin", "[]"},
	} {
		ann := subject("ann")
		b := s.browser()
		b.plant(string(c.planted))
		b.want("/login?name="+ann, http.StatusOK, "")
		if b.token() == c.planted {
			t.Errorf("%s: the planted token became the visitor's", name)
		}
		b.want("/cart", http.StatusOK, ann+c.cart)
		s.mustBeDead(c.planted, name)
	}
	// An anonymous session does not begin under a planted token either.
	b := s.browser()
	b.plant(string(dead))
	b.want("/add?item=milk", http.StatusOK, "")
	b.want("/cart", http.StatusOK, "[milk]")
	s.mustBeDead(dead, "after another session began")
}

func TestLogInChangesTheValue(t *testing.T) {
	s := newSite(t)
	s.addPages()
	s.page("/pay", func(w http.ResponseWriter, r *http.Request) error {
		login := as(r.FormValue("name"))
		login.Lifetime = time.Hour * time.Duration(len(r.FormValue("short")))
		sess, err := s.sessions.LogIn(r.Context(), login, func(v *visitor) error {
			v.Cart = append(v.Cart, "milk")
			return nil
		})
		if err == nil && (sess.Subject != login.Subject || len(sess.Value.Cart) != 2) {
			t.Errorf("LogIn returns the subject %q and %d items", sess.Subject, len(sess.Value.Cart))
		}
		return err
	})
	for name, short := range map[string]string{"the same session goes on": "", "another session": "1"} {
		ann := subject("ann")
		b := s.browser()
		b.want("/add?item=tea", http.StatusOK, "")
		anonymous := b.token()
		b.want("/pay?name="+ann+"&short="+short, http.StatusOK, "")
		s.mustBeDead(anonymous, name)
		b.want("/cart", http.StatusOK, ann+"[tea milk]")
		goesOn := idOf(t, b.token()) == idOf(t, anonymous)
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

// Who logs in again keeps the value and gets another session. With a cap no other device pays for it.
func TestLogInAgain(t *testing.T) {
	s := newSite(t)
	s.addPages()
	ann := subject("ann")
	s.page("/capped", func(w http.ResponseWriter, r *http.Request) error {
		login := as(ann)
		login.MaxSessions = 2
		_, err := s.sessions.LogIn(r.Context(), login, nil)
		return err
	})
	phone, laptop, third := s.browser(), s.browser(), s.browser()
	phone.want("/capped", http.StatusOK, "")
	laptop.want("/capped", http.StatusOK, "")
	laptop.want("/add?item=tea", http.StatusOK, "")
	for _, path := range []string{"/capped", "/login?name=" + ann} {
		old := laptop.token()
		laptop.want(path, http.StatusOK, "")
		s.mustBeDead(old, "the session before")
		laptop.want("/cart", http.StatusOK, ann+"[tea]")
		s.mustBeAlive(phone.token(), ann, "the phone after "+path)
	}
	third.want("/add?item=milk", http.StatusOK, "")
	third.want("/capped", http.StatusOK, "") // an anonymous session counts from its login on
	s.mustBeDead(phone.token(), "the oldest of three")
	s.mustBeAlive(laptop.token(), ann, "the second")
}

// A form that is sent twice logs in twice, and whichever answer the browser keeps has the cart.
func TestConcurrentLogInsOfOneSession(t *testing.T) {
	s := newSite(t)
	var loaded sync.WaitGroup
	const tabs = 8
	loaded.Add(tabs)
	ann := subject("ann")
	s.page("/login", func(w http.ResponseWriter, r *http.Request) error {
		_, err := s.sessions.Load(r.Context())
		loaded.Done()
		loaded.Wait() // all have found the anonymous session
		if err == nil {
			_, err = s.sessions.LogIn(r.Context(), as(ann), nil)
		}
		return err
	})
	anonymous := s.insert("", `{"Cart":["tea"]}`)
	var wait sync.WaitGroup
	for range tabs {
		b := s.browser()
		b.plant(string(anonymous))
		wait.Go(func() {
			b.want("/login", http.StatusOK, "")
			sess := s.mustBeAlive(b.token(), ann, "a tab's session")
			if !strings.Contains(sess.Payload, "tea") {
				t.Errorf("the cart is lost: %s", sess.Payload)
			}
		})
	}
	wait.Wait()
	s.mustBeDead(anonymous, "the anonymous token")
}

// A value that the store refuses leaves the visitor logged in with the one before.
func TestLogInWithAValueThatIsRefused(t *testing.T) {
	s := newSite(t)
	s.addPages()
	ann := subject("ann")
	s.page("/large", func(w http.ResponseWriter, r *http.Request) error {
		_, err := s.sessions.LogIn(r.Context(), as(ann), func(v *visitor) error {
			v.Cart = []string{strings.Repeat("x", 2<<20)}
			return nil
		})
		var refused *sessionsql.PayloadError
		if !errors.As(err, &refused) {
			t.Errorf("%v, want a PayloadError", err)
		}
		return nil
	})
	b := s.browser()
	b.want("/add?item=tea", http.StatusOK, "")
	anonymous := b.token()
	b.want("/large", http.StatusOK, "")
	s.mustBeDead(anonymous, "the anonymous token")
	b.want("/cart", http.StatusOK, ann+"[tea]")
}

func TestLogInRefusesBadOptions(t *testing.T) {
	s := newSite(t)
	logins := []web.Login{as(""), as(strings.Repeat("x", 2000)), as("\x00")}
	negative := as("ann")
	negative.MaxSessions = -1
	logins = append(logins, negative)
	var login web.Login
	s.page("/login", func(w http.ResponseWriter, r *http.Request) error {
		if _, err := s.sessions.LogIn(r.Context(), login, nil); !errors.Is(err, sessionsql.ErrOptions) {
			t.Errorf("%+v: %v, want ErrOptions", login, err)
		}
		return nil
	})
	token := s.insert("", `{}`)
	b := s.browser()
	for _, login = range logins {
		b.get("/login")
	}
	b.plant(string(token))
	for _, login = range logins {
		b.get("/login")
	}
	if b.token() != token {
		t.Error("the cookie was changed")
	}
	s.mustBeAlive(token, "", "the anonymous session")
}
