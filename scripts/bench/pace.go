package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A pacing offers operations at a fixed rate, whether or not the answers keep up.
type pacing struct {
	rate     int // operations a second, over all workers
	workers  int
	duration time.Duration
	log      *latencyLog // takes the latencies as they come; may be nil
}

// pace runs an operation at a fixed rate and returns the latencies. An operation that had to wait because the
// one before it was slow counts from when it was due, so that a stall is seen in full.
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
					from = time.Now() // waking late is the timer's fault
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

// take returns what was collected since the last time.
func (l *latencyLog) take() *hdrhistogram.Histogram {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.histogram
	l.histogram = newHistogram()
	return taken
}
