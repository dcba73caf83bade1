package sessionsql

import (
	"context"

	"github.com/sessionsql/postgres/db"
)

// Revoke ends a session, as a logout does. When it returns nil, the session stays dead after a crash of the
// server, because the commit is synchronous. OWASP ASVS 5.0, 7.4.1. Concurrent calls share round trips.
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
	revoked, err := s.revokes.Do(ctx, k)
	if err != nil {
		s.noteWrite(k) // because the caller may have left while the logout is under way
	}
	return s.countRevoke("revoke", revoked, err)
}

func (s *Store) revokeOne(ctx context.Context, k key) (revoked bool, err error) {
	err = s.primary.write(ctx, "revoke", func(ctx context.Context, on Tx) (err error) {
		revoked, err = s.queries.Revoke(ctx, on, db.RevokeParams{ID: k.id, SecretHash: k.hash[:]})
		return err
	})
	s.noteWrite(k)
	return revoked, err
}

// countRevoke counts the end of one session, and returns the error of the call.
func (s *Store) countRevoke(op string, revoked bool, err error) error {
	switch {
	case err != nil:
		return s.countError(op, err)
	case !revoked:
		return ErrNoSession
	}
	s.stats.revokes.Add(1)
	return nil
}
