package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// A Report is the result of a run. The last line of the output holds it as JSON, and the plots are drawn from
// it.
type Report struct {
	Mode      string              `json:"mode"`
	Rounds    int                 `json:"rounds"`
	Scenarios []string            `json:"scenarios"`
	Machine   map[string]string   `json:"machine"`
	Versions  map[string]string   `json:"versions"`
	Settings  map[string]string   `json:"settings"` // of PostgreSQL, the changed ones and a few more
	Ratios    map[string]float64  `json:"ratios"`
	Races     map[string][]Result `json:"races"` // by scenario
	Keepalive []Keepalive         `json:"keepalive,omitempty"`
	Reap      []Reap              `json:"reap,omitempty"`
	ReapLoop  []ReapLoop          `json:"reap_loop,omitempty"`
	Steady    []Steady            `json:"steady,omitempty"`
	Payload   []Payload           `json:"payload,omitempty"`
	Stampede  []Stampede          `json:"stampede,omitempty"`
	Churn     []Steady            `json:"cache_churn,omitempty"`
	Near      []NearShare         `json:"near,omitempty"`
	Staleness []Staleness         `json:"near_staleness,omitempty"`
	Polls     []Polls             `json:"near_polls,omitempty"`
	Scale     []Scale             `json:"scale,omitempty"`
	Vacuum    []Vacuum            `json:"scale_vacuum,omitempty"`
	Notes     []string            `json:"notes,omitempty"`
}

func newReport(ctx context.Context, c config, s *servers) (*Report, error) {
	r := &Report{
		Mode: c.mode, Rounds: c.rounds,
		Ratios: map[string]float64{}, Races: map[string][]Result{},
		Machine: map[string]string{
			"cpus":   strconv.Itoa(runtime.NumCPU()),
			"cpu":    procField("/proc/cpuinfo", "model name"),
			"memory": procField("/proc/meminfo", "MemTotal"),
			"kernel": strings.TrimSpace(readFile("/proc/sys/kernel/osrelease")),
		},
		Versions: map[string]string{
			"go":        strings.TrimPrefix(runtime.Version(), "go"),
			"redis":     serverVersion("redis-server", "--version"),
			"memcached": serverVersion("memcached", "--version"),
		},
	}
	settings, err := s.changedSettings(ctx)
	if err != nil {
		return nil, err
	}
	r.Versions["postgres"], _, _ = strings.Cut(settings["server_version"], " ")
	delete(settings, "server_version")
	r.Settings = settings
	return r, nil
}

func readFile(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	return string(text)
}

// procField returns the value of a "name : value" line.
func procField(path, name string) string {
	for line := range strings.Lines(readFile(path)) {
		key, value, found := strings.Cut(line, ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// A goal is a bound that a ratio should reach.
type goal struct {
	key     string
	least   bool // the bound is a minimum, else a maximum
	bound   float64
	meaning string
}

var goals = []goal{
	{"lookup_vs_rueidis", true, 1.0, "throughput of lookups, 64 callers, to rueidis"},
	{"lookup_cpu_vs_rueidis", false, 1.0, "CPU of a lookup, client and server, 64 callers, to rueidis"},
	{"lookup_vs_goredis", true, 1.5, "throughput of lookups, 64 callers, to go-redis"},
	{"lookup_vs_scs_pgxstore", true, 3.0, "throughput of lookups, 64 callers, to scs pgxstore"},
	{"lookup1_p50_vs_select1", false, 1.15, "p50 of a lookup, one caller, to SELECT 1"},
	{"insert_vs_unlogged", true, 3.0, "throughput of inserts, 64 callers, to an UNLOGGED table one by one"},
	{"insert_vs_goredis", true, 1.0, "throughput of inserts, 64 callers, to go-redis SET EX"},
	{
		"insert_cpu_vs_goredis", false, 1.0,
		"CPU of an insert, client and server, 64 callers, to go-redis SET EX",
	},
	{"insert1_vs_unlogged", false, 1.10, "p50 of an insert, one caller, to an UNLOGGED table"},
	{"page_vs_web_advice", true, 5.0, "throughput of page views to the advice of the web"},
	{"page_vs_scs_pgxstore", true, 3.0, "throughput of page views to scs pgxstore with an idle timeout"},
	{"page_vs_goredis", true, 1.0, "throughput of page views to go-redis GETEX"},
	{"keepalive_hot", true, 0.999, "share of keepalive updates that are HOT"},
	{"keepalive_cpu_us", false, 10, "CPU microseconds of a keepalive, client and server"},
	{"keepalive_wal_bytes", false, 300, "WAL bytes of a keepalive, full-page images included"},
	{
		"reap_cpu_large_vs_small", false, 1.2,
		"CPU of a reap call on the largest table to that on the smallest",
	},
	{"reap_lookup_p99_vs_idle", false, 1.3, "p99 of lookups while the loop reaps to idle"},
	{"steady_size_vs_live", false, 1.7, "bytes of the table to those of its live rows, last third"},
	{"steady_growth", false, 1.05, "size of the table in the last third to the middle third"},
	{"touch_buffer_mib", false, 64, "MiB of pending touches"},
	{"cache_get_vs_rueidis", true, 0.9, "throughput of cache gets, 64 callers, to rueidis"},
	{"cache_get_vs_goredis", true, 1.4, "throughput of cache gets, 64 callers, to go-redis"},
	{"cache_set_vs_goredis", true, 0.8, "throughput of cache sets, 64 callers, to go-redis SET EX"},
	{
		"cache_set_vs_unlogged", true, 3.0,
		"throughput of cache sets, 64 callers, to an UNLOGGED table one by one",
	},
	{
		"cache_stampede_loads", false, 1,
		"loads of a missing entry that 1,000 callers of 3 Stores want at once",
	},
	{
		"cache_churn_growth", false, 1.05,
		"size of the cache table under a byte budget in the last third to the middle third",
	},
	{"near_hit_cpu_us", false, 0.6, "CPU microseconds of a hit in the near cache, one caller"},
	{"near_hit_vs_docache", false, 0.6, "CPU of a hit, one caller, to a hit of rueidis DoCache"},
	{"near90_vs_rueidis", true, 5.0, "throughput of lookups at 90 % hits, 64 callers, to rueidis"},
	{"near90_vs_docache", true, 1.3, "throughput of lookups at 90 % hits, 64 callers, to rueidis DoCache"},
	{"near_staleness_max_s", false, 1.0, "seconds after a logout that a session was served, the most"},
	{
		"near_log_cost", false, 1.05,
		"CPU of a logout or a payload write, 64 callers, to the same without the log",
	},
	{
		"router_lookup_cpu_vs_primary", false, 3,
		"server CPU of a lookup through a router, 256 callers, to one primary",
	},
	{"reshard_longest_call_s", false, 2, "seconds of the longest call while shards are divided"},
	{"scs_page_vs_pgxstore", true, 5.0, "throughput of scs page views by our adapter to scs pgxstore"},
}

// met reports whether a value reaches the goal.
func (g goal) met(value float64) bool {
	if g.least {
		return value >= g.bound
	}
	return value <= g.bound
}

// validate checks that a report holds exactly the ratios of its scenarios, each a positive number.
func (r *Report) validate() error {
	var wanted []string
	for _, each := range scenarios {
		if slices.Contains(r.Scenarios, each.name) {
			wanted = append(wanted, each.ratios...)
		}
	}
	slices.Sort(wanted)
	if found := slices.Sorted(maps.Keys(r.Ratios)); !slices.Equal(found, wanted) {
		return fmt.Errorf("report holds the ratios %v, not %v", found, wanted)
	}
	for key, value := range r.Ratios {
		if !(value > 0) || math.IsInf(value, 0) {
			return fmt.Errorf("report: ratio %s is %v", key, value)
		}
	}
	return nil
}

// writeJSON writes the report as one line.
func (r *Report) writeJSON(w io.Writer) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return err
}

// readReport reads a report from the last line of a run's output.
func readReport(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	r := &Report{}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), r); err != nil {
		return nil, fmt.Errorf("%s: the last line is no report: %w", path, err)
	}
	return r, nil
}

func (r *Report) writeFile(path string) error {
	var text bytes.Buffer
	if err := r.writeJSON(&text); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}

// addUnmeasured adds an earlier report's figures of the scenarios that this report has not measured. A note
// for each of them says what was different then.
func (r *Report) addUnmeasured(earlier *Report) {
	var all, old []string
	for _, each := range scenarios {
		if slices.Contains(r.Scenarios, each.name) {
			all = append(all, each.name)
			continue
		}
		if !slices.Contains(earlier.Scenarios, each.name) {
			continue
		}
		all, old = append(all, each.name), append(old, each.name)
		for _, key := range each.ratios {
			r.Ratios[key] = earlier.Ratios[key]
		}
		for name, results := range earlier.Races {
			if each.owns(name) {
				r.Races[name] = results
			}
		}
		for _, note := range earlier.Notes {
			if each.owns(note) {
				r.Notes = append(r.Notes, note)
			}
		}
	}
	r.Scenarios = all
	keep(&r.Keepalive, earlier.Keepalive)
	keep(&r.Reap, earlier.Reap)
	keep(&r.ReapLoop, earlier.ReapLoop)
	keep(&r.Steady, earlier.Steady)
	keep(&r.Payload, earlier.Payload)
	keep(&r.Stampede, earlier.Stampede)
	keep(&r.Churn, earlier.Churn)
	keep(&r.Near, earlier.Near)
	keep(&r.Staleness, earlier.Staleness)
	keep(&r.Polls, earlier.Polls)
	keep(&r.Scale, earlier.Scale)
	keep(&r.Vacuum, earlier.Vacuum)
	changes := r.changes(earlier)
	for _, name := range old {
		if changes != "" {
			r.Notes = append(r.Notes, name+": "+changes)
		}
	}
}

// changes names the differences of rounds, machine, versions and settings.
func (r *Report) changes(earlier *Report) string {
	var all []string
	for _, pair := range [][2]map[string]string{
		{{"rounds": strconv.Itoa(earlier.Rounds)}, {"rounds": strconv.Itoa(r.Rounds)}},
		{earlier.Machine, r.Machine},
		{earlier.Versions, r.Versions},
		{earlier.Settings, r.Settings},
	} {
		for _, key := range slices.Sorted(maps.Keys(pair[0])) {
			if was, is := pair[0][key], pair[1][key]; was != is {
				all = append(all, fmt.Sprintf("%s was %s, not %s", key, was, is))
			}
		}
	}
	return strings.Join(all, "; ")
}

// keep fills a list that has not been measured.
func keep[T any](list *[]T, earlier []T) {
	if len(*list) == 0 {
		*list = earlier
	}
}
