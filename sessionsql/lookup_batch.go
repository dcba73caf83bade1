package sessionsql

import (
	"context"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgtext"
)

type lookupCall = call[key, db.LiveSession]

// lookupMany answers what callers gathered for node n. What a replica does not have, or all of it when the replica fails, is
// asked again on the primary in one batch.
func (s *Store) lookupMany(ctx context.Context, n *node, calls []*lookupCall) {
	if len(calls) == 1 { // the one that a replica did not have
		calls[0].answer, calls[0].err = s.lookupOne(ctx, n, calls[0].question)
		return
	}
	missed, err := s.lookupBatch(ctx, n, calls)
	switch {
	case err == nil && !n.replica:
		for _, each := range missed {
			each.err = ErrNoSession
		}
		s.countRead(n, int64(len(missed)))
	case err == nil && len(missed) > 0:
		s.stats.replicaMisses.Add(int64(len(missed)))
		s.lookupMany(ctx, s.primary, missed)
	case err != nil && n.replica && ctx.Err() == nil:
		n.fail(err)
		s.lookupMany(ctx, s.primary, missed)
	case refused(err):
		for _, each := range missed {
			each.apart = true
		}
	case err != nil:
		for _, each := range missed {
			each.err = err
		}
	}
}

// lookupBatch asks one node, answers the calls that it has a session for, and returns the others. A row carries its id and
// not which of two secrets opened it, so two secrets for one id never travel in one statement: one would get the other's
// answer.
func (s *Store) lookupBatch(ctx context.Context, n *node, calls []*lookupCall) (missed []*lookupCall, err error) {
	for len(calls) > 0 {
		var later []*lookupCall
		params := db.LookupBatchParams{IDs: make(pgtext.IDs, 0, len(calls)), SecretHashes: make(pgtext.Hashes, 0, len(calls))}
		asked := make(map[int64]int, len(calls)) // where in params an id is
		now := make([]*lookupCall, 0, len(calls))
		for _, each := range calls {
			k := each.question
			switch i, dup := asked[k.id]; {
			case !dup:
				asked[k.id] = len(params.IDs)
				params.IDs = append(params.IDs, k.id)
				params.SecretHashes = append(params.SecretHashes, k.hash)
				now = append(now, each)
			case params.SecretHashes[i] == k.hash:
				now = append(now, each)
			default:
				later = append(later, each)
			}
		}
		var rows []db.LiveSession
		err := n.read(ctx, "lookup", func(ctx context.Context, on Tx) (err error) {
			rows, err = s.lookupRows(ctx, on, params)
			return err
		})
		if err != nil {
			return append(append(missed, now...), later...), err
		}
		found := make([]*db.LiveSession, len(params.IDs))
		for i := range rows {
			if at, ok := asked[rows[i].ID]; ok {
				found[at] = &rows[i]
			}
		}
		answered := int64(0)
		for _, each := range now {
			if row := found[asked[each.question.id]]; row != nil {
				each.answer = *row
				answered++
			} else {
				missed = append(missed, each)
			}
		}
		s.countRead(n, answered)
		calls = later
	}
	return missed, nil
}
