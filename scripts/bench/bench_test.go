package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/testkit"
)

// The tables are tiny, because this test checks no duration.
func TestEveryScenarioRuns(t *testing.T) {
	var out, progress bytes.Buffer
	plots := t.TempDir()
	err := command(t.Context(), []string{"--smoke", "--json", "--plots", plots}, &out, &progress)
	if err != nil {
		t.Fatalf("the command failed: %v\n%s", err, progress.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var printed struct {
		Ratios    map[string]float64 `json:"ratios"`
		Scenarios []string           `json:"scenarios"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &printed); err != nil {
		t.Fatalf("the last line is not one JSON object: %v", err)
	}
	left := 0
	for _, each := range scenarios {
		if slices.Contains(printed.Scenarios, each.name) {
			continue
		}
		left += len(each.ratios)
		packages := os.Getenv("SESSIONSQL_REQUIRE_PACKAGES") != "" && os.Getenv("SESSIONSQL_PG_MAJOR") == ""
		if each.name != "reshard" && (each.name != "router" || packages) {
			t.Errorf("%s is left out", each.name)
		}
	}
	if len(printed.Ratios)+left != len(goals) {
		t.Errorf("%d ratios of %d goals, and %d are left out: %v", len(printed.Ratios), len(goals), left,
			printed.Ratios)
	}
	drawn, err := filepath.Glob(filepath.Join(plots, "*.svg"))
	if err != nil || len(drawn) != 7 {
		t.Errorf("the files drawn are %v, error %v", drawn, err)
	}
}

// TestScaleRunsByItsName proves that nobody fills a disk by a run of all scenarios.
func TestScaleRunsByItsName(t *testing.T) {
	for _, test := range []struct {
		names []string
		smoke bool
		want  bool
	}{{nil, false, false}, {nil, true, true}, {[]string{"scale"}, false, true}} {
		chosen, err := chooseScenarios(test.names, test.smoke)
		testkit.Must(t, err)
		got := slices.ContainsFunc(chosen, func(s scenario) bool { return s.name == "scale" })
		if got != test.want {
			t.Errorf("names %v, smoke %v: scale runs is %v", test.names, test.smoke, got)
		}
	}
}

// TestRaceInterleaves checks the order of turns in a round, and the counts.
func TestRaceInterleaves(t *testing.T) {
	var played []string
	play := func(what string) {
		if len(played) == 0 || played[len(played)-1] != what {
			played = append(played, what)
		}
	}
	var contestants []contestant
	for _, name := range []string{"A", "B"} {
		contestants = append(contestants, contestant{
			name:   name,
			op:     func(context.Context, *caller) error { play(name); return nil },
			finish: func(context.Context) error { play("finish " + name); return nil },
			reset:  func(context.Context) error { play("reset " + name); return nil },
		})
	}
	never := func() bool { return false }
	results, err := race(t.Context(), 2, never, turn{callers: 1, slice: time.Hour, ops: 30, parts: 3},
		contestants)
	testkit.Must(t, err)
	round := " A B A B A finish A reset A B finish B reset B"
	want := "A finish A reset A B finish B reset B" + round + round
	if got := strings.Join(played, " "); got != want {
		t.Errorf("the order of turns is\n%s, want\n%s", got, want)
	}
	for _, each := range results {
		if len(each.Rounds) != 2 || each.Rounds[0].Ops != 30 || each.Rounds[1].Ops != 30 {
			t.Errorf("%s: rounds %+v, not two of 30 operations", each.Contestant, each.Rounds)
		}
	}
}

func TestInterleavedPartsFitTheTurn(t *testing.T) {
	for _, test := range []struct {
		turn  turn
		parts int
	}{
		{turn{callers: 1, slice: 2 * time.Second}, 40},
		{turn{callers: 64, slice: 2 * time.Second}, 8},
		{turn{callers: 1, slice: 60 * time.Millisecond}, 2},
		{turn{callers: 64, slice: 60 * time.Millisecond}, 2},
		{turn{callers: 1, slice: 10 * time.Millisecond}, 1},
	} {
		if got := test.turn.interleaved().parts; got != test.parts {
			t.Errorf("%d callers, %v: %d parts, not %d", test.turn.callers, test.turn.slice, got, test.parts)
		}
	}
}

// A part has at least one operation, because 0 means no bound.
func TestAPartHasAtLeastOneOperation(t *testing.T) {
	if part := (turn{slice: time.Second, ops: 10, parts: 20}).part(); part.ops != 1 ||
		part.slice != 50*time.Millisecond {
		t.Errorf("the part is %+v", part)
	}
	if part := (turn{slice: time.Second, parts: 20}).part(); part.ops != 0 {
		t.Errorf("the part of an unbounded turn is %+v", part)
	}
	if part := (turn{slice: time.Second, ops: 10}).part(); part.ops != 10 || part.slice != time.Second {
		t.Errorf("the part of an undivided turn is %+v", part)
	}
}

// TestAReportKeepsWhatItHasNotMeasured puts a run of one scenario into an earlier report.
func TestAReportKeepsWhatItHasNotMeasured(t *testing.T) {
	report := func(key string, value float64, race, kernel, note string, scenarios ...string) *Report {
		return &Report{
			Scenarios: scenarios, Machine: map[string]string{"kernel": kernel},
			Ratios: map[string]float64{key: value},
			Races:  map[string][]Result{race: {{Contestant: "sessionsql", Callers: int(value)}}},
			Notes:  []string{note},
		}
	}
	const ratio, race = "scs_page_vs_pgxstore", "adapters: scs page"
	earlier := report(ratio, 1, race, "one", "adapters: old", "page-load", "adapters")
	maps.Copy(earlier.Ratios, map[string]float64{
		"page_vs_goredis": 2, "page_vs_web_advice": 3, "page_vs_scs_pgxstore": 4,
	})
	earlier.Races["page-load"] = []Result{{Contestant: "go-redis"}}
	earlier.Notes = append(earlier.Notes, "page-load: kept")
	earlier.Steady = []Steady{{Live: 5}}

	r := report(ratio, 9, race, "two", "adapters: new", "adapters")
	r.addUnmeasured(earlier)
	if err := r.validate(); err != nil {
		t.Error(err)
	}
	if !slices.Equal(r.Scenarios, []string{"page-load", "adapters"}) {
		t.Errorf("the scenarios are %v", r.Scenarios)
	}
	if r.Ratios[ratio] != 9 || r.Races[race][0].Callers != 9 {
		t.Errorf("the new figures are lost: %v", r.Ratios)
	}
	if r.Ratios["page_vs_goredis"] != 2 || len(r.Races["page-load"]) != 1 || len(r.Steady) != 1 {
		t.Errorf("the earlier figures are lost: %+v", r)
	}
	want := []string{"adapters: new", "page-load: kept", "page-load: kernel was one, not two"}
	if !slices.Equal(r.Notes, want) {
		t.Errorf("the notes are %q, not %q", r.Notes, want)
	}
}

func TestPlotsAreDrawnFromAnEarlierReport(t *testing.T) {
	report := &Report{Races: map[string][]Result{"lookup": {
		{Contestant: "sessionsql", Callers: 64, Median: Sample{OpsPerS: 2, P99: 3}},
		{Contestant: "rueidis", Callers: 64, Median: Sample{OpsPerS: 1, P99: 4}},
	}}}
	var text bytes.Buffer
	text.WriteString("a table\n")
	testkit.Must(t, report.writeJSON(&text))
	folder := t.TempDir()
	result, plots := filepath.Join(folder, "result.json"), filepath.Join(folder, "plots")
	testkit.Must(t, os.WriteFile(result, text.Bytes(), 0o600))
	testkit.Must(t, command(t.Context(), []string{"--plots", plots, "--from", result}, &text, &text))
	if _, err := os.Stat(filepath.Join(plots, "throughput.svg")); err != nil {
		t.Error(err)
	}
}
