package sessionsqlotel_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	sessionsqlotel "github.com/sessionsql/postgres/adapters/otel"
	"github.com/sessionsql/postgres/sessionsql"
)

// A program serves its Store's metrics to Prometheus at /metrics.
func ExampleRegister() {
	ctx := context.Background()
	store, err := sessionsql.Open(ctx, primaryDSN, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = store.Close(ctx) }()

	registry := client.NewRegistry()
	exporter, err := prometheus.New(prometheus.WithRegisterer(registry), prometheus.WithoutScopeInfo())
	if err != nil {
		log.Fatal(err)
	}
	registration, err := sessionsqlotel.Register(store, &sessionsqlotel.Options{
		MeterProvider: sdk.NewMeterProvider(sdk.WithReader(exporter)),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = registration.Unregister() }()
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	for range 3 {
		if _, err := store.Insert(ctx, `{"user": 7}`, nil); err != nil {
			log.Fatal(err)
		}
	}
	scrape := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(scrape, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text, err := io.ReadAll(scrape.Body)
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "_writes_total{") || strings.Contains(line, "_server_usable{") {
			fmt.Print(line)
		}
	}
	// Output:
	// sessionsql_server_usable{sessionsql_server="primary"} 1
	// sessionsql_writes_total{sessionsql_verb="insert"} 3
	// sessionsql_writes_total{sessionsql_verb="revoke"} 0
	// sessionsql_writes_total{sessionsql_verb="rotate"} 0
	// sessionsql_writes_total{sessionsql_verb="update"} 0
}
