package sessionsql

import (
	"context"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
)

// revokeMany ends a batch of sessions.
func (s *Store) revokeMany(ctx context.Context, calls []*coalesce.Call[key, bool]) {
	keyOf := func(k *key) key { return *k }
	writeBatch(ctx, s, "revoke", calls, keyOf,
		func(ctx context.Context, on Tx, keys []*key) (map[int64]bool, error) {
			var params db.RevokeBatchParams
			for _, k := range keys {
				params.IDs = append(params.IDs, k.id)
				params.SecretHashes = append(params.SecretHashes, k.hash)
			}
			ids, err := s.queries.RevokeBatch(ctx, on, params)
			revoked := make(map[int64]bool, len(ids))
			for _, id := range ids {
				revoked[id] = true
			}
			return revoked, err
		})
}
