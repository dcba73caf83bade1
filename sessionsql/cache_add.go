package sessionsql

import (
	"context"
	"time"

	"github.com/sessionsql/postgres/db"
)

// Add writes an entry if there is none, and reports whether it did. Of concurrent calls one writes, so the
// entry can serve as a lock: give it a value of your own, renew it by Swap, and release it by Swap with nil.
//
// It returns false also after a final delete, and the errors of Set. After ErrUnavailable, or when ctx ends,
// the write may have been done.
func (c *Cache) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	if err := c.enter("cache add", key); err != nil {
		return false, err
	}
	defer c.leave()
	w, err := c.newWrite("cache add", key, value, ttl)
	if err != nil {
		return false, err
	}
	var added bool
	err = c.change(ctx, "cache add", w.key, func(ctx context.Context, on Tx) (err error) {
		added, err = c.store.queries.CacheAdd(ctx, on, db.CacheAddParams{
			Key:        w.key.hash,
			Space:      w.key.space,
			Value:      w.value,
			TTLSeconds: w.seconds,
			PlainKey:   w.plainKey,
		})
		return err
	})
	return added, err
}

// change sends a write of one entry, which shares no round trip.
func (c *Cache) change(
	ctx context.Context, op string, k entryKey, send func(context.Context, Tx) error,
) error {
	err := c.store.primary.write(ctx, op, send)
	c.store.noteEntries(k)
	if err != nil {
		return c.store.countError(op, err)
	}
	return nil
}
