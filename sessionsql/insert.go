package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgtext"
)

// InsertOptions says how one session differs from the Store's options; nil is the same as the zero value.
type InsertOptions struct {
	// Subject is the owner of the session, such as a user's id, at most 1024 bytes. Defaults to none, which
	// makes an anonymous session.
	Subject string

	// Label tells a user's sessions apart in a list ("Firefox on Linux"), at most 256 bytes. ListSubject
	// returns it, and a lookup does not. Defaults to none.
	Label string

	// IdleTimeout is this session's idle timeout ("remember me"). Defaults to [Options.IdleTimeout].
	IdleTimeout time.Duration

	// Lifetime is this session's absolute timeout; NoLifetime is none. Defaults to [Options.Lifetime].
	Lifetime time.Duration

	// MaxSessions bounds the live sessions of the subject, this one included. The same statement ends the
	// oldest ones beyond it. It needs a Subject. Such an insert shares no round trip. OWASP ASVS 5.0, 7.1.2.
	// Defaults to 0, no cap.
	MaxSessions int32
}

// NoLifetime gives a session no absolute timeout, in a Store that has one.
const NoLifetime time.Duration = -1

type newSession struct {
	hash            hash
	payload         string
	idleSeconds     float64
	lifetimeSeconds sql.NullFloat64
	subject         sql.NullString
	label           string // empty for none
	maxSessions     sql.NullInt32
}

// Insert makes a new session and returns the token that opens it.
//
// The commit is asynchronous, so a crash of the server within about half a second may lose the session; its
// token then opens nothing. Concurrent calls share round trips.
//
// It returns a *[PayloadError] or ErrOptions for bad input, and ErrUnavailable.
func (s *Store) Insert(ctx context.Context, payload string, options *InsertOptions) (Token, error) {
	return s.insert(payload, options, func(session newSession) (int64, error) {
		if session.maxSessions.Valid {
			defer s.noteSubjectWrite(session.subject.String) // because it may have ended others
			return s.insertOne(ctx, session)
		}
		return s.inserts.Do(ctx, session)
	})
}

// InsertTx is Insert within the caller's transaction. The session exists if tx commits, and is as durable as
// tx. The Store does not see the commit, so sessions that MaxSessions ended may be read from a replica for up
// to [Options.MaxReplicaLag], and from the near cache for up to [NearCache.MaxStaleness]. MaxSessions needs a
// tx of isolation level read committed.
//
// On a router it returns ErrRouter.
func (s *Store) InsertTx(ctx context.Context, tx Tx, payload string, options *InsertOptions) (Token, error) {
	return s.insert(payload, options, func(session newSession) (id int64, err error) {
		if err = s.refuseRouter(ctx, tx); err == nil {
			id, err = s.sendInsert(ctx, tx, session, true)
		}
		if err == nil {
			err = s.confirmTx(ctx, tx)
		}
		return id, databaseError(ctx, "insert", s.primary, err)
	})
}

// insert checks the input and makes the secret; send inserts the row and returns its id.
func (s *Store) insert(
	payload string, options *InsertOptions, send func(newSession) (int64, error),
) (Token, error) {
	session, err := s.newSession(payload, options)
	if err != nil {
		return "", err
	}
	secret := newSecret()
	session.hash = secret.hash()
	if !s.calls.enter() {
		return "", ErrClosed
	}
	defer s.calls.leave()
	id, err := send(session)
	if err != nil {
		return "", s.countError("insert", err)
	}
	s.stats.inserts.Add(1)
	return secret.token(id), nil
}

func (s *Store) newSession(payload string, options *InsertOptions) (newSession, error) {
	var own InsertOptions
	if options != nil {
		own = *options
	}
	idle := orDefault(own.IdleTimeout, s.options.IdleTimeout)
	lifetime := orDefault(own.Lifetime, s.options.Lifetime)
	if lifetime == NoLifetime {
		lifetime = 0
	}
	if err := checkTimeouts(idle, lifetime); err != nil {
		return newSession{}, fmt.Errorf("sessionsql: insert: %w", err)
	}
	if err := checkSubject(own.Subject); err != nil {
		return newSession{}, fmt.Errorf("sessionsql: insert: %w", err)
	}
	if err := checkLabel(own.Label); err != nil {
		return newSession{}, fmt.Errorf("sessionsql: insert: %w", err)
	}
	if err := checkMaxSessions(own.MaxSessions, own.Subject); err != nil {
		return newSession{}, fmt.Errorf("sessionsql: insert: %w", err)
	}
	if err := s.checkPayload(payload); err != nil {
		return newSession{}, err
	}
	return newSession{
		payload:         payload,
		idleSeconds:     idle.Seconds(),
		lifetimeSeconds: nullSeconds(lifetime),
		subject:         nullString(own.Subject),
		label:           own.Label,
		maxSessions:     sql.NullInt32{Int32: own.MaxSessions, Valid: own.MaxSessions != 0},
	}, nil
}

// maxShardAttempts bounds how often an insert is sent through a router, which chooses a shard by chance.
const maxShardAttempts = 16

// insertOne sends one session. If its shard does not answer, the next attempt may reach another one. A shard
// that has done the insert and could not say so keeps a session until it expires, whose secret nobody knows.
func (s *Store) insertOne(ctx context.Context, session newSession) (id int64, err error) {
	for range maxShardAttempts {
		err = s.primary.write(ctx, "insert", func(ctx context.Context, on Tx) (err error) {
			id, err = s.sendInsert(ctx, on, session, false)
			return err
		})
		if !errors.Is(err, errShard) || ctx.Err() != nil {
			break
		}
	}
	return id, err
}

// sendInsert sends one session. Without a label it uses the signature that older bundles have too.
func (s *Store) sendInsert(ctx context.Context, on Tx, session newSession, durable bool) (int64, error) {
	params := db.InsertParams{
		SecretHash:      session.hash[:],
		Payload:         pgtext.Payload(session.payload),
		IdleSeconds:     session.idleSeconds,
		LifetimeSeconds: session.lifetimeSeconds,
		Subject:         session.subject,
		Durable:         durable,
		MaxSessions:     session.maxSessions,
	}
	if session.label == "" {
		return s.queries.Insert(ctx, on, params)
	}
	return s.queries.InsertLabelled(ctx, on, db.InsertLabelledParams{
		SecretHash:      params.SecretHash,
		Payload:         params.Payload,
		IdleSeconds:     params.IdleSeconds,
		LifetimeSeconds: params.LifetimeSeconds,
		Subject:         params.Subject,
		Durable:         params.Durable,
		MaxSessions:     params.MaxSessions,
		Label:           session.label,
	})
}
