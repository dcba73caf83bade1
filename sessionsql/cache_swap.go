package sessionsql

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/sessionsql/postgres/db"
)

// Swap writes an entry if its value is still old. A new value of nil deletes the entry, as Delete does. The
// server compares SHA-256 of the old value.
//
// It returns ErrConflict if the entry has another value, ErrNoEntry if there is none, and the errors of Set.
// After ErrUnavailable, or when ctx ends, the write may have been done.
func (c *Cache) Swap(ctx context.Context, key string, old, new []byte, ttl time.Duration) error {
	if err := c.enter("cache swap", key); err != nil {
		return err
	}
	defer c.leave()
	w, err := c.newWrite("cache swap", key, new, ttl)
	if err != nil {
		return err
	}
	if new == nil {
		w.value = nil
	}
	return c.swap(ctx, w, old)
}

func (c *Cache) swap(ctx context.Context, w entryWrite, old []byte) error {
	hash := sha256.Sum256(old)
	var outcome int32
	err := c.change(ctx, "cache swap", w.key, func(ctx context.Context, on Tx) (err error) {
		outcome, err = c.store.queries.CacheSwap(ctx, on, db.CacheSwapParams{
			Key:        w.key.hash,
			OldHash:    hash[:],
			Value:      w.value,
			TTLSeconds: w.seconds,
			Final:      c.options.Final,
		})
		return err
	})
	switch {
	case err != nil:
		return err
	case outcome > 0:
		return nil
	case outcome == 0:
		return ErrConflict
	}
	return ErrNoEntry
}
