package sessionsql

import (
	"context"
	"slices"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
)

// Delete ends an entry; it is no error if there is none. In a Final cache the entry stays dead for an hour,
// also after a crash, because the commit is then synchronous. Concurrent calls share round trips.
//
// It returns ErrUnavailable, or the error of ctx; then call it again.
func (c *Cache) Delete(ctx context.Context, key string) error {
	if err := c.enter("cache delete", key); err != nil {
		return err
	}
	defer c.leave()
	group := c.store.deletes
	if c.options.Final {
		group = c.store.finalDeletes
	}
	if _, err := group.Do(ctx, c.key(key)); err != nil {
		return c.store.countError("cache delete", err)
	}
	return nil
}

// newDeletes returns the group by which deletes share round trips. Final deletes have one of their own,
// because they wait for the disk.
func (s *Store) newDeletes(
	final bool, onPrimary func(context.Context) (context.Context, func()),
) *coalesce.Group[entryKey, struct{}] {
	return coalesce.New(coalesce.Config[entryKey, struct{}]{
		One: func(ctx context.Context, k entryKey) (struct{}, error) {
			return struct{}{}, s.deleteEntries(ctx, final, k)
		},
		Many: func(ctx context.Context, calls []*coalesce.Call[entryKey, struct{}]) {
			var keys []entryKey
			for _, call := range calls {
				keys = append(keys, call.Question)
			}
			err := s.deleteEntries(ctx, final, keys...)
			if refused(err) {
				err = coalesce.ErrAlone
			}
			for _, call := range calls {
				call.Err = err
			}
		},
		Context: onPrimary,
		Left:    func(ctx context.Context) error { return contextError(ctx, "cache delete") },
	})
}

func (s *Store) deleteEntries(ctx context.Context, final bool, keys ...entryKey) error {
	params := db.CacheDeleteBatchParams{Final: final}
	for _, k := range keys {
		if !slices.Contains(params.Keys, k.hash) {
			params.Keys = append(params.Keys, k.hash)
		}
	}
	err := s.primary.write(ctx, "cache delete", func(ctx context.Context, on Tx) error {
		_, err := s.queries.CacheDeleteBatch(ctx, on, params)
		return err
	})
	s.noteEntries(keys...)
	return err
}
