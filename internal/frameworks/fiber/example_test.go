package fiber_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/recover"
	"github.com/gofiber/fiber/v3/middleware/session"

	sessionsqlfiber "github.com/sessionsql/postgres/adapters/fiber"
	"github.com/sessionsql/postgres/sessionsql"
)

// A session of fiber, before and after a login.
func Example() {
	ctx := context.Background()
	store, err := sessionsql.Open(ctx, databaseURL, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close(ctx)

	final := &sessionsql.CacheOptions{Final: true} // a logout stays one
	site := fiber.New()
	site.Use(recover.New()) // because the middleware of sessions panics when the database does not answer
	site.Use(session.New(session.Config{
		Storage:        sessionsqlfiber.NewStorage(store, "sessions", final),
		CookieSecure:   true, // needs HTTPS
		CookieHTTPOnly: true,
	}))
	site.Post("/cart", func(c fiber.Ctx) error {
		session.FromContext(c).Set("cart", "tea")
		return nil
	})
	site.Post("/login", func(c fiber.Ctx) error { // ask for a password here
		session.FromContext(c).Set("name", "Ann")
		return session.FromContext(c).Regenerate() // a new id
	})
	site.Post("/logout", func(c fiber.Ctx) error { return session.FromContext(c).Destroy() })
	site.Get("/", func(c fiber.Ctx) error {
		s := session.FromContext(c)
		return c.SendString(fmt.Sprint(s.Get("name"), " ", s.Get("cart")))
	})

	cookie := ""
	ask := func(method, path string) string {
		request := httptest.NewRequest(method, path, nil)
		request.Header.Set("Cookie", cookie)
		page, err := site.Test(request, fiber.TestConfig{})
		if err != nil {
			log.Fatal(err)
		}
		for _, c := range page.Cookies() {
			cookie = c.Name + "=" + c.Value
		}
		text, err := io.ReadAll(page.Body)
		if err != nil {
			log.Fatal(err)
		}
		return string(text)
	}
	for _, path := range []string{"/cart", "/login", "/logout"} {
		ask(http.MethodPost, path)
		fmt.Printf("%s: %s\n", path, ask(http.MethodGet, "/"))
	}
	// Output:
	// /cart: <nil> tea
	// /login: Ann tea
	// /logout: <nil> <nil>
}
