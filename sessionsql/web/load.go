package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

// A Session is a visitor's live session. No verb of package fmt prints its value.
type Session[T any] struct {
	// Value is what the application keeps in the session. Changes to it are kept only by Save.
	Value T

	// Subject is the owner of the session; empty for a visitor who is not logged in.
	Subject string

	// ExpiresIn is the time that the session had left when this request looked it up, by the server's clock.
	// It is 0 for a session that this request has begun.
	ExpiresIn time.Duration
}

// Format implements [fmt.Formatter]. Every verb prints the same text, without value and subject.
func (Session[T]) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "web.Session(redacted)") }

// LogValue implements [slog.LogValuer].
func (s Session[T]) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

// Load returns the visitor's session and keeps it alive. The first call of a request makes one round trip, or
// none if no well-formed token came with it; later calls make none.
//
// It returns ErrNoSession and a zero Session for a visitor who has none, [ErrPayload], or ErrUnavailable.
func (s *Sessions[T]) Load(ctx context.Context) (Session[T], error) {
	_, _, session, err := s.current(ctx)
	if err != nil {
		return Session[T]{}, err
	}
	return typed[T](session)
}

// LoadUser is Load for a page that is there for users alone: it returns ErrNoSession for an anonymous session
// too. A Save after it begins no session.
func (s *Sessions[T]) LoadUser(ctx context.Context) (Session[T], error) {
	_, _, session, err := s.loggedIn(ctx)
	if err != nil {
		return Session[T]{}, err
	}
	return typed[T](session)
}

// loggedIn is current for the calls that need a subject.
func (s *Sessions[T]) loggedIn(
	ctx context.Context,
) (v *visit, token sessionsql.Token, session sessionsql.Session, err error) {
	v, token, session, err = s.current(ctx)
	if err == nil && session.Subject == "" {
		err = sessionsql.ErrNoSession
	}
	return v, token, session, err
}

// current returns the visit, its token, and the session that this opens.
func (s *Sessions[T]) current(
	ctx context.Context,
) (v *visit, token sessionsql.Token, session sessionsql.Session, err error) {
	if v, err = s.visit(ctx); err != nil {
		return nil, "", session, err
	}
	token, found, known := v.state()
	switch {
	case found != nil:
		return v, token, *found, nil
	case known:
		return v, token, session, sessionsql.ErrNoSession
	}
	session, err = s.store.Lookup(ctx, token)
	switch {
	case err == nil:
		v.learn(token, &session)
	case errors.Is(err, sessionsql.ErrNoSession):
		v.learn(token, nil)
	}
	return v, token, session, err
}

// typed decodes the payload anew each time, so that no two callers share a map or a slice. An empty payload
// stands for the zero value.
func typed[T any](session sessionsql.Session) (Session[T], error) {
	var value T
	if session.Payload == "" {
		return Session[T]{Subject: session.Subject, ExpiresIn: session.ExpiresIn}, nil
	}
	if err := json.Unmarshal([]byte(session.Payload), &value); err != nil {
		// The cause may quote the payload.
		return Session[T]{}, fmt.Errorf("%w: %d bytes do not decode into a %T",
			ErrPayload, len(session.Payload), value)
	}
	return Session[T]{Value: value, Subject: session.Subject, ExpiresIn: session.ExpiresIn}, nil
}
