package docs

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sessionsql/postgres/internal/testkit"
)

// A report is what scripts/bench.sh --json printed, as far as the documents repeat it.
type report struct {
	Ratios map[string]float64
	Races  map[string][]struct {
		Contestant string
		Callers    int
		Median     struct {
			OpsPerS   float64 `json:"ops_per_s"`
			P50       float64 `json:"p50_us"`
			P99       float64 `json:"p99_us"`
			ClientCPU float64 `json:"client_cpu_us"`
			ServerCPU float64 `json:"server_cpu_us"`
		}
	}
	Scale []struct {
		Verb            string
		Rows            float64
		AfterCheckpoint cost `json:"after_checkpoint"`
		Between         cost `json:"between_checkpoints"`
	}
	Vacuum []struct {
		Rows, Dead, Seconds float64
		Throttled           bool
		IndexScans          int     `json:"index_scans"`
		Dirtied             float64 `json:"dirtied_pages"`
		Cost                cost
	} `json:"scale_vacuum"`
}

// A cost is that of one operation.
type cost struct {
	CPU     float64 `json:"cpu_us"`
	Sending float64 `json:"sending_us"`
	Replay  float64 `json:"replay_us"`
	WAL     float64 `json:"wal_bytes"`
	Records float64 `json:"wal_records"`
}

// TestFiguresAreTheReports compares the figures of the README and of docs/benchmarks.md with the report.
func TestFiguresAreTheReports(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "scripts", "bench", "results", "full.json"))
	testkit.Must(t, err)
	var r report
	testkit.Must(t, json.Unmarshal(text, &r))
	readme, benchmarks := read(t, "README.md").text, read(t, "docs/benchmarks.md").text
	says := func(where, path, want string) {
		if !strings.Contains(where, want) {
			t.Errorf("%s does not say %q", path, want)
		}
	}

	rows := 0
	for scenario, results := range r.Races {
		for _, one := range results {
			rows++
			m := one.Median
			says(benchmarks, "docs/benchmarks.md", fmt.Sprintf("| %s | %s | %s | %s | %.1f + %.1f |\n",
				one.Contestant, grouped(m.OpsPerS), grouped(m.P50), grouped(m.P99), m.ClientCPU, m.ServerCPU))
			peer := one.Contestant
			if one.Callers != 64 || peer == "gomemcache" || strings.Contains(peer, "UNLOGGED") ||
				strings.Contains(peer, "postgresstore") || peer == "advice of the web" {
				continue
			}
			if scenario == "lookup" || scenario == "page-load" {
				says(readme, "README.md", grouped(math.Round(m.OpsPerS/100)*100))
			}
			if scenario == "lookup" {
				says(readme, "README.md", strconv.FormatFloat(m.P99/1000, 'g', 2, 64))
			}
		}
	}
	for _, each := range r.Scale {
		a, b := each.Between, each.AfterCheckpoint
		says(benchmarks, "docs/benchmarks.md", fmt.Sprintf("| %s | %s | %s | %s | %s | %s, %s | %.1f |\n",
			each.Verb, grouped(each.Rows), both(a.CPU, b.CPU), both(a.Sending, b.Sending),
			both(a.Replay, b.Replay), grouped(math.Round(a.WAL)), grouped(math.Round(b.WAL)), a.Records))
	}
	for _, each := range r.Vacuum {
		replay := "-"
		if each.Cost.Replay > 0 {
			replay = fmt.Sprintf("%.1f", each.Cost.Replay)
		}
		throttled := map[bool]string{true: "yes", false: "no"}[each.Throttled]
		says(benchmarks, "docs/benchmarks.md", fmt.Sprintf(
			"| %s | %s | %s | %.1f | %d | %s | %.1f | %s | %s |\n",
			grouped(each.Rows), throttled, grouped(each.Dead), each.Seconds, each.IndexScans,
			grouped(each.Dirtied), each.Cost.CPU, replay, grouped(math.Round(each.Cost.WAL))))
	}
	for key, value := range r.Ratios {
		says(benchmarks, "docs/benchmarks.md", fmt.Sprintf(" | %.3g | at ", value))
		if key == "keepalive_cpu_us" {
			says(readme, "README.md", fmt.Sprintf("**%.1f µs of CPU**", value))
		}
	}
	if rows < 40 || len(r.Ratios) < 20 || len(r.Scale) < 30 || len(r.Vacuum) != 6 {
		t.Errorf("the report has only %d rows, %d ratios, %d verbs and %d passes of vacuum", rows,
			len(r.Ratios), len(r.Scale), len(r.Vacuum))
	}
}

// both writes a figure without images of pages and one with them, or a dash if there was no standby.
func both(between, afterCheckpoint float64) string {
	if between == 0 && afterCheckpoint == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f, %.1f", between, afterCheckpoint)
}

// grouped writes a whole number with a comma between thousands, or tenths below 10.
func grouped(value float64) string {
	if value > 0 && value < 9.95 {
		return strconv.FormatFloat(value, 'f', 1, 64)
	}
	digits := strconv.FormatFloat(math.RoundToEven(value), 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
