package main

import (
	"hash/fnv"
	"slices"

	"github.com/anishathalye/porcupine"
)

type phase byte

const (
	absent phase = iota
	live
	dead
)

// facts is what is true of a session at a moment.
type facts struct {
	phase             phase
	version           int32
	payload           string
	current, previous int // secrets; unknown if a rotate in doubt made it

	// The previous secret opens the session until some moment between these two.
	graceFrom, graceTo int64
}

// unknown is a secret that no caller knows.
const unknown = -1

// A state is what the model knows at a moment: the facts, and what they were before each write that the next
// crash may lose, the oldest first. A lost write takes all later ones with it.
type state struct {
	facts
	crashes int
	undo    []facts
}

// sessionModel says what a Store may answer about one session.
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
		return s.write(c, facts{phase: live, version: 1, payload: c.payload, current: c.next})
	}
	switch c.outcome {
	case noSession:
		return s.when(s.phase != live || !s.mustOpen(c))
	case unsure:
		return s.doubtful(c)
	}
	if s.phase != live || !s.mayOpen(c) {
		return nil
	}
	next := s.facts
	switch c.verb {
	case lookup:
		return s.when(c.payload == s.payload && c.version == s.version)
	case update:
		if c.outcome == conflict {
			return s.when(c.expected != anyVersion && c.expected != s.version)
		}
		if c.expected != anyVersion && c.expected != s.version || c.version != s.version+1 {
			return nil
		}
		next.payload, next.version = c.payload, s.version+1
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

// doubtful is a write that failed. It took effect, or the server refused it.
func (s state) doubtful(c *call) []any {
	if s.phase != live || !s.mayOpen(c) {
		return []any{s}
	}
	next := s.facts
	switch c.verb {
	case update:
		if c.expected != anyVersion && c.expected != s.version {
			return []any{s}
		}
		next.payload, next.version = c.payload, s.version+1
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

// when leaves the state as it is where a condition holds.
func (s state) when(holds bool) []any {
	if holds {
		return []any{s}
	}
	return nil
}

// renewed is what a rotate makes. The grace begins at some moment of the call.
func (s state) renewed(c *call) facts {
	next := s.facts
	next.current, next.previous = c.next, s.current
	next.graceFrom, next.graceTo = c.start+int64(grace), never
	if c.outcome == done {
		next.graceTo = c.end + int64(grace)
	} else {
		next.current = unknown
	}
	return next
}

func (s state) mayOpen(c *call) bool {
	return c.secret == s.current || c.secret == s.previous && c.start <= s.graceTo
}

func (s state) mustOpen(c *call) bool {
	return c.secret == s.current || c.secret == s.previous && c.known() < s.graceFrom
}
