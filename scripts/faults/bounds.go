package main

import (
	"fmt"
	"io"
	"time"
)

// A bound is a limit that users rely on. A longer time is printed. A time beyond the slack too fails the run,
// because even a busy machine is never slow for so long. Writes have the most slack, because a thawed server
// takes in the pools of all Stores at once.
type bound struct {
	most, slack time.Duration
	what        string
}

var (
	lookupsBound  = bound{time.Second, time.Second, "without lookups"}
	writesBound   = bound{time.Second, 3 * time.Second, "without writes beyond the raw connection"}
	deadlineBound = bound{maxPastDeadline, 900 * time.Millisecond, "after the deadline of a call"}
)

const maxPastDeadline = 100 * time.Millisecond

// missed prints each broken bound, and returns how many fail the run. The stalls of the machine do not count.
func (r *report) missed(to io.Writer) (failed int) {
	check := func(b bound, took time.Duration, where string) {
		switch {
		case took > b.most+b.slack:
			failed++
			fmt.Fprintf(to, "FAILED: %.2f s %s: %s\n", took.Seconds(), b.what, where)
		case took > b.most:
			fmt.Fprintf(to, "slow: %.2f s %s: %s\n", took.Seconds(), b.what, where)
		}
	}
	for _, f := range r.findings {
		where := fmt.Sprintf("fault %d, %s", f.fault.number, f.fault.kind.name)
		check(lookupsBound, f.lookupsAway-f.stalled, where)
		check(writesBound, f.writesAway-f.rawAway-f.stalled, where+", "+f.worst)
	}
	check(deadlineBound, r.worstOwn, r.worstOn)
	return failed
}
