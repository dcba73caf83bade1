//go:build planted

package main

import (
	"context"
	"sync/atomic"
)

// sharedInsert returns the previous session's token for every tenth one.
type sharedInsert struct {
	sessions
	calls atomic.Int64
	last  atomic.Value
}

func (b *sharedInsert) Insert(ctx context.Context, payload string, own *insertOptions) (string, error) {
	token, err := b.sessions.Insert(ctx, payload, own)
	if before, ok := b.last.Load().(string); ok && err == nil && b.calls.Add(1)%10 == 0 {
		return before, nil
	}
	if err == nil {
		b.last.Store(token)
	}
	return token, err
}
