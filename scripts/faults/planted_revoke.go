//go:build planted

package main

import (
	"context"
	"sync/atomic"
)

// forgetfulRevoke reports every fifth logout as done and leaves the session alive.
type forgetfulRevoke struct {
	sessions
	calls atomic.Int64
}

func (b *forgetfulRevoke) Revoke(ctx context.Context, token string) error {
	if b.calls.Add(1)%5 != 0 {
		return b.sessions.Revoke(ctx, token)
	}
	_, _, err := b.Lookup(ctx, token)
	return err
}
