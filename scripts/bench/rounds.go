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

// A contestant is one way to answer a scenario's question.
type contestant struct {
	name string
	cpu  meter

	op     func(ctx context.Context, c *caller) error // one operation
	finish func(ctx context.Context) error            // the measured work at a turn's end; may be nil
	reset  func(ctx context.Context) error            // makes all turns start alike; may be nil
}

// A caller is one of the goroutines that call a contestant at once.
type caller struct {
	index int
	of    int
	rng   *rand.Rand
	drawn uint32 // the place of the last draw in a zipf
}

// A turn bounds one contestant's work in a round by time, and by operations if ops is not 0.
type turn struct {
	callers int
	slice   time.Duration
	ops     int
	parts   int  // the parts that alternate with other contestants' parts; 0 means 1
	often   bool // the parts are five times as many
}

// part returns one part of the turn.
func (t turn) part() turn {
	parts := max(t.parts, 1)
	t.slice /= time.Duration(parts)
	if t.ops > 0 {
		t.ops = max(t.ops/parts, 1) // because 0 means no bound
	}
	return t
}

// interleaved splits the turn into parts, because a disturbance of the machine is short. One caller's latency
// feels it most, and so does a small difference. A part is no shorter than shortestPart, or its start and end
// would weigh too much. A turn that has its number of parts keeps it.
func (t turn) interleaved() turn {
	const shortestPart = 25 * time.Millisecond
	if t.parts > 0 {
		return t
	}
	t.parts = 8
	if t.callers == 1 || t.often {
		t.parts = 40
	}
	t.parts = max(min(t.parts, int(t.slice/shortestPart)), 1)
	return t
}

// A Sample is the measurement of one turn.
type Sample struct {
	Ops       int64   `json:"ops"`
	OpsPerS   float64 `json:"ops_per_s"`
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	ClientCPU float64 `json:"client_cpu_us"` // of an operation
	ServerCPU float64 `json:"server_cpu_us"` // of an operation
}

// CPU is an operation's cost for client and server in microseconds.
func (s Sample) CPU() float64 { return s.ClientCPU + s.ServerCPU }

// A Result is one contestant's turns, one for each round.
type Result struct {
	Contestant string   `json:"contestant"`
	Callers    int      `json:"callers"`
	Median     Sample   `json:"median"`
	Rounds     []Sample `json:"rounds"`
}

// race lets the contestants take turns. A short turn before each counts for nothing, because it opens
// connections and caches plans. Within a round the contestants alternate part by part, so that a disturbance
// meets all of them.
//
// race ends early after a round if late returns true.
func race(
	ctx context.Context, rounds int, late func() bool, t turn, contestants []contestant,
) ([]Result, error) {
	results := make([]Result, len(contestants))
	tallies := make([]*tally, len(contestants))
	for i, each := range contestants {
		results[i] = Result{Contestant: each.name, Callers: t.callers}
		tallies[i] = newTally()
		warmUp := turn{callers: t.callers, slice: min(t.slice/2, time.Second), ops: t.ops / 10}
		if _, err := run(ctx, each, warmUp); err != nil {
			return nil, err
		}
	}
	parts, part := max(t.parts, 1), t.part()
	for round := range rounds {
		if round > 0 && late() {
			break
		}
		for number := range parts {
			for i, each := range contestants {
				if err := tallies[i].play(ctx, each, part); err != nil {
					return nil, err
				}
				if number < parts-1 {
					continue
				}
				sample, err := tallies[i].end(ctx, each)
				if err != nil {
					return nil, err
				}
				results[i].Rounds = append(results[i].Rounds, sample)
			}
		}
	}
	for i := range results {
		results[i].Median = medianSample(results[i].Rounds)
	}
	return results, nil
}

// run plays one contestant's turn in one part.
func run(ctx context.Context, c contestant, t turn) (Sample, error) {
	alone := newTally()
	if err := alone.play(ctx, c, t); err != nil {
		return Sample{}, err
	}
	return alone.end(ctx, c)
}

// A tally adds up the parts of one contestant's turn.
type tally struct {
	latencies            *hdrhistogram.Histogram
	time, client, server time.Duration
}

func newTally() *tally { return &tally{latencies: newHistogram()} }

// play plays one part of a turn.
func (t *tally) play(ctx context.Context, c contestant, part turn) error {
	histograms := histogramsFor(part.callers)
	runtime.GC() // because no contestant should pay for another's garbage
	if err := t.measure(c, func() error { return call(ctx, c.op, part, histograms) }); err != nil {
		return fmt.Errorf("%s, %d callers: %w", c.name, part.callers, err)
	}
	for _, each := range histograms {
		t.latencies.Merge(each)
	}
	return nil
}

// end finishes a turn, returns its measurement, and empties the tally.
func (t *tally) end(ctx context.Context, c contestant) (Sample, error) {
	if c.finish != nil {
		if err := t.measure(c, func() error { return c.finish(ctx) }); err != nil {
			return Sample{}, fmt.Errorf("%s: finish: %w", c.name, err)
		}
	}
	if c.reset != nil {
		if err := c.reset(ctx); err != nil {
			return Sample{}, fmt.Errorf("%s: reset: %w", c.name, err)
		}
	}
	ops := t.latencies.TotalCount()
	perOp := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(max(ops, 1)) }
	sample := Sample{
		Ops:       ops,
		OpsPerS:   float64(ops) / t.time.Seconds(),
		P50:       microseconds(t.latencies, 50),
		P99:       microseconds(t.latencies, 99),
		ClientCPU: perOp(t.client),
		ServerCPU: perOp(t.server),
	}
	t.latencies.Reset()
	*t = tally{latencies: t.latencies}
	return sample, nil
}

// measure adds the time and the CPU time of a function.
func (t *tally) measure(c contestant, something func() error) error {
	serverBefore, err := c.cpu.used()
	if err != nil {
		return err
	}
	clientBefore, err := clientUsed() // last, because reading the servers' time takes time too
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := something(); err != nil {
		return err
	}
	t.time += time.Since(begin)
	clientAfter, err := clientUsed()
	if err != nil {
		return err
	}
	serverAfter, err := c.cpu.used()
	if err != nil {
		return err
	}
	t.client += clientAfter - clientBefore
	t.server += serverAfter - serverBefore
	return nil
}

// call runs an operation from all callers at once until the part is over, and records each caller's
// latencies.
func call(
	ctx context.Context, op func(context.Context, *caller) error, part turn,
	latencies []*hdrhistogram.Histogram,
) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var done atomic.Int64
	deadline := time.Now().Add(part.slice)
	var wait sync.WaitGroup
	for i := range part.callers {
		wait.Go(func() {
			c := &caller{index: i, of: part.callers, rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
			for now := time.Now(); now.Before(deadline); {
				if part.ops > 0 && done.Add(1) > int64(part.ops) {
					return
				}
				if err := op(ctx, c); err != nil {
					cancel(err)
					return
				}
				end := time.Now()
				record(latencies[i], end.Sub(now))
				now = end
			}
		})
	}
	wait.Wait()
	return context.Cause(ctx)
}

// newHistogram keeps latencies in tenths of a microsecond up to a minute, to three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 600_000_000, 3) }

func record(h *hdrhistogram.Histogram, latency time.Duration) {
	_ = h.RecordValue(min(max(latency.Nanoseconds()/100, 1), h.HighestTrackableValue()))
}

func microseconds(h *hdrhistogram.Histogram, percentile float64) float64 {
	return float64(h.ValueAtPercentile(percentile)) / 10
}

// histograms serve every part, because at 256 callers they would be too much garbage.
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

// ratio returns the median over the rounds of one contestant's figure divided by another's in the same round.
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
func serverCPU(s Sample) float64  { return s.ServerCPU }
func p50(s Sample) float64        { return s.P50 }
func p99(s Sample) float64        { return s.P99 }
