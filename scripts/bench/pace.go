package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A pacing offers operations at a fixed rate, even if the answers are late.
type pacing struct {
	rate     int // operations in a second by all workers
	workers  int
	duration time.Duration
	log      *latencyLog // receives the latencies as they come; may be nil
}

// pace runs an operation at a fixed rate and returns the latencies. The latency of an operation that waited
// for a slow one counts from its due time, so that a stall shows in full.
func pace(
	ctx context.Context, p pacing, op func(context.Context, *caller) error,
) (*hdrhistogram.Histogram, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	all := p.log
	if all == nil {
		all = newLatencyLog()
	}
	interval := time.Duration(p.workers) * time.Second / time.Duration(p.rate)
	begin := time.Now()
	var wait sync.WaitGroup
	for i := range p.workers {
		wait.Go(func() {
			c := &caller{index: i, of: p.workers, rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
			due := begin.Add(time.Duration(i) * interval / time.Duration(p.workers))
			for ; due.Sub(begin) < p.duration; due = due.Add(interval) {
				from := due
				if early := time.Until(due); early > 0 {
					select {
					case <-time.After(early):
					case <-ctx.Done():
						return
					}
					from = time.Now() // because waking late is the timer's fault
				}
				if err := op(ctx, c); err != nil {
					cancel(err)
					return
				}
				all.add(time.Since(from))
			}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return all.take(), nil
}

// A latencyLog collects latencies from many goroutines.
type latencyLog struct {
	mu        sync.Mutex
	histogram *hdrhistogram.Histogram
}

func newLatencyLog() *latencyLog { return &latencyLog{histogram: newHistogram()} }

func (l *latencyLog) add(latency time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	record(l.histogram, latency)
}

// take returns the latencies since the last take.
func (l *latencyLog) take() *hdrhistogram.Histogram {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.histogram
	l.histogram = newHistogram()
	return taken
}
