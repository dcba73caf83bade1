package main

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"sync"
)

// maxSessions is how many live sessions a user may have.
const maxSessions = 3

// A user has several sessions, and makes calls that concern more than one of them. Each such call becomes one
// call of every session that it concerns, because the check works session by session.
type user struct {
	subject string

	mu       sync.Mutex
	sessions []*session // the oldest first
	acts     []*act
}

// An act is a call that concerns several sessions of a user.
type act struct {
	call
	shown *session // the session of the presented token; nil without one
	made  *session // the session of an insert; nil if its token is unknown
	id    int64    // the id of the session that a RevokeListed ends
	ids   []int64  // the ids that a ListSubject returned
	among []*session
}

func (u *user) add(a *act) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.acts = append(u.acts, a)
}

func (u *user) addSession(s *session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sessions = append(u.sessions, s)
}

// recent returns the latest sessions that have not ended as far as is known.
func (u *user) recent() []*session {
	const latest = 2 * maxSessions
	u.mu.Lock()
	sessions := slices.Clone(u.sessions[max(0, len(u.sessions)-latest):])
	u.mu.Unlock()
	return slices.DeleteFunc(sessions, (*session).worn)
}

// callsOn returns the meaning of a user's acts to one of the sessions.
func (u *user) callsOn(s *session, h *history) []*call {
	u.mu.Lock()
	defer u.mu.Unlock()
	var calls []*call
	for _, a := range u.acts {
		if a.shown == s {
			if c := a.proof(); c != nil {
				calls = append(calls, c)
			}
			continue // the presented session is spared
		}
		if a.made == s || a.known() < s.born().start {
			continue
		}
		c := a.call
		c.secret = 0
		switch {
		case a.verb == endSubject && a.outcome != noSession:
		case a.verb == endListed && a.outcome != noSession && a.id == s.row:
			if u.sameID(a.id) > 1 {
				c.outcome = unsure
			}
		case a.verb == endCapped && u.mayEvict(a, s, h):
		case a.verb == listed && a.outcome == done && slices.Contains(a.among, s) && u.sameID(s.row) == 1:
			if !slices.Contains(a.ids, s.row) {
				c.outcome = noSession
			}
		default:
			continue
		}
		calls = append(calls, &c)
	}
	return calls
}

// proof returns the meaning of an act to the presented session. A RevokeListed without success may have
// failed because of the other session.
func (a *act) proof() *call {
	if a.outcome == unsure || a.outcome == noSession && a.verb != endSubject {
		return nil
	}
	c := a.call
	c.verb = proof
	return &c
}

// mayEvict reports whether an insert with a cap may have ended a session. It may if enough newer sessions
// lived then, because only the oldest ones end.
func (u *user) mayEvict(a *act, s *session, h *history) bool {
	if h.anyOrder.Load() {
		return true
	}
	newer := 1 // the insert's own session
	for _, other := range u.acts {
		if other == a || other.verb != endCapped || other.made == s {
			continue
		}
		if other.known() > s.born().start && other.start < a.known() &&
			!u.surelyDead(other.made, a.start, h) {
			newer++
		}
	}
	return newer >= maxSessions
}

// surelyDead reports whether a session had ended before a moment, and no crash can have brought it back.
func (u *user) surelyDead(s *session, moment int64, h *history) bool {
	if s == nil || slices.ContainsFunc(h.crashes, func(w crashWindow) bool { return w.strict != never }) {
		return false
	}
	for _, a := range u.acts {
		ends := a.verb == endSubject && a.start > s.born().known() && a.shown != s ||
			a.verb == endListed && a.id == s.row && u.sameID(a.id) == 1
		if ends && a.outcome == done && a.end < moment {
			return true
		}
	}
	return slices.ContainsFunc(s.calls, func(c *call) bool {
		return c.verb == revoke && c.outcome == done && c.end < moment
	})
}

// sameID counts the sessions with an id.
func (u *user) sameID(id int64) (count int) {
	for _, s := range u.sessions {
		if s.row == id {
			count++
		}
	}
	return count
}

// born returns the call that made a session.
func (s *session) born() *call { return s.calls[0] }

// rowOf returns the id of a session's row, which its token begins with.
func rowOf(token string) int64 {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) < 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(raw))
}
