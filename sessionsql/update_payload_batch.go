package sessionsql

import (
	"context"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
)

// updateMany writes a batch in one statement, which skips locked rows. The caller of an unwritten payload
// tries alone, because a lone update tells a conflict from a missing session, and waits for a locked row. So
// does every caller when the server refuses the batch. When the server does not answer, it may have
// committed, so nothing is sent twice. On a router every caller writes alone, because each shard commits by
// itself, and a second attempt would conflict with what a failed batch has written.
func (s *Store) updateMany(ctx context.Context, calls []*coalesce.Call[payloadWrite, int32]) {
	var params db.UpdatePayloadBatchParams
	var keys []key
	writers := make(map[int64]int, len(calls)) // the index of the one call that writes each session
	for i, call := range calls {
		w := &call.Question
		if _, dup := writers[w.key.id]; dup {
			continue
		}
		writers[w.key.id] = i
		keys = append(keys, w.key)
		params.IDs = append(params.IDs, w.key.id)
		params.SecretHashes = append(params.SecretHashes, w.key.hash)
		params.Payloads = append(params.Payloads, w.payload)
		params.ExpectedVersions = append(params.ExpectedVersions, w.expectedVersion)
	}
	var rows []db.PayloadVersion
	router := false
	err := s.primary.write(ctx, "update", func(ctx context.Context, on Tx) (err error) {
		if router, err = s.isRouter(ctx, on); err == nil && !router {
			rows, err = s.queries.UpdatePayloadBatch(ctx, on, params)
		}
		return err
	})
	s.noteWrite(keys...)
	for i, call := range calls {
		if first := writers[call.Question.key.id]; err != nil && !refused(err) && first == i {
			call.Err = err
		} else {
			call.Err = coalesce.ErrAlone
		}
	}
	for _, row := range rows {
		if i, ok := writers[row.ID]; ok {
			calls[i].Answer, calls[i].Err = row.Version, nil
		}
	}
}
