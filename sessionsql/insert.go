package sessionsql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgtext"
	bundle "github.com/sessionsql/postgres/sql"
)

// InsertOptions is what one session has of its own. The zero value of each field means the Store's.
type InsertOptions struct {
	// Subject is whose session this is, a user's id say, at most 1024 bytes. Defaults to nobody's: an anonymous session.
	Subject string

	// Label is what a user tells their sessions apart by in a list ("Firefox on Linux"), at most 256 bytes. It comes back
	// from ListSubject and from no lookup. Defaults to none.
	Label string

	// IdleTimeout is this session's idle timeout ("remember me"). Defaults to [Options.IdleTimeout].
	IdleTimeout time.Duration

	// Lifetime is this session's absolute timeout; NoLifetime is none. Defaults to [Options.Lifetime].
	Lifetime time.Duration

	// MaxSessions is how many live sessions the subject may have, this one included: the oldest beyond it are ended, in the
	// same statement. It needs a Subject. Such an insert shares no round trip. OWASP ASVS 5.0, 7.1.2.
	//
	// Defaults to no cap.
	MaxSessions int32
}

// NoLifetime gives a session no absolute timeout, in a Store that has one.
const NoLifetime time.Duration = -1

// newSession is what an insert sends, but for the secret itself.
type newSession struct {
	hash     hash
	payload  string
	idle     float64         // seconds
	lifetime sql.NullFloat64 // seconds
	subject  sql.NullString
	label    string // empty for none
	max      sql.NullInt32
}

// Insert makes a new session and returns the token that opens it. Nil options are the same as the zero value.
//
// The commit is asynchronous: a crash of the server within about half a second may lose the session, whole, and its token
// then opens nothing. Concurrent calls share round trips.
//
// It returns a *[PayloadError] or ErrOptions for bad input, and ErrUnavailable.
func (s *Store) Insert(ctx context.Context, payload string, options *InsertOptions) (Token, error) {
	return s.insert(payload, options, func(session newSession) (int64, error) {
		if session.max.Valid {
			defer s.recent.markSubject(session.subject.String) // it may have ended others
			return s.insertOne(ctx, session)
		}
		return s.inserts.Do(ctx, session)
	})
}

// InsertTx is Insert within the caller's transaction: the session exists when, and only when, tx commits, as durable as
// tx is. The Store does not see the commit, so sessions that MaxSessions ended may be read from a replica for up to
// [Options.MaxReplicaLag]. MaxSessions needs a tx of isolation level read committed.
func (s *Store) InsertTx(ctx context.Context, tx Tx, payload string, options *InsertOptions) (Token, error) {
	return s.insert(payload, options, func(session newSession) (int64, error) {
		id, err := s.sendInsert(ctx, tx, session, true)
		return id, databaseError(ctx, "insert", s.primary, err)
	})
}

// insert checks the input and makes the secret; send inserts the row and returns its id.
func (s *Store) insert(payload string, options *InsertOptions, send func(newSession) (int64, error)) (Token, error) {
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
		return "", s.failed("insert", err)
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
	if err := checkText("label", own.Label, bundle.MaxLabelBytes); err != nil {
		return newSession{}, fmt.Errorf("sessionsql: insert: %w", err)
	}
	if err := checkCap(own.MaxSessions, own.Subject); err != nil {
		return newSession{}, fmt.Errorf("sessionsql: insert: %w", err)
	}
	if err := s.checkPayload(payload); err != nil {
		return newSession{}, err
	}
	return newSession{
		payload:  payload,
		idle:     idle.Seconds(),
		lifetime: sql.NullFloat64{Float64: lifetime.Seconds(), Valid: lifetime != 0},
		subject:  nullString(own.Subject),
		label:    own.Label,
		max:      sql.NullInt32{Int32: own.MaxSessions, Valid: own.MaxSessions != 0},
	}, nil
}

// checkPayload refuses what PostgreSQL text cannot hold, before anything is sent.
func (s *Store) checkPayload(payload string) error {
	reason := ""
	switch {
	case len(payload) > s.options.MaxPayloadBytes:
		reason = "is too large"
	case strings.IndexByte(payload, 0) >= 0:
		reason = "contains a NUL byte"
	case !utf8.ValidString(payload):
		reason = "is not valid UTF-8"
	default:
		return nil
	}
	return &PayloadError{Reason: reason, Size: len(payload), Max: s.options.MaxPayloadBytes}
}

func checkSubject(subject string) error { return checkText("subject", subject, bundle.MaxSubjectBytes) }

// checkText refuses what the column of this name does not take, without repeating it.
func checkText(name, text string, maxBytes int64) error {
	if int64(len(text)) > maxBytes || strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
		return fmt.Errorf("%w: a %s must be UTF-8 without NUL, at most %d bytes", ErrOptions, name, maxBytes)
	}
	return nil
}

func checkCap(maxSessions int32, subject string) error {
	if maxSessions < 0 || maxSessions > 0 && subject == "" {
		return fmt.Errorf("%w: MaxSessions must be positive, and needs a Subject", ErrOptions)
	}
	return nil
}

// nullString is null for an empty text.
func nullString(text string) sql.NullString { return sql.NullString{String: text, Valid: text != ""} }

// insertOne is a lone insert.
func (s *Store) insertOne(ctx context.Context, session newSession) (int64, error) {
	var id int64
	err := s.primary.write(ctx, "insert", func(ctx context.Context, on Tx) (err error) {
		id, err = s.sendInsert(ctx, on, session, false)
		return err
	})
	return id, err
}

// sendInsert sends one session. Without a label it sends what an older bundle understands as well.
func (s *Store) sendInsert(ctx context.Context, on Tx, session newSession, durable bool) (int64, error) {
	params := db.InsertParams{
		SecretHash:      session.hash[:],
		Payload:         pgtext.Payload(session.payload),
		IdleSeconds:     session.idle,
		LifetimeSeconds: session.lifetime,
		Subject:         session.subject,
		Durable:         durable,
		MaxSessions:     session.max,
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
