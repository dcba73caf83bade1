package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/sessionsql/postgres/db"
)

// Increment adds delta to the decimal number in an entry, and returns the sum. If there is no entry, it makes
// one of delta with this TTL; it never changes the TTL of an entry that is there. The value of the entry is
// the number as text, such as "42".
//
// It returns ErrEntryEnded after a final delete, an *[Error] with SQLState 22P02 if the value is no number or
// 22003 if the sum is out of the range of int64, ErrOptions, or ErrUnavailable. After ErrUnavailable, or when
// ctx ends, the number may have been increased.
func (c *Cache) Increment(ctx context.Context, key string, delta int64, ttl time.Duration) (int64, error) {
	if err := c.enter("cache increment", key); err != nil {
		return 0, err
	}
	defer c.leave()
	seconds, err := c.life("cache increment", ttl)
	if err != nil {
		return 0, err
	}
	k := c.key(key)
	var sum int64
	ended := false
	err = c.change(ctx, "cache increment", k, func(ctx context.Context, on Tx) (err error) {
		sum, err = c.store.queries.CacheIncrement(ctx, on, db.CacheIncrementParams{
			Key:        k.hash,
			Space:      k.space,
			Delta:      delta,
			TTLSeconds: seconds,
			PlainKey:   c.plainKey(key),
		})
		if ended = errors.Is(err, sql.ErrNoRows); ended {
			return nil
		}
		return err
	})
	if e := (*Error)(nil); errors.As(err, &e) {
		switch e.SQLState {
		case "22P02":
			e.detail = "the entry's value is no decimal number"
		case "22003":
			e.detail = "the sum is out of the range of int64"
		}
	}
	switch {
	case err != nil:
		return 0, err
	case ended:
		return 0, ErrEntryEnded
	}
	return sum, nil
}
