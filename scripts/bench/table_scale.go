package main

import (
	"fmt"
	"io"
)

// writeScale prints the costs of verbs as the table grows.
func (r *Report) writeScale(w io.Writer) {
	if len(r.Scale) > 0 {
		header(w, "scale, one operation, without page images / after a checkpoint", "rows", "CPU us",
			"sending us", "replay us", "WAL bytes", "records")
	}
	for _, each := range r.Scale {
		both := func(pick func(Cost) float64, decimals int) string {
			if pick(each.Between) == 0 && pick(each.AfterCheckpoint) == 0 {
				return "-" // because there was no standby
			}
			return figure(pick(each.Between), decimals) + " / " +
				figure(pick(each.AfterCheckpoint), decimals)
		}
		fmt.Fprintf(w, "  %s\t%d\t%s\t%s\t%s\t%s\t%s\n", each.Verb, each.Rows,
			both(func(c Cost) float64 { return c.CPU }, 1),
			both(func(c Cost) float64 { return c.Sending }, 1),
			both(func(c Cost) float64 { return c.Replay }, 1),
			both(func(c Cost) float64 { return c.WAL }, 0),
			both(func(c Cost) float64 { return c.Records }, 1))
	}
	if len(r.Vacuum) > 0 {
		header(w, "vacuum of sessions, one dead row", "rows", "dead", "seconds", "index scans",
			"dirtied pages", "CPU us", "replay us", "WAL bytes", "records")
	}
	for _, each := range r.Vacuum {
		c := each.Cost
		fmt.Fprintf(w, "  %s\t%d\t%d\t%.1f\t%d\t%d\t%s\t%s\t%s\t%s\n",
			choose(each.Throttled, "throttled, after a checkpoint", "not throttled, without page images"),
			each.Rows, each.Dead, each.Seconds, each.IndexScans, each.Dirtied,
			figure(c.CPU, 1), choose(c.Replay > 0, figure(c.Replay, 1), "-"), figure(c.WAL, 0),
			figure(c.Records, 1))
	}
}
