package main

import (
	"math"
	"math/rand/v2"
	"sort"
)

// A zipf draws slots by Zipf's law, as sessions are used: a few very often, most of them rarely.
type zipf struct {
	ranked []int // the slots, the most used first
	draws  []int32
}

const (
	// zipfExponent is the one that YCSB uses for popular records.
	zipfExponent = 0.99

	// zipfDraws are drawn beforehand, because a draw takes as long as a hit.
	zipfDraws = 1 << 21
)

// newZipf draws from a number of slots. The same rank has the same slot in each run, and neighbours in rank
// are no neighbours in the table.
func newZipf(slots int) *zipf {
	rng := rand.New(rand.NewPCG(1, 2))
	z := &zipf{ranked: rng.Perm(slots), draws: make([]int32, zipfDraws)}
	cumulated, sum := make([]float64, slots), 0.0
	for rank := range cumulated {
		sum += math.Pow(float64(rank+1), -zipfExponent)
		cumulated[rank] = sum
	}
	for i := range z.draws {
		rank := sort.SearchFloat64s(cumulated, rng.Float64()*sum)
		z.draws[i] = int32(z.ranked[min(rank, slots-1)])
	}
	return z
}

// draw begins at any place and goes on from there, because a jump to each place would wait for the memory.
func (z *zipf) draw(c *caller) int {
	if c.drawn == 0 {
		c.drawn = c.rng.Uint32()
	}
	c.drawn++
	return int(z.draws[c.drawn%zipfDraws])
}
