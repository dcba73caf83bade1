package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/sessionsql/postgres/db"
)

// A Session is what Lookup returns. Formatted with any verb it does not show the payload.
type Session struct {
	// Payload is what the application keeps.
	Payload string

	// Version counts payload writes, from 1; give it to Update.
	Version int32

	// Subject is whose session this is; empty for an anonymous one.
	Subject string

	// ExpiresIn is what was left of the session, by the server's clock, before this lookup kept it alive.
	ExpiresIn time.Duration
}

// Format implements [fmt.Formatter]: every verb prints the same, without payload and subject.
func (s Session) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, fmt.Sprintf("sessionsql.Session(version %d, %d bytes redacted)", s.Version, len(s.Payload)))
}

// LogValue implements [slog.LogValuer], for handlers that marshal what they are given.
func (s Session) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

// Lookup returns the live session that a token opens, and keeps it alive: in a moment, together with others (see
// [Options.FlushInterval]), or at once where little is left.
//
// It reads from a replica where there is one that is up to date; what a replica does not have is asked again on the primary.
// What this Store has written is never read back older than written. Concurrent calls share round trips.
//
// It returns ErrNoSession, for a malformed token without a round trip, or ErrUnavailable.
func (s *Store) Lookup(ctx context.Context, token Token) (Session, error) {
	k, ok := token.key()
	if !ok {
		return Session{}, ErrNoSession
	}
	if !s.calls.enter() {
		return Session{}, ErrClosed
	}
	defer s.calls.leave()
	s.stats.lookups.Add(1)
	row, err := s.readFrom(k).lookups.do(ctx, k)
	if err != nil {
		return Session{}, err
	}
	left := fromSeconds(row.ExpiresIn)
	s.keepAlive(k.id, left)
	return Session{
		Payload:   string(row.Payload),
		Version:   row.Version,
		Subject:   row.Subject.String,
		ExpiresIn: left,
	}, nil
}

// Touch keeps a session alive without its payload being needed: for a request, or a connection held open, that is a use but
// no read. It fails as Lookup does.
func (s *Store) Touch(ctx context.Context, token Token) error {
	_, err := s.Lookup(ctx, token)
	return err
}

// lookupOne is a lone lookup on node n, and on the primary if n is a replica that does not have the session.
func (s *Store) lookupOne(ctx context.Context, n *node, k key) (db.LiveSession, error) {
	var row db.LiveSession
	err := n.read(ctx, "lookup", func(ctx context.Context, on Tx) (err error) {
		row, err = s.queries.Lookup(ctx, on, db.LookupParams{ID: k.id, SecretHash: k.hash[:]})
		return err
	})
	missed := errors.Is(err, sql.ErrNoRows)
	switch {
	case err == nil:
		s.countRead(n, 1)
	case n.replica && missed:
		s.stats.replicaMisses.Add(1)
		return s.lookupOne(ctx, s.primary, k)
	case n.replica && ctx.Err() == nil:
		n.fail(err)
		return s.lookupOne(ctx, s.primary, k)
	case missed:
		s.countRead(n, 1)
		return row, ErrNoSession
	}
	return row, err
}

// countRead counts lookups that a node has answered for good.
func (s *Store) countRead(n *node, lookups int64) {
	if n.replica {
		s.stats.replicaReads.Add(lookups)
	} else {
		s.stats.primaryReads.Add(lookups)
	}
}
