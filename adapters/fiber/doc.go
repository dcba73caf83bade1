// Package sessionsqlfiber keeps the data of gofiber/fiber in PostgreSQL, as cache entries of a
// [sessionsql.Store]. It does not import fiber, so only programs that use fiber download it.
//
//	import sessionsqlfiber "github.com/sessionsql/postgres/adapters/fiber"
//
//	final := &sessionsql.CacheOptions{Final: true}
//	storage := sessionsqlfiber.NewStorage(store, "sessions", final) // store is a *sessionsql.Store
//	site.Use(session.New(session.Config{Storage: storage}))
//
// A Storage serves every middleware of fiber 3 that takes one, and those of fiber 2. Give each one a name of
// its own. The one for sessions should be Final: then a request that is under way during a logout does not
// bring the session back. The others may set a key again that they have deleted, so theirs must not be Final.
package sessionsqlfiber
