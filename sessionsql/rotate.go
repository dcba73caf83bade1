package sessionsql

import (
	"context"
	"fmt"
	"time"

	"github.com/sessionsql/postgres/db"
)

// RotateOptions is what a rotate changes beside the secret.
type RotateOptions struct {
	// Subject becomes the session's subject: for the login that makes an anonymous session somebody's. Defaults to leaving it.
	Subject string

	// Grace is how long the old token still opens the session, for requests that are under way with it; at most an hour.
	// Negative: not at all.
	//
	// Defaults to 10 seconds, and with a Subject to not at all: who planted the anonymous token must not be logged in by it
	// (session fixation; OWASP ASVS 5.0, 7.2.4).
	Grace time.Duration

	// MaxSessions is how many live sessions the subject may have, this one included, as for an insert. It needs a Subject.
	//
	// Defaults to no cap.
	MaxSessions int32
}

const (
	defaultGrace = 10 * time.Second
	maxGrace     = time.Hour
)

// Rotate gives a session a new secret and returns the new token; the session itself, its payload and its version stay. The
// commit is synchronous. Nil options are the same as the zero value.
//
// Of two calls at once with the same token one wins. The other returns ErrRotated, as does one whose token was rotated
// within the grace: the session lives, the winner's response carries the new token, and there is nothing to do. Without a
// grace the other's token is as dead as after a logout, and it gets ErrNoSession.
//
// It returns ErrNoSession, ErrRotated, ErrOptions, or ErrUnavailable; after the latter, the token that was presented works
// until the grace has passed, if there is one.
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
	s.recent.mark(k, renewed)
	if own.MaxSessions != 0 {
		s.recent.markSubject(own.Subject) // it may have ended others
	}
	switch {
	case err != nil:
		return "", s.failed("rotate", err)
	case rotated:
		s.stats.rotates.Add(1)
		return next.token(k.id), nil
	}
	if _, err := s.lookupOne(ctx, s.primary, k); err != nil {
		return "", s.failed("rotate", err)
	}
	return "", ErrRotated
}

// sendRotate sends one rotate. Without a cap it sends what an older bundle understands as well.
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
	if err := checkCap(own.MaxSessions, own.Subject); err != nil {
		return own, fmt.Errorf("sessionsql: rotate: %w", err)
	}
	if own.Grace > maxGrace {
		return own, fmt.Errorf("sessionsql: rotate: %w: grace of %v; it must be at most %v", ErrOptions, own.Grace, maxGrace)
	}
	if own.Grace == 0 && own.Subject == "" {
		own.Grace = defaultGrace
	}
	own.Grace = max(own.Grace, 0)
	return own, nil
}
