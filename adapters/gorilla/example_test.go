package sessionsqlgorilla_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	sessionsqlgorilla "github.com/sessionsql/postgres/adapters/gorilla"
	"github.com/sessionsql/postgres/internal/sitetest"
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
	sitetest.Show(mux, "/cart", "/login", "/logout")
	// Output:
	// /cart: map[cart:tea]
	// /login: map[cart:tea name:Ann]
	// /logout: map[]
}
