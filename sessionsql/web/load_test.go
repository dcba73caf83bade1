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
	b := s.browser()
	lookups := func(path string, status int, want int64) {
		t.Helper()
		before := s.store.Stats().Lookups
		if got := b.get(path); got.StatusCode != status {
			t.Errorf("%s answers %d, want %d", path, got.StatusCode, status)
		}
		if got := s.store.Stats().Lookups - before; got != want {
			t.Errorf("%s with the cookie %q: %d lookups, want %d", path, string(b.token()), got, want)
		}
	}
	lookups("/thrice", http.StatusUnauthorized, 0)
	b.plant("malformed")
	lookups("/thrice", http.StatusUnauthorized, 0)
	token := s.insert("", `{"Views": 1}`)
	b.plant(string(token))
	lookups("/static", http.StatusOK, 0)
	lookups("/thrice", http.StatusOK, 1)
	must(t, s.store.Revoke(t.Context(), token))
	lookups("/thrice", http.StatusUnauthorized, 1)
}

// A handler that changes what Load returned changes nothing that another one sees.
func TestLoadSharesNothing(t *testing.T) {
	s := newSite(t)
	s.page("/", func(w http.ResponseWriter, r *http.Request) error {
		first, err := s.sessions.Load(r.Context())
		must(t, err)
		first.Value.Cart[0] = "stolen"
		second, err := s.sessions.Load(r.Context())
		must(t, err)
		fmt.Fprint(w, second.Value.Cart, second.ExpiresIn > 0)
		return nil
	})
	b := s.browser()
	b.plant(string(s.insert("", `{"Cart": ["tea"]}`)))
	b.want("/", http.StatusOK, "[tea] true")
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
	s.addPages()
	for _, payload := range []string{
		`{"Views": "canary"}`, `{"Views": 12345678901234567890}`, "canary", `{"Cart": canary}`,
	} {
		b := s.browser()
		token := s.insert("", payload)
		b.plant(string(token))
		for _, path := range []string{"/cart", "/add?item=tea", "/login?name=ann"} {
			text := fmt.Sprintf("sessionsql/web: payload: %d bytes do not decode into a %T\n",
				len(payload), visitor{})
			got := b.want(path, http.StatusInternalServerError, text)
			if got.Header["Set-Cookie"] != nil {
				t.Errorf("%s sets a cookie", path)
			}
		}
		if sess := s.mustBeAlive(token, "", "the session"); sess.Payload != payload {
			t.Error("the payload was overwritten")
		}
	}
	// An empty one is the zero value, for sessions that begin in SQL.
	b := s.browser()
	b.plant(string(s.insert("", "")))
	b.want("/add?item=tea", http.StatusOK, "")
	b.want("/cart", http.StatusOK, "[tea]")
}

func TestAValueThatDoesNotEncode(t *testing.T) {
	s := newSite(t)
	sessions, err := web.New[struct{ Price float64 }](s.store, nil)
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
	sess := web.Session[visitor]{Value: visitor{Cart: []string{"canary"}}, Subject: "canary"}
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

// FuzzCookie sends any bytes as the Cookie header.
func FuzzCookie(f *testing.F) {
	store := openStore(f, databaseURL)
	sessions, err := web.New[visitor](store, nil)
	must(f, err)
	live, err := store.Insert(f.Context(), `{"Views": 7}`, nil)
	must(f, err)
	for _, seed := range []string{
		"", "=", ";", cookieName, cookieName + "=", cookieName + "=x",
		cookieName + "=\"x\"", cookieName + "=\x00",
		"session=" + string(live), cookieName + "=" + string(live), cookieName + "=" + string(live) + "=",
		cookieName + "=" + strings.Repeat("A", 32), cookieName + "=" + strings.Repeat("A", 5000),
		"a=b; " + cookieName + "=" + string(live[:31]) + "; " + cookieName + "=" + string(live),
		"\u2000" + cookieName + "=" + string(live), "$Version=1; " + cookieName + "=" + string(live),
		strings.ToLower(cookieName) + "=" + string(live),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		var got error
		handler := sessions.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, got = sessions.Load(r.Context())
		}))
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Cookie"] = []string{header}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		// Only the whole token opens the session, and only right after the cookie's own name.
		plain := cookieName + "=" + string(live)
		named := strings.Contains(strings.ReplaceAll(header, `"`, ""), plain)
		switch {
		case got == nil && !named, got != nil && header == plain,
			got != nil && !errors.Is(got, sessionsql.ErrNoSession):
			t.Errorf("%q: %v", header, got)
		}
		if w.Header()["Set-Cookie"] != nil {
			t.Errorf("%q: sets a cookie", header)
		}
	})
}
