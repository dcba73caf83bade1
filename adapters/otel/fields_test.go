package sessionsqlotel_test

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/metric"

	sessionsqlotel "github.com/sessionsql/postgres/adapters/otel"
	"github.com/sessionsql/postgres/sessionsql"
)

// A field is a place in Stats: its path, and how to make it differ from zero.
type field struct {
	path string
	set  func(*sessionsql.Stats)
}

// fields returns every field of Stats that holds a value, down to those of a server's pool.
func fields(t *testing.T) (all []field) {
	t.Helper()
	var visit func(path string, typ reflect.Type, at func(*sessionsql.Stats) reflect.Value)
	visit = func(path string, typ reflect.Type, at func(*sessionsql.Stats) reflect.Value) {
		switch {
		case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[time.Time]():
			for i := range typ.NumField() {
				visit(strings.TrimPrefix(path+"."+typ.Field(i).Name, "."), typ.Field(i).Type,
					func(s *sessionsql.Stats) reflect.Value { return at(s).Field(i) })
			}
		case path == "Replicas":
			visit(path, typ.Elem(), func(s *sessionsql.Stats) reflect.Value { return at(s).Index(0) })
		default:
			all = append(all, field{path, func(s *sessionsql.Stats) { at(s).Set(some(t, path, typ)) }})
		}
	}
	visit("", reflect.TypeFor[sessionsql.Stats](), func(s *sessionsql.Stats) reflect.Value {
		return reflect.ValueOf(s).Elem()
	})
	return all
}

// some returns a value of a type that is not its zero value.
func some(t *testing.T, path string, typ reflect.Type) reflect.Value {
	t.Helper()
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return reflect.ValueOf(time.Unix(1_800_000_000, 0))
	case typ == reflect.TypeFor[map[sessionsql.ErrorKey]int64]():
		return reflect.ValueOf(map[sessionsql.ErrorKey]int64{{Op: "insert", Kind: "unavailable"}: 7})
	case typ == reflect.TypeFor[error]():
		return reflect.ValueOf(&sessionsql.ErrUnavailable).Elem()
	case typ.Kind() == reflect.Bool:
		return reflect.ValueOf(true)
	case reflect.ValueOf(int64(7)).CanConvert(typ):
		return reflect.ValueOf(int64(7)).Convert(typ)
	}
	t.Fatalf("Stats.%s is a %v: teach this test to set it", path, typ)
	return reflect.Value{}
}

// leftOut returns the fields that the package's documentation names as not exported. "Pool" stands for any
// server's.
func leftOut(t *testing.T) map[string]bool {
	t.Helper()
	source, err := os.ReadFile("doc.go")
	must(t, err)
	_, section, found := strings.Cut(string(source), "// # Left out\n")
	if !found {
		t.Fatal("doc.go has no section of what is left out")
	}
	named := map[string]bool{}
	for _, path := range regexp.MustCompile(`\b(?:Primary|Replicas|Pool)\.\w+`).FindAllString(section, -1) {
		if strings.HasPrefix(path, "Pool.") {
			named["Primary."+path], named["Replicas."+path] = true, true
		} else {
			named[path] = true
		}
	}
	return named
}

// TestEveryFieldOfStatsIsExportedOrNamedAsLeftOut sets one field of Stats after the other and looks for it in
// what is exported. It fails for a new field of Stats: give it an instrument, or name it in doc.go.
func TestEveryFieldOfStatsIsExportedOrNamedAsLeftOut(t *testing.T) {
	var stats sessionsql.Stats
	reader := sdk.NewManualReader()
	registration, err := sessionsqlotel.RegisterStats(func() sessionsql.Stats { return stats },
		&sessionsqlotel.Options{MeterProvider: sdk.NewMeterProvider(sdk.WithReader(reader))})
	must(t, err)
	defer func() { must(t, registration.Unregister()) }()
	collected := func(set func(*sessionsql.Stats)) readings {
		stats = sessionsql.Stats{Replicas: make([]sessionsql.ServerStats, 1)}
		set(&stats)
		return collect(t, reader)
	}
	named := leftOut(t)
	nothing := collected(func(*sessionsql.Stats) {})
	for _, each := range fields(t) {
		exported := !maps.Equal(collected(each.set), nothing)
		switch {
		case !exported && !named[each.path]:
			t.Errorf("Stats.%s is neither exported nor named as left out", each.path)
		case exported && named[each.path]:
			t.Errorf("Stats.%s is exported, and doc.go says that it is not", each.path)
		}
		delete(named, each.path)
	}
	for path := range named {
		t.Errorf("doc.go leaves %s out, which Stats does not have", path)
	}
}
