package sessionsql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/sessionsql"
)

// openStore is what the examples below begin with.
func openStore(ctx context.Context) *sessionsql.Store {
	store, err := sessionsql.Open(ctx, primaryDSN, []string{replicaDSN}, nil)
	if err != nil {
		log.Fatal(err)
	}
	return store
}

func Example() {
	ctx := context.Background()
	options := &sessionsql.Options{IdleTimeout: 30 * time.Minute}
	store, err := sessionsql.Open(ctx, primaryDSN, []string{replicaDSN}, options)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close(ctx)

	login := func(w http.ResponseWriter, r *http.Request) {
		token, err := store.Insert(r.Context(), `{"user": "ann"}`, nil)
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		http.SetCookie(w, &http.Cookie{
			Name: "session", Value: string(token), Path: "/",
			HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode,
		})
	}
	page := func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("session")
		if err != nil {
			http.Error(w, "log in", http.StatusUnauthorized)
			return
		}
		sess, err := store.Lookup(r.Context(), sessionsql.Token(cookie.Value))
		switch {
		case errors.Is(err, sessionsql.ErrNoSession):
			http.Error(w, "log in", http.StatusUnauthorized)
		case err != nil:
			http.Error(w, "try again", http.StatusServiceUnavailable)
		default:
			fmt.Fprint(w, sess.Payload)
		}
	}

	w := httptest.NewRecorder()
	login(w, httptest.NewRequest("POST", "/login", nil))
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(w.Result().Cookies()[0])
	w = httptest.NewRecorder()
	page(w, r)
	fmt.Println(w.Code, w.Body)
	// Output: 200 {"user": "ann"}
}

func ExampleOpen() {
	ctx := context.Background()
	store, err := sessionsql.Open(ctx, primaryDSN, []string{replicaDSN}, &sessionsql.Options{
		IdleTimeout: 15 * time.Minute,
		Lifetime:    12 * time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close(ctx)
	fmt.Println(len(store.Stats().Replicas), "replica")

	_, err = sessionsql.Open(ctx, "nonsense", nil, nil)
	fmt.Println(errors.Is(err, sessionsql.ErrDSN))
	// Output:
	// 1 replica
	// true
}

func ExampleOpenDB() {
	ctx := context.Background()
	primary, err := sql.Open("pgx", primaryDSN) // the pools that the application has
	if err != nil {
		log.Fatal(err)
	}
	defer primary.Close()
	replica, err := sql.Open("pgx", replicaDSN)
	if err != nil {
		log.Fatal(err)
	}
	defer replica.Close()

	store, err := sessionsql.OpenDB(primary, []sessionsql.DB{replica}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close(ctx)
	version, err := store.Version(ctx)
	fmt.Println(version != "", err)
	// Output: true <nil>
}

// An application that uses sqlx gives its pool and its transactions as they are.
func ExampleOpenDB_sqlx() {
	ctx := context.Background()
	app := sqlx.MustOpen("pgx", primaryDSN)
	defer app.Close()
	app.MustExec(`CREATE TABLE IF NOT EXISTS login (at timestamptz NOT NULL, who text NOT NULL)`)

	store, err := sessionsql.OpenDB(app, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close(ctx)

	tx := app.MustBegin()
	defer tx.Rollback()
	tx.MustExec(`INSERT INTO login VALUES (now(), 'ann')`)
	token, err := store.InsertTx(ctx, tx, "ann", nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := tx.Commit(); err != nil { // the login is recorded and the session exists, or neither
		log.Fatal(err)
	}
	sess, err := store.Lookup(ctx, token)
	fmt.Println(sess.Payload, err)
	// Output: ann <nil>
}

func ExampleInstall() {
	ctx := context.Background()
	primary, err := sql.Open("pgx", primaryDSN)
	if err != nil {
		log.Fatal(err)
	}
	defer primary.Close()
	fmt.Println(sessionsql.Install(ctx, primary))
	fmt.Println(sessionsql.Install(ctx, primary)) // again, without harm
	// Output:
	// <nil>
	// <nil>
}

func ExampleStore_Insert() {
	ctx := context.Background()
	store := openStore(ctx)
	defer store.Close(ctx)

	token, err := store.Insert(ctx, `{"theme": "dark"}`, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(string(token)), "characters for the cookie")
	fmt.Println(token) // never prints itself

	_, err = store.Insert(ctx, "remembered", &sessionsql.InsertOptions{
		Subject:     "user:7",
		IdleTimeout: 14 * 24 * time.Hour,
		Lifetime:    90 * 24 * time.Hour,
	})
	fmt.Println(err)

	_, err = store.Insert(ctx, "a\x00b", nil)
	fmt.Println(err)
	// Output:
	// 32 characters for the cookie
	// sessionsql.Token(redacted)
	// <nil>
	// sessionsql: payload of 3 bytes contains a NUL byte (at most 1048576 bytes)
}

func ExampleStore_InsertTx() {
	ctx := context.Background()
	app, err := sql.Open("pgx", primaryDSN)
	if err != nil {
		log.Fatal(err)
	}
	defer app.Close()
	store, err := sessionsql.OpenDB(app, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close(ctx)

	tx, err := app.BeginTx(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	token, err := store.InsertTx(ctx, tx, "p", nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		log.Fatal(err)
	}
	_, err = store.Lookup(ctx, token)
	fmt.Println(err)
	// Output: sessionsql: no such session
}

func ExampleStore_Lookup() {
	ctx := context.Background()
	store := openStore(ctx)
	defer store.Close(ctx)

	token, err := store.Insert(ctx, "payload", &sessionsql.InsertOptions{Subject: "user:7"})
	if err != nil {
		log.Fatal(err)
	}
	sess, err := store.Lookup(ctx, token)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sess.Payload, sess.Version, sess.Subject, sess.ExpiresIn > 30*time.Minute)

	_, err = store.Lookup(ctx, "forged")
	fmt.Println(errors.Is(err, sessionsql.ErrNoSession), errors.Is(err, sql.ErrNoRows))
	// Output:
	// payload 1 user:7 true
	// true true
}

func ExampleStore_Update() {
	ctx := context.Background()
	store := openStore(ctx)
	defer store.Close(ctx)

	token, err := store.Insert(ctx, "one", nil)
	if err != nil {
		log.Fatal(err)
	}
	version, err := store.Update(ctx, token, "two", 1)
	fmt.Println(version, err)
	_, err = store.Update(ctx, token, "late", 1)
	fmt.Println(errors.Is(err, sessionsql.ErrConflict))
	version, err = store.Update(ctx, token, "whatever is there", sessionsql.AnyVersion)
	fmt.Println(version, err)
	// Output:
	// 2 <nil>
	// true
	// 3 <nil>
}

func ExampleStore_Revoke() {
	ctx := context.Background()
	store := openStore(ctx)
	defer store.Close(ctx)

	token, err := store.Insert(ctx, "p", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(store.Revoke(ctx, token))
	fmt.Println(store.Revoke(ctx, token))
	_, err = store.Update(ctx, token, "a late save", sessionsql.AnyVersion)
	fmt.Println(err)
	// Output:
	// <nil>
	// sessionsql: no such session
	// sessionsql: no such session
}

func ExampleStore_Touch() {
	ctx := context.Background()
	store := openStore(ctx)
	defer store.Close(ctx)

	token, err := store.Insert(ctx, "p", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(store.Touch(ctx, token)) // such as a connection that is held open
	fmt.Println(store.Touch(ctx, "forged"))
	// Output:
	// <nil>
	// sessionsql: no such session
}

func ExampleStore_Flush() {
	ctx := context.Background()
	store := openStore(ctx)
	defer store.Close(ctx)

	token, err := store.Insert(ctx, "p", nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Touch(ctx, token); err != nil {
		log.Fatal(err)
	}
	fmt.Println(store.Stats().TouchesPending)
	fmt.Println(store.Flush(ctx))
	fmt.Println(store.Stats().TouchesPending)
	// Output:
	// 1
	// <nil>
	// 0
}

func ExampleStore_Reap() {
	ctx := context.Background()
	// A job of the application calls Reap here, so the Store's own loop is off.
	store, err := sessionsql.Open(ctx, primaryDSN, nil, &sessionsql.Options{ReapInterval: -1})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close(ctx)
	for {
		result, err := store.Reap(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if result.LapDone || result.Busy {
			break
		}
	}
	fmt.Println("the reaper has come to the end of the table")
	// Output: the reaper has come to the end of the table
}

func ExampleNearCache() {
	ctx := context.Background()
	store, err := sessionsql.Open(ctx, primaryDSN, []string{replicaDSN}, &sessionsql.Options{
		NearCache: sessionsql.NearCache{MaxBytes: 64 << 20, MaxStaleness: time.Second},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close(ctx)
	token, err := store.Insert(ctx, "old", nil)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := store.Lookup(ctx, token); err != nil {
		log.Fatal(err)
	}
	// Another program would keep this version in a cookie, and see the write at once.
	version, err := store.Update(ctx, token, "new", 1)
	if err != nil {
		log.Fatal(err)
	}
	sess, err := store.LookupAtLeast(ctx, token, version)
	fmt.Println(sess.Payload, err)
	// Output: new <nil>
}

func ExampleStore_Stats() {
	ctx := context.Background()
	store := openStore(ctx)
	defer store.Close(ctx)

	token, err := store.Insert(ctx, "p", nil)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := store.Lookup(ctx, token); err != nil {
		log.Fatal(err)
	}
	stats := store.Stats()
	fmt.Println(stats.Inserts, stats.Lookups, stats.ReplicaReads+stats.PrimaryReads)
	// Output: 1 1 1
}

func ExampleStore_Close() {
	ctx := context.Background()
	store := openStore(ctx)

	closing, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	fmt.Println(store.Close(closing))
	_, err := store.Lookup(ctx, "any")
	fmt.Println(err)
	_, err = store.Insert(ctx, "p", nil)
	fmt.Println(err)
	// Output:
	// <nil>
	// sessionsql: no such session
	// sessionsql: store is closed
}

func ExampleStore_Version() {
	ctx := context.Background()
	store := openStore(ctx)
	defer store.Close(ctx)
	version, err := store.Version(ctx)
	fmt.Println(version != "", err)
	// Output: true <nil>
}
