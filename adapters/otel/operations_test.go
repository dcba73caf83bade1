package sessionsqlotel_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.yaml.in/yaml/v2"

	sessionsqlotel "github.com/sessionsql/postgres/adapters/otel"
	"github.com/sessionsql/postgres/sessionsql"
)

const operations = "../../docs/operations.md"

// A series is how Prometheus names what is exported: metrics, and their labels.
type series struct{ metrics, labels map[string]bool }

// scraped returns what a scrape shows of a Store to which everything has happened once.
func scraped(t *testing.T) series {
	t.Helper()
	stats := sessionsql.Stats{Replicas: make([]sessionsql.ServerStats, 1)}
	for _, each := range fields(t) {
		each.set(&stats)
	}
	registry := client.NewRegistry()
	exporter, err := prometheus.New(prometheus.WithRegisterer(registry))
	must(t, err)
	registration, err := sessionsqlotel.RegisterStats(func() sessionsql.Stats { return stats },
		&sessionsqlotel.Options{MeterProvider: sdk.NewMeterProvider(sdk.WithReader(exporter))})
	must(t, err)
	defer func() { must(t, registration.Unregister()) }()
	scrape := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).
		ServeHTTP(scrape, httptest.NewRequest(http.MethodGet, "/", nil))

	found := series{map[string]bool{}, map[string]bool{}}
	sampleLine := regexp.MustCompile(`^(sessionsql_\w+)(?:\{(.*)\})? `)
	label := regexp.MustCompile(`(\w+)="`)
	for line := range strings.Lines(scrape.Body.String()) {
		if parts := sampleLine.FindStringSubmatch(line); parts != nil {
			found.metrics[parts[1]] = true
			for _, each := range label.FindAllStringSubmatch(parts[2], -1) {
				found.labels[each[1]] = true
			}
		}
	}
	return found
}

var word = regexp.MustCompile(`\b(?:sessionsql|error|db)_\w+`)

// metricsIn returns the metrics that queries name, and reports words that are neither a metric nor a label.
func (s series) metricsIn(t *testing.T, queries ...string) map[string]bool {
	t.Helper()
	named := map[string]bool{}
	for _, query := range queries {
		for _, each := range word.FindAllString(query, -1) {
			if s.metrics[each] {
				named[each] = true
			} else if !s.labels[each] {
				t.Errorf("%s: nobody exports %s", query, each)
			}
		}
	}
	return named
}

func TestTheDashboardShowsEveryMetricAndNoOther(t *testing.T) {
	source, err := os.ReadFile("../../docs/operations/dashboard.json")
	must(t, err)
	var dashboard struct {
		Templating struct {
			List []struct {
				Name, Type string
				Query      any
			}
		}
		Panels []struct {
			Title, Description string
			Datasource         struct{ Uid string }
			Targets            []struct {
				Expr       string
				Datasource struct{ Uid string }
			}
		}
	}
	must(t, json.Unmarshal(source, &dashboard))
	if first := dashboard.Templating.List[0]; first.Name != "datasource" || first.Type != "datasource" {
		t.Errorf("the first variable is %+v", first)
	}
	exported := scraped(t)
	var queries []string
	for _, panel := range dashboard.Panels {
		if panel.Title == "" || panel.Description == "" || panel.Datasource.Uid != "${datasource}" {
			t.Errorf("panel %+v", panel)
		}
		for _, target := range panel.Targets {
			queries = append(queries, target.Expr)
			if target.Datasource.Uid != "${datasource}" {
				t.Errorf("%s: it asks a datasource of its own", target.Expr)
			}
		}
	}
	shown := exported.metricsIn(t, queries...)
	for _, name := range slices.Sorted(maps.Keys(exported.metrics)) {
		if !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
	for _, variable := range dashboard.Templating.List[1:] {
		text, err := json.Marshal(variable.Query)
		must(t, err)
		if len(exported.metricsIn(t, string(text))) == 0 {
			t.Errorf("variable %s asks for no metric: %s", variable.Name, text)
		}
	}
}

func TestEveryAlertNamesMetricsAndItsRowOfTheTable(t *testing.T) {
	source, err := os.ReadFile("../../docs/operations/alerts.yaml")
	must(t, err)
	manual, err := os.ReadFile(operations)
	must(t, err)
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For string
				Labels           map[string]string
				Annotations      map[string]string
			}
		}
	}
	must(t, yaml.UnmarshalStrict(source, &rules))
	exported := scraped(t)
	anchors := map[string]bool{}
	for _, anchor := range regexp.MustCompile(`<a id="(am-[\w-]+)">`).FindAllSubmatch(manual, -1) {
		anchors[string(anchor[1])] = true
	}
	for _, rule := range rules.Groups[0].Rules {
		if rule.Alert == "" || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" {
			t.Errorf("%+v", rule)
		}
		if len(exported.metricsIn(t, rule.Expr)) == 0 {
			t.Errorf("%s asks for no metric", rule.Alert)
		}
		exported.metricsIn(t, rule.Annotations["summary"])
		page, anchor, _ := strings.Cut(rule.Annotations["runbook_url"], "#")
		if page != "https://github.com/sessionsql/postgres/blob/main/docs/operations.md" || !anchors[anchor] {
			t.Errorf("%s: no row for %s", rule.Alert, rule.Annotations["runbook_url"])
		}
		delete(anchors, anchor)
		if !strings.Contains(string(manual), "`"+rule.Alert+"`") {
			t.Errorf("%s is not in %s", rule.Alert, operations)
		}
	}
	for anchor := range anchors {
		t.Errorf("no alert leads to %s", anchor)
	}
}
