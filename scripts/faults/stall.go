package main

import (
	"sync"
	"time"
)

const stallPeriod = 10 * time.Millisecond

// A stallMeter notes when the machine did not run this program, because every late event of that time has
// this cause.
type stallMeter struct {
	mu   sync.Mutex
	seen []interval
}

// watchStalls sleeps again and again, and notes when it wakes up late.
func (g *group) watchStalls() {
	const late = 3 * stallPeriod
	for last := g.history.now(); ; {
		select {
		case <-g.stopping:
			return
		case <-time.After(stallPeriod):
		}
		now := g.history.now()
		if now-last > int64(late) {
			g.stalls.mu.Lock()
			g.stalls.seen = append(g.stalls.seen, interval{last + int64(stallPeriod), now})
			g.stalls.mu.Unlock()
		}
		last = now
	}
}

// within returns how long the machine stood still in a span.
func (m *stallMeter) within(span interval) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return covered(span, m.seen)
}
