package sessionsql

import (
	"sync"
	"sync/atomic"
)

// A gate counts the calls under way, and lets none in once it is shut.
type gate struct {
	state atomic.Int64   // the calls under way, plus shutState once the gate is shut
	calls sync.WaitGroup // ends when the last call has left a shut gate
	last  sync.Once
}

const shutState = -1 << 62

// enter reports whether the caller may go on. If so, the caller calls leave at its end.
func (g *gate) enter() bool {
	if g.state.Add(1) > 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.state.Add(-1) == shutState {
		g.last.Do(g.calls.Done)
	}
}

// shut lets no further call in, and reports whether it was the first to do so. Only one caller at a time may
// call it.
func (g *gate) shut() bool {
	if g.isShut() {
		return false
	}
	g.calls.Add(1)
	g.state.Add(shutState + 1) // like a call that enters
	g.leave()
	return true
}

// isShut is for calls that need not be waited for.
func (g *gate) isShut() bool { return g.state.Load() < 0 }

func (g *gate) wait() { g.calls.Wait() }
