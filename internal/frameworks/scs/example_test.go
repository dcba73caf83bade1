package scs_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"time"

	"github.com/alexedwards/scs/v2"

	sessionsqlscs "github.com/sessionsql/postgres/adapters/scs"
	"github.com/sessionsql/postgres/sessionsql"
)

// A session of scs, before and after a login.
func Example() {
	ctx := context.Background()
	store, err := sessionsql.Open(ctx, databaseURL, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close(ctx)

	sessions := scs.New()
	sessions.Store = sessionsqlscs.NewStore(store, nil)
	sessions.Codec = sessionsqlscs.Codec{} // equal values, equal bytes: what has not changed is not written
	sessions.IdleTimeout = 20 * time.Minute

	mux := http.NewServeMux()
	mux.HandleFunc("POST /cart", func(_ http.ResponseWriter, r *http.Request) {
		sessions.Put(r.Context(), "cart", "tea")
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) { // ask for a password here
		if err := sessions.RenewToken(r.Context()); err != nil { // the old token is dead from here on
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		sessions.Put(r.Context(), "name", "Ann")
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.Destroy(r.Context()); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable) // and still logged in
		}
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, sessions.GetString(r.Context(), "name"), sessions.GetString(r.Context(), "cart"))
	})
	site := sessions.LoadAndSave(mux)

	server := httptest.NewServer(site)
	defer server.Close()
	jar, _ := cookiejar.New(nil)
	browser := http.Client{Jar: jar}
	for _, path := range []string{"/cart", "/login", "/logout"} {
		if _, err := browser.Post(server.URL+path, "", nil); err != nil {
			log.Fatal(err)
		}
		page, err := browser.Get(server.URL)
		if err != nil {
			log.Fatal(err)
		}
		text, err := io.ReadAll(page.Body)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %q\n", path, text)
	}
	// Output:
	// /cart: " tea\n"
	// /login: "Ann tea\n"
	// /logout: " \n"
}
