// Package sessionsqlotel exports the [sessionsql.Stats] of a Store as OpenTelemetry metrics.
//
//	import sessionsqlotel "github.com/sessionsql/postgres/adapters/otel"
//
//	registration, err := sessionsqlotel.Register(store, nil)
//	defer registration.Unregister()
//
// Each collection calls Stats once, which makes no round trip. These are the instruments, each with its unit,
// the fields that it exports, and its attributes in brackets:
//
//	sessionsql.lookups                       {lookup}      Lookups
//	sessionsql.lookup.answers                {lookup}      NearHits, ReplicaReads, PrimaryReads [role]
//	sessionsql.lookup.replica_misses         {lookup}      ReplicaMisses
//	sessionsql.writes                        {session}     Inserts, Updates, Rotates, Revokes [verb]
//	sessionsql.batches                       {batch}       each field named ...Batches [verb]
//	sessionsql.errors                        {error}       Errors [verb, error.type]
//	sessionsql.cache.gets                    {entry}       CacheGets
//	sessionsql.cache.misses                  {entry}       CacheMisses
//	sessionsql.cache.sets                    {entry}       CacheSets
//	sessionsql.cache.loads                   {load}        CacheLoads
//	sessionsql.cache.extended                {entry}       EntriesExtended
//	sessionsql.cache.reaped                  {entry}       EntriesReaped
//	sessionsql.cache.evicted                 {entry}       EntriesEvicted
//	sessionsql.touch.pending                 {touch}       TouchesPending
//	sessionsql.touch.sent                    {touch}       TouchesSent
//	sessionsql.touch.dropped                 {touch}       TouchesDropped
//	sessionsql.touch.extended                {session}     SessionsExtended
//	sessionsql.flush.errors                  {error}       FlushErrors
//	sessionsql.flush.last_success_timestamp  s             LastFlush
//	sessionsql.reap.deleted                  {session}     Reaped
//	sessionsql.reap.errors                   {error}       ReapErrors
//	sessionsql.reap.last_success_timestamp   s             LastReap
//	sessionsql.server.usable                 {server}      Usable, as 1 or 0 [server]
//	sessionsql.server.changed_timestamp      s             Since [server]
//	sessionsql.replica.lag                   s             Lag [server]
//	sessionsql.pool.connections              {connection}  Pool.InUse, Pool.Idle [server, state]
//	sessionsql.pool.max_connections          {connection}  Pool.MaxOpenConnections, 0 for no bound [server]
//	sessionsql.pool.waits                    {wait}        Pool.WaitCount [server]
//	sessionsql.pool.wait_time                s             Pool.WaitDuration [server]
//
// Timestamps are seconds since 1970. The timestamps of flush and reap are absent before the first success.
// The attributes are:
//
//   - verb: sessionsql.verb, a verb as in [sessionsql.ErrorKey].
//   - error.type: the kind of the ErrorKey.
//   - role: sessionsql.role, "primary" or "replica".
//   - server: sessionsql.server, "primary", "replica 1" and so on, as in the log.
//   - state: db.client.connection.state, "used" or "idle".
//
// No attribute holds data of a session, and the number of values does not grow with the number of sessions.
//
// # Left out
//
// These fields of Stats are not exported:
//
//   - Primary.Lag, because a primary has none.
//   - Primary.Err and Replicas.Err, because each text would make a series of its own. The log has them.
//   - Pool.OpenConnections, because it is the sum of InUse and Idle.
//   - Pool.MaxIdleClosed, Pool.MaxIdleTimeClosed and Pool.MaxLifetimeClosed, because the settings of the pool
//     cause them and not the Store.
package sessionsqlotel
