package main

import (
	"slices"
	"sync"
	"time"
)

// samples keep all durations, because a demonstration has few enough of them to sort.
type samples struct {
	mu  sync.Mutex
	all []time.Duration
}

func (s *samples) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

// percentiles returns, for each share between 0 and 1, the duration that this share of the samples does not
// exceed.
func (s *samples) percentiles(shares ...float64) []time.Duration {
	s.mu.Lock()
	sorted := slices.Sorted(slices.Values(s.all))
	s.mu.Unlock()
	found := make([]time.Duration, len(shares))
	if len(sorted) == 0 {
		return found
	}
	for i, share := range shares {
		found[i] = sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
	}
	return found
}
