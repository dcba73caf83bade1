// Package sessionsqlscs keeps the sessions of alexedwards/scs in PostgreSQL, as cache entries of a
// [sessionsql.Store]. It does not import scs, so only programs that use scs download it.
//
//	import sessionsqlscs "github.com/sessionsql/postgres/adapters/scs"
//
//	sessions := scs.New()
//	sessions.Store = sessionsqlscs.NewStore(store, nil) // a *sessionsql.Store
//	sessions.Codec = sessionsqlscs.Codec{}
//
// # What differs from other stores
//
//   - A logout is final. After Destroy or RenewToken nothing brings the session back for an hour: the commit
//     of a request that is under way meanwhile does nothing and returns no error.
//   - A page view that changes nothing writes nothing, except once in Options.Slack. With an IdleTimeout, scs
//     commits the session at each request, and other stores write it each time.
//   - The database keeps a hash of the token. SessionManager.Iterate needs the tokens themselves, so it needs
//     Options.KeepTokens.
//   - If the database does not answer, the error is [sessionsql.ErrUnavailable]. Nobody is logged out.
//   - A session ends at the very time that scs asks for, by the clock of the database.
//
// scs's own PostgreSQL stores keep sessions under the same tokens, so one statement moves them here and
// nobody has to log in again: see docs/frameworks.md.
package sessionsqlscs
