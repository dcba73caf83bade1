package sessionsqlotel_test

import (
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
)

// primaryDSN is the database of the example.
var primaryDSN string

var (
	must       = testkit.Must
	eventually = testkit.Eventually
)

func TestMain(m *testing.M) {
	sessiontest.Main(m, nil, func(c *pgcluster.Cluster) { primaryDSN = c.Primary.DSN("postgres") })
}

// readings are all measurements of one collection, by name and attributes: "sessionsql.writes verb=insert".
type readings map[string]float64

func collect(t *testing.T, reader sdk.Reader) readings {
	t.Helper()
	var all metricdata.ResourceMetrics
	must(t, reader.Collect(t.Context(), &all))
	found := readings{}
	note := func(name string, points []metricdata.DataPoint[float64]) {
		for _, point := range points {
			key := name
			for _, each := range point.Attributes.ToSlice() {
				key += fmt.Sprintf(" %s=%s", shortened(each.Key), each.Value.AsString())
			}
			found[key] = point.Value
		}
	}
	for _, scope := range all.ScopeMetrics {
		for _, each := range scope.Metrics {
			switch data := each.Data.(type) {
			case metricdata.Sum[float64]:
				note(each.Name, data.DataPoints)
			case metricdata.Gauge[float64]:
				note(each.Name, data.DataPoints)
			default:
				t.Fatalf("%s is a %T", each.Name, each.Data)
			}
		}
	}
	return found
}

// shortened leaves the last word of an attribute's key.
func shortened(key attribute.Key) string {
	return string(key[strings.LastIndexByte(string(key), '.')+1:])
}

// since returns what has changed between two collections.
func (r readings) since(before readings) readings {
	changes := readings{}
	for key, value := range r {
		if value != before[key] {
			changes[key] = value - before[key]
		}
	}
	for key, value := range before {
		if _, still := r[key]; !still {
			changes[key] = -value
		}
	}
	return changes
}

// without leaves out what moves by itself.
func (r readings) without(prefixes ...string) readings {
	for key := range r {
		for _, prefix := range prefixes {
			if strings.HasPrefix(key, prefix) {
				delete(r, key)
			}
		}
	}
	return r
}
