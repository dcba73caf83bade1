package main

import (
	"fmt"
	"math"
	"slices"
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

	// These are the meanings of a call to a session that is one of several; see user.callsOn.
	endSubject // RevokeSubject ends it
	endListed  // RevokeListed ends it
	endCapped  // an insert with MaxSessions may end it
	listed     // ListSubject returns it, or does not
	proof      // its token authorizes a call for other sessions
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
	unsure            // the call failed, so a write may happen at any time until the end
)

func (o outcome) String() string {
	return [...]string{"ok", "no session", "conflict", "rotated by another", "in doubt"}[o]
}

// never is later than every time.
const never = math.MaxInt64

// A call is one line of a session's history. Times are nanoseconds since the start of the history.
type call struct {
	verb       verb
	entry      bool // a call for a cache entry, which has no version
	recalled   bool // a lookup that the Store's memory answered
	store      int
	secret     int    // the number of the presented secret, from 1
	next       int    // the number of the secret that an insert or a rotate made; 0 if unknown
	expected   int32  // the version that an update expects
	payload    string // written or read
	version    int32  // returned or read
	outcome    outcome
	err        string
	start, end int64

	idle     time.Duration // how long the session lives without a use; 0 without a limit
	lifetime time.Duration // how long it lives at most; 0 without a limit
	unseen   bool          // the Store does not see the end of this session; see Store.InsertTx

	// The checker fills in the other fields.
	from  int64  // the time from which on the value may have been current
	lossy uint64 // bit i means that crash i may lose this write
	crash int    // the number of a crash
}

// known returns the time at which the caller knew the outcome of a write.
func (c *call) known() int64 {
	if c.outcome == unsure {
		return never
	}
	return c.end
}

// String describes the call and its outcome without the token.
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
	if c.recalled {
		b.WriteString(" from memory")
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
	home    int      // the Store that writes it; -1 means each
	user    *user    // its owner; nil without one
	unused  bool     // no call may count as a use of it
	row     int64    // the id of its row
	tokens  []string // tokens[i] holds secret i+1
	version int32    // the latest that a caller saw
	writes  int      // the number of writes, which is part of the payload
	ended   bool     // a caller saw that it has ended
	doubts  int      // the number of calls in doubt
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

// A crashWindow is a crash of the primary and the writes that it may lose: those that their callers knew no
// earlier than at these times. never means that none may be lost.
type crashWindow struct {
	start, end   int64
	asynchronous int64 // of Insert and Update
	strict       int64 // of the other writes
	doubtful     int64 // of the other writes where they ended in doubt
}

// mayLose reports whether the crash may lose a write, even one that others have seen.
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

// mayHaveLost reports whether a crash may have lost an asynchronous write that was acknowledged at a moment.
func (h *history) mayHaveLost(end int64) bool {
	return slices.ContainsFunc(h.crashes, func(w crashWindow) bool {
		return w.asynchronous <= end && end <= w.end
	})
}

// A history is the history of one cluster.
type history struct {
	began time.Time

	ids atomic.Int64

	mu       sync.Mutex
	sessions []*session
	crashes  []crashWindow

	// anyOrder means that a fault changed created_at, so the order of a user's sessions is unknown.
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

// recalled counts the lookups that memory answered.
func (h *history) recalled() (count int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sessions {
		for _, c := range s.calls {
			if c.recalled {
				count++
			}
		}
	}
	return count
}

func (h *history) addCrash(c crashWindow) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.crashes = append(h.crashes, c)
}
