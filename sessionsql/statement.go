package sessionsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

// A lateError says that a server did not answer within the time that its statements have.
type lateError struct{ limit time.Duration }

func (e *lateError) Error() string { return fmt.Sprintf("no answer within %v", e.limit) }

// statement runs one statement on a connection of the pool, within the node's limit, and cuts it short when ctx ends.
//
// Given a context that can end, database/sql starts a goroutine beside every query to watch it. So the statement gets a
// context that does not end, and is cut short by a deadline on its connection's socket, which is what pgx itself does in the
// end. Connections of other drivers are not known to take that well: there the statement gets a context that ends.
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

// answered reports whether an error is a server's answer.
func answered(err error) bool {
	var state interface{ SQLState() string }
	return errors.As(err, &state) || errors.Is(err, sql.ErrNoRows)
}

// bound gives a statement its limit. Where a replica is hanging, the caller has half of its time left for the primary.
func (n *node) bound(ctx context.Context) (bounded *cutting, limit time.Duration) {
	if !n.replica {
		return newCutting(ctx, n.limit, nil), n.limit
	}
	limit = n.limit
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/2)
	}
	n.mu.Lock()
	flight := n.flight
	n.mu.Unlock()
	return newCutting(ctx, limit, flight.ctx), limit
}

// maxBadConnections is how many connections a statement tries that turn out to be dead before anything was sent, which is
// when a driver returns ErrBadConn. It is the same in database/sql.
const maxBadConnections = 3

func (n *node) onConnection(ctx *cutting, run func(context.Context, Tx) error) error {
	conn, err := n.db.Conn(ctx)
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		// After a panic in a hook of the driver, database/sql waits for ever for the statement to give its connection back.
		if returned {
			_ = conn.Close() // gives it back to the pool
		}
	}()
	socket, closed := socketOf(conn)
	if socket == nil {
		within, end := context.WithCancel(ctx.Context)
		defer end()
		ctx.begin(end)
		defer ctx.finish()
		err = run(within, conn)
		returned = true
		return err
	}
	ctx.begin(func() { _ = socket.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if ctx.finish() && !closed() { // the answer was there first: the connection is as good as before
			_ = socket.SetDeadline(time.Time{})
		}
	}()
	err = run(context.WithoutCancel(ctx), conn)
	returned = true
	return err
}

// socketOf returns what is below a connection of pgx, and whether pgx has given it up; nil for another driver's.
func socketOf(conn *sql.Conn) (socket net.Conn, closed func() bool) {
	_ = conn.Raw(func(c any) error {
		if pgx, ok := c.(*stdlib.Conn); ok {
			socket, closed = pgx.Conn().PgConn().Conn(), pgx.Conn().IsClosed
		}
		return nil
	})
	return socket, closed
}
