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

// Lookup returns the live session that a token opens, and keeps it alive: the next flush extends its expiry (see
// [Options.FlushInterval]); a session about to expire is extended at once.
//
// It reads from a replica where there is one that is up to date; what a replica does not have is asked again on the primary.
// What this Store has written is never read back older than written. Concurrent calls share round trips.
//
// It returns ErrNoSession, for a malformed token without a round trip, or ErrUnavailable.
func (s *Store) Lookup(ctx context.Context, token Token) (Session, error) {
	return s.lookup(ctx, token, s.keepAlive)
}

// Peek is Lookup without keeping the session alive, for what is no use of it: a page that polls, a count of unread mail.
func (s *Store) Peek(ctx context.Context, token Token) (Session, error) {
	return s.lookup(ctx, token, func(int64, time.Duration) {})
}

// Touch keeps a session alive without its payload being needed: for a request, or a connection held open, that is a use but
// no read. It fails as Lookup does.
func (s *Store) Touch(ctx context.Context, token Token) error {
	_, err := s.Lookup(ctx, token)
	return err
}

func (s *Store) lookup(ctx context.Context, token Token, use func(id int64, left time.Duration)) (Session, error) {
	k, ok := token.key()
	if !ok {
		return Session{}, ErrNoSession
	}
	if !s.calls.enter() {
		return Session{}, ErrClosed
	}
	defer s.calls.leave()
	s.stats.lookups.Add(1)
	row, err := s.lookupRow(ctx, k)
	if err != nil {
		return Session{}, s.failed("lookup", err)
	}
	left := fromSeconds(row.ExpiresIn)
	use(k.id, left)
	return Session{
		Payload:   string(row.Payload),
		Version:   row.Version,
		Subject:   row.Subject.String,
		ExpiresIn: left,
	}, nil
}

// lookupRow asks a replica, and the primary for what that replica did not answer or may hold in an older state.
func (s *Store) lookupRow(ctx context.Context, k key) (db.LiveSession, error) {
	if n := s.readFrom(k); n.replica {
		row, err := n.lookups.Do(ctx, k)
		switch {
		case err == nil && !(row.Subject.Valid && s.recent.hasSubject(row.Subject.String)):
			return row, nil
		case ctx.Err() != nil:
			return row, err
		}
	}
	return s.primary.lookups.Do(ctx, k)
}

// errAskPrimary is what a replica's lookups return for what the primary has to be asked.
var errAskPrimary = errors.New("sessionsql: ask the primary")

// lookupOne is a lone lookup on node n.
func (s *Store) lookupOne(ctx context.Context, n *node, k key) (db.LiveSession, error) {
	row, err := s.lookupOn(ctx, n, k)
	switch {
	case err == nil:
		s.countRead(n, 1)
	case n.replica:
		return row, s.failedReplica(ctx, n, 1, err)
	case errors.Is(err, sql.ErrNoRows):
		s.countRead(n, 1)
		return row, ErrNoSession
	}
	return row, err
}

func (s *Store) lookupOn(ctx context.Context, n *node, k key) (row db.LiveSession, err error) {
	ask := func(ctx context.Context, on Tx) (err error) {
		row, err = s.queries.Lookup(ctx, on, db.LookupParams{ID: k.id, SecretHash: k.hash[:]})
		return err
	}
	if err = n.read(ctx, "lookup", ask); errors.Is(err, sql.ErrNoRows) && !n.replica {
		err = s.confirm(ctx, n, ask)
	}
	return row, err
}

// confirm asks again what the primary had no session for, on a connection that leads to a primary for certain. A pool that
// the application made may lead to a standby, which is late, and only a primary may say "no such session".
func (s *Store) confirm(ctx context.Context, n *node, ask func(context.Context, Tx) error) error {
	if n.certain.Load() {
		return sql.ErrNoRows
	}
	certain := func(ctx context.Context, on Tx) error {
		standby, err := s.queries.InRecovery(ctx, on)
		if err != nil {
			return err
		}
		if standby {
			return errStandby
		}
		return ask(ctx, on)
	}
	err := n.read(ctx, "lookup", certain)
	if errors.Is(err, ErrReadOnly) && n.renew(ctx, discard) {
		err = n.read(ctx, "lookup", certain)
	}
	return err
}

// failedReplica notes that a replica had no answer for some lookups, and leaves it out where it is at fault.
func (s *Store) failedReplica(ctx context.Context, n *node, lookups int64, err error) error {
	var late *lateError
	switch {
	case errors.Is(err, sql.ErrNoRows):
		s.stats.replicaMisses.Add(lookups)
	case ctx.Err() != nil:
		return err
	case errors.As(err, &late) && late.limit < n.limit/2: // its caller had less time than a replica may take
	default:
		n.fail(err)
	}
	return errAskPrimary
}

// countRead counts lookups that a node has answered for good.
func (s *Store) countRead(n *node, lookups int64) {
	if n.replica {
		s.stats.replicaReads.Add(lookups)
	} else {
		s.stats.primaryReads.Add(lookups)
	}
}
