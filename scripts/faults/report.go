package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// A summary is the object that --json prints.
type summary struct {
	Kinds               int     `json:"kinds"`
	Injections          int     `json:"injections"`
	Violations          int     `json:"violations"`
	WorstLookupsAway    float64 `json:"worst_lookups_away_s"`
	WorstWritesBeyond   float64 `json:"worst_writes_beyond_raw_s"`
	WorstPastDeadlineMS float64 `json:"worst_past_deadline_ms"`
	PlantedFound        int     `json:"planted_found"`
	Seed                uint64  `json:"seed"`
}

// A row of the table is a kind of fault.
type row struct {
	name                     string
	times                    int
	writes, raw, lookupsAway time.Duration
	beyond                   time.Duration
	violations               int
}

// A report gathers the groups' findings.
type report struct {
	seed       uint64
	started    time.Time
	findings   []finding
	violations int // violations outside any fault included
	late       int
	calls      int
	recalled   int           // lookups that memory answered
	worst      time.Duration // after a deadline
	worstOn    string
	worstOwn   time.Duration // the same without the stalls of the machine

	logLines, repeatedLines int
}

// add takes a group's findings. A violation belongs to the fault before it.
func (r *report) add(g *group, findings []finding, violations []violation, details io.Writer) {
	const shown = 8 // of a group
	for i, v := range violations {
		r.violations++
		where := "before the first fault"
		for j := range findings {
			from := findings[j].window.from
			if from <= v.at && (j+1 == len(findings) || v.at < findings[j+1].window.from) {
				findings[j].violations = append(findings[j].violations, v)
				f := findings[j].fault
				where = fmt.Sprintf("fault %d, %s, from %.3f", f.number, f.kind.name, seconds(from))
			}
		}
		if i >= shown {
			continue
		}
		fmt.Fprintf(details, "VIOLATION at %.3f of group %d (%s)\n  %s\n",
			seconds(v.at), g.number, where, v.what)
	}
	if more := len(violations) - shown; more > 0 {
		fmt.Fprintf(details, "and %d more violations of group %d\n", more, g.number)
	}
	r.findings = append(r.findings, findings...)
	g.meter.mu.Lock()
	defer g.meter.mu.Unlock()
	r.calls += g.meter.calls
	r.recalled += g.history.recalled()
	r.late += len(g.meter.late)
	for _, late := range g.meter.late {
		r.worstOwn = max(r.worstOwn, late.length()-g.stalls.within(late))
	}
	lines, repeated := g.log.counts()
	r.logLines += lines
	r.repeatedLines += repeated
	if g.meter.worst > r.worst {
		r.worst, r.worstOn = g.meter.worst, g.meter.on
	}
}

// rows returns a row for each kind that happened, in the order of kinds.
func (r *report) rows(kinds []*kind) []row {
	var rows []row
	for _, k := range kinds {
		one := row{name: k.name}
		for _, f := range r.findings {
			if f.fault.kind.name != k.name {
				continue
			}
			one.times++
			one.violations += len(f.violations)
			one.lookupsAway = max(one.lookupsAway, f.lookupsAway)
			if beyond := f.writesAway - f.rawAway; one.times == 1 || beyond > one.beyond {
				one.writes, one.raw, one.beyond = f.writesAway, f.rawAway, beyond
			}
		}
		if one.times > 0 {
			rows = append(rows, one)
		}
	}
	return rows
}

// print prints the table, with the worst injection of each kind.
func (r *report) print(to io.Writer, kinds []*kind) {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "fault\ttimes\twithout writes\traw connection\twithout lookups\tviolations\t")
	for _, one := range r.rows(kinds) {
		fmt.Fprintf(table, "%s\t%d\t%.2f s\t%.2f s\t%.2f s\t%d\t\n", one.name, one.times,
			one.writes.Seconds(), one.raw.Seconds(), one.lookupsAway.Seconds(), one.violations)
	}
	_ = table.Flush()
	s := r.summary(kinds, 0)
	elapsed := time.Since(r.started)
	fmt.Fprintf(to, "seed %d: %d kinds, %d injections, %d calls in %v, of which memory answered %d; "+
		"%d violations\n", r.seed, s.Kinds, s.Injections, r.calls, elapsed.Round(time.Second), r.recalled,
		s.Violations)
	fmt.Fprintf(to, "worst: %.2f s without lookups, %.2f s without writes beyond the raw connection\n",
		s.WorstLookupsAway, s.WorstWritesBeyond)
	fmt.Fprintf(to, "%d calls came later than %v after their deadline, the worst %.0f ms (%s)\n",
		r.late, maxPastDeadline, s.WorstPastDeadlineMS, r.worstOn)
	r.printLog(to, elapsed)
}

// printLog prints the amount of the Stores' logs. Each line tells a change of state, so the lines of one
// fault are those of one outage.
func (r *report) printLog(to io.Writer, elapsed time.Duration) {
	var worst finding
	for _, f := range r.findings {
		if f.logLines > worst.logLines {
			worst = f
		}
	}
	on := ""
	if worst.fault != nil {
		on = fmt.Sprintf("; at most %d by one Store in one fault (%s)", worst.logLines, worst.fault.kind.name)
	}
	fmt.Fprintf(to, "the Stores logged %d lines, %.0f a minute for each Store%s; %d repeat the line before\n",
		r.logLines, float64(r.logLines)/elapsed.Minutes()/storeCount, on, r.repeatedLines)
}

func (r *report) summary(kinds []*kind, planted int) summary {
	s := summary{Violations: r.violations, PlantedFound: planted, Seed: r.seed, Injections: len(r.findings)}
	for _, one := range r.rows(kinds) {
		s.Kinds++
		s.WorstLookupsAway = max(s.WorstLookupsAway, round(one.lookupsAway.Seconds()))
		s.WorstWritesBeyond = max(s.WorstWritesBeyond, round(one.beyond.Seconds()))
	}
	s.WorstPastDeadlineMS = float64(max(0, r.worst).Milliseconds())
	return s
}

func round(seconds float64) float64 { return float64(int(seconds*100+0.5)) / 100 }

func (s summary) print(to io.Writer) error { return json.NewEncoder(to).Encode(s) }
