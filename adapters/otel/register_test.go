package sessionsqlotel_test

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	sessionsqlotel "github.com/sessionsql/postgres/adapters/otel"
	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

// A scene is a Store over a primary and a replica of its own, with its metrics.
type scene struct {
	t       *testing.T
	cluster *pgcluster.Cluster
	primary *sql.DB
	store   *sessionsql.Store
	reader  *sdk.ManualReader
	before  readings
}

func newScene(t *testing.T) *scene {
	t.Helper()
	cluster, err := sessiontest.StartWithBundle(t.Context(), &pgcluster.Options{Replicas: 1})
	must(t, err)
	t.Cleanup(func() { _ = cluster.Close() })
	s := &scene{t: t, cluster: cluster, reader: sdk.NewManualReader()}
	s.primary, err = sql.Open("pgx", cluster.Primary.DSN("postgres"))
	must(t, err)
	t.Cleanup(func() { _ = s.primary.Close() })
	s.store, err = sessionsql.Open(t.Context(), cluster.Primary.DSN("postgres"),
		[]string{cluster.Replicas[0].DSN("postgres")},
		&sessionsql.Options{FlushInterval: -1, ReapInterval: -1, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() { _ = s.store.Close(t.Context()) })
	registration, err := sessionsqlotel.Register(s.store, &sessionsqlotel.Options{
		MeterProvider: sdk.NewMeterProvider(sdk.WithReader(s.reader)),
	})
	must(t, err)
	t.Cleanup(func() { must(t, registration.Unregister()) })
	eventually(t, "the replica is read from", func() bool { return s.store.Stats().Replicas[0].Usable })
	s.before = collect(t, s.reader)
	return s
}

// sessions makes sessions that the replica has and that this Store has not written.
func (s *scene) sessions(n int) (tokens []sessionsql.Token) {
	s.t.Helper()
	for range n {
		var token sessionsql.Token
		must(s.t, s.primary.QueryRow("SELECT sessionsql.new_session('p', durable => true)").Scan(&token))
		tokens = append(tokens, token)
	}
	replica, err := sql.Open("pgx", s.cluster.Replicas[0].DSN("postgres"))
	must(s.t, err)
	defer func() { _ = replica.Close() }()
	eventually(s.t, "the replica has the sessions", func() bool {
		var found bool
		must(s.t, replica.QueryRow("SELECT EXISTS (SELECT FROM sessionsql.find_session($1))",
			string(tokens[n-1])).Scan(&found))
		return found
	})
	return tokens
}

// moved checks that the instruments moved by exactly this since the last call, but for what moves by itself.
func (s *scene) moved(step string, want readings) {
	s.t.Helper()
	after := collect(s.t, s.reader)
	moved := after.since(s.before).without("sessionsql.pool.", "sessionsql.replica.lag",
		"sessionsql.server.changed_timestamp", "sessionsql.flush.last", "sessionsql.reap.last")
	if !maps.Equal(moved, want) {
		s.t.Errorf("%s: moved %v, not %v", step, moved, want)
	}
	s.before = after
}

func TestInstrumentsMoveByWhatWasDone(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	found, unknown := s.sessions(4), s.sessions(1)[0]
	_, err := s.primary.Exec("SELECT sessionsql.end_session($1)", string(unknown))
	must(t, err)
	s.moved("nothing was done", readings{})

	for _, token := range found {
		_, err := s.store.Lookup(ctx, token)
		must(t, err)
	}
	s.moved("lookups that a replica answers", readings{
		"sessionsql.lookups": 4, "sessionsql.lookup.answers role=replica": 4,
		"sessionsql.batches verb=lookup": 4, "sessionsql.touch.pending": 4,
	})
	eventually(t, "the replica does not have the session", func() bool {
		_, err := s.store.Peek(ctx, unknown) // touches nothing where the replica still has it
		return errors.Is(err, sessionsql.ErrNoSession)
	})
	s.before = collect(t, s.reader)
	if _, err := s.store.Lookup(ctx, unknown); !errors.Is(err, sessionsql.ErrNoSession) {
		t.Fatal(err)
	}
	s.moved("an unknown token", readings{
		"sessionsql.lookups": 1, "sessionsql.lookup.replica_misses": 1,
		"sessionsql.lookup.answers role=primary": 1, "sessionsql.batches verb=lookup": 2,
	})
	if _, err := s.store.Lookup(ctx, "malformed"); !errors.Is(err, sessionsql.ErrNoSession) {
		t.Fatal(err)
	}
	s.moved("a malformed token", readings{})

	begun := float64(time.Now().UnixMicro()) / 1e6
	must(t, s.store.Flush(ctx))
	s.moved("a flush of sessions that are not due", readings{
		"sessionsql.touch.pending": -4, "sessionsql.touch.sent": 4,
	})
	if at := s.before["sessionsql.flush.last_success_timestamp"]; at < begun || at > begun+60 {
		t.Errorf("flushed at %f, and not after %f", at, begun)
	}
	s.write()
	s.reap()
	s.fail()
}

func (s *scene) write() {
	s.t.Helper()
	t, ctx := s.t, s.t.Context()
	var tokens []sessionsql.Token
	for range 3 {
		token, err := s.store.Insert(ctx, "p", nil)
		must(t, err)
		tokens = append(tokens, token)
	}
	s.moved("inserts", readings{"sessionsql.writes verb=insert": 3, "sessionsql.batches verb=insert": 3})
	for version := range int32(2) {
		_, err := s.store.Update(ctx, tokens[0], "q", version+1)
		must(t, err)
	}
	if _, err := s.store.Update(ctx, tokens[0], "q", 1); !errors.Is(err, sessionsql.ErrConflict) {
		t.Fatal(err)
	}
	s.moved("updates, and a conflict", readings{
		"sessionsql.writes verb=update": 2, "sessionsql.batches verb=update": 3,
	})
	_, err := s.store.Rotate(ctx, tokens[1], nil)
	must(t, err)
	s.moved("a rotate", readings{"sessionsql.writes verb=rotate": 1})
	must(t, s.store.Revoke(ctx, tokens[2]))
	s.moved("a revoke", readings{"sessionsql.writes verb=revoke": 1, "sessionsql.batches verb=revoke": 1})
}

func (s *scene) reap() {
	s.t.Helper()
	_, err := s.primary.Exec(
		"UPDATE sessionsql.session AS s SET expires_at = '2020-01-01' WHERE s.payload = 'q'")
	must(s.t, err)
	_, err = s.store.Reap(s.t.Context())
	must(s.t, err)
	s.moved("a reap", readings{"sessionsql.reap.deleted": 1})
	if s.before["sessionsql.reap.last_success_timestamp"] == 0 {
		s.t.Error("nobody reaped")
	}
}

// fail stops one server after the other.
func (s *scene) fail() {
	s.t.Helper()
	t, ctx := s.t, s.t.Context()
	must(t, s.cluster.Replicas[0].Stop(ctx))
	eventually(t, "the replica is left out", func() bool { return !s.store.Stats().Replicas[0].Usable })
	s.moved("the replica stops", readings{"sessionsql.server.usable server=replica 1": -1})
	token, err := s.store.Insert(ctx, "p", nil)
	must(t, err)
	must(t, s.store.Touch(ctx, token))
	s.moved("a lookup without a replica", readings{
		"sessionsql.writes verb=insert": 1, "sessionsql.batches verb=insert": 1,
		"sessionsql.lookups": 1, "sessionsql.lookup.answers role=primary": 1,
		"sessionsql.batches verb=lookup": 1, "sessionsql.touch.pending": 1,
	})
	must(t, s.cluster.Primary.Stop(ctx))
	eventually(t, "the primary is away", func() bool { return !s.store.Stats().Primary.Usable })
	for range 2 {
		if _, err := s.store.Insert(ctx, "p", nil); !errors.Is(err, sessionsql.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if err := s.store.Revoke(ctx, token); !errors.Is(err, sessionsql.ErrUnavailable) {
		t.Fatal(err)
	}
	if err := s.store.Flush(ctx); !errors.Is(err, sessionsql.ErrUnavailable) {
		t.Fatal(err)
	}
	s.moved("the primary stops", readings{
		"sessionsql.server.usable server=primary":        -1,
		"sessionsql.errors type=unavailable verb=insert": 2,
		"sessionsql.errors type=unavailable verb=revoke": 1,
		"sessionsql.batches verb=revoke":                 1,
		"sessionsql.batches verb=insert":                 2,
		"sessionsql.flush.errors":                        1,
	})
	if n := s.before["sessionsql.pool.max_connections server=replica 1"]; n != 16 {
		t.Errorf("a pool of %v connections", n)
	}
}

// A program with two Stores tells them apart by attributes, and what is unregistered is not exported.
func TestEachStoreHasItsAttributes(t *testing.T) {
	reader := sdk.NewManualReader()
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	for i := range 2 {
		stats := func() sessionsql.Stats { return sessionsql.Stats{Lookups: int64(i + 1)} }
		registration, err := sessionsqlotel.RegisterStats(stats, &sessionsqlotel.Options{
			MeterProvider: provider,
			Attributes:    []attribute.KeyValue{attribute.String("store", fmt.Sprint(i))},
		})
		must(t, err)
		defer func() { must(t, registration.Unregister()) }()
	}
	gone, err := sessionsqlotel.RegisterStats(func() sessionsql.Stats { return sessionsql.Stats{Lookups: 9} },
		&sessionsqlotel.Options{MeterProvider: provider})
	must(t, err)
	must(t, gone.Unregister())
	found := collect(t, reader)
	wanted := readings{"sessionsql.lookups store=0": 1, "sessionsql.lookups store=1": 2}
	for key, want := range wanted {
		if found[key] != want {
			t.Errorf("%s is %v, not %v", key, found[key], want)
		}
	}
	if n, there := found["sessionsql.lookups"]; there {
		t.Errorf("an unregistered Store says %v", n)
	}
}

func TestANilStoreIsRefused(t *testing.T) {
	if _, err := sessionsqlotel.Register(nil, nil); err == nil {
		t.Error("no error")
	}
}
