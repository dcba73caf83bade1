package main

import (
	"hash/fnv"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

type phase byte

const (
	absent phase = iota
	live
	dead
)

// facts are the truth about a session at a moment.
type facts struct {
	phase             phase
	version           int32
	payload           string
	current, previous int // secrets; unknown after a rotate in doubt

	// The previous secret opens the session until some moment between these two.
	graceFrom, graceTo int64

	limits
}

// limits are the bounds of an unused session's end. It ends between from and to, and no later than at the
// deadline, which lies between two moments as well.
type limits struct {
	idle                     int64 // the time that a use gives it; 0 if it does not expire
	from, to                 int64
	deadlineFrom, deadlineTo int64
}

// clockSlack is the tolerance between the clocks of the servers and of this program, which read one
// machine's.
const clockSlack = 2 * time.Millisecond

// limitsOf returns the limits after an insert.
func limitsOf(c *call) limits {
	l := limits{deadlineFrom: never, deadlineTo: never}
	if c.lifetime > 0 {
		l.deadlineFrom, l.deadlineTo = c.start+int64(c.lifetime), c.end+int64(c.lifetime)
	}
	l.idle = int64(c.idle + c.idle/3)
	return l.used(c.start, c.end)
}

// used returns the limits after a use between two moments. A use never brings the end nearer.
func (l limits) used(start, end int64) limits {
	if l.idle == 0 {
		l.from, l.to = l.deadlineFrom, l.deadlineTo
		return l
	}
	l.from = max(l.from, min(start+l.idle, l.deadlineFrom))
	if end == never {
		l.to = l.deadlineTo
	} else {
		l.to = max(l.to, min(end+l.idle, l.deadlineTo))
	}
	return l
}

// mayLive reports whether the session may not have expired when a call began.
func (l limits) mayLive(c *call) bool { return l.to == never || c.start <= l.to+int64(clockSlack) }

// mustLive reports whether the session cannot have expired before a call ended.
func (l limits) mustLive(c *call) bool {
	return l.from == never || c.known() < l.from-int64(clockSlack)
}

// unknown is a secret that no caller knows.
const unknown = -1

// A state is the model's knowledge at a moment: the facts, and the facts before each write that the next
// crash may lose, the oldest first. A lost write takes all later ones with it.
type state struct {
	facts
	crashes int
	undo    []facts
}

// sessionModel defines the answers that a Store may give about one session.
func sessionModel() porcupine.Model {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{state{}} },
		Step: func(s, input, _ any) []any { return s.(state).step(input.(*call)) },
		Equal: func(a, b any) bool {
			x, y := a.(state), b.(state)
			return x.facts == y.facts && x.crashes == y.crashes && slices.Equal(x.undo, y.undo)
		},
		Hash: func(s any) uint64 {
			x := s.(state)
			sum := fnv.New64a()
			_, _ = sum.Write([]byte{byte(x.phase), byte(x.version), byte(x.current), byte(x.crashes)})
			return sum.Sum64()
		},
	}
	return model.ToModel()
}

// step returns the states that may follow when a call takes effect, none if it cannot.
func (s state) step(c *call) []any {
	switch c.verb {
	case crash:
		return s.crash(c)
	case insert, insertTx:
		if s.phase != absent {
			return nil
		}
		next := facts{phase: live, version: 1, payload: c.payload, current: c.next, limits: limitsOf(c)}
		return s.write(c, next)
	case endSubject, endListed, endCapped:
		return s.endedByAnother(c)
	case listed:
		return s.listed(c)
	}
	if c.entry && c.verb == update && c.outcome != noSession && s.phase == absent {
		// A crash lost the entry, so a Set makes it anew.
		entry := facts{phase: live, version: 1, payload: c.payload, current: 1, limits: limitsOf(c)}
		made := s.write(c, entry)
		if c.outcome == unsure {
			made = append(made, s)
		}
		return made
	}
	switch c.outcome {
	case noSession:
		return s.when(s.phase != live || !s.mustOpen(c))
	case unsure:
		return s.doubtful(c)
	}
	if s.phase != live || !s.mayOpen(c) {
		return s.when(c.entry && c.verb == revoke) // a Delete does not tell whether there was an entry
	}
	next := s.facts
	switch c.verb {
	case proof:
		return []any{s}
	case lookup:
		return s.when(c.payload == s.payload && (c.entry || c.version == s.version))
	case update:
		if c.outcome == conflict {
			return s.when(c.expected != anyVersion && c.expected != s.version)
		}
		if !c.entry && (c.expected != anyVersion && c.expected != s.version || c.version != s.version+1) {
			return nil
		}
		next.payload, next.version = c.payload, s.version+1
		next.limits = s.used(c.start, c.known())
	case rotate:
		if c.outcome == rotated {
			return s.when(c.secret == s.previous)
		}
		if c.secret != s.current {
			return nil
		}
		next = s.renewed(c)
	case revoke:
		next = facts{phase: dead}
	}
	return s.write(c, next)
}

// doubtful handles a failed write, which took effect or was refused.
func (s state) doubtful(c *call) []any {
	if s.phase != live || !s.mayOpen(c) {
		return []any{s}
	}
	next := s.facts
	switch c.verb {
	case update:
		if !c.entry && c.expected != anyVersion && c.expected != s.version {
			return []any{s}
		}
		next.payload, next.version = c.payload, s.version+1
		next.limits = s.used(c.start, c.known())
	case rotate:
		if c.secret != s.current {
			return []any{s}
		}
		next = s.renewed(c)
	case revoke:
		next = facts{phase: dead}
	}
	if s.mustOpen(c) {
		return s.write(c, next)
	}
	return append(s.write(c, next), s)
}

// crash loses no write, or some of the last ones.
func (s state) crash(c *call) []any {
	if s.crashes != c.crash {
		return nil
	}
	after := []any{state{facts: s.facts, crashes: s.crashes + 1}}
	for _, earlier := range s.undo {
		after = append(after, state{facts: earlier, crashes: s.crashes + 1})
	}
	return after
}

// write moves to the next facts. A write that no crash may lose makes those before it safe too.
func (s state) write(c *call, next facts) []any {
	var undo []facts
	if c.lossy&(1<<s.crashes) != 0 {
		undo = append(slices.Clone(s.undo), s.facts)
	}
	return []any{state{facts: next, crashes: s.crashes, undo: undo}}
}

// when keeps the state if a condition holds.
func (s state) when(holds bool) []any {
	if holds {
		return []any{s}
	}
	return nil
}

// renewed returns the facts after a rotate. The grace begins at some moment of the call.
func (s state) renewed(c *call) facts {
	next := s.facts
	next.current, next.previous = c.next, s.current
	next.limits = s.used(c.start, c.known())
	next.graceFrom, next.graceTo = c.start+int64(grace), never
	if c.outcome == done {
		next.graceTo = c.end + int64(grace)
	} else {
		next.current = unknown
	}
	return next
}

// endedByAnother handles a call for other sessions that ends this one or may end it.
func (s state) endedByAnother(c *call) []any {
	if s.phase != live || !s.mayLive(c) {
		return s.when(c.verb != endListed || c.outcome != done || s.otherID())
	}
	ended := s.write(c, facts{phase: dead})
	if c.outcome == done && c.verb != endCapped {
		return ended
	}
	return append(ended, s)
}

// listed handles a list of a user's sessions, with or without this one.
func (s state) listed(c *call) []any {
	if c.outcome == noSession {
		return s.when(s.phase != live || !s.mustLive(c))
	}
	return s.when(s.phase == live && s.mayLive(c) || s.otherID())
}

// otherID reports whether this session's id may be another one's, because ids are handed out again after a
// crash.
func (s state) otherID() bool { return s.phase != live && s.crashes > 0 }

func (s state) mayOpen(c *call) bool {
	return s.mayLive(c) && (c.secret == s.current || c.secret == s.previous && c.start <= s.graceTo)
}

func (s state) mustOpen(c *call) bool {
	return s.mustLive(c) && (c.secret == s.current || c.secret == s.previous && c.known() < s.graceFrom)
}
