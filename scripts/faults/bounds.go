package main

import (
	"fmt"
	"io"
	"time"
)

// What a user relies on. A figure beyond it fails the run, less the time in which the machine stood still.
const (
	maxLookupsAway  = time.Second
	maxWritesBeyond = time.Second // of what a raw connection misses as well
	maxPastDeadline = 100 * time.Millisecond
)

// missed prints each bound that was not kept, and returns how many there are.
func (r *report) missed(to io.Writer) (count int) {
	miss := func(format string, args ...any) {
		count++
		fmt.Fprintf(to, "BOUND MISSED: "+format+"\n", args...)
	}
	for _, f := range r.findings {
		if away := f.lookupsAway - f.stalled; away > maxLookupsAway {
			miss("fault %d, %s: %.2f s without lookups", f.fault.number, f.fault.kind.name, away.Seconds())
		}
		if beyond := f.writesAway - f.rawAway - f.stalled; beyond > maxWritesBeyond {
			miss("fault %d, %s: %.2f s without writes beyond the raw connection, %s",
				f.fault.number, f.fault.kind.name, beyond.Seconds(), f.worst)
		}
	}
	if r.worstOwn > maxPastDeadline {
		miss("a call came %v after its deadline", r.worstOwn.Round(time.Millisecond))
	}
	return count
}
