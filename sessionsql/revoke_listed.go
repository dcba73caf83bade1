package sessionsql

import (
	"context"

	"github.com/sessionsql/postgres/db"
)

// RevokeListed ends one other session of the user whose live session token opens: id is one that [Store.ListSubject] has
// returned. When it returns nil the session is dead, as after [Store.Revoke]. OWASP ASVS 5.0, 7.5.2.
//
// It returns ErrNoSession when token opens no session, or when its subject has no other live session of this id, or
// ErrUnavailable.
func (s *Store) RevokeListed(ctx context.Context, token Token, id int64) error {
	k, ok := token.key()
	if !ok {
		return ErrNoSession
	}
	if !s.calls.enter() {
		return ErrClosed
	}
	defer s.calls.leave()
	return s.revoke(ctx, "revoke listed", key{id: id}, func(ctx context.Context, on Tx) (bool, error) {
		return s.queries.RevokeListed(ctx, on, db.RevokeListedParams{ID: k.id, SecretHash: k.hash[:], ListedID: id})
	})
}
