package main

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type verb int

const (
	insert verb = iota
	insertTx
	lookup
	update
	rotate
	revoke
	crash // of the primary, by the program itself

	// What a call means to a session that is one of several; see user.callsOn.
	endSubject // RevokeSubject ends it
	endListed  // RevokeListed ends it
	endCapped  // an insert with MaxSessions may end it
	listed     // ListSubject returns it, or does not
	proof      // its token opens what a call does to other sessions
)

func (v verb) String() string {
	return [...]string{
		"Insert", "InsertTx", "Lookup", "Update", "Rotate", "Revoke", "crash",
		"RevokeSubject", "RevokeListed", "insert with MaxSessions", "ListSubject", "proof",
	}[v]
}

// asynchronous reports whether a crash may lose a write that the Store acknowledged.
func (v verb) asynchronous() bool { return v == insert || v == update }

func (v verb) reads() bool { return v == lookup || v == listed || v == proof }

func (v verb) writes() bool { return !v.reads() && v != crash }

type outcome int

const (
	done      outcome = iota
	noSession         // ErrNoSession
	conflict          // ErrConflict
	rotated           // another Rotate was first
	unsure            // the call failed: a write may happen at any time until the end
)

func (o outcome) String() string {
	return [...]string{"ok", "no session", "conflict", "rotated by another", "in doubt"}[o]
}

// never is later than everything.
const never = math.MaxInt64

// A call is one line of a session's history. Times are nanoseconds since the start of the history.
type call struct {
	verb       verb
	store      int
	secret     int    // which of the session's secrets was presented, from 1
	next       int    // the secret that an insert or a rotate made; 0 if nobody knows it
	expected   int32  // the version that an update expects
	payload    string // written or read
	version    int32  // returned or read
	outcome    outcome
	err        string
	start, end int64

	idle     time.Duration // how long an insert lets the session live without being used; 0 for ever
	lifetime time.Duration // and at most; 0 for ever
	unseen   bool          // the Store does not see that this ended the session; see Store.InsertTx

	// The checker fills in the rest.
	from  int64  // from when on the value may have been current
	lossy uint64 // bit i: crash i may lose this write
	crash int    // the number of a crash
}

// known is the time at which the caller knew the outcome of a write.
func (c *call) known() int64 {
	if c.outcome == unsure {
		return never
	}
	return c.end
}

// String says what was called, and what came of it, without a word of the token.
func (c *call) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%9.3f to %9.3f  ", seconds(c.start), seconds(c.end))
	if c.verb == crash {
		fmt.Fprintf(&b, "crash %d", c.crash+1)
		return b.String()
	}
	fmt.Fprintf(&b, "store %d  %s", c.store, c.verb)
	if c.secret > 0 {
		fmt.Fprintf(&b, " by secret %d", c.secret)
	}
	if c.verb == update {
		fmt.Fprintf(&b, " of version %d to %q", c.expected, shorten(c.payload))
	}
	fmt.Fprintf(&b, ": %s", c.outcome)
	if c.outcome == done {
		switch c.verb {
		case lookup:
			fmt.Fprintf(&b, ": %q, version %d", shorten(c.payload), c.version)
		case update:
			fmt.Fprintf(&b, ": version %d", c.version)
		case insert, insertTx:
			fmt.Fprintf(&b, ": %q, secret %d", shorten(c.payload), c.next)
		case rotate:
			fmt.Fprintf(&b, ": secret %d", c.next)
		}
	}
	if c.err != "" {
		fmt.Fprintf(&b, " (%s)", c.err)
	}
	return b.String()
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

// shorten returns a payload without its padding.
func shorten(payload string) string {
	short, _, _ := strings.Cut(payload, " ")
	return short
}

// A session is one session and its history. A new session takes its place when it is ended.
type session struct {
	mu      sync.Mutex
	id      int
	home    int      // the Store that writes it, or -1: each writes it
	user    *user    // whose it is; nil for nobody's
	unused  bool     // no call may count as a use of it
	row     int64    // the id of its row
	tokens  []string // tokens[i] holds secret i+1
	version int32    // the latest that a caller saw
	writes  int      // numbers the payloads
	ended   bool     // a caller saw that it has ended
	doubts  int      // calls in doubt
	calls   []*call
}

func (s *session) add(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
	switch {
	case c.outcome == unsure && c.verb.writes():
		s.doubts++
	case c.outcome == done && c.verb == revoke:
		s.ended = true
	case c.outcome == noSession && c.secret == len(s.tokens):
		s.ended = true
	case c.outcome == done && c.version > 0:
		s.version = max(s.version, c.version)
	}
}

// A crashWindow is a crash of the primary, with what it may lose: the writes whose callers knew of them no
// earlier than at these times, where never means that none may be lost.
type crashWindow struct {
	start, end   int64
	asynchronous int64 // of Insert and Update
	strict       int64 // of the other writes
	doubtful     int64 // of the other writes where they ended in doubt
}

// mayLose reports whether the crash may lose a write, although others have seen it.
func (w crashWindow) mayLose(c *call) bool {
	earliest := w.strict
	switch {
	case c.verb.asynchronous():
		earliest = w.asynchronous
	case c.outcome == unsure:
		earliest = w.doubtful
	}
	return earliest != never && c.known() >= earliest
}

// A history is that of one cluster.
type history struct {
	began time.Time

	ids atomic.Int64

	mu       sync.Mutex
	sessions []*session
	crashes  []crashWindow

	// anyOrder says that created_at was tampered with: nobody knows which of a user's sessions are the
	// oldest.
	anyOrder atomic.Bool
}

func newHistory() *history { return &history{began: time.Now()} }

func (h *history) now() int64 { return int64(time.Since(h.began)) }

func (h *history) newID() int { return int(h.ids.Add(1)) }

func (h *history) addSession(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sessions = append(h.sessions, s)
}

func (h *history) addCrash(c crashWindow) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.crashes = append(h.crashes, c)
}
