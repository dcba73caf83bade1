package sessionsql

import (
	"context"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
)

// updateMany writes a batch of payloads.
func (s *Store) updateMany(ctx context.Context, calls []*coalesce.Call[payloadWrite, int32]) {
	keyOf := func(w *payloadWrite) key { return w.key }
	writeBatch(ctx, s, "update", calls, keyOf,
		func(ctx context.Context, on Tx, writes []*payloadWrite) (map[int64]int32, error) {
			var params db.UpdatePayloadBatchParams
			for _, w := range writes {
				params.IDs = append(params.IDs, w.key.id)
				params.SecretHashes = append(params.SecretHashes, w.key.hash)
				params.Payloads = append(params.Payloads, w.payload)
				params.ExpectedVersions = append(params.ExpectedVersions, w.expectedVersion)
			}
			rows, err := s.queries.UpdatePayloadBatch(ctx, on, params)
			versions := make(map[int64]int32, len(rows))
			for _, row := range rows {
				versions[row.ID] = row.Version
			}
			return versions, err
		})
}
