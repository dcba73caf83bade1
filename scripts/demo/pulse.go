package main

import (
	"context"
	"sync"
	"time"
)

// pulse feels whether the machine keeps up: from a steady small question to the primary, on a connection of
// its own, and from how long every user waits. When it falters, this program or the servers were held up for
// that long, and a keepalive that came late meanwhile is no broken promise.
type pulse struct {
	mu      sync.Mutex
	stalls  []stall
	longest time.Duration
}

type stall struct{ from, to time.Time }

const (
	beatInterval = 20 * time.Millisecond
	beatTimeout  = 10 * time.Second

	minStall = 100 * time.Millisecond // what is remembered

	// A keepalive is a longer statement than those that are felt here, and stands in more queues.
	keepaliveFactor = 3
)

// run asks until ctx ends.
func (p *pulse) run(ctx context.Context, ask func(context.Context) error) {
	due := time.Now()
	for rest(ctx, beatInterval) {
		p.beat(ctx, due.Add(beatInterval), ask)
		due = time.Now()
	}
}

func (p *pulse) beat(ctx context.Context, due time.Time, ask func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), beatTimeout)
	defer cancel()
	// An error that comes at once says that the server is not there, which is for the users to find.
	_ = ask(ctx)
	p.felt(stall{from: due, to: time.Now()})
}

func (p *pulse) felt(s stall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	length := s.to.Sub(s.from)
	p.longest = max(p.longest, length)
	if length >= minStall {
		p.stalls = append(p.stalls, s)
	}
}

// keepaliveDelay is how late a keepalive may have come, to judge by the worst stall of which a part was
// between two moments.
func (p *pulse) keepaliveDelay(from, to time.Time) (delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.stalls {
		if s.from.Before(to) && s.to.After(from) {
			delay = max(delay, keepaliveFactor*s.to.Sub(s.from))
		}
	}
	return delay
}
