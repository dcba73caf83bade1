package sessionsql

import (
	"context"

	"github.com/sessionsql/postgres/db"
)

// Revoke ends a session: a logout. When it returns nil the session is dead, also after a crash of the server: the commit is
// synchronous. OWASP ASVS 5.0, 7.4.1.
//
// This Store does not find the session again from then on. Another program that reads from a replica may, until the replica
// has replayed it: milliseconds as a rule, [Options.MaxReplicaLag] at most.
//
// It returns ErrNoSession, or ErrUnavailable; after the latter, call it again.
func (s *Store) Revoke(ctx context.Context, token Token) error {
	k, ok := token.key()
	if !ok {
		return ErrNoSession
	}
	if !s.calls.enter() {
		return ErrClosed
	}
	defer s.calls.leave()
	return s.revoke(ctx, "revoke", k, func(ctx context.Context, on Tx) (bool, error) {
		return s.queries.Revoke(ctx, on, db.RevokeParams{ID: k.id, SecretHash: k.hash[:]})
	})
}

// revoke sends one logout, and remembers that it ended a session.
func (s *Store) revoke(ctx context.Context, op string, ended key, send func(context.Context, Tx) (bool, error)) error {
	var revoked bool
	err := s.primary.write(ctx, op, func(ctx context.Context, on Tx) (err error) {
		revoked, err = send(ctx, on)
		return err
	})
	s.recent.mark(ended)
	switch {
	case err != nil:
		return s.failed(op, err)
	case !revoked:
		return ErrNoSession
	}
	s.stats.revokes.Add(1)
	return nil
}
