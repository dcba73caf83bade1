// A web login on PostgreSQL, in Go with net/http. It finds the database as psql does (PGHOST ...);
// PORT is 8080, IDLE_TIMEOUT 1800 seconds. Behind TLS leave PLAIN_HTTP out: the cookie is then Secure.
//
//	PLAIN_HTTP=1 go run ./examples/go    # in the root of this module; then open http://localhost:8080
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

var store *sessionsql.Store

var cookie = http.Cookie{
	Name: "__Host-session", Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
}

func main() {
	if os.Getenv("PLAIN_HTTP") != "" {
		cookie.Name, cookie.Secure = "session", false
	}
	idle, err := time.ParseDuration(cmp.Or(os.Getenv("IDLE_TIMEOUT"), "1800") + "s")
	if err == nil {
		store, err = sessionsql.Open(context.Background(), "", nil, &sessionsql.Options{IdleTimeout: idle})
	}
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.FileServer(http.Dir("examples")))
	for _, pattern := range []string{
		"GET /session", "POST /note", "POST /login", "POST /renew", "POST /logout",
		"POST /logout-everywhere", "GET /sessions", "POST /sessions/end",
	} {
		mux.HandleFunc(pattern, answer)
	}
	// SameSite keeps the cookie out of other sites' forms. This refuses those of sibling hosts as well.
	handler := http.NewCrossOriginProtection().Handler(mux)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "8080"), handler))
}

// answer looks the session up and does what the visitor asks for.
func answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	token := sessionsql.Token("") // opens nothing
	if sent, err := r.Cookie(cookie.Name); err == nil {
		token = sessionsql.Token(sent.Value)
	}
	result, next := any(nil), token
	sess, err := store.Lookup(r.Context(), token) // which keeps it alive
	if err == nil || errors.Is(err, sessionsql.ErrNoSession) {
		result, next, err = do(r, token, sess)
	}
	switch {
	case err == nil:
		if next != token {
			sent := cookie
			sent.Value, sent.MaxAge = string(next), min(0, len(next)-1) // -1, for an empty one, deletes it
			http.SetCookie(w, &sent)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(result)
	case errors.Is(err, sessionsql.ErrNoSession), errors.Is(err, sessionsql.ErrOptions): // none, or nobody's
		http.Error(w, "log in", http.StatusUnauthorized)
	case errors.Is(err, sessionsql.ErrConflict):
		http.Error(w, "saved by somebody else in the meantime", http.StatusConflict)
	case errors.As(err, new(*sessionsql.PayloadError)): // too large, a NUL byte, or not UTF-8
		http.Error(w, "that cannot be kept", http.StatusBadRequest)
	default: // The database is away, which says nothing about the session: the cookie stays.
		log.Print(err)
		http.Error(w, "try again", http.StatusServiceUnavailable)
	}
}

// do returns the answer, and the token that the browser has from now on. Without a session, s is empty.
func do(r *http.Request, token sessionsql.Token, s sessionsql.Session) (any, sessionsql.Token, error) {
	switch r.Pattern {
	case "GET /session":
		left := s.ExpiresIn.Seconds()
		m := map[string]any{"subject": s.Subject, "note": s.Payload, "version": s.Version, "expires_in": left}
		return m, token, nil
	case "POST /note": // The first one begins a session. Later ones name the version that they change.
		version, _ := strconv.ParseUint(r.FormValue("version"), 10, 31) // 0: the page had no session
		if version == 0 && s.Version == 0 {
			return begin(r, r.FormValue("note"), "")
		}
		next, err := store.Update(r.Context(), token, r.FormValue("note"), int32(cmp.Or(version, 1<<31-1)))
		return map[string]int32{"version": next}, token, err
	case "POST /login":
		return login(r, token, s)
	case "POST /renew": // As after a change of rights. The old token is good for 10 s, for what is under way.
		next, err := store.Rotate(r.Context(), token, nil)
		if errors.Is(err, sessionsql.ErrRotated) {
			return nil, token, nil // by another request, which sets the cookie
		}
		return nil, next, err
	case "POST /logout":
		return nil, "", store.Revoke(r.Context(), token)
	case "POST /logout-everywhere":
		_, err := store.RevokeSubject(r.Context(), s.Subject, "")
		return nil, "", err
	case "GET /sessions":
		rows := []map[string]any{}
		sessions, err := store.ListSubject(r.Context(), s.Subject, token)
		for _, o := range sessions {
			rows = append(rows, map[string]any{ // JavaScript would round an id that is a number.
				"id": fmt.Sprint(o.ID), "label": o.Label, "created_at": o.CreatedAt, "current": o.Current,
			})
		}
		return rows, token, err
	default: // POST /sessions/end
		id, _ := strconv.ParseInt(r.FormValue("id"), 10, 64)
		return nil, token, store.RevokeListed(r.Context(), token, id)
	}
}

// login takes a visitor's note along, under a new token: whoever planted the old one is not logged in.
func login(r *http.Request, token sessionsql.Token, s sessionsql.Session) (any, sessionsql.Token, error) {
	user := r.FormValue("user")
	if user == "" { // and check the password here
		return nil, "", sessionsql.ErrNoSession
	}
	if s.Subject == "" {
		next, err := store.Rotate(r.Context(), token, &sessionsql.RotateOptions{Subject: user})
		if !errors.Is(err, sessionsql.ErrNoSession) && !errors.Is(err, sessionsql.ErrRotated) {
			return nil, next, err
		}
	} else if err := store.Revoke(r.Context(), token); err != nil {
		return nil, "", err
	}
	return begin(r, "", user)
}

func begin(r *http.Request, note, user string) (any, sessionsql.Token, error) {
	label := strings.ToValidUTF8(r.UserAgent()[:min(len(r.UserAgent()), 200)], "")
	token, err := store.Insert(r.Context(), note, &sessionsql.InsertOptions{Subject: user, Label: label})
	return map[string]int{"version": 1}, token, err
}
