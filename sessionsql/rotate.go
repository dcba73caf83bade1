package sessionsql

import (
	"context"
	"fmt"
	"time"

	"github.com/sessionsql/postgres/db"
)

// RotateOptions says how a session is rotated; nil is the same as the zero value.
type RotateOptions struct {
	// Subject becomes the session's owner, for a login into an anonymous session. Defaults to no change.
	Subject string

	// Grace is how long the old token still opens the session, for requests under way; at most an hour. If it
	// is negative, the old token is dead at once. Defaults to 10 seconds, and with a Subject to none, because
	// somebody may have planted the anonymous token to be logged in by it (session fixation; OWASP ASVS 5.0,
	// 7.2.4).
	Grace time.Duration

	// MaxSessions bounds the live sessions of the subject, as for an insert. It needs a Subject. Defaults to
	// 0, no cap.
	MaxSessions int32
}

const (
	defaultGrace = 10 * time.Second
	maxGrace     = time.Hour
)

// Rotate gives a session a new secret and returns the new token. The session keeps its id, payload and
// version. The commit is synchronous.
//
// Of two calls with the same token one wins. While the grace lasts, the other returns ErrRotated, because the
// session lives and the winner's response carries the new token. Without a grace it returns ErrNoSession,
// because its token is dead.
//
// It returns ErrNoSession, ErrRotated, ErrOptions, or ErrUnavailable. After ErrUnavailable the old token
// works at least until the grace has passed, if there is one.
func (s *Store) Rotate(ctx context.Context, token Token, options *RotateOptions) (Token, error) {
	own, err := rotateOptions(options)
	if err != nil {
		return "", err
	}
	k, ok := token.key()
	if !ok {
		return "", ErrNoSession
	}
	if !s.calls.enter() {
		return "", ErrClosed
	}
	defer s.calls.leave()

	next := newSecret()
	renewed := key{id: k.id, hash: next.hash()}
	var rotated bool
	err = s.primary.write(ctx, "rotate", func(ctx context.Context, on Tx) (err error) {
		rotated, err = s.sendRotate(ctx, on, k, renewed, own)
		return err
	})
	s.noteWrite(k, renewed)
	if own.MaxSessions != 0 {
		s.noteSubjectWrite(own.Subject) // because it may have ended others
	}
	switch {
	case err != nil:
		return "", s.countError("rotate", err)
	case rotated:
		s.stats.rotates.Add(1)
		return next.token(k.id), nil
	}
	if _, err := s.lookupOne(ctx, s.primary, k); err != nil {
		return "", s.countError("rotate", err)
	}
	return "", ErrRotated
}

// sendRotate sends one rotate. Without a cap it uses the signature that older bundles have too.
func (s *Store) sendRotate(ctx context.Context, on Tx, k, renewed key, own RotateOptions) (bool, error) {
	if own.MaxSessions == 0 {
		return s.queries.Rotate(ctx, on, db.RotateParams{
			ID:            k.id,
			SecretHash:    k.hash[:],
			NewSecretHash: renewed.hash[:],
			GraceSeconds:  own.Grace.Seconds(),
			Subject:       nullString(own.Subject),
		})
	}
	return s.queries.RotateCapped(ctx, on, db.RotateCappedParams{
		ID:            k.id,
		SecretHash:    k.hash[:],
		NewSecretHash: renewed.hash[:],
		GraceSeconds:  own.Grace.Seconds(),
		Subject:       own.Subject,
		MaxSessions:   own.MaxSessions,
	})
}

func rotateOptions(options *RotateOptions) (RotateOptions, error) {
	var own RotateOptions
	if options != nil {
		own = *options
	}
	if err := checkSubject(own.Subject); err != nil {
		return own, fmt.Errorf("sessionsql: rotate: %w", err)
	}
	if err := checkMaxSessions(own.MaxSessions, own.Subject); err != nil {
		return own, fmt.Errorf("sessionsql: rotate: %w", err)
	}
	if own.Grace > maxGrace {
		return own, fmt.Errorf("sessionsql: rotate: %w: grace of %v; it must be at most %v",
			ErrOptions, own.Grace, maxGrace)
	}
	if own.Grace == 0 && own.Subject == "" {
		own.Grace = defaultGrace
	}
	own.Grace = max(own.Grace, 0)
	return own, nil
}
