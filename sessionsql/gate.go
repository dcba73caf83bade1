package sessionsql

import "sync"

// gate counts calls under way, and lets none in once it is shut. (A WaitGroup alone may not be added to while it is waited
// for.)
type gate struct {
	mu     sync.RWMutex
	closed bool
	inside sync.WaitGroup
}

// enter reports whether the caller may go on; if so, it calls leave at the end.
func (g *gate) enter() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return false
	}
	g.inside.Add(1)
	return true
}

func (g *gate) leave() { g.inside.Done() }

// shut lets no further call in, and reports whether it was the first to do so.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := !g.closed
	g.closed = true
	return first
}

func (g *gate) wait() { g.inside.Wait() }
