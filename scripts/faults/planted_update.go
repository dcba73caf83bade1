//go:build planted

package main

import (
	"context"
	"sync/atomic"
)

// forgetfulUpdate reports every tenth update as done without writing it.
type forgetfulUpdate struct {
	sessions
	calls atomic.Int64
}

func (b *forgetfulUpdate) Update(ctx context.Context, token, payload string, version int32) (int32, error) {
	if b.calls.Add(1)%10 != 0 {
		return b.sessions.Update(ctx, token, payload, version)
	}
	_, current, err := b.Lookup(ctx, token)
	return current + 1, err
}
