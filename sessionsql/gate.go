package sessionsql

import "sync"

// A gate counts the calls under way, and lets none in once it is shut. It guards its WaitGroup, because calls
// of Add and Wait may not race.
type gate struct {
	mu     sync.RWMutex
	closed bool
	calls  sync.WaitGroup
}

// enter reports whether the caller may go on. If so, the caller calls leave at its end.
func (g *gate) enter() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return false
	}
	g.calls.Add(1)
	return true
}

func (g *gate) leave() { g.calls.Done() }

// shut lets no further call in, and reports whether it was the first to do so.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := !g.closed
	g.closed = true
	return first
}

func (g *gate) wait() { g.calls.Wait() }
