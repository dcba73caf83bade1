package fiber_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/cache"
	"github.com/gofiber/fiber/v3/middleware/limiter"
	"github.com/gofiber/fiber/v3/middleware/session"
	"github.com/gofiber/fiber/v3/middleware/timeout"

	sessionsqlfiber "github.com/sessionsql/postgres/adapters/fiber"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

// A site is an application of fiber, which a test asks without a network.
type site struct {
	*testing.T
	*fiber.App
}

// get sends a request with a cookie, and returns the page and the cookie for the next request.
func (s site) get(path, cookie string) (status int, page, next string) {
	s.Helper()
	request := httptest.NewRequest(http.MethodGet, path, nil)
	request.Header.Set("Cookie", cookie)
	response, err := s.Test(request, fiber.TestConfig{})
	if err != nil {
		s.Error(err)
		return 0, "", ""
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.Error(err)
	}
	for _, c := range response.Cookies() {
		cookie = c.Name + "=" + c.Value
	}
	return response.StatusCode, string(text), cookie
}

// want gets a page and checks its text. It returns the cookie for the next request.
func (s site) want(path, cookie, text string) string {
	s.Helper()
	status, page, next := s.get(path, cookie)
	if status != http.StatusOK || page != text {
		s.Errorf("%s answers %d %q, want %q", path, status, page, text)
	}
	return next
}

// newSessionSite has pages that show, set and end a session, and one that holds it until a test lets it go.
func newSessionSite(t *testing.T, storage fiber.Storage) (s site, loaded, let chan struct{}) {
	s, loaded, let = site{t, fiber.New()}, make(chan struct{}), make(chan struct{})
	s.Use(session.New(session.Config{Storage: storage}))
	s.Get("/get", func(c fiber.Ctx) error {
		name, _ := session.FromContext(c).Get("name").(string)
		return c.SendString(name)
	})
	s.Get("/login/:name", func(c fiber.Ctx) error {
		m := session.FromContext(c)
		m.Set("name", string([]byte(c.Params("name")))) // a copy, because fiber uses its memory again
		return m.Regenerate()
	})
	s.Get("/logout", func(c fiber.Ctx) error { return session.FromContext(c).Destroy() })
	s.Get("/slow", func(c fiber.Ctx) error {
		loaded <- struct{}{}
		<-let
		session.FromContext(c).Set("page", "slow")
		return nil
	})
	return s, loaded, let
}

func TestSessionsOfFiber(t *testing.T) {
	d := sessiontest.NewDatabase(t, cluster)
	open := func() site {
		final := &sessionsql.CacheOptions{Final: true}
		storage := sessionsqlfiber.NewStorage(d.Store(t, nil), "sessions", final)
		s, _, _ := newSessionSite(t, storage)
		return s
	}
	s, other := open(), open()
	anonymous := s.want("/get", "", "")
	ann := s.want("/login/Ann", anonymous, "")
	if ann == anonymous {
		t.Error("the login kept the session's id")
	}
	bob := other.want("/login/Bob", "", "")
	s.want("/get", ann, "Ann")
	other.want("/get", ann, "Ann")
	s.want("/get", bob, "Bob")
	s.want("/get", anonymous, "")
	s.want("/logout", ann, "")
	other.want("/get", ann, "")
	s.want("/get", bob, "Bob")
}

// TestARequestUnderWayNeverBringsALoggedOutSessionBack ends a session while another request holds it, which
// saves it afterwards. A cache that is not Final brings it back, so the steps do show the fault.
func TestARequestUnderWayNeverBringsALoggedOutSessionBack(t *testing.T) {
	d := sessiontest.NewDatabase(t, cluster)
	for name, options := range map[string]*sessionsql.CacheOptions{"not final": nil, "final": {Final: true}} {
		t.Run(name, func(t *testing.T) {
			storage := sessionsqlfiber.NewStorage(d.Store(t, nil), name, options)
			s, loaded, let := newSessionSite(t, storage)
			ann := s.want("/login/Ann", "", "")
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.want("/slow", ann, "")
			}()
			<-loaded
			s.want("/logout", ann, "")
			s.want("/get", ann, "")
			close(let)
			<-done
			if options == nil {
				s.want("/get", ann, "Ann")
			} else {
				s.want("/get", ann, "")
			}
		})
	}
}

// TestOtherMiddlewareOfFiber runs a limiter and a cache of pages in two programs, which share what they
// store.
func TestOtherMiddlewareOfFiber(t *testing.T) {
	d := sessiontest.NewDatabase(t, cluster)
	renders := 0
	open := func() site {
		store, s := d.Store(t, nil), site{t, fiber.New()}
		s.Get("/limited", limiter.New(limiter.Config{
			Max: 2, Expiration: time.Hour, Storage: sessionsqlfiber.NewStorage(store, "limiter", nil),
		}), func(c fiber.Ctx) error { return c.SendString("limited") })
		s.Get("/page", cache.New(cache.Config{
			Expiration: time.Hour, Storage: sessionsqlfiber.NewStorage(store, "pages", nil),
		}), func(c fiber.Ctx) error {
			renders++
			return c.SendString("page")
		})
		return s
	}
	s, other := open(), open()
	s.want("/limited", "", "limited")
	other.want("/limited", "", "limited")
	if status, page, _ := s.get("/limited", ""); status != http.StatusTooManyRequests {
		t.Errorf("the third request gets %d %q", status, page)
	}
	s.want("/page", "", "page")
	other.want("/page", "", "page")
	s.want("/page", "", "page")
	if renders != 1 {
		t.Errorf("the page was rendered %d times", renders)
	}
}

// TestStorageEndsWithTheRequest proves that a Storage heeds the context within a fiber.Ctx, which itself
// never ends, and does not hold the fiber.Ctx, which fiber uses again.
func TestStorageEndsWithTheRequest(t *testing.T) {
	d := sessiontest.NewDatabase(t, cluster)
	storage := sessionsqlfiber.NewStorage(d.Store(t, nil), "fiber", nil)
	must(t, storage.Set("a", []byte("value"), time.Hour))
	s := site{t, fiber.New()}
	errs := make(chan error, 4)
	s.Get("/", timeout.New(func(c fiber.Ctx) error {
		<-c.Context().Done()
		_, err := storage.GetWithContext(c, "a")
		errs <- err
		errs <- storage.SetWithContext(c, "a", []byte("other"), time.Hour)
		errs <- storage.DeleteWithContext(c, "a")
		errs <- storage.ResetWithContext(c)
		return nil
	}, timeout.Config{Timeout: time.Millisecond}))
	if status, _, _ := s.get("/", ""); status != http.StatusRequestTimeout {
		t.Errorf("the request ended with %d", status)
	}
	for range 4 {
		if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want context.DeadlineExceeded", err)
		}
	}
	if value, err := storage.Get("a"); err != nil || string(value) != "value" {
		t.Errorf("%q, %v", value, err)
	}
}
