package sessionsql

import (
	"context"

	"github.com/sessionsql/postgres/db"
)

// RevokeListed ends another session of the user whose session the token opens, by the id that
// [Store.ListSubject] returned. When it returns nil, the session is dead as after [Store.Revoke]. OWASP ASVS
// 5.0, 7.5.2.
//
// It returns ErrNoSession when the token opens no session, or when its subject has no other live session with
// this id; else ErrUnavailable.
func (s *Store) RevokeListed(ctx context.Context, token Token, id int64) error {
	k, ok := token.key()
	if !ok {
		return ErrNoSession
	}
	if !s.calls.enter() {
		return ErrClosed
	}
	defer s.calls.leave()
	var revoked bool
	err := s.primary.write(ctx, "revoke listed", func(ctx context.Context, on Tx) (err error) {
		params := db.RevokeListedParams{ID: k.id, SecretHash: k.hash[:], ListedID: id}
		revoked, err = s.queries.RevokeListed(ctx, on, params)
		return err
	})
	s.noteWrite(key{id: id})
	return s.countRevoke("revoke listed", revoked, err)
}
