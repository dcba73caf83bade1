package sessionsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"
)

// dropInterval limits how often dropIdle drops connections, because every failed statement calls it.
const dropInterval = time.Second

func deadConnection(ctx context.Context, conn *sql.Conn) bool { return conn.PingContext(ctx) != nil }

func anyConnection(context.Context, *sql.Conn) bool { return true }

// dropIdle closes the selected idle connections, at most once in dropInterval, and reports whether it did.
func (n *node) dropIdle(ctx context.Context, selected func(context.Context, *sql.Conn) bool) bool {
	n.mu.Lock()
	if time.Since(n.idleDropped) < dropInterval {
		n.mu.Unlock()
		return false
	}
	n.idleDropped = time.Now()
	n.mu.Unlock()
	n.dropIdleNow(ctx, selected)
	return true
}

// dropIdleNow takes all idle connections out of the pool together, so that it meets each of them once.
func (n *node) dropIdleNow(ctx context.Context, selected func(context.Context, *sql.Conn) bool) {
	ctx, cancel := context.WithTimeout(ctx, dropInterval)
	defer cancel()
	var idle []*sql.Conn
	for range n.db.Stats().Idle {
		conn, err := n.db.Conn(ctx)
		if err != nil {
			break
		}
		idle = append(idle, conn)
	}
	for _, conn := range idle {
		if selected(ctx, conn) {
			discard(conn)
		}
		_ = conn.Close()
	}
}

// discard makes the pool close a connection when it is returned, in place of keeping it.
func discard(conn *sql.Conn) { _ = conn.Raw(func(any) error { return driver.ErrBadConn }) }
