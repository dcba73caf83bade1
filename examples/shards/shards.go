// Package shards is an example of programs that choose the primary of a session by themselves, so that no
// router stands between them and the shards. Copy it: it is no part of the library.
package shards

import (
	"encoding/base64"
	"math/rand/v2"

	"github.com/sessionsql/postgres/sessionsql"
)

// Stores are the Stores of all shards, in the order of the shards' numbers.
type Stores []*sessionsql.Store

// Of returns the Store for a session. The first eight bytes of a token are the session's id, big endian, and
// the low bits of the id are its shard. Every Store refuses a malformed token.
func (s Stores) Of(token sessionsql.Token) *sessionsql.Store {
	const lowest = 7
	raw, err := base64.RawURLEncoding.DecodeString(string(token))
	if err != nil || len(raw) <= lowest {
		return s[0]
	}
	return s[int(raw[lowest])&(len(s)-1)]
}

// Any returns a Store for a new session, whose token then leads back to it.
func (s Stores) Any() *sessionsql.Store { return s[rand.IntN(len(s))] }
