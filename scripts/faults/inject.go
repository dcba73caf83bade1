package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A finding is the effect of a fault.
type finding struct {
	fault  *fault
	group  int
	window interval

	writesAway  time.Duration // of the worst Store
	rawAway     time.Duration // writes of the worst raw connection
	lookupsAway time.Duration // of the worst Store, while a server answered
	worst       string        // the worst writes
	stalled     time.Duration // how long the machine stood still
	logLines    int           // of the most talkative Store
	violations  []violation
}

// settleTimeout is the longest wait for the Stores after the servers are well again.
const settleTimeout = 5 * time.Second

// inject lets one fault happen, waits until everything works again, and measures the outage.
func (g *group) inject(ctx context.Context, f *fault) (finding, error) {
	if err := sleep(ctx, f.pause); err != nil {
		return finding{}, err
	}
	g.mu.Lock()
	g.current = f
	g.mu.Unlock()
	start := g.history.now()
	if err := f.kind.run(ctx, g, f); err != nil {
		return finding{}, fmt.Errorf("fault %d, %s: %w", f.number, f.kind.name, err)
	}
	if err := g.settle(ctx); err != nil {
		return finding{}, err
	}
	found := finding{fault: f, group: g.number, window: interval{start, g.history.now()}}
	g.measure(&found)
	return found, nil
}

// settle waits until every probe has succeeded again or the time is up.
func (g *group) settle(ctx context.Context) error {
	healed := g.history.now()
	probes := slices.Concat(g.rawWrites, g.writes, g.lookups)
	for deadline := time.Now().Add(settleTimeout); time.Now().Before(deadline); {
		well := true
		for _, s := range probes {
			well = well && s.goodSince(healed)
		}
		if well {
			break
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return sleep(ctx, 200*time.Millisecond)
}

func (g *group) measure(found *finding) {
	found.stalled = g.stalls.within(found.window)
	for _, s := range g.rawWrites {
		found.rawAway = max(found.rawAway, s.outage(found.window).length())
	}
	for _, s := range g.writes {
		if away := s.outage(found.window).length(); away > found.writesAway {
			found.writesAway, found.worst = away, s.name
		}
	}
	var answering []interval
	for _, s := range g.rawReads {
		answering = append(answering, s.answering()...)
	}
	for _, s := range g.lookups {
		found.lookupsAway = max(found.lookupsAway, covered(s.outage(found.window), answering))
	}
}

// crashed notes a crash of the primary between w.start and now.
func (g *group) crashed(w crashWindow) {
	w.end = g.history.now()
	g.history.addCrash(w)
}

// asyncLoss is how long an asynchronous commit may stay in memory, which is three times wal_writer_delay.
const asyncLoss = 600 * time.Millisecond
