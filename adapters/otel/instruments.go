package sessionsqlotel

import (
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/sessionsql/postgres/sessionsql"
)

// An instrument measures fields of Stats. Its name and unit follow OpenTelemetry's semantic conventions for
// metrics (https://opentelemetry.io/docs/specs/semconv/general/metrics/): a counter's name has no "total",
// because an exporter adds it, and units are those of UCUM.
type instrument struct {
	kind                    kind
	name, unit, description string
	read                    func(*sessionsql.Stats, sample)
}

// A sample receives one measurement.
type sample func(value float64, attributes ...attribute.KeyValue)

type kind int

const (
	counter kind = iota // only grows while the Store is open
	level               // rises and falls, and has a sum over Stores
	gauge               // has no sum over Stores
)

func (i instrument) make(meter metric.Meter) (metric.Float64Observable, error) {
	unit, description := metric.WithUnit(i.unit), metric.WithDescription(i.description)
	switch i.kind {
	case counter:
		return meter.Float64ObservableCounter(i.name, unit, description)
	case level:
		return meter.Float64ObservableUpDownCounter(i.name, unit, description)
	default:
		return meter.Float64ObservableGauge(i.name, unit, description)
	}
}

const (
	verb   = attribute.Key("sessionsql.verb")
	role   = attribute.Key("sessionsql.role")
	server = attribute.Key("sessionsql.server")

	// The semantic conventions define these two.
	errorType = attribute.Key("error.type")
	connState = attribute.Key("db.client.connection.state")
)

var instruments = []instrument{
	{
		counter, "sessionsql.lookups", "{lookup}",
		"Calls of Lookup, Touch and Peek with a well-formed token.",
		number(func(s *sessionsql.Stats) int64 { return s.Lookups }),
	},
	{
		counter, "sessionsql.lookup.answers", "{lookup}", "Lookups and cache gets by what answered them.",
		func(s *sessionsql.Stats, take sample) {
			take(float64(s.ReplicaReads), role.String("replica"))
			take(float64(s.PrimaryReads), role.String("primary"))
			take(float64(s.NearHits), role.String("near cache"))
		},
	},
	{
		counter, "sessionsql.lookup.replica_misses", "{lookup}",
		"Lookups and cache gets that a replica had no row for and the primary answered.",
		number(func(s *sessionsql.Stats) int64 { return s.ReplicaMisses }),
	},
	{
		counter, "sessionsql.writes", "{session}", "Sessions inserted, updated, rotated or revoked.",
		func(s *sessionsql.Stats, take sample) {
			take(float64(s.Inserts), verb.String("insert"))
			take(float64(s.Updates), verb.String("update"))
			take(float64(s.Rotates), verb.String("rotate"))
			take(float64(s.Revokes), verb.String("revoke"))
		},
	},
	{
		counter, "sessionsql.batches", "{batch}", "Round trips; fewer than calls where callers shared them.",
		func(s *sessionsql.Stats, take sample) {
			take(float64(s.LookupBatches), verb.String("lookup"))
			take(float64(s.InsertBatches), verb.String("insert"))
			take(float64(s.UpdateBatches), verb.String("update"))
			take(float64(s.RevokeBatches), verb.String("revoke"))
			take(float64(s.CacheGetBatches), verb.String("cache get"))
			take(float64(s.CacheSetBatches), verb.String("cache set"))
		},
	},
	{
		counter, "sessionsql.errors", "{error}",
		"Failed calls, and loads of Fetch. An answer such as ErrNoSession or ErrNoEntry is not counted.",
		func(s *sessionsql.Stats, take sample) {
			for key, n := range s.Errors {
				take(float64(n), verb.String(key.Op), errorType.String(key.Kind))
			}
		},
	},

	{
		counter, "sessionsql.cache.gets", "{entry}", "Keys that gets and Fetch asked for.",
		number(func(s *sessionsql.Stats) int64 { return s.CacheGets }),
	},
	{
		counter, "sessionsql.cache.misses", "{entry}", "Those of these keys that had no entry.",
		number(func(s *sessionsql.Stats) int64 { return s.CacheMisses }),
	},
	{
		counter, "sessionsql.cache.sets", "{entry}", "Cache entries that sets and Fetch wrote.",
		number(func(s *sessionsql.Stats) int64 { return s.CacheSets }),
	},
	{
		counter, "sessionsql.cache.loads", "{load}", "Loads that Fetch began.",
		number(func(s *sessionsql.Stats) int64 { return s.CacheLoads }),
	},
	{
		counter, "sessionsql.cache.extended", "{entry}", "Cache entries whose expiry a touch extended.",
		number(func(s *sessionsql.Stats) int64 { return s.EntriesExtended }),
	},
	{
		counter, "sessionsql.cache.reaped", "{entry}", "Expired cache entries deleted by this Store.",
		number(func(s *sessionsql.Stats) int64 { return s.EntriesReaped }),
	},
	{
		counter, "sessionsql.cache.evicted", "{entry}",
		"Live cache entries deleted by this Store for a budget.",
		number(func(s *sessionsql.Stats) int64 { return s.EntriesEvicted }),
	},

	{
		level, "sessionsql.touch.pending", "{touch}", "Touches that wait for a flush.",
		number(func(s *sessionsql.Stats) int64 { return s.TouchesPending }),
	},
	{
		counter, "sessionsql.touch.sent", "{touch}", "Touches that a flush sent.",
		number(func(s *sessionsql.Stats) int64 { return s.TouchesSent }),
	},
	{
		counter, "sessionsql.touch.dropped", "{touch}",
		"Touches that were dropped, because the buffer was full.",
		number(func(s *sessionsql.Stats) int64 { return s.TouchesDropped }),
	},
	{
		counter, "sessionsql.touch.extended", "{session}",
		"Sessions whose expiry a touch extended; the others were not due.",
		number(func(s *sessionsql.Stats) int64 { return s.SessionsExtended }),
	},
	{
		counter, "sessionsql.flush.errors", "{error}",
		"Failed statements of flushes. Their touches are sent again.",
		number(func(s *sessionsql.Stats) int64 { return s.FlushErrors }),
	},
	{
		gauge, "sessionsql.flush.last_success_timestamp", "s", "When a flush last sent touches, since 1970.",
		timestamp(func(s *sessionsql.Stats) time.Time { return s.LastFlush }),
	},
	{
		counter, "sessionsql.reap.deleted", "{session}", "Expired sessions deleted by this Store.",
		number(func(s *sessionsql.Stats) int64 { return s.Reaped }),
	},
	{
		counter, "sessionsql.reap.errors", "{error}", "Failed rounds of the reaper.",
		number(func(s *sessionsql.Stats) int64 { return s.ReapErrors }),
	},
	{
		gauge, "sessionsql.reap.last_success_timestamp", "s", "When a reap last succeeded, since 1970.",
		timestamp(func(s *sessionsql.Stats) time.Time { return s.LastReap }),
	},

	{
		gauge, "sessionsql.server.usable", "{server}",
		"1 when the primary answers, or lookups may read from the replica; else 0.",
		eachServer(func(s *sessionsql.ServerStats, take sample) {
			if s.Usable {
				take(1)
			} else {
				take(0)
			}
		}),
	},
	{
		gauge, "sessionsql.server.changed_timestamp", "s",
		"When a server last became usable or unusable, since 1970.",
		eachServer(func(s *sessionsql.ServerStats, take sample) { take(unix(s.Since)) }),
	},
	{
		gauge, "sessionsql.replica.lag", "s",
		"The age of the first write that a replica lacks; 0 when it has all.",
		func(s *sessionsql.Stats, take sample) {
			for i := range s.Replicas {
				take(s.Replicas[i].Lag.Seconds(), server.String(replicaName(i)))
			}
		},
	},
	{
		level, "sessionsql.pool.connections", "{connection}", "Connections of the pool that callers use.",
		eachServer(func(s *sessionsql.ServerStats, take sample) {
			take(float64(s.Pool.InUse), connState.String("used"))
			take(float64(s.Pool.Idle), connState.String("idle"))
		}),
	},
	{
		level, "sessionsql.pool.max_connections", "{connection}",
		"The most connections that the pool opens; 0 when it has no bound.",
		eachServer(func(s *sessionsql.ServerStats, take sample) { take(float64(s.Pool.MaxOpenConnections)) }),
	},
	{
		counter, "sessionsql.pool.waits", "{wait}", "How often a caller waited for a connection.",
		eachServer(func(s *sessionsql.ServerStats, take sample) { take(float64(s.Pool.WaitCount)) }),
	},
	{
		counter, "sessionsql.pool.wait_time", "s", "How long callers waited for connections, in total.",
		eachServer(func(s *sessionsql.ServerStats, take sample) { take(s.Pool.WaitDuration.Seconds()) }),
	},
}

// number reads a plain count.
func number(field func(*sessionsql.Stats) int64) func(*sessionsql.Stats, sample) {
	return func(s *sessionsql.Stats, take sample) { take(float64(field(s))) }
}

// timestamp reads a time, and measures nothing while it is zero.
func timestamp(field func(*sessionsql.Stats) time.Time) func(*sessionsql.Stats, sample) {
	return func(s *sessionsql.Stats, take sample) {
		if at := field(s); !at.IsZero() {
			take(unix(at))
		}
	}
}

// eachServer measures every server, and adds its name as an attribute.
func eachServer(read func(*sessionsql.ServerStats, sample)) func(*sessionsql.Stats, sample) {
	return func(s *sessionsql.Stats, take sample) {
		of := func(name string) sample {
			return func(value float64, attributes ...attribute.KeyValue) {
				take(value, append(attributes, server.String(name))...)
			}
		}
		read(&s.Primary, of("primary"))
		for i := range s.Replicas {
			read(&s.Replicas[i], of(replicaName(i)))
		}
	}
}

// replicaName returns the name that a replica has in the log.
func replicaName(i int) string { return fmt.Sprintf("replica %d", i+1) }

func unix(at time.Time) float64 { return float64(at.UnixMicro()) / 1e6 }
