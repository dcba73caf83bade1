// Package web keeps a value of the application's own type in each visitor's session. It is middleware of
// net/http over a [sessionsql.Store], for sites that use no framework.
//
//	type visitor struct{ Cart []string }
//
//	sessions, err := web.New[visitor](store, nil)
//	http.ListenAndServe(":8080", sessions.Wrap(mux)) // behind a proxy that speaks HTTPS
//
//	sess, err := sessions.Load(r.Context())                   // sess.Value is a visitor
//	sess, err = sessions.Save(r.Context(), func(v *visitor) error {
//		v.Cart = append(v.Cart, "tea")
//		return nil
//	})
//	login := web.Login{InsertOptions: sessionsql.InsertOptions{Subject: "ann"}}
//	sess, err = sessions.LogIn(r.Context(), login, nil)
//	err = sessions.LogOut(r.Context())
//
// A handler answers an error with [Status]: 401 says that the visitor must log in, and 503 that the database
// did not answer. Only a successful logout removes the cookie, so an outage logs nobody out.
//
// # Requests of one session at once
//
// Save applies its change to the newest value, so two tabs lose no change of each other. A Save of a request
// whose session has ended meanwhile returns ErrNoSession and brings nothing back. LogIn keeps all that was
// saved before it; the token from before opens nothing then, so a request under way with it gets ErrNoSession
// too.
//
// # The response
//
// The cookie goes out with the header. A handler that has written the header can still save to a session and
// log out, but not begin a session or log in, which return ErrHeaderSent before they change anything. A
// response whose handler asked for the session has Vary: Cookie. It has Cache-Control: no-store if it sets
// the cookie, or if it was made for a live session and the handler sets no Cache-Control. OWASP ASVS 5.0,
// 14.3.2.
package web
