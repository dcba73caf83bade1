package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A contestant is one way of doing what a scenario is about.
type contestant struct {
	name string
	cpu  meter

	op     func(ctx context.Context, c *caller) error // one operation
	finish func(ctx context.Context) error            // what is left to do after a turn; measured. May be nil.
	reset  func(ctx context.Context) error            // makes the next turn's start the same as this one's. May be nil.
}

// A caller is one of the goroutines that call a contestant at the same time.
type caller struct {
	index int
	of    int
	rng   *rand.Rand
}

// A turn bounds what one contestant does in one round: by time, and by operations where ops is not 0.
type turn struct {
	callers int
	slice   time.Duration
	ops     int
}

// A Sample is what one turn measured.
type Sample struct {
	Ops       int64   `json:"ops"`
	OpsPerS   float64 `json:"ops_per_s"`
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	ClientCPU float64 `json:"client_cpu_us"` // an operation
	ServerCPU float64 `json:"server_cpu_us"` // an operation
}

// CPU is what an operation costs, client and server together, in microseconds.
func (s Sample) CPU() float64 { return s.ClientCPU + s.ServerCPU }

// A Result is one contestant's turns, one a round.
type Result struct {
	Contestant string   `json:"contestant"`
	Callers    int      `json:"callers"`
	Median     Sample   `json:"median"`
	Rounds     []Sample `json:"rounds"`
}

// race lets the contestants take turns, A B C A B C, after one short turn each that is not counted: connections are then
// open and plans cached.
//
// It ends after a round when late says so.
func race(ctx context.Context, rounds int, late func() bool, t turn, contestants []contestant) ([]Result, error) {
	results := make([]Result, len(contestants))
	for i, each := range contestants {
		results[i] = Result{Contestant: each.name, Callers: t.callers}
		warmUp := turn{callers: t.callers, slice: min(t.slice/2, time.Second), ops: t.ops / 10}
		if _, err := run(ctx, each, warmUp); err != nil {
			return nil, err
		}
	}
	for round := range rounds {
		if round > 0 && late() {
			break
		}
		for i, each := range contestants {
			sample, err := run(ctx, each, t)
			if err != nil {
				return nil, err
			}
			results[i].Rounds = append(results[i].Rounds, sample)
		}
	}
	for i := range results {
		results[i].Median = medianSample(results[i].Rounds)
	}
	return results, nil
}

// run is one contestant's turn.
func run(ctx context.Context, c contestant, t turn) (Sample, error) {
	runtime.GC() // no contestant pays for another's garbage
	serverBefore, err := c.cpu.used()
	if err != nil {
		return Sample{}, err
	}
	clientBefore, err := clientUsed() // last, because looking at the servers takes time too
	if err != nil {
		return Sample{}, err
	}
	begin := time.Now()
	latencies, err := call(ctx, c.op, t)
	if err == nil && c.finish != nil {
		err = c.finish(ctx)
	}
	seconds := time.Since(begin).Seconds()
	if err != nil {
		return Sample{}, fmt.Errorf("%s, %d callers: %w", c.name, t.callers, err)
	}
	clientAfter, err := clientUsed()
	if err != nil {
		return Sample{}, err
	}
	serverAfter, err := c.cpu.used()
	if err != nil {
		return Sample{}, err
	}
	if c.reset != nil {
		if err := c.reset(ctx); err != nil {
			return Sample{}, fmt.Errorf("%s: reset: %w", c.name, err)
		}
	}
	ops := latencies.TotalCount()
	perOp := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(max(ops, 1)) }
	return Sample{
		Ops:       ops,
		OpsPerS:   float64(ops) / seconds,
		P50:       microseconds(latencies, 50),
		P99:       microseconds(latencies, 99),
		ClientCPU: perOp(clientAfter - clientBefore),
		ServerCPU: perOp(serverAfter - serverBefore),
	}, nil
}

// call runs an operation from all callers at once until the turn is over, and returns the latencies.
func call(ctx context.Context, op func(context.Context, *caller) error, t turn) (*hdrhistogram.Histogram, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var done atomic.Int64
	histograms := histogramsFor(t.callers)
	deadline := time.Now().Add(t.slice)
	var wait sync.WaitGroup
	for i := range t.callers {
		wait.Go(func() {
			c := &caller{index: i, of: t.callers, rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
			for now := time.Now(); now.Before(deadline); {
				if t.ops > 0 && done.Add(1) > int64(t.ops) {
					return
				}
				if err := op(ctx, c); err != nil {
					cancel(err)
					return
				}
				end := time.Now()
				record(histograms[i], end.Sub(now))
				now = end
			}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	all := histograms[0]
	for _, each := range histograms[1:] {
		all.Merge(each)
	}
	return all, nil
}

// Latencies are kept in tenths of a microsecond up to a minute, to three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 600_000_000, 3) }

func record(h *hdrhistogram.Histogram, latency time.Duration) {
	_ = h.RecordValue(min(max(latency.Nanoseconds()/100, 1), h.HighestTrackableValue()))
}

func microseconds(h *hdrhistogram.Histogram, percentile float64) float64 {
	return float64(h.ValueAtPercentile(percentile)) / 10
}

// histograms are used again by the next turn: at 256 callers they are too large to be another contestant's garbage.
var histograms []*hdrhistogram.Histogram

func histogramsFor(callers int) []*hdrhistogram.Histogram {
	for len(histograms) < callers {
		histograms = append(histograms, newHistogram())
	}
	for _, each := range histograms[:callers] {
		each.Reset()
	}
	return histograms[:callers]
}

func medianSample(rounds []Sample) Sample {
	of := func(pick func(Sample) float64) float64 { return medianOf(rounds, pick) }
	return Sample{
		Ops:       int64(of(func(s Sample) float64 { return float64(s.Ops) })),
		OpsPerS:   of(func(s Sample) float64 { return s.OpsPerS }),
		P50:       of(func(s Sample) float64 { return s.P50 }),
		P99:       of(func(s Sample) float64 { return s.P99 }),
		ClientCPU: of(func(s Sample) float64 { return s.ClientCPU }),
		ServerCPU: of(func(s Sample) float64 { return s.ServerCPU }),
	}
}

func medianOf[T any](all []T, pick func(T) float64) float64 {
	values := make([]float64, len(all))
	for i, each := range all {
		values[i] = pick(each)
	}
	return median(values)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// ratio is the median over the rounds of what one contestant measured to what another did in the same round.
func ratio(a, b Result, pick func(Sample) float64) float64 {
	var ratios []float64
	for i := range min(len(a.Rounds), len(b.Rounds)) {
		if below := pick(b.Rounds[i]); below > 0 {
			ratios = append(ratios, pick(a.Rounds[i])/below)
		}
	}
	return median(ratios)
}

func throughput(s Sample) float64 { return s.OpsPerS }
func cpu(s Sample) float64        { return s.CPU() }
func p50(s Sample) float64        { return s.P50 }
