package sessionsql

import (
	"context"
	"database/sql"
	"errors"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
	"github.com/sessionsql/postgres/internal/pgtext"
)

type lookupCall = coalesce.Call[key, db.NearSession]

// lookupMany answers a batch of lookups on one server. Each caller that a replica did not answer asks the
// primary by itself, so that the answered ones do not wait for it.
func (s *Store) lookupMany(ctx context.Context, n *node, calls []*lookupCall) {
	missed, err := s.lookupBatch(ctx, n, calls)
	if len(missed) == 0 {
		return
	}
	switch {
	case n.replica:
		err = s.replicaGaveNoAnswer(ctx, n, int64(len(missed)), err)
	case errors.Is(err, sql.ErrNoRows):
		s.countLookups(n, int64(len(missed)))
		err = ErrNoSession
	case refused(err):
		err = coalesce.ErrAlone
	}
	for _, call := range missed {
		call.Err = err
	}
}

// lookupBatch answers the calls for which the server has a session, and returns the others with the reason,
// which is sql.ErrNoRows when the server has no session for them.
//
// A row carries its id and not the secret that opened it. So two secrets of one id never share a statement,
// because either call would take the other's row.
func (s *Store) lookupBatch(
	ctx context.Context, n *node, calls []*lookupCall,
) (missed []*lookupCall, err error) {
	for len(calls) > 0 {
		batch, rest, params := distinctIDs(calls)
		var rows []db.NearSession
		ask := func(ctx context.Context, on Tx) (err error) {
			rows, err = s.lookupRows(ctx, on, params)
			return err
		}
		if err := n.read(ctx, "lookup", ask); err != nil {
			return append(append(missed, batch...), rest...), err
		}
		if len(rows) < len(params.IDs) && !n.replica && !n.neverStandby.Load() {
			if err := s.confirmMiss(ctx, n, "lookup", ask); err != nil {
				return append(append(missed, batch...), rest...), err
			}
		}
		found := make(map[int64]*db.NearSession, len(rows))
		for i := range rows {
			found[rows[i].ID] = &rows[i]
		}
		answered := int64(0)
		for _, call := range batch {
			if row := found[call.Question.id]; row != nil {
				call.Answer = *row
				answered++
			} else {
				missed = append(missed, call)
			}
		}
		s.countLookups(n, answered)
		calls = rest
	}
	return missed, sql.ErrNoRows
}

// distinctIDs divides calls into a batch that can share one statement, with its parameters, and the rest.
func distinctIDs(calls []*lookupCall) (batch, rest []*lookupCall, params db.LookupBatchParams) {
	params.IDs = make(pgtext.IDs, 0, len(calls))
	params.SecretHashes = make(pgtext.Hashes, 0, len(calls))
	positions := make(map[int64]int, len(calls)) // of each id in params.IDs
	batch = make([]*lookupCall, 0, len(calls))
	for _, call := range calls {
		k := call.Question
		switch i, dup := positions[k.id]; {
		case !dup:
			positions[k.id] = len(params.IDs)
			params.IDs = append(params.IDs, k.id)
			params.SecretHashes = append(params.SecretHashes, k.hash)
			batch = append(batch, call)
		case params.SecretHashes[i] == k.hash:
			batch = append(batch, call)
		default:
			rest = append(rest, call)
		}
	}
	return batch, rest, params
}
