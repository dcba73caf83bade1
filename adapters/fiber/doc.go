// Package sessionsqlfiber keeps the data of gofiber/fiber in PostgreSQL, as cache entries of a
// [sessionsql.Store]. It does not import fiber, so only programs that use fiber download it.
//
//	import sessionsqlfiber "github.com/sessionsql/postgres/adapters/fiber"
//
//	cache := store.Cache("sessions", &sessionsql.CacheOptions{Final: true}) // store is a *sessionsql.Store
//	site.Use(session.New(session.Config{Storage: sessionsqlfiber.NewStorage(cache)}))
//
// A Storage serves every middleware of fiber 3 that takes one, and those of fiber 2. Give each a cache of its
// own. One for sessions should be Final: then a request that is under way during a logout does not bring the
// session back. The others, such as cache, limiter, idempotency and csrf, set keys again that they have
// deleted, so theirs must not be Final.
package sessionsqlfiber
