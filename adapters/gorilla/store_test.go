package sessionsqlgorilla_test

import (
	"encoding/gob"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/sessions"

	sessionsqlgorilla "github.com/sessionsql/postgres/adapters/gorilla"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/sitetest"
	"github.com/sessionsql/postgres/sessionsql"
)

type item struct {
	Name  string
	Price float64
}

func init() {
	gob.Register(item{})
	gob.Register(map[string]int{})
	gob.Register(time.Time{})
}

func TestValuesComeBackWithTheirTypes(t *testing.T) {
	s := newSite(t)
	want := map[any]any{
		"int": 7, 8: "a key that is no string", "bytes": []byte{0, 255}, "struct": item{"tea", 1.5},
		"map": map[string]int{"a": 1}, "text": "\x00 \xff", "time": time.Unix(1e9, 5).UTC(), "bool": false,
	}
	s.page("/set", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		for key, value := range want {
			session.Values[key] = value
		}
		session.AddFlash("seen once")
		if err := session.Save(r, w); err != nil {
			return err
		}
		if session.ID == "" || strings.Contains(w.Header().Get("Set-Cookie"), "="+session.ID+";") {
			t.Errorf("the ID is %q", session.ID)
		}
		return nil
	})
	s.page("/get", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		flashes := session.Flashes()
		if !reflect.DeepEqual(session.Values, want) {
			t.Errorf("%#v, want %#v", session.Values, want)
		}
		_, err := fmt.Fprint(w, session.IsNew, flashes)
		return errors.Join(session.Save(r, w), err)
	})
	b := s.Browser()
	b.OK("/set")
	b.Want("/get", http.StatusOK, "false [seen once]")
	b.Want("/get", http.StatusOK, "false []")
}

func TestTheCookie(t *testing.T) {
	s := newSite(t)
	s.page("/bare", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		session.Options = &sessions.Options{MaxAge: -1}
		return session.Save(r, w)
	})
	s.page("/week", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		session.Options.MaxAge = 7 * 24 * 60 * 60
		w.Header().Set("Cache-Control", "private")
		return session.Save(r, w)
	})
	b := s.Browser()
	check := func(path, attributes, cacheControl string) {
		t.Helper()
		response := b.OK(path)
		_, rest, _ := strings.Cut(response.Header.Get("Set-Cookie"), "; ")
		expires, after, found := strings.Cut(rest, "Expires=")
		if found {
			_, after, _ = strings.Cut(after, "; ")
		}
		if got := expires + after; got != attributes || response.Header.Get("Cache-Control") != cacheControl {
			t.Errorf("%s: %q, want %q", path, response.Header, attributes)
		}
	}
	const strict = "HttpOnly; Secure; SameSite=Lax"
	check("/add?item=a", "Path=/; "+strict, "no-store")
	token := b.Token()
	check("/week", "Path=/; Max-Age=604800; "+strict, "private")
	if b.Token() != token {
		t.Error("the token changed without a login")
	}
	check("/bare", "Path=/; Max-Age=0; Secure", "no-store")
	if b.Token() != "" {
		t.Error("the cookie is still there")
	}
	s.MustBeDead(token, "after MaxAge -1")
	// The options of one session are not those of the next.
	check("/add?item=a", "Path=/; "+strict, "no-store")
	check("/logout", "Path=/; Max-Age=0; "+strict, "no-store")
	b.WantCart("map[]")
}

func TestConcurrentRequestsLoseNoKeyOfEachOther(t *testing.T) {
	s := newSite(t)
	s.page("/twice", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		key := r.FormValue("key")
		delete(session.Values, "old"+key)
		session.Values[key] = 1
		if err := session.Save(r, w); err != nil {
			return err
		}
		session.Values[key] = session.Values[key].(int) + 1 // on top of what others wrote meanwhile
		return session.Save(r, w)
	})
	const tabs = 16
	b := s.Browser()
	want := map[any]any{"kept": 1}
	b.OK("/add?item=kept")
	for i := range tabs {
		b.OK(fmt.Sprintf("/add?item=old%d", i))
		want[fmt.Sprint(i)] = 2
	}
	var wait sync.WaitGroup
	for i := range tabs {
		wait.Go(func() { b.OK(fmt.Sprintf("/twice?key=%d", i)) })
	}
	wait.Wait()
	b.WantCart(fmt.Sprint(want))
}

func TestASaveWithoutAChangeWritesNothing(t *testing.T) {
	s := newSite(t)
	b := s.Browser()
	b.OK("/add?item=a")
	before := s.MustBeAlive(b.Token(), "", "the session").Version
	for range 3 {
		b.OK("/add?item=a")
	}
	if got := s.MustBeAlive(b.Token(), "", "the session").Version; got != before {
		t.Errorf("version %d, want %d", got, before)
	}
	b.OK("/add?item=b")
	if got := s.MustBeAlive(b.Token(), "", "the session").Version; got != before+1 {
		t.Errorf("version %d, want %d", got, before+1)
	}
}

// Gorilla's stores return an empty session beside the error.
func TestAPayloadThatDoesNotDecode(t *testing.T) {
	s := newSite(t)
	for _, payload := range []string{`{"canary": 1}`, "canary", "Y2FuYXJ5", "\u00e9"} {
		token, err := s.Store.Insert(t.Context(), payload, nil)
		must(t, err)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: cookieName, Value: string(token)})
		for range 2 { // the second one is the registry's
			session, err := s.store.Get(r, cookieName)
			if !errors.Is(err, sessionsqlgorilla.ErrValues) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%q: %v", payload, err)
			}
			if session == nil || !session.IsNew || len(session.Values) != 0 {
				t.Errorf("%q: %+v, want an empty session", payload, session)
			}
		}
		if got := s.MustBeAlive(token, "", payload); got.Payload != payload {
			t.Error("the payload was overwritten")
		}
	}
	// A type without gob.Register.
	type unknown struct{ Name string }
	r, w := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
	session, err := s.store.Get(r, cookieName)
	must(t, err)
	session.Values["key"] = unknown{"canary"}
	err = session.Save(r, w)
	if !errors.Is(err, sessionsqlgorilla.ErrValues) || strings.Contains(err.Error(), "canary") ||
		w.Header()["Set-Cookie"] != nil {
		t.Errorf("%v, %q", err, w.Header())
	}
	// A session that begins in SQL with no payload.
	token, err := s.Store.Insert(t.Context(), "", nil)
	must(t, err)
	r = httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: cookieName, Value: string(token)})
	if session, err = s.store.Get(r, cookieName); err != nil || session.IsNew {
		t.Errorf("%v, IsNew %v", err, session.IsNew)
	}
}

// A handler that ignores the error of Get, as gin's does, touches no cookie.
func TestASessionThatWasNotLoadedIsNotSaved(t *testing.T) {
	dsn, proxy := sitetest.ProxiedDSN(t)
	s := newSiteOver(t, sessiontest.OpenStore(t, dsn, nil, nil))
	s.mux.HandleFunc("/careless", func(w http.ResponseWriter, r *http.Request) {
		session, err := s.store.Get(r, cookieName)
		if !errors.Is(err, sessionsql.ErrUnavailable) || !session.IsNew {
			t.Errorf("Get: %v, IsNew %v", err, session.IsNew)
		}
		proxy.Pass() // the database is back before the handler saves
		session.Values["careless"] = true
		if err := session.Save(r, w); !errors.Is(err, sessionsql.ErrUnavailable) {
			t.Errorf("Save: %v", err)
		}
		err = s.store.LogIn(r, w, session, sessionsql.InsertOptions{Subject: "ann"})
		if !errors.Is(err, sessionsql.ErrUnavailable) {
			t.Errorf("LogIn: %v", err)
		}
		session.Options.MaxAge = -1
		if err := session.Save(r, w); !errors.Is(err, sessionsql.ErrUnavailable) {
			t.Errorf("the end: %v", err)
		}
	})
	b := s.Browser()
	b.OK("/add?item=a")
	token := b.Token()
	proxy.Refuse()
	if b.OK("/careless").SetsCookie() || b.Token() != token {
		t.Fatal("the cookie was changed")
	}
	b.WantCart("map[a:1]")
}
