package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
)

// A plan is the faults of each group. It depends only on the seed, the kinds and the number of times.
type plan [][]*fault

// newPlan lets each kind happen so many times, in an order that the seed decides. Without a kind that
// promotes a replica, there is one group for each seven faults.
func newPlan(seed uint64, kinds []*kind, times int) plan {
	rng := rand.New(rand.NewPCG(seed, 0))
	var plain, promotions []*kind
	for range times {
		for _, k := range kinds {
			if k.promotes {
				promotions = append(promotions, k)
			} else {
				plain = append(plain, k)
			}
		}
	}
	for _, list := range [][]*kind{plain, promotions} {
		rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}

	const perGroup = 7
	groups := len(promotions)
	if groups == 0 {
		groups = (len(plain) + perGroup - 1) / perGroup
	}
	p := make(plan, groups)
	number := 0
	for i := range p {
		own := plain[i*len(plain)/groups : (i+1)*len(plain)/groups]
		if i < len(promotions) {
			own = append(own[:len(own):len(own)], promotions[i])
		}
		for _, k := range own {
			number++
			p[i] = append(p[i], newFault(rng, number, k))
		}
	}
	return p
}

func newFault(rng *rand.Rand, number int, k *kind) *fault {
	return &fault{
		number:  number,
		kind:    k,
		pause:   between(rng, 50*time.Millisecond, 300*time.Millisecond),
		hold:    between(rng, k.from, k.to),
		replica: 1 + rng.IntN(2),
	}
}

func between(rng *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(rng.Int64N(int64(to-from)))
}

// print lists the plan.
func (p plan) print(to io.Writer) {
	for i, faults := range p {
		printFaults(to, i+1, faults)
	}
}

func printFaults(to io.Writer, group int, faults []*fault) {
	for _, f := range faults {
		fmt.Fprintf(to, "%3d  group %d  %-30s replica %d  after %v for %v\n", f.number, group,
			f.kind.name, f.replica, f.pause.Round(time.Millisecond), f.hold.Round(time.Millisecond))
	}
}

// choose returns the kinds whose names begin with one of the given names, and all kinds without a name.
func choose(names string, from []*kind) ([]*kind, error) {
	if names == "" {
		return from, nil
	}
	var chosen []*kind
	for name := range strings.SplitSeq(names, ";") {
		before := len(chosen)
		for _, k := range from {
			if strings.HasPrefix(k.name, strings.TrimSpace(name)) {
				chosen = append(chosen, k)
			}
		}
		if len(chosen) == before {
			return nil, fmt.Errorf("no kind of fault begins with %q", name)
		}
	}
	return chosen, nil
}
