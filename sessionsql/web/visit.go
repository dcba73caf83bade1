package web

import (
	"net/http"
	"sync"

	"github.com/sessionsql/postgres/sessionsql"
)

// A visit is the part of one request that concerns its session.
type visit struct {
	mu      sync.Mutex // never held during a round trip
	token   sessionsql.Token
	session *sessionsql.Session // what token opens; nil while that is unknown, and without a session
	missing bool                // token opens nothing
	used    bool                // the response depends on the session
	cookie  *http.Cookie        // goes out with the header; nil for none
	sent    bool                // the header is written
}

// presented returns the token that came with a request. None is as good as a malformed one.
func presented(r *http.Request, name string) sessionsql.Token {
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return sessionsql.Token(c.Value)
}

// state returns the token and what is known of its session. known is false before the first lookup.
func (v *visit) state() (token sessionsql.Token, session *sessionsql.Session, known bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.used = true
	return v.token, v.session, v.session != nil || v.missing
}

// learn keeps what a round trip said of a token, unless the visit has another one by now. A nil session says
// that the token opens none.
func (v *visit) learn(token sessionsql.Token, session *sessionsql.Session) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if token == v.token {
		v.session, v.missing = session, session == nil
	}
}

func (v *visit) headerSent() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sent
}

// begin gives the visit another session, and the browser its cookie.
func (v *visit) begin(token sessionsql.Token, session *sessionsql.Session, cookie http.Cookie) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.token, v.session, v.missing = token, session, session == nil
	if v.sent {
		return ErrHeaderSent
	}
	cookie.Value = string(token)
	v.cookie = &cookie
	return nil
}

// sendHeader adds the header lines of the session, once.
func (v *visit) sendHeader(header http.Header) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sent {
		return
	}
	v.sent = true
	if v.used {
		header.Add("Vary", "Cookie")
	}
	if v.cookie != nil {
		header.Add("Set-Cookie", v.cookie.String())
	}
	if v.cookie != nil || v.session != nil && header.Get("Cache-Control") == "" {
		header.Set("Cache-Control", "no-store")
	}
}
