package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A bench is one run of the benchmark.
type bench struct {
	config
	servers  *servers
	report   *Report
	progress io.Writer
	due      time.Time // when a quick run should finish the current scenario; zero means never
}

// A scenario is one question.
type scenario struct {
	name   string
	share  time.Duration // its time in a quick run
	ratios []string      // the ratios that it adds to the report
	run    func(*bench, context.Context) error
}

// leftOut is the error of a scenario that does not run here, and the reason.
type leftOut string

func (l leftOut) Error() string { return string(l) }

// errNoProxy leaves out what needs a router of shards.
const errNoProxy = leftOut("PL/Proxy is missing for this server (Debian: postgresql-15-plproxy)")

// owns reports whether a race or a note of the report belongs to the scenario. A scenario with several races
// names each "scenario: race".
func (s scenario) owns(name string) bool {
	return name == s.name || strings.HasPrefix(name, s.name+": ")
}

// scenarios are in the order of running and printing.
var scenarios = []scenario{
	{"insert-latency", 2500 * time.Millisecond, []string{"insert1_vs_unlogged"}, (*bench).insertLatency},
	{
		"insert", 3 * time.Second,
		[]string{"insert_vs_unlogged", "insert_vs_goredis", "insert_cpu_vs_goredis"},
		(*bench).insert,
	},
	{"lookup", 8 * time.Second, []string{
		"lookup_vs_rueidis", "lookup_cpu_vs_rueidis", "lookup_vs_goredis", "lookup_vs_scs_pgxstore",
		"lookup1_p50_vs_select1", "touch_buffer_mib",
	}, (*bench).lookup},
	{
		"page-load", 4 * time.Second,
		[]string{"page_vs_web_advice", "page_vs_scs_pgxstore", "page_vs_goredis"},
		(*bench).pageLoad,
	},
	{
		"keepalive", 5 * time.Second,
		[]string{"keepalive_hot", "keepalive_cpu_us", "keepalive_wal_bytes"},
		(*bench).keepalive,
	},
	{"reap", 9 * time.Second, []string{"reap_cpu_large_vs_small", "reap_lookup_p99_vs_idle"}, (*bench).reap},
	{"steady", 4 * time.Second, []string{"steady_size_vs_live", "steady_growth"}, (*bench).steadyChurn},
	{"payload", 2 * time.Second, nil, (*bench).payloads},
	{"cache", 7 * time.Second, []string{
		"cache_get_vs_rueidis", "cache_get_vs_goredis", "cache_set_vs_goredis", "cache_set_vs_unlogged",
		"cache_stampede_loads", "cache_churn_growth",
	}, (*bench).cache},
	{"near", 8 * time.Second, []string{
		"near_hit_cpu_us", "near_hit_vs_docache", "near90_vs_rueidis", "near90_vs_docache",
		"near_staleness_max_s", "near_log_cost",
	}, (*bench).near},
	{"router", 4 * time.Second, []string{"router_lookup_cpu_vs_primary"}, (*bench).router},
	{"reshard", 0, []string{"reshard_longest_call_s"}, (*bench).reshard},
	{"adapters", 2 * time.Second, []string{"scs_page_vs_pgxstore"}, (*bench).adapters},
	{"scale", 0, nil, (*bench).scale},
}

// chooseScenarios returns the named scenarios in the order of the list, and all of them without a name. The
// scale has a time and a disk of its own, so that only a smoke run has it without its name.
func chooseScenarios(names []string, smoke bool) ([]scenario, error) {
	var chosen []scenario
	for _, each := range scenarios {
		if slices.Contains(names, each.name) || len(names) == 0 && (smoke || each.name != "scale") {
			chosen = append(chosen, each)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.name == name }) {
			return nil, fmt.Errorf("no scenario %q: choose from %s", name, strings.Join(scenarioNames(), " "))
		}
	}
	return chosen, nil
}

func scenarioNames() []string {
	var names []string
	for _, each := range scenarios {
		names = append(names, each.name)
	}
	return names
}

// late reports whether a quick run has no time for another round, as on a slow machine.
func (b *bench) late() bool { return !b.due.IsZero() && time.Now().After(b.due) }

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}

// race runs a race with interleaved turns and adds it to the report.
func (b *bench) race(
	ctx context.Context, name string, t turn, contestants []contestant,
) ([]Result, error) {
	b.say("%s, %d contestants, %d callers", name, len(contestants), t.callers)
	results, err := race(ctx, b.rounds, b.late, t.interleaved(), contestants)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	b.report.Races[name] = append(b.report.Races[name], results...)
	return results, nil
}

// byName returns a contestant's result.
func byName(results []Result, name string) Result {
	for _, each := range results {
		if each.Contestant == name {
			return each
		}
	}
	return Result{}
}

// closeAll closes storages, the last one first.
func closeAll[S storage](all []S) {
	for _, each := range slices.Backward(all) {
		each.close()
	}
}
