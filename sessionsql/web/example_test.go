package web_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"

	"github.com/sessionsql/postgres/sessionsql"
	"github.com/sessionsql/postgres/sessionsql/web"
)

// A shop remembers what is in a visitor's cart, before and after the login.
func Example() {
	ctx := context.Background()
	store, err := sessionsql.Open(ctx, databaseURL, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close(ctx)

	type visitor struct{ Cart []string }
	sessions, err := web.New[visitor](store, &web.Options{PlainHTTP: true}) // nil behind HTTPS
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	fail := func(w http.ResponseWriter, err error) { // 401: log in; 503: try again, still logged in
		http.Error(w, http.StatusText(web.Status(err)), web.Status(err))
	}
	mux.HandleFunc("POST /cart/{item}", func(w http.ResponseWriter, r *http.Request) {
		_, err := sessions.Save(r.Context(), func(v *visitor) error { // runs again if another tab was faster
			v.Cart = append(v.Cart, r.PathValue("item"))
			return nil
		})
		if err != nil {
			fail(w, err)
		}
	})
	mux.HandleFunc("POST /login/{name}", func(w http.ResponseWriter, r *http.Request) {
		// Check the password here.
		login := web.Login{InsertOptions: sessionsql.InsertOptions{Subject: r.PathValue("name")}}
		if _, err := sessions.LogIn(r.Context(), login, nil); err != nil {
			fail(w, err)
		}
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.LogOut(r.Context()); err != nil {
			fail(w, err)
		}
	})
	mux.HandleFunc("GET /cart", func(w http.ResponseWriter, r *http.Request) {
		sess, err := sessions.Load(r.Context())
		if err != nil {
			fail(w, err)
			return
		}
		fmt.Fprintf(w, "%q has %q\n", sess.Subject, sess.Value.Cart)
	})
	site := http.NewCrossOriginProtection().Handler(sessions.Wrap(mux)) // refuses forms of other sites, too
	server := httptest.NewServer(site)
	defer server.Close()

	jar, err := cookiejar.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	browser := http.Client{Jar: jar}
	for _, path := range []string{"/cart/tea", "/cart/milk", "/login/ann", "/logout"} {
		if _, err := browser.Post(server.URL+path, "", nil); err != nil {
			log.Fatal(err)
		}
		page, err := browser.Get(server.URL + "/cart")
		if err != nil {
			log.Fatal(err)
		}
		text, err := io.ReadAll(page.Body)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(page.StatusCode, " ", string(text))
	}
	// Output:
	// 200 "" has ["tea"]
	// 200 "" has ["tea" "milk"]
	// 200 "ann" has ["tea" "milk"]
	// 401 Unauthorized
}
