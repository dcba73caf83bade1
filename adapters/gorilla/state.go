package sessionsqlgorilla

import (
	"encoding/base64"
	"encoding/binary"
	"runtime"
	"strconv"
	"sync"
	"weak"

	"github.com/gorilla/sessions"

	"github.com/sessionsql/postgres/sessionsql"
)

// A state is what the database holds of a session.
type state struct {
	token   sessionsql.Token // empty before the session is stored
	payload string
	version int32
	subject string
	unknown error // why nothing of this is known; nil as a rule
}

// states keeps the state of each session as long as the session is in memory. The fields of a
// [sessions.Session] have no room for it: handlers log its ID, and clear its Values.
type states struct{ m sync.Map }

func (s *states) of(session *sessions.Session) *state {
	key := weak.Make(session)
	found, loaded := s.m.LoadOrStore(key, &state{})
	if !loaded {
		runtime.AddCleanup(session, func(key weak.Pointer[sessions.Session]) { s.m.Delete(key) }, key)
	}
	return found.(*state)
}

// idOf returns the number of a session's row, which is the first 8 bytes of its token.
func idOf(token sessionsql.Token) string {
	raw, err := base64.RawURLEncoding.DecodeString(string(token))
	if err != nil || len(raw) < 8 {
		return ""
	}
	return strconv.FormatUint(binary.BigEndian.Uint64(raw), 10)
}
