package sessionsql

import (
	"context"
	"database/sql"
	"errors"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
	"github.com/sessionsql/postgres/internal/pgtext"
)

type lookupCall = coalesce.Call[key, db.LiveSession]

// lookupMany answers what callers gathered for node n. What a replica does not have, each caller asks the primary itself: no
// other has to wait for that.
func (s *Store) lookupMany(ctx context.Context, n *node, calls []*lookupCall) {
	missed, err := s.lookupBatch(ctx, n, calls)
	if len(missed) == 0 {
		return
	}
	switch {
	case n.replica:
		err = s.failedReplica(ctx, n, int64(len(missed)), err)
	case errors.Is(err, sql.ErrNoRows):
		s.countRead(n, int64(len(missed)))
		err = ErrNoSession
	case refused(err):
		err = coalesce.ErrAlone
	}
	for _, each := range missed {
		each.Err = err
	}
}

// lookupBatch asks one node, answers the calls that it has a session for, and returns the others with the reason:
// sql.ErrNoRows when it has none for them. A row carries its id and not which of two secrets opened it, so two secrets for
// one id never travel in one statement: one would get the other's answer.
func (s *Store) lookupBatch(ctx context.Context, n *node, calls []*lookupCall) (missed []*lookupCall, err error) {
	for len(calls) > 0 {
		now, later, params := distinct(calls)
		var rows []db.LiveSession
		ask := func(ctx context.Context, on Tx) (err error) {
			rows, err = s.lookupRows(ctx, on, params)
			return err
		}
		if err := n.read(ctx, "lookup", ask); err != nil {
			return append(append(missed, now...), later...), err
		}
		if len(rows) < len(params.IDs) && !n.replica && !n.certain.Load() {
			if err := s.confirm(ctx, n, ask); err != nil {
				return append(append(missed, now...), later...), err
			}
		}
		found := make(map[int64]*db.LiveSession, len(rows))
		for i := range rows {
			found[rows[i].ID] = &rows[i]
		}
		answered := int64(0)
		for _, each := range now {
			if row := found[each.Question.id]; row != nil {
				each.Answer = *row
				answered++
			} else {
				missed = append(missed, each)
			}
		}
		s.countRead(n, answered)
		calls = later
	}
	return missed, sql.ErrNoRows
}

// distinct divides calls into those that can travel in one statement, with its parameters, and the others.
func distinct(calls []*lookupCall) (now, later []*lookupCall, params db.LookupBatchParams) {
	params.IDs = make(pgtext.IDs, 0, len(calls))
	params.SecretHashes = make(pgtext.Hashes, 0, len(calls))
	asked := make(map[int64]int, len(calls)) // where in params an id is
	now = make([]*lookupCall, 0, len(calls))
	for _, each := range calls {
		k := each.Question
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
	return now, later, params
}
