//go:build planted

package main

import (
	"context"
	"sync"
)

// endlessGrace lets an old token open the session for as long as the new one does.
type endlessGrace struct {
	sessions
	renewed sync.Map // old token: new token
}

func (b *endlessGrace) Rotate(ctx context.Context, token string) (string, error) {
	renewed, err := b.sessions.Rotate(ctx, token)
	if err == nil {
		b.renewed.Store(token, renewed)
	}
	return renewed, err
}

func (b *endlessGrace) Lookup(ctx context.Context, token string) (string, int32, error) {
	payload, version, err := b.sessions.Lookup(ctx, token)
	if renewed, ok := b.renewed.Load(token); ok && err != nil {
		return b.sessions.Lookup(ctx, renewed.(string))
	}
	return payload, version, err
}
