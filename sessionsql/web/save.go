package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sessionsql/postgres/sessionsql"
)

// Save changes the visitor's value and writes it, and returns the session as written. A nil change writes the
// value as it is. For a visitor without a session it begins an anonymous one, from a zero value; call it only
// on the visitor's own act (OWASP ASVS 5.0, 7.6.2).
//
// If another request writes the session first, Save reads it again and applies change to the newer value, so
// change may be called several times and must change nothing else. If change returns an error, Save writes
// nothing and returns that error.
//
// It returns ErrNoSession when the session ends while the request is under way, [ErrHeaderSent] when it would
// have to begin one, [ErrPayload], a *[sessionsql.PayloadError], or ErrUnavailable, after which the value may
// be written.
func (s *Sessions[T]) Save(ctx context.Context, change func(*T) error) (Session[T], error) {
	v, token, session, err := s.current(ctx)
	switch {
	case errors.Is(err, sessionsql.ErrNoSession):
		return s.replace(ctx, v, "", sessionsql.Session{}, Login{}, change)
	case err != nil:
		return Session[T]{}, err
	}
	return s.update(ctx, v, token, session, change)
}

// update writes a session, and again on its newer version as long as others write it first. One of the
// writers succeeds each time, so each makes progress.
func (s *Sessions[T]) update(
	ctx context.Context, v *visit, token sessionsql.Token, session sessionsql.Session, change func(*T) error,
) (Session[T], error) {
	for {
		changed, payload, err := changed(session, change)
		if err != nil {
			return Session[T]{}, err
		}
		version, err := s.store.Update(ctx, token, payload, session.Version)
		if err == nil {
			session.Payload, session.Version = payload, version
			v.learn(token, &session)
			return changed, nil
		}
		if errors.Is(err, sessionsql.ErrConflict) {
			session, err = s.store.Peek(ctx, token)
		}
		if errors.Is(err, sessionsql.ErrNoSession) {
			v.learn(token, nil)
		}
		if err != nil {
			return Session[T]{}, err
		}
	}
}

// changed returns a session after change, and its payload.
func changed[T any](session sessionsql.Session, change func(*T) error) (Session[T], string, error) {
	next, err := typed[T](session)
	if err != nil {
		return Session[T]{}, "", err
	}
	if change != nil {
		if err := change(&next.Value); err != nil {
			return Session[T]{}, "", err
		}
	}
	payload, err := json.Marshal(next.Value)
	if err != nil {
		return Session[T]{}, "", fmt.Errorf("%w: a %T does not encode: %w", ErrPayload, next.Value, err)
	}
	return next, string(payload), nil
}
