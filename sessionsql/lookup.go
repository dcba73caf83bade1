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

// A Session is a live session, as Lookup returns it. No verb of package fmt prints its payload.
type Session struct {
	// Payload is the text that the application keeps in the session.
	Payload string

	// Version counts payload writes, from 1; give it to Update.
	Version int32

	// Subject is the owner of the session; empty for an anonymous one.
	Subject string

	// ExpiresIn is the time that the session had left before this lookup touched it, by the server's clock.
	ExpiresIn time.Duration
}

// Format implements [fmt.Formatter]. Every verb prints the same text, without payload and subject.
func (s Session) Format(f fmt.State, _ rune) {
	text := fmt.Sprintf("sessionsql.Session(version %d, %d bytes redacted)", s.Version, len(s.Payload))
	_, _ = io.WriteString(f, text)
}

// LogValue implements [slog.LogValuer], because a handler may marshal its values instead of formatting them.
func (s Session) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

// Lookup returns the live session that a token opens, and touches it. The next flush extends its expiry (see
// [Options.FlushInterval]); a session about to expire is extended at once.
//
// Lookup reads from a replica that is up to date, if there is one. The primary answers when the replica has
// no such session, and when this Store has written the session so lately that the replica may hold the older
// row. Concurrent calls share round trips.
//
// It returns ErrNoSession, for a malformed token without a round trip, or ErrUnavailable.
func (s *Store) Lookup(ctx context.Context, token Token) (Session, error) {
	return s.lookup(ctx, token, s.touch)
}

// Peek is Lookup without the touch, for a request that is no use of the session, such as a page that polls.
func (s *Store) Peek(ctx context.Context, token Token) (Session, error) {
	return s.lookup(ctx, token, func(int64, time.Duration) {})
}

// Touch is Lookup for a use that needs no payload, such as a connection held open.
func (s *Store) Touch(ctx context.Context, token Token) error {
	_, err := s.Lookup(ctx, token)
	return err
}

func (s *Store) lookup(
	ctx context.Context, token Token, touch func(id int64, expiresIn time.Duration),
) (Session, error) {
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
		return Session{}, s.countError("lookup", err)
	}
	expiresIn := fromSeconds(row.ExpiresIn)
	touch(k.id, expiresIn)
	return Session{
		Payload:   string(row.Payload),
		Version:   row.Version,
		Subject:   row.Subject.String,
		ExpiresIn: expiresIn,
	}, nil
}

// lookupRow asks a replica first. It asks the primary when the replica gave no answer, or an answer that may
// be older than a write of this Store.
func (s *Store) lookupRow(ctx context.Context, k key) (db.LiveSession, error) {
	if n := s.chooseServer(s.recent.has(k)); n.replica {
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

// chooseServer returns the server for a read. The usable replicas take turns. The primary serves when there
// is none, and when this Store has written the row so lately that a replica may hold the older one.
func (s *Store) chooseServer(lately bool) *node {
	if len(s.replicas) == 0 || lately {
		return s.primary
	}
	turn := s.turns.Add(1)
	for i := range uint64(len(s.replicas)) {
		n := s.replicas[(turn+i)%uint64(len(s.replicas))]
		if n.state.Load().usable {
			return n
		}
	}
	return s.primary
}

func (s *Store) lookupOne(ctx context.Context, n *node, k key) (row db.LiveSession, err error) {
	ask := func(ctx context.Context, on Tx) (err error) {
		row, err = s.queries.Lookup(ctx, on, db.LookupParams{ID: k.id, SecretHash: k.hash[:]})
		return err
	}
	if err = n.read(ctx, "lookup", ask); errors.Is(err, sql.ErrNoRows) && !n.replica {
		err = s.confirmMiss(ctx, n, "lookup", ask)
	}
	switch {
	case err == nil:
		s.countLookups(n, 1)
	case n.replica:
		return row, s.replicaGaveNoAnswer(ctx, n, 1, err)
	case errors.Is(err, sql.ErrNoRows):
		s.countLookups(n, 1)
		return row, ErrNoSession
	}
	return row, err
}

func (s *Store) countLookups(n *node, lookups int64) {
	if n.replica {
		s.stats.replicaReads.Add(lookups)
	} else {
		s.stats.primaryReads.Add(lookups)
	}
}
