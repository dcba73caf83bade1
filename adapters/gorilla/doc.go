// Package sessionsqlgorilla keeps the sessions of gorilla/sessions in PostgreSQL, and so those of
// gin-contrib/sessions.
//
//	import sessionsqlgorilla "github.com/sessionsql/postgres/adapters/gorilla"
//
//	store := sessionsqlgorilla.NewStore(sessionStore) // a *sessionsql.Store
//	session, err := store.Get(r, "__Host-session")    // as with any store of gorilla
//	session.Values["cart"] = []string{"tea"}
//	err = session.Save(r, w)
//
// The cookie holds a token of 128 random bits, of which the database keeps a hash, so there is no key to
// configure and none to rotate. Name the session __Host-session, and browsers accept its cookie only from
// this very host over HTTPS; the default Options fit that.
//
// # At the login
//
//	err = store.LogIn(r, w, session, sessionsql.InsertOptions{Subject: "ann"}) // a new token
//	session.Values["name"] = "Ann"
//	err = session.Save(r, w)
//
// A session with a subject can be listed and ended by it: see [sessionsql.Store.RevokeSubject] and its
// neighbours, and [Store.Token].
//
// # What differs from other stores
//
//   - Concurrent requests lose no key of each other. Save writes the keys of Values that this request has
//     set, changed or deleted, on top of what others have written. If no value has changed it writes nothing,
//     because Get keeps the session alive. A value that is set to what Get has read is no change. So if a
//     late replica was read, what another program wrote a moment before stays; see
//     [sessionsql.Options.MaxReplicaLag].
//   - A Save after a logout returns [sessionsql.ErrNoSession] and does not bring the session back.
//   - If the database does not answer, Get returns an empty session and the error, and Save returns that
//     error too. The cookie stays, so nobody is logged out.
//   - Options.MaxAge is how long the browser keeps the cookie. The timeouts of the sessionsql.Store end the
//     session.
//   - Session.ID is the number of the session's row, as in [sessionsql.SubjectSession]. It opens nothing, so
//     it may be logged.
//
// # How values are stored
//
// Values are encoded by encoding/gob, because it brings back the types that were stored, and the keys of
// Values may be of any type; JSON makes an int a float64 and has only strings as keys. As with gorilla's own
// stores, a type of the application needs gob.Register. The payload is text, so gob's bytes are in base64,
// which takes a third more.
package sessionsqlgorilla
