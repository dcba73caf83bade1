package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSmoke runs every scenario once, tiny, so that the benchmark never rots. It asserts no duration.
func TestSmoke(t *testing.T) {
	var out, progress bytes.Buffer
	plots := t.TempDir()
	if err := command(t.Context(), []string{"--smoke", "--json", "--plots", plots}, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var printed struct {
		Ratios map[string]float64 `json:"ratios"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &printed); err != nil {
		t.Fatalf("the last line is not one JSON object: %v", err)
	}
	for _, g := range goals {
		if !(printed.Ratios[g.key] > 0) {
			t.Errorf("ratio %s is %v", g.key, printed.Ratios[g.key])
		}
	}
	if len(printed.Ratios) != len(goals) {
		t.Errorf("%d ratios, not %d: %v", len(printed.Ratios), len(goals), printed.Ratios)
	}
	drawn, err := filepath.Glob(filepath.Join(plots, "*.svg"))
	if err != nil || len(drawn) != 4 {
		t.Errorf("drawn: %v, %v", drawn, err)
	}
}

// TestPlotsFromReport draws the same plots again from what a run printed.
func TestPlotsFromReport(t *testing.T) {
	report := &Report{Races: map[string][]Result{"lookup": {
		{Contestant: "sessionsql", Callers: 64, Median: Sample{OpsPerS: 2, P99: 3}},
		{Contestant: "rueidis", Callers: 64, Median: Sample{OpsPerS: 1, P99: 4}},
	}}}
	var text bytes.Buffer
	text.WriteString("a table\n")
	if err := report.writeJSON(&text); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	result, plots := filepath.Join(folder, "result.json"), filepath.Join(folder, "plots")
	if err := os.WriteFile(result, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := command(t.Context(), []string{"--plots", plots, "--from", result}, &text, &text); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(plots, "throughput.svg")); err != nil {
		t.Error(err)
	}
}
