//go:build planted

package main

import (
	"context"
	"sync"
	"sync/atomic"
)

// cachedLookup answers every tenth lookup with the session's first answer, which may be old.
type cachedLookup struct {
	sessions
	calls atomic.Int64
	read  sync.Map // token: cached
}

type cached struct {
	payload string
	version int32
}

func (b *cachedLookup) Lookup(ctx context.Context, token string) (string, int32, error) {
	if c, ok := b.read.Load(token); ok && b.calls.Add(1)%10 == 0 {
		return c.(cached).payload, c.(cached).version, nil
	}
	payload, version, err := b.sessions.Lookup(ctx, token)
	if err == nil {
		b.read.LoadOrStore(token, cached{payload, version})
	}
	return payload, version, err
}
