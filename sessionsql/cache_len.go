package sessionsql

import "context"

// Len counts the live entries on the primary. It reads the whole table of entries.
func (c *Cache) Len(ctx context.Context) (int64, error) {
	if err := c.enter("cache len"); err != nil {
		return 0, err
	}
	defer c.leave()
	var n int64
	err := c.store.primary.read(ctx, "cache len", func(ctx context.Context, on Tx) (err error) {
		n, err = c.store.queries.CacheLen(ctx, on, c.space)
		return err
	})
	if err != nil {
		return 0, c.store.countError("cache len", err)
	}
	return n, nil
}
