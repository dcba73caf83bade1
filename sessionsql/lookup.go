package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgtext"
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
	return s.lookup(ctx, token, 0, true)
}

// LookupAtLeast is Lookup for a caller that knows of a payload write: an answer from memory or from a replica
// with a lower version counts as none. So a user sees their own update in every program, if the programs pass
// its version on, in a second cookie say. The session may have a lower version all the same, after a crash
// that lost the update.
func (s *Store) LookupAtLeast(ctx context.Context, token Token, version int32) (Session, error) {
	return s.lookup(ctx, token, version, true)
}

// Peek is Lookup without the touch, for a request that is no use of the session, such as a page that polls.
func (s *Store) Peek(ctx context.Context, token Token) (Session, error) {
	return s.lookup(ctx, token, 0, false)
}

// Touch is Lookup for a use that needs no payload, such as a connection held open.
func (s *Store) Touch(ctx context.Context, token Token) error {
	_, err := s.Lookup(ctx, token)
	return err
}

func (s *Store) lookup(ctx context.Context, token Token, version int32, use bool) (Session, error) {
	k, ok := token.key()
	if !ok {
		return Session{}, ErrNoSession
	}
	if s.calls.isShut() {
		return Session{}, ErrClosed
	}
	at := now()
	if e := s.near.find(k.near(), version, at); e != nil {
		return s.lookupInMemory(k, e, at, use)
	}
	if !s.calls.enter() {
		return Session{}, ErrClosed
	}
	defer s.calls.leave()
	s.stats.lookups.Add(1)
	fetch := s.near.begin(k.near(), at)
	defer fetch.end()
	row, err := s.lookupRow(ctx, k, version)
	if err != nil {
		return Session{}, s.countError("lookup", err)
	}
	fetch.keep(row, s.lastMoments())
	session := sessionOf(&row)
	if use {
		s.touch(k.id, session.ExpiresIn)
	}
	return session, nil
}

// lookupInMemory writes nothing that other CPUs read, except for the first use of an entry since a flush.
// Else CPUs would wait for each other in each hit, which they do for the lock of a part of the map alone.
func (s *Store) lookupInMemory(k key, e *nearEntry, at instant, use bool) (Session, error) {
	session := sessionOf(&e.row)
	session.ExpiresIn -= at.since(e.fetched)
	if flush := uint32(s.touches.flushes.Load()); use && atomic.LoadUint32(&e.flush) != flush {
		if !s.calls.enter() { // because the last flush of Close must not miss the touch
			return Session{}, ErrClosed
		}
		defer s.calls.leave()
		s.touch(k.id, session.ExpiresIn)
		atomic.StoreUint32(&e.flush, flush)
	}
	s.stats.nearLookups.add()
	return session, nil
}

func sessionOf(row *db.NearSession) Session {
	return Session{
		Payload:   string(row.Payload),
		Version:   row.Version,
		Subject:   row.Subject.String,
		ExpiresIn: fromSeconds(row.ExpiresIn),
	}
}

// lookupRow asks a replica first. It asks the primary when the replica gave no answer, or an answer that may
// be older than a write that this Store knows of, or than the version. While the primary is away, replicas go
// on serving what other programs have written.
func (s *Store) lookupRow(ctx context.Context, k key, version int32) (db.NearSession, error) {
	written := s.others.has(k)
	if n := s.chooseServer(s.recent.has(k) || written && s.pollsWork()); n.replica {
		row, err := n.lookups.Do(ctx, k)
		row.IsCurrent = row.IsCurrent && !written // because no further poll would drop the row
		switch {
		case err == nil && row.Version >= version &&
			!(row.Subject.Valid && s.recent.hasSubject(row.Subject.String)):
			return row, nil
		case ctx.Err() != nil:
			return row, err
		}
	}
	row, err := s.primary.lookups.Do(ctx, k)
	if row.InRecovery {
		row.IsCurrent = false // because the pool leads to a standby, which may lack a write that is known
	}
	return row, err
}

// chooseServer returns the server for a read. The usable replicas take turns. The primary serves when there
// is none, and when the row was written so lately that a replica may hold the older one.
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

func (s *Store) lookupOne(ctx context.Context, n *node, k key) (row db.NearSession, err error) {
	ask := func(ctx context.Context, on Tx) (err error) {
		row, err = s.askOne(ctx, on, k)
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

func (s *Store) askOne(ctx context.Context, on Tx, k key) (row db.NearSession, err error) {
	if !s.near.on() {
		found, err := s.queries.Lookup(ctx, on, db.LookupParams{ID: k.id, SecretHash: k.hash[:]})
		return notKept(found), err
	}
	params := db.LookupBatchParams{IDs: pgtext.IDs{k.id}, SecretHashes: pgtext.Hashes{k.hash}}
	switch rows, err := s.lookupRows(ctx, on, params); {
	case err != nil:
		return row, err
	case len(rows) == 0:
		return row, sql.ErrNoRows
	default:
		return rows[0], nil
	}
}

func (s *Store) countLookups(n *node, lookups int64) {
	if n.replica {
		s.stats.replicaReads.Add(lookups)
	} else {
		s.stats.primaryReads.Add(lookups)
	}
}
