package sessionsql

import (
	"context"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
)

type updateCall = coalesce.Call[payloadWrite, int32]

// updateMany writes a batch in one statement, which skips locked rows. The caller of an unwritten payload
// tries alone, because a lone update tells a conflict from a missing session, and waits for a locked row. So
// does every caller when the server refuses the batch. When the server does not answer, it may have
// committed, so nothing is sent twice.
func (s *Store) updateMany(ctx context.Context, calls []*updateCall) {
	var params db.UpdatePayloadBatchParams
	var keys []key
	sent := make(map[int64]*updateCall, len(calls)) // one for each session
	for _, call := range calls {
		call.Err = coalesce.ErrAlone
		w := &call.Question
		if sent[w.key.id] != nil {
			continue
		}
		sent[w.key.id] = call
		keys = append(keys, w.key)
		params.IDs = append(params.IDs, w.key.id)
		params.SecretHashes = append(params.SecretHashes, w.key.hash)
		params.Payloads = append(params.Payloads, w.payload)
		params.ExpectedVersions = append(params.ExpectedVersions, w.expectedVersion)
	}
	var rows []db.PayloadVersion
	err := s.writeBatch(ctx, "update", func(ctx context.Context, on Tx) (err error) {
		rows, err = s.queries.UpdatePayloadBatch(ctx, on, params)
		return err
	})
	s.noteWrite(keys...)
	switch {
	case err == nil:
		for _, row := range rows {
			if call := sent[row.ID]; call != nil {
				call.Answer, call.Err = row.Version, nil
			}
		}
	case !refused(err):
		for _, call := range sent {
			call.Err = err
		}
	}
}
