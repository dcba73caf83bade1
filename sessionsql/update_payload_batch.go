package sessionsql

import (
	"context"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
)

// updateMany writes what callers gathered, in one statement. What that leaves unwritten is set apart: one write tells a
// conflict from a session that is gone, and waits where another transaction has locked the row. So is everything when the
// server refuses the batch, and nothing of it is kept. When the server did not answer, nobody knows whether it committed, and
// nothing is sent twice.
func (s *Store) updateMany(ctx context.Context, calls []*coalesce.Call[payloadWrite, int32]) {
	var params db.UpdatePayloadBatchParams
	var keys []key
	sent := make(map[int64]int, len(calls)) // a session's id, and which call writes it: one alone in a statement
	for i, each := range calls {
		w := &each.Question
		if _, dup := sent[w.key.id]; dup {
			continue
		}
		sent[w.key.id] = i
		keys = append(keys, w.key)
		params.IDs = append(params.IDs, w.key.id)
		params.SecretHashes = append(params.SecretHashes, w.key.hash)
		params.Payloads = append(params.Payloads, w.payload)
		params.ExpectedVersions = append(params.ExpectedVersions, w.expectedVersion)
	}
	var rows []db.PayloadVersion
	err := s.primary.write(ctx, "update", func(ctx context.Context, on Tx) (err error) {
		rows, err = s.queries.UpdatePayloadBatch(ctx, on, params)
		return err
	})
	s.recent.mark(keys...)
	for i, each := range calls {
		if first := sent[each.Question.key.id]; err != nil && !refused(err) && first == i {
			each.Err = err
		} else {
			each.Err = coalesce.ErrAlone
		}
	}
	for _, row := range rows {
		if i, ok := sent[row.ID]; ok {
			calls[i].Answer, calls[i].Err = row.Version, nil
		}
	}
}
