package sessionsql

import (
	"context"

	"github.com/sessionsql/postgres/db"
)

// Clear ends all entries of the name, as Delete ends one. It reads the whole table of entries. An entry that
// is set meanwhile may live on.
func (c *Cache) Clear(ctx context.Context) error {
	if err := c.enter("cache clear"); err != nil {
		return err
	}
	defer c.leave()
	whole := entryKey{space: c.space}
	err := c.change(ctx, "cache clear", whole, func(ctx context.Context, on Tx) error {
		params := db.CacheClearParams{Space: c.space, Final: c.options.Final}
		_, err := c.store.queries.CacheClear(ctx, on, params)
		return err
	})
	if c.near {
		c.store.near.dropAll()
	}
	return err
}
