package web_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sessionsql/postgres/sessionsql"
	"github.com/sessionsql/postgres/sessionsql/web"
)

func TestAtMostOneLookupPerRequest(t *testing.T) {
	s := newSite(t)
	s.page("/static", func(http.ResponseWriter, *http.Request) error { return nil })
	s.page("/thrice", func(w http.ResponseWriter, r *http.Request) error {
		var errs []error
		for range 3 {
			_, err := s.sessions.Load(r.Context())
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	b := s.Browser()
	lookups := func(path string, status int, want int64) {
		t.Helper()
		before := s.Store.Stats().Lookups
		if got := b.Get(path); got.StatusCode != status {
			t.Errorf("%s answers %d, want %d", path, got.StatusCode, status)
		}
		if got := s.Store.Stats().Lookups - before; got != want {
			t.Errorf("%s with the cookie %q: %d lookups, want %d", path, string(b.Token()), got, want)
		}
	}
	lookups("/thrice", http.StatusUnauthorized, 0)
	b.Plant("malformed")
	lookups("/thrice", http.StatusUnauthorized, 0)
	token := s.Insert("", `{"Views": 1}`)
	b.Plant(token)
	lookups("/static", http.StatusOK, 0)
	lookups("/thrice", http.StatusOK, 1)
	must(t, s.Store.Revoke(t.Context(), token))
	lookups("/thrice", http.StatusUnauthorized, 1)
}

// A page for users alone is for no anonymous visitor, and a Save after it begins no session.
func TestLoadUser(t *testing.T) {
	s := newSite(t)
	s.page("/account", func(w http.ResponseWriter, r *http.Request) error {
		sess, err := s.sessions.LoadUser(r.Context())
		if err != nil {
			if sess.Value.Cart != nil {
				t.Error("the error comes with a value")
			}
			return err
		}
		_, err = fmt.Fprint(w, sess.Subject, sess.Value.Cart)
		return err
	})
	b := s.Browser()
	b.WantNoSession("/account")
	b.OK("/add?item=tea")
	b.WantNoSession("/account")
	ann := subject("ann")
	b.OK("/login?name=" + ann)
	b.Want("/account", http.StatusOK, ann+"map[tea:1]")
	b.OK("/logout")
	b.WantNoSession("/account")
}

// A handler that changes what Load returned changes nothing that another one sees.
func TestLoadSharesNothing(t *testing.T) {
	s := newSite(t)
	s.page("/", func(w http.ResponseWriter, r *http.Request) error {
		first, err := s.sessions.Load(r.Context())
		must(t, err)
		first.Value.Cart["tea"] = 2
		second, err := s.sessions.Load(r.Context())
		must(t, err)
		fmt.Fprint(w, second.Value.Cart, second.ExpiresIn > 0)
		return nil
	})
	b := s.BrowserWith(s.Insert("", `{"Cart": {"tea": 1}}`))
	b.Want("/", http.StatusOK, "map[tea:1] true")
}

func TestAHandlerThatIsNotWrapped(t *testing.T) {
	s := newSite(t)
	for name, call := range map[string]func() error{
		"Load":   func() error { _, err := s.sessions.Load(t.Context()); return err },
		"Save":   func() error { _, err := s.sessions.Save(t.Context(), nil); return err },
		"LogIn":  func() error { _, err := s.sessions.LogIn(t.Context(), as("ann"), nil); return err },
		"LogOut": func() error { return s.sessions.LogOut(t.Context()) },
		"End":    func() error { return s.sessions.End(t.Context(), 1) },
	} {
		err := call()
		if !errors.Is(err, web.ErrNotWrapped) || web.Status(err) != http.StatusInternalServerError {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPayloadOfAnotherTypeIsNotRepeated(t *testing.T) {
	s := newSite(t)
	for _, payload := range []string{
		`{"Views": "canary"}`, `{"Views": 12345678901234567890}`, "canary", `{"Cart": canary}`,
	} {
		b := s.Browser()
		token := s.Insert("", payload)
		b.Plant(token)
		for _, path := range []string{"/cart", "/add?item=tea", "/login?name=ann"} {
			text := fmt.Sprintf("sessionsql/web: payload: %d bytes do not decode into a %T\n",
				len(payload), visitor{})
			got := b.Want(path, http.StatusInternalServerError, text)
			if got.SetsCookie() {
				t.Errorf("%s sets a cookie", path)
			}
		}
		if sess := s.MustBeAlive(token, "", "the session"); sess.Payload != payload {
			t.Error("the payload was overwritten")
		}
	}
	// An empty one is the zero value, for sessions that begin in SQL.
	b := s.BrowserWith(s.Insert("", ""))
	b.OK("/add?item=tea")
	b.WantCart("map[tea:1]")
}

func TestAValueThatDoesNotEncode(t *testing.T) {
	s := newSite(t)
	sessions, err := web.New[struct{ Price float64 }](s.Store, nil)
	must(t, err)
	handler := sessions.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		zero := 0.0
		_, err := sessions.Save(r.Context(), func(v *struct{ Price float64 }) error {
			v.Price = 1 / zero
			return nil
		})
		if !errors.Is(err, web.ErrPayload) {
			t.Errorf("%v, want ErrPayload", err)
		}
	}))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Header()["Set-Cookie"] != nil {
		t.Error("a session was begun")
	}
}

func TestNoFormatShowsAValue(t *testing.T) {
	sess := web.Session[visitor]{Value: visitor{Cart: map[string]int{"canary": 1}}, Subject: "canary"}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("session", "session", sess)
	formatted := fmt.Sprintf("%v %+v %#v %q", sess, sess, sess, sess)
	for _, text := range []string{formatted, log.String()} {
		if strings.Contains(text, "canary") || !strings.Contains(text, "redacted") {
			t.Error(text)
		}
	}
}

func TestStatus(t *testing.T) {
	for want, errs := range map[int][]error{
		http.StatusOK:           {nil},
		http.StatusUnauthorized: {sessionsql.ErrNoSession, fmt.Errorf("page: %w", sessionsql.ErrNoSession)},
		http.StatusServiceUnavailable: {
			sessionsql.ErrUnavailable, sessionsql.ErrReadOnly, sessionsql.ErrClosed,
			context.Canceled, context.DeadlineExceeded,
		},
		http.StatusInternalServerError: {
			sessionsql.ErrNotInstalled, sessionsql.ErrOptions,
			web.ErrHeaderSent, web.ErrPayload, errors.New("other"),
		},
	} {
		for _, err := range errs {
			if got := web.Status(err); got != want {
				t.Errorf("%v: %d, want %d", err, got, want)
			}
		}
	}
}
