package sessionsqlgorilla_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"

	sessionsqlgorilla "github.com/sessionsql/postgres/adapters/gorilla"
	"github.com/sessionsql/postgres/sessionsql"
)

// A session of gorilla/sessions, before and after a login.
func Example() {
	ctx := context.Background()
	sessionStore, err := sessionsql.Open(ctx, databaseURL, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer sessionStore.Close(ctx)

	store := sessionsqlgorilla.NewStore(sessionStore)
	const name = "__Host-session" // needs HTTPS
	mux := http.NewServeMux()
	mux.HandleFunc("POST /cart", func(w http.ResponseWriter, r *http.Request) {
		session, err := store.Get(r, name)
		if err == nil {
			session.Values["cart"] = "tea"
			err = session.Save(r, w)
		}
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) { // ask for a password here
		session, err := store.Get(r, name)
		if err == nil {
			err = store.LogIn(r, w, session, sessionsql.InsertOptions{Subject: "user:7"}) // a new token
		}
		if err == nil {
			session.Values["name"] = "Ann"
			err = session.Save(r, w)
		}
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		session, err := store.Get(r, name)
		if err == nil {
			session.Options.MaxAge = -1
			err = session.Save(r, w)
		}
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable) // and still logged in
		}
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		session, err := store.Get(r, name)
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, session.Values)
	})
	show(mux, "/cart", "/login", "/logout")
	// Output:
	// /cart: map[cart:tea]
	// /login: map[cart:tea name:Ann]
	// /logout: map[]
}

// show posts to each path with one browser, and prints the home page after it.
func show(site http.Handler, paths ...string) {
	server := httptest.NewTLSServer(site)
	defer server.Close()
	browser := server.Client()
	browser.Jar, _ = cookiejar.New(nil)
	for _, path := range paths {
		if _, err := browser.Post(server.URL+path, "", nil); err != nil {
			log.Fatal(err)
		}
		page, err := browser.Get(server.URL + "/")
		if err != nil {
			log.Fatal(err)
		}
		text, err := io.ReadAll(page.Body)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s", path, text)
	}
}
