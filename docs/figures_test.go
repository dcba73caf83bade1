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
	for key, value := range r.Ratios {
		says(benchmarks, "docs/benchmarks.md", fmt.Sprintf(" | %.3g | at ", value))
		if key == "keepalive_cpu_us" {
			says(readme, "README.md", fmt.Sprintf("**%.1f µs of CPU**", value))
		}
	}
	if rows < 40 || len(r.Ratios) < 20 {
		t.Errorf("the report has only %d rows and %d ratios", rows, len(r.Ratios))
	}
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
