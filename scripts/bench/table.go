package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// writeTable prints a report for a person.
func (r *Report) writeTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s run, medians of %d rounds, contestants in turns, "+
		"all over loopback TCP on one machine\n", r.Mode, r.Rounds)
	fmt.Fprintf(w, "machine: %s\n", pairs(r.Machine))
	fmt.Fprintf(w, "versions: %s\n", pairs(r.Versions))
	fmt.Fprintf(w, "PostgreSQL settings: %s\n", pairs(r.Settings))
	for _, each := range scenarios {
		for _, name := range slices.Sorted(maps.Keys(r.Races)) {
			if each.owns(name) {
				writeRace(w, name, r.Races[name])
			}
		}
	}
	r.writeUpkeep(w)
	if len(r.Ratios) > 0 {
		header(w, "ratio", "value", "goal", "", "meaning")
	}
	for _, g := range goals {
		value, measured := r.Ratios[g.key]
		if !measured {
			continue
		}
		fmt.Fprintf(w, "  %s\t%.3g\t%s %.4g\t%s\t%s\n", g.key, value, choose(g.least, ">=", "<="), g.bound,
			choose(g.met(value), "reached", "MISSED"), g.meaning)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	return w.Flush()
}

func writeRace(w io.Writer, name string, results []Result) {
	header(w, name, "callers", "op/s", "p50 us", "p99 us", "CPU us/op", "client", "server",
		"ours to it: op/s", "p50", "p99", "CPU")
	for _, one := range results {
		m, ours := one.Median, oursBeside(results, one.Callers)
		fmt.Fprintf(w, "  %s\t%d\t%.0f\t%s\t%s\t%s\t%s\t%s\t%.2f\t%.2f\t%.2f\t%.2f\n",
			one.Contestant, one.Callers, m.OpsPerS, figure(m.P50, 0), figure(m.P99, 0),
			figure(m.CPU(), 1), figure(m.ClientCPU, 1), figure(m.ServerCPU, 1),
			ratio(ours, one, throughput), ratio(ours, one, p50), ratio(ours, one, p99),
			ratio(ours, one, cpu))
	}
}

// figure writes a number with at least so many decimals, and with one more if it is small.
func figure(value float64, decimals int) string {
	if value > 0 && value < 9.95/math.Pow10(decimals) {
		decimals++
	}
	return strconv.FormatFloat(value, 'f', decimals, 64)
}

// oursBeside returns the Store's result in the race with this many callers. It is our last one, because the
// function behind the Store may take part too.
func oursBeside(results []Result, callers int) (ours Result) {
	for _, each := range results {
		if each.Callers == callers && isOurs(each.Contestant) {
			ours = each
		}
	}
	return ours
}

// writeUpkeep prints the scenarios without a race.
func (r *Report) writeUpkeep(w io.Writer) {
	if len(r.Keepalive) > 0 {
		header(w, "keepalive, per row", "rows", "CPU us", "time us", "WAL bytes",
			"first pass after a checkpoint", "last pass", "HOT")
	}
	for _, k := range r.Keepalive {
		fmt.Fprintf(w, "  %s\t%d\t%.1f\t%.1f\t%.0f\t%s\t%s\t%.2f %%\n",
			k.Contestant, k.Rows, k.CPU, k.Time, k.WAL, orDash(k.FirstPass), orDash(k.LastPass), 100*k.HOT)
	}
	if len(r.Reap) > 0 {
		header(w, "reap, per call", "table rows", "expired", "reaped", "page reads", "CPU us", "time us")
	}
	for _, each := range r.Reap {
		fmt.Fprintf(w, "  %s\t%d\t%d\t%.0f\t%.0f\t%.0f\t%.0f\n",
			each.Contestant, each.Rows, each.Expired, each.Reaped, each.Pages, each.CPU, each.Time)
	}
	if len(r.ReapLoop) > 0 {
		title := fmt.Sprintf("lookups at %d/s beside %d expiries/s", offeredLookups, expiries)
		header(w, title, "p50 us", "p99 us", "backlog at most")
	}
	for _, each := range r.ReapLoop {
		fmt.Fprintf(w, "  %s\t%.0f\t%.0f\t%.0f\n", each.Contestant, each.P50, each.P99, each.Backlog)
	}
	r.writeNear(w)
	r.writeScale(w)
	writeSteady(w, "steady, last third", r.Steady)
	writeSteady(w, "cache churn, last third", r.Churn)
	if len(r.Stampede) > 0 {
		header(w, "stampede on a missing entry", "callers", "clients", "loads at most", "ms")
	}
	for _, each := range r.Stampede {
		fmt.Fprintf(w, "  %s\t%d\t%d\t%d\t%.0f\n", each.Contestant, each.Callers, each.Clients,
			slices.Max(each.Loads), median(each.Time))
	}
	if len(r.Payload) > 0 {
		header(w, fmt.Sprintf("payload, %d callers", payloadCallers), "bytes", "compression", "insert/s",
			"CPU us", "lookup/s", "CPU us", "bytes a row")
	}
	for _, each := range r.Payload {
		fmt.Fprintf(w, "  %s\t%d\t%s\t%.0f\t%.1f\t%.0f\t%.1f\t%.0f\n", each.Kind, each.Size, each.Compression,
			each.Insert.OpsPerS, each.Insert.CPU(), each.Lookup.OpsPerS, each.Lookup.CPU(), each.Bytes)
	}
}

func writeSteady(w io.Writer, title string, variants []Steady) {
	if len(variants) > 0 {
		header(w, title, "live rows", "table MB", "index MB", "x live bytes", "dead tuples", "HOT", "backlog",
			"lookup p99 us")
	}
	for _, each := range variants {
		of := func(pick func(SteadyState) float64) float64 { return medianOf(each.lastThird(), pick) }
		fmt.Fprintf(w, "  %s\t%.0f\t%.1f\t%.1f\t%.2f\t%.0f\t%.2f %%\t%.0f\t%.0f\n", each.Contestant,
			of(func(s SteadyState) float64 { return s.LiveRows }),
			of(func(s SteadyState) float64 { return s.TableBytes })/1e6,
			of(func(s SteadyState) float64 { return s.IndexBytes })/1e6,
			of(func(s SteadyState) float64 { return s.TableBytes / s.LiveBytes }),
			of(func(s SteadyState) float64 { return s.DeadTuples }),
			of(func(s SteadyState) float64 { return 100 * s.HOT }),
			of(func(s SteadyState) float64 { return s.Backlog }),
			of(func(s SteadyState) float64 { return s.P99 }))
	}
}

// header begins a table with the names of its columns.
func header(w io.Writer, columns ...string) { fmt.Fprintf(w, "\n%s\n", strings.Join(columns, "\t")) }

func pairs[V any](m map[string]V) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, fmt.Sprintf("%s %v", key, m[key]))
	}
	return strings.Join(all, ", ")
}

// orDash prints a dash for a figure that was not measured.
func orDash(value float64) string { return choose(value > 0, fmt.Sprintf("%.0f", value), "-") }

func choose(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}
