package sessionsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// statement runs one statement on a connection of the pool. It interrupts the statement at the node's limit
// and when ctx ends.
//
// database/sql starts a goroutine beside every query whose context can end. To save it, the statement gets a
// context that cannot end, and a deadline on the connection's socket interrupts it, which is the way that pgx
// itself takes. Other drivers may not survive a deadline on their socket, so with them the statement gets a
// context that can end.
func (n *node) statement(ctx context.Context, run func(context.Context, Tx) error) error {
	bounded, limit := n.bound(ctx)
	defer bounded.release()
	var err error
	for range maxBadConnections {
		if err = n.onConnection(bounded, run); !errors.Is(err, driver.ErrBadConn) {
			break
		}
	}
	if err != nil && bounded.Err() != nil && ctx.Err() == nil && !answered(err) {
		return &lateError{limit}
	}
	return err
}

// bound gives a statement its limit. On a replica it leaves half of the caller's time, for the primary.
func (n *node) bound(ctx context.Context) (bounded *statementContext, limit time.Duration) {
	limit = n.statements.limit
	if deadline, ok := ctx.Deadline(); ok && n.replica {
		limit = min(limit, time.Until(deadline)/2)
	}
	return n.statements.begin(ctx, limit), limit
}

// maxBadConnections bounds how often a driver may return ErrBadConn, which says that a connection was dead
// before anything was sent. It is the bound of database/sql.
const maxBadConnections = 3

func (n *node) onConnection(ctx *statementContext, run func(context.Context, Tx) error) error {
	conn, err := n.db.Conn(ctx)
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		// After a panic in a driver's hook the connection stays in use, and Close would wait for it without
		// end.
		if returned {
			_ = conn.Close() // returns it to the pool
		}
	}()
	before := n.state.Load()
	if n.replica && !before.usable {
		returned = true
		return errLeftOut
	}
	pg := pgConnOf(conn)
	if pg == nil {
		within, end := context.WithCancel(ctx.Context)
		defer end()
		ctx.begin(end)
		defer ctx.finish()
		err = run(within, conn)
		returned = true
		return err
	}
	ctx.begin(func() { _ = pg.Conn().SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if ctx.finish() && !pg.IsClosed() { // the answer came in time, so the connection is usable
			_ = pg.Conn().SetDeadline(time.Time{})
		}
	}()
	err = run(context.WithoutCancel(ctx), conn)
	if err == nil || answered(err) {
		if replaced := n.confirm(ctx, conn, pg, before); replaced != nil {
			err = replaced
		}
	}
	returned = true
	return err
}

// pgConnOf returns a connection of pgx; nil for another driver's.
func pgConnOf(conn *sql.Conn) (pg *pgconn.PgConn) {
	_ = conn.Raw(func(c any) error {
		if pgx, ok := c.(*stdlib.Conn); ok {
			pg = pgx.Conn().PgConn()
		}
		return nil
	})
	return pg
}
