package sessionsql

import (
	"context"
	"database/sql"
	"errors"
)

// errAskPrimary is the error of reads on a replica that gave no answer.
var errAskPrimary = errors.New("sessionsql: ask the primary")

// confirmMiss repeats a read for which the primary's pool found no row, on a connection that certainly leads
// to a primary. A pool of the application may lead to a standby, which may lag, and only a primary may say
// "no such session" or "no such entry".
func (s *Store) confirmMiss(
	ctx context.Context, n *node, op string, ask func(context.Context, Tx) error,
) error {
	if n.neverStandby.Load() {
		return sql.ErrNoRows
	}
	askPrimary := func(ctx context.Context, on Tx) error {
		standby, err := s.queries.InRecovery(ctx, on)
		if err != nil {
			return err
		}
		if standby {
			return errStandby
		}
		return ask(ctx, on)
	}
	err := n.read(ctx, op, askPrimary)
	if errors.Is(err, ErrReadOnly) && n.dropIdle(ctx, anyConnection) {
		err = n.read(ctx, op, askPrimary)
	}
	return err
}

// replicaGaveNoAnswer returns the error of reads that a replica did not answer. It leaves the replica out
// if the fault is the replica's.
func (s *Store) replicaGaveNoAnswer(ctx context.Context, n *node, reads int64, err error) error {
	var late *lateError
	switch {
	case errors.Is(err, sql.ErrNoRows):
		s.stats.replicaMisses.Add(reads)
	case ctx.Err() != nil:
		return err
	case errors.Is(err, errElsewhere):
		// The token is another primary's, and the replica is not at fault.
	case errors.Is(err, errLeftOut):
		// It was never asked, so the error says nothing new about it.
	case errors.As(err, &late) && late.limit < n.statements.limit/2:
		// The caller's deadline left the replica too little time, so the replica is not at fault.
	default:
		n.leaveOut(err)
	}
	return errAskPrimary
}
