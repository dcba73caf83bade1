package sessionsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

// statement runs one statement on a connection of the pool, and cuts it short when ctx ends.
//
// Given a context that can end, database/sql starts a goroutine beside every query to watch it. Without that one, a lone
// lookup takes 0.88 of the time and 0.83 of the client's CPU (the same calls on either kind of pool in turns). So the
// statement gets a context that does not end, and is cut short by a deadline on its connection's socket, which is what pgx
// itself does in the end. Connections of other drivers are not known to take that well: there the statement gets ctx.
func (n *node) statement(ctx context.Context, run func(context.Context, Tx) error) error {
	if ctx.Done() == nil {
		return run(ctx, n.db)
	}
	var err error
	for range maxBadConnections {
		if err = n.onConnection(ctx, run); !errors.Is(err, driver.ErrBadConn) {
			break
		}
	}
	return err
}

// maxBadConnections is how many connections a statement tries that turn out to be dead before anything was sent, which is
// when a driver returns ErrBadConn. It is the same in database/sql.
const maxBadConnections = 3

func (n *node) onConnection(ctx context.Context, run func(context.Context, Tx) error) error {
	conn, err := n.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // gives it back to the pool
	socket, closed := socketOf(conn)
	if socket == nil {
		return run(ctx, conn)
	}
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = socket.SetDeadline(time.Unix(1, 0))
		close(cut)
	})
	defer func() {
		if stop() {
			return
		}
		<-cut
		if !closed() { // the answer was there before the deadline: the connection is as good as before
			_ = socket.SetDeadline(time.Time{})
		}
	}()
	return run(context.WithoutCancel(ctx), conn)
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
