package sessionsql

import (
	"context"
	"errors"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
)

type revokeCall = coalesce.Call[key, bool]

// revokeMany ends a batch of sessions in one statement, as updateMany writes payloads. The bundle of 0.1.0
// has no such statement, so every caller tries alone there.
func (s *Store) revokeMany(ctx context.Context, calls []*revokeCall) {
	var params db.RevokeBatchParams
	var keys []key
	sent := make(map[int64]*revokeCall, len(calls)) // one for each session
	for _, call := range calls {
		call.Err = coalesce.ErrAlone
		k := call.Question
		if sent[k.id] != nil {
			continue
		}
		sent[k.id] = call
		keys = append(keys, k)
		params.IDs = append(params.IDs, k.id)
		params.SecretHashes = append(params.SecretHashes, k.hash)
	}
	var revoked []int64
	err := s.writeBatch(ctx, "revoke", func(ctx context.Context, on Tx) (err error) {
		revoked, err = s.queries.RevokeBatch(ctx, on, params)
		return err
	})
	s.noteWrite(keys...)
	switch {
	case err == nil:
		for _, id := range revoked {
			if call := sent[id]; call != nil {
				call.Answer, call.Err = true, nil
			}
		}
	case !refused(err) && !errors.Is(err, ErrNotInstalled):
		for _, call := range sent {
			call.Err = err
		}
	}
}
