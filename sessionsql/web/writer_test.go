package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sessionsql/postgres/sessionsql/web"
)

// However a handler answers, the cookie goes out with the header, and what the server can do the handler can
// too.
func TestTheCookieGoesOutHoweverTheHandlerAnswers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.txt")
	must(t, os.WriteFile(file, []byte("a file"), 0o600))
	for name, c := range map[string]struct {
		write  func(http.ResponseWriter, *http.Request) error
		status int
		body   string
	}{
		"nothing": {func(http.ResponseWriter, *http.Request) error { return nil }, 200, ""},
		"a status": {func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(418)
			return nil
		}, 418, ""},
		"a text": {func(w http.ResponseWriter, _ *http.Request) error {
			_, err := fmt.Fprint(w, "text")
			return err
		}, 200, "text"},
		"a file": {func(w http.ResponseWriter, r *http.Request) error {
			if _, fast := w.(io.ReaderFrom); !fast {
				return errors.New("no ReadFrom")
			}
			http.ServeFile(w, r, file)
			return nil
		}, 200, "a file"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) error {
			http.Redirect(w, r, "/elsewhere", http.StatusSeeOther)
			return nil
		}, 303, ""},
		"an early hint": {func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusEarlyHints)
			_, err := fmt.Fprint(w, "late")
			return err
		}, 200, "late"},
		"a flush": {func(w http.ResponseWriter, _ *http.Request) error {
			w.(http.Flusher).Flush()
			_, err := fmt.Fprint(w, "stream")
			return errors.Join(err, http.NewResponseController(w).Flush())
		}, 200, "stream"},
		"a deadline": {func(w http.ResponseWriter, _ *http.Request) error {
			return http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute))
		}, 200, ""},
		"a connection of its own": {func(w http.ResponseWriter, _ *http.Request) error {
			header := w.Header()
			conn, buffered, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return err
			}
			fmt.Fprintf(buffered, "HTTP/1.1 202 Accepted\r\nConnection: close\r\nSet-Cookie: %s\r\n\r\nraw",
				header.Get("Set-Cookie"))
			return errors.Join(buffered.Flush(), conn.Close())
		}, 202, "raw"},
	} {
		s := newSite(t)
		s.page("/", func(w http.ResponseWriter, r *http.Request) error {
			_, err := s.sessions.Save(r.Context(), nil)
			must(t, err)
			if err := c.write(w, r); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			written := name != "nothing" && name != "a deadline"
			_, err = s.sessions.LogIn(r.Context(), as("late"), nil)
			if errors.Is(err, web.ErrHeaderSent) != written {
				t.Errorf("%s: a login after it: %v", name, err)
			}
			return nil
		})
		b := s.Browser()
		b.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		got := b.Get("/")
		cookies := len(got.Header["Set-Cookie"])
		if got.StatusCode != c.status || !strings.HasPrefix(got.Text, c.body) || cookies != 1 {
			t.Errorf("%s: %d %q %q", name, got.StatusCode, got.Text, got.Header)
		}
		if got := b.Get("/"); len(got.Header["Set-Cookie"]) > 1 {
			t.Errorf("%s: %q", name, got.Header)
		}
	}
}

// An early hint does not carry the cookie, because caches and browsers ignore it there.
func TestAnEarlyHintHasNoCookie(t *testing.T) {
	s := newSite(t)
	s.page("/", func(w http.ResponseWriter, r *http.Request) error {
		w.WriteHeader(http.StatusEarlyHints)
		_, err := s.sessions.Save(r.Context(), nil)
		return err
	})
	hints := 0
	trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
		hints++
		if header["Set-Cookie"] != nil {
			t.Error("the hint sets a cookie")
		}
		return nil
	}}
	ctx := httptrace.WithClientTrace(t.Context(), trace)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	must(t, err)
	response, err := s.Server.Client().Do(request)
	must(t, err)
	must(t, response.Body.Close())
	if hints != 1 || len(response.Header["Set-Cookie"]) != 1 {
		t.Errorf("%d hints, then %q", hints, response.Header)
	}
}

// TimeoutHandler has a header of its own, which it copies at the end over the one of the response.
func TestBehindATimeoutHandler(t *testing.T) {
	s := newSite(t)
	s.mux.Handle("/fast", http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "other", Value: "1"})
		_, err := s.sessions.Save(r.Context(), nil)
		must(t, err)
	}), time.Minute, ""))
	slow, late := make(chan struct{}), make(chan error, 1)
	s.mux.Handle("/slow", http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-slow
		_, err := s.sessions.LogIn(context.WithoutCancel(r.Context()), as("late"), nil)
		late <- err
	}), time.Millisecond, ""))
	b := s.Browser()
	if got := b.Get("/fast"); len(got.Header["Set-Cookie"]) != 2 {
		t.Errorf("the session's cookie is lost: %q", got.Header)
	}
	got := b.Get("/slow")
	close(slow)
	if err := <-late; got.StatusCode != http.StatusServiceUnavailable || !errors.Is(err, web.ErrHeaderSent) {
		t.Errorf("%d, then %v, want 503 and ErrHeaderSent", got.StatusCode, err)
	}
}

// Middleware outside that recovers from a panic answers with the cookie of a login before it.
func TestAPanicKeepsTheCookie(t *testing.T) {
	s := newSite(t)
	s.page("/", func(w http.ResponseWriter, r *http.Request) error {
		_, err := s.sessions.LogIn(r.Context(), as(subject("ann")), nil)
		must(t, err)
		panic("planned")
	})
	inner := s.Server.Config.Handler
	s.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		inner.ServeHTTP(w, r)
	})
	b := s.Browser()
	if b.Want("/", http.StatusInternalServerError, ""); b.Token() == "" {
		t.Error("the cookie is lost")
	}
}
