package main

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// A series is the results of a probe's calls at even intervals.
type series struct {
	name   string
	period time.Duration

	mu      sync.Mutex
	results []result
}

type result struct {
	start, end int64
	ok         bool
}

// An interval is a span of time, in nanoseconds since the start of the history.
type interval struct{ from, to int64 }

func (i interval) length() time.Duration { return time.Duration(max(0, i.to-i.from)) }

func (s *series) add(r result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results = append(s.results, r)
}

// goodSince reports whether a call that began at or after a moment succeeded.
func (s *series) goodSince(moment int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range slices.Backward(s.results) {
		if r.ok && r.start >= moment {
			return true
		}
	}
	return false
}

// outage returns the longest time within the window without a successful end, or in which every call failed,
// whichever is longer.
func (s *series) outage(window interval) interval {
	s.mu.Lock()
	results := slices.Clone(s.results)
	s.mu.Unlock()
	var longest interval
	consider := func(i interval) {
		i.from, i.to = max(i.from, window.from), min(i.to, window.to) // another fault caused the rest
		if i.length() > longest.length() {
			longest = i
		}
	}

	// The time between two successful ends counts without the interval between two calls.
	slices.SortFunc(results, func(a, b result) int { return cmp.Compare(a.end, b.end) })
	last := window.from
	for _, r := range results {
		if r.ok {
			consider(interval{last + int64(s.period), r.end})
			last = r.end
		}
	}
	consider(interval{last + int64(s.period), window.to})

	// The time counts from the first of several failed calls until a later call has succeeded.
	slices.SortFunc(results, func(a, b result) int { return cmp.Compare(a.start, b.start) })
	failing := int64(-1)
	for i, r := range results {
		switch {
		case !r.ok && failing < 0:
			failing = r.start
		case r.ok && failing >= 0:
			consider(interval{failing, firstGood(results[i:])})
			failing = -1
		}
	}
	if failing >= 0 {
		consider(interval{failing, window.to})
	}
	return longest
}

// firstGood returns the end of the first success. The results are in the order of their starts, and the first
// one is a success. It may have waited while a server hung, and end after later calls.
func firstGood(results []result) int64 {
	first := results[0].end
	for _, r := range results {
		if r.start >= first {
			break
		}
		if r.ok {
			first = min(first, r.end)
		}
	}
	return first
}

// answering returns the spans between two successes close to each other, in which a server answered.
func (s *series) answering() []interval {
	const apart = 4
	s.mu.Lock()
	defer s.mu.Unlock()
	var times []interval
	last := int64(-1)
	for _, r := range s.results {
		if !r.ok {
			continue
		}
		if last >= 0 && r.end-last <= apart*int64(s.period) {
			times = append(times, interval{last, r.end})
		}
		last = r.end
	}
	return times
}

// covered returns how much of a span lies within at least one of the others.
func covered(span interval, others []interval) time.Duration {
	slices.SortFunc(others, func(a, b interval) int { return cmp.Compare(a.from, b.from) })
	var sum time.Duration
	at := span.from
	for _, o := range others {
		part := interval{max(at, o.from), min(span.to, o.to)}
		if part.from < part.to {
			sum += part.length()
			at = part.to
		}
	}
	return sum
}
