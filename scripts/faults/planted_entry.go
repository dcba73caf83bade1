//go:build planted

package main

import (
	"context"
	"sync/atomic"
)

// forgetfulDelete reports every fifth deletion of a cache entry as done and leaves the entry.
type forgetfulDelete struct {
	sessions
	calls atomic.Int64
}

func (b *forgetfulDelete) DeleteEntry(ctx context.Context, key string) error {
	if b.calls.Add(1)%5 != 0 {
		return b.sessions.DeleteEntry(ctx, key)
	}
	_, err := b.GetEntry(ctx, key)
	return err
}
