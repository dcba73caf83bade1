package sessionsql

import (
	"context"

	"github.com/sessionsql/postgres/db"
)

// Revoke ends a session, as a logout does. When it returns nil, the session stays dead after a crash of the
// server, because the commit is synchronous. OWASP ASVS 5.0, 7.4.1.
//
// From then on this Store does not find the session. Another program may find it on a replica until the
// replica has replayed the logout, which takes milliseconds as a rule and [Options.MaxReplicaLag] at most. It
// may find it in its near cache for [NearCache.MaxStaleness] at most.
//
// It returns ErrNoSession, or ErrUnavailable. After ErrUnavailable call it again.
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

// revoke sends a logout, and remembers the session that it ended.
func (s *Store) revoke(
	ctx context.Context, op string, ended key, send func(context.Context, Tx) (bool, error),
) error {
	var revoked bool
	err := s.primary.write(ctx, op, func(ctx context.Context, on Tx) (err error) {
		revoked, err = send(ctx, on)
		return err
	})
	s.noteWrite(ended)
	switch {
	case err != nil:
		return s.countError(op, err)
	case !revoked:
		return ErrNoSession
	}
	s.stats.revokes.Add(1)
	return nil
}
