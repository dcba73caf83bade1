package main

import (
	"context"
	"sync"
	"time"
)

// A pulse notes when the machine stalls. It sends a small query to the primary at a steady rate, and takes
// the waits of all users. A stall delays keepalives, and a keepalive delayed by it is no broken promise.
type pulse struct {
	mu      sync.Mutex
	stalls  []stall
	longest time.Duration
}

type stall struct{ from, to time.Time }

const (
	beatInterval = 20 * time.Millisecond
	beatTimeout  = 10 * time.Second

	minStall = 100 * time.Millisecond // the shortest stall to remember

	// A keepalive takes longer than such a query, and waits in more queues.
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
	// An immediate error means that the server is down, which the users will find.
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

// keepaliveDelay returns how late a keepalive may have come, by the worst stall between two moments.
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
