package main

import (
	"fmt"
	"io"
	"slices"
)

// writeNear prints what the races of near do not show.
func (r *Report) writeNear(w io.Writer) {
	if len(r.Near) > 0 {
		header(w, "near cache", "callers", "for", "MiB", "hits")
	}
	for _, each := range r.Near {
		fmt.Fprintf(w, "  %s\t%d\t%d %%\t%.1f\t%.1f %%\n", each.Contestant, each.Callers, each.Percent,
			float64(each.Bytes)/(1<<20), 100*each.Hits)
	}
	if len(r.Staleness) > 0 {
		header(w, "seconds that a session was served after its logout", "network", "logouts", "median",
			"99 of 100", "most")
	}
	for _, each := range r.Staleness {
		n := len(each.Seconds)
		fmt.Fprintf(w, "  %s\t%s\t%d\t%.3f\t%.3f\t%.3f\n", each.Contestant,
			choose(each.Dropped, "packets dropped", "up"), n, median(each.Seconds), each.Seconds[n*99/100],
			slices.Max(each.Seconds))
	}
	if len(r.Polls) > 0 {
		header(w, "CPU ms a second, idle", "Stores", "near cache: server", "client", "none: server", "client")
	}
	for _, each := range r.Polls {
		fmt.Fprintf(w, "  sessionsql\t%d\t%.2f\t%.2f\t%.2f\t%.2f\n", each.Stores, each.With.Server,
			each.With.Client, each.Without.Server, each.Without.Client)
	}
}
