package sessionsql

import (
	"context"
	"database/sql"
	"errors"
)

// maxDeadConnections bounds how many dead connections a statement may meet before it fails. A restarted
// server leaves the pool full of them.
const maxDeadConnections = 32

// read runs a statement that may be repeated. It tries again after each dead connection.
func (n *node) read(ctx context.Context, op string, run func(context.Context, Tx) error) error {
	err := n.statement(ctx, run)
	for range maxDeadConnections {
		if !connectionLost(err) || ctx.Err() != nil {
			break
		}
		err = n.statement(ctx, run)
	}
	if serialization(err) && ctx.Err() == nil {
		err = n.statement(ctx, atReadCommitted(run))
	}
	if errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return databaseError(ctx, op, n, err)
}

// write runs a write on the primary. It tries again only if the server cannot have done the write. When a
// connection breaks under it, it drops the other dead connections for the next write.
//
// A demoted server keeps its connections, and the pool would use them until the program restarts. So after a
// refusal as read-only, write drops the idle connections and tries once more on the server that the DSN leads
// to now.
func (n *node) write(ctx context.Context, op string, run func(context.Context, Tx) error) error {
	err := n.statement(ctx, run)
	for range maxDeadConnections {
		if !neverBegun(err) || ctx.Err() != nil {
			break
		}
		err = n.statement(ctx, run)
	}
	if serialization(err) && ctx.Err() == nil {
		err = n.statement(ctx, atReadCommitted(run))
	}
	if connectionLost(err) {
		n.dropIdle(ctx, deadConnection)
	}
	failed := databaseError(ctx, op, n, err)
	if !errors.Is(failed, ErrReadOnly) || !n.dropIdle(ctx, anyConnection) {
		return failed
	}
	return databaseError(ctx, op, n, n.statement(ctx, run))
}

// atReadCommitted runs a statement in a transaction of its own. Statements run at the default isolation level
// of the database, and a stricter one refuses them when another transaction changes the same rows.
func atReadCommitted(run func(context.Context, Tx) error) func(context.Context, Tx) error {
	return func(ctx context.Context, on Tx) error {
		begin := on.(interface {
			BeginTx(context.Context, *sql.TxOptions) (*sql.Tx, error)
		})
		tx, err := begin.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // after Commit this does nothing
		if err := run(ctx, tx); err != nil {
			return err
		}
		return tx.Commit()
	}
}
