package sessionsql

import (
	"context"
	"fmt"
	"iter"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgtext"
)

// A KeyedEntry is an entry of All, with its key. No verb of package fmt prints it.
type KeyedEntry struct {
	Key string
	Entry
}

// listRows is how many entries All reads at a time.
const listRows = 100

// All returns the live entries on the primary, in no order that means anything. It needs KeepKeys, or it
// yields ErrOptions. After an error it yields no more. An entry that is written meanwhile may be missing or
// older.
func (c *Cache) All(ctx context.Context) iter.Seq2[KeyedEntry, error] {
	return func(yield func(KeyedEntry, error) bool) {
		after := pgtext.Key{}
		for {
			rows, err := c.list(ctx, after)
			if err != nil {
				yield(KeyedEntry{}, err)
				return
			}
			for _, row := range rows {
				after = row.Key
				entry, fresh := c.fresh(entryRow{value: row.Value, expiresIn: row.ExpiresIn})
				if fresh && !yield(KeyedEntry{string(row.PlainKey), entry}, nil) {
					return
				}
			}
			if len(rows) < listRows {
				return
			}
		}
	}
}

func (c *Cache) list(ctx context.Context, after pgtext.Key) (rows []db.CacheListRow, err error) {
	if err := c.enter("cache all"); err != nil {
		return nil, err
	}
	defer c.leave()
	if !c.options.KeepKeys {
		return nil, fmt.Errorf("sessionsql: cache all: %w: the cache has no KeepKeys", ErrOptions)
	}
	err = c.store.primary.read(ctx, "cache all", func(ctx context.Context, on Tx) (err error) {
		rows, err = c.store.queries.CacheList(ctx, on, db.CacheListParams{
			Space: c.space, After: after, MaxRows: listRows,
		})
		return err
	})
	if err != nil {
		return nil, c.store.countError("cache all", err)
	}
	return rows, nil
}
