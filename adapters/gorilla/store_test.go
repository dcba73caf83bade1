package sessionsqlgorilla_test

import (
	"encoding/gob"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/sessions"

	sessionsqlgorilla "github.com/sessionsql/postgres/adapters/gorilla"
	"github.com/sessionsql/postgres/internal/faultproxy"
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
	s := newSite(t, databaseURL)
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
	b := s.browser()
	b.want("/set", http.StatusOK, "")
	b.want("/get", http.StatusOK, "false [seen once]")
	b.want("/get", http.StatusOK, "false []")
}

func TestTheCookie(t *testing.T) {
	s := newSite(t, databaseURL)
	s.addPages()
	s.page("/bare", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		session.Options = &sessions.Options{MaxAge: -1}
		return session.Save(r, w)
	})
	s.page("/week", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		session.Options.MaxAge = 7 * 24 * 60 * 60
		w.Header().Set("Cache-Control", "private")
		return session.Save(r, w)
	})
	b := s.browser()
	check := func(path, attributes, cacheControl string) {
		t.Helper()
		response := b.want(path, http.StatusOK, "")
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
	check("/set?key=a&value=b", "Path=/; "+strict, "no-store")
	token := b.token()
	check("/week", "Path=/; Max-Age=604800; "+strict, "private")
	if b.token() != token {
		t.Error("the token changed without a login")
	}
	check("/bare", "Path=/; Max-Age=0; Secure", "no-store")
	if b.token() != "" {
		t.Error("the cookie is still there")
	}
	s.mustBeDead(token, "after MaxAge -1")
	// The options of one session are not those of the next.
	check("/set?key=a&value=b", "Path=/; "+strict, "no-store")
	check("/logout", "Path=/; Max-Age=0; "+strict, "no-store")
	b.want("/get", http.StatusOK, "true map[]")
}

func TestConcurrentRequestsLoseNoKeyOfEachOther(t *testing.T) {
	s := newSite(t, databaseURL)
	s.addPages()
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
	b := s.browser()
	want := map[any]any{"kept": "1"}
	b.want("/set?key=kept&value=1", http.StatusOK, "")
	for i := range tabs {
		b.want(fmt.Sprintf("/set?key=old%d&value=1", i), http.StatusOK, "")
		want[fmt.Sprint(i)] = 2
	}
	var wait sync.WaitGroup
	for i := range tabs {
		wait.Go(func() { b.want(fmt.Sprintf("/twice?key=%d", i), http.StatusOK, "") })
	}
	wait.Wait()
	b.want("/get", http.StatusOK, "false "+fmt.Sprint(want))
}

func TestASaveWithoutAChangeWritesNothing(t *testing.T) {
	s := newSite(t, databaseURL)
	s.addPages()
	b := s.browser()
	b.want("/set?key=a&value=b", http.StatusOK, "")
	before := s.mustBeAlive(b.token(), "", "the session").Version
	for range 3 {
		b.want("/set?key=a&value=b", http.StatusOK, "")
	}
	if got := s.mustBeAlive(b.token(), "", "the session").Version; got != before {
		t.Errorf("version %d, want %d", got, before)
	}
	b.want("/set?key=a&value=c", http.StatusOK, "")
	if got := s.mustBeAlive(b.token(), "", "the session").Version; got != before+1 {
		t.Errorf("version %d, want %d", got, before+1)
	}
}

func TestALateSaveBringsNothingBack(t *testing.T) {
	s := newSite(t, databaseURL)
	s.addPages()
	s.page("/late", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		session.Values["late"] = true
		must(t, s.sessions.Revoke(r.Context(), s.store.Token(session)))
		before := s.sessions.Stats().Inserts
		err := session.Save(r, w)
		if s.sessions.Stats().Inserts != before || w.Header()["Set-Cookie"] != nil {
			t.Error("another session began")
		}
		return err
	})
	b := s.browser()
	b.want("/set?key=a&value=b", http.StatusOK, "")
	b.want("/late", http.StatusInternalServerError, sessionsql.ErrNoSession.Error()+"\n")
	b.want("/get", http.StatusOK, "true map[]")
}

func TestNoTokenNoRoundTrip(t *testing.T) {
	s := newSite(t, databaseURL)
	s.addPages()
	b := s.browser()
	b.want("/get", http.StatusOK, "true map[]")
	b.plant("malformed")
	b.want("/get", http.StatusOK, "true map[]")
	if got := s.sessions.Stats().Lookups; got != 0 {
		t.Errorf("%d lookups, want 0", got)
	}
	b.want("/set?key=a&value=b", http.StatusOK, "")
	b.want("/get", http.StatusOK, "false map[a:b]")
	if got := s.sessions.Stats().Lookups; got != 1 {
		t.Errorf("%d lookups, want 1", got)
	}
}

// Gorilla's stores return an empty session beside the error.
func TestAPayloadThatDoesNotDecode(t *testing.T) {
	s := newSite(t, databaseURL)
	for _, payload := range []string{`{"canary": 1}`, "canary", "Y2FuYXJ5", "\u00e9"} {
		token, err := s.sessions.Insert(t.Context(), payload, nil)
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
		if got := s.mustBeAlive(token, "", payload); got.Payload != payload {
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
	token, err := s.sessions.Insert(t.Context(), "", nil)
	must(t, err)
	r = httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: cookieName, Value: string(token)})
	if session, err = s.store.Get(r, cookieName); err != nil || session.IsNew {
		t.Errorf("%v, IsNew %v", err, session.IsNew)
	}
}

// While the database is away no cookie is touched, also by a handler that ignores the error of Get, as gin's
// does.
func TestAnOutageLogsNobodyOut(t *testing.T) {
	dsn, err := url.Parse(databaseURL)
	must(t, err)
	proxy, err := faultproxy.New(dsn.Host)
	must(t, err)
	t.Cleanup(func() { must(t, proxy.Close()) })
	dsn.Host = proxy.Addr()
	s := newSite(t, dsn.String())
	s.addPages()
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
	s.page("/away", func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		proxy.Refuse()
		defer proxy.Pass()
		session.Values["a"] = "c"
		for _, maxAge := range []int{0, -1} {
			session.Options.MaxAge = maxAge
			if err := session.Save(r, w); !errors.Is(err, sessionsql.ErrUnavailable) {
				t.Errorf("MaxAge %d: %v", maxAge, err)
			}
		}
		err := s.store.LogIn(r, w, session, sessionsql.InsertOptions{Subject: "ann"})
		if !errors.Is(err, sessionsql.ErrUnavailable) {
			t.Errorf("LogIn: %v", err)
		}
		return nil
	})
	b := s.browser()
	b.want("/set?key=a&value=b", http.StatusOK, "")
	token := b.token()
	proxy.Refuse()
	if got := b.want("/careless", http.StatusOK, ""); got.Header["Set-Cookie"] != nil {
		t.Errorf("%q", got.Header)
	}
	if got := b.want("/away", http.StatusOK, ""); got.Header["Set-Cookie"] != nil {
		t.Errorf("%q", got.Header)
	}
	if b.token() != token {
		t.Fatal("the cookie was changed")
	}
	b.want("/get", http.StatusOK, "false map[a:b]")
}

// FuzzCookie sends any value as the session's cookie.
func FuzzCookie(f *testing.F) {
	sessionStore := openStore(f, databaseURL)
	store := sessionsqlgorilla.NewStore(sessionStore)
	live, err := sessionStore.Insert(f.Context(), "", nil)
	must(f, err)
	for _, seed := range []string{
		"", "=", "x", "\x00", string(live), string(live) + "=", string(live[:31]), `"` + string(live) + `"`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Cookie"] = []string{cookieName + "=" + value}
		session, err := store.Get(r, cookieName)
		if err != nil || session == nil {
			t.Fatalf("%q: %v", value, err)
		}
		holds := strings.Contains(value, string(live))
		if !session.IsNew && !holds || session.IsNew && value == string(live) {
			t.Errorf("%q: IsNew %v", value, session.IsNew)
		}
	})
}
