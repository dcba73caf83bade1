package sessionsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sessionsql/postgres/db"
)

// A node is one server: the primary or a replica.
type node struct {
	name    string
	db      DB
	replica bool
	lookups *coalescer[key, db.LiveSession]
	state   atomic.Pointer[replicaState] // of a replica
}

// replicaState is what is known of a replica. Only a usable one is read from.
type replicaState struct {
	usable bool
	lag    time.Duration
	err    error // why it is not usable; nil when it is
}

var errNotSeenYet = errors.New("sessionsql: replica has not been checked yet")

func nodeName(i int) string {
	if i == 0 {
		return "primary"
	}
	return fmt.Sprintf("replica %d", i)
}

func (s *Store) newNode(i int, pool DB) *node {
	n := &node{name: nodeName(i), db: pool, replica: i > 0}
	n.state.Store(&replicaState{err: errNotSeenYet})
	n.lookups = newCoalescer("lookup",
		func(ctx context.Context, k key) (db.LiveSession, error) { return s.lookupOne(ctx, n, k) },
		func(ctx context.Context, calls []*lookupCall) { s.lookupMany(ctx, n, calls) },
		s.batchContext)
	return n
}

// fail leaves a replica out until the next look at it finds it well.
func (n *node) fail(err error) { n.state.Store(&replicaState{err: err}) }

// read runs one statement that may be run again. A server that was restarted leaves connections in the pool that are dead
// without knowing it: the first one that shows takes the idle ones with it, and the statement is tried once more.
func (n *node) read(ctx context.Context, op string, run func(context.Context, Tx) error) error {
	err := n.statement(ctx, run)
	if connectionLost(err) && ctx.Err() == nil {
		n.dropIdle(ctx)
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

// write runs one write on the primary. What was under way on a connection that is lost may have been done, so it is not
// tried again; but the next one does not have to find the other dead connections.
//
// A server that was demoted keeps its connections, and a pool would hand them out until the program restarts. A write that
// is refused as read-only was not done: it is tried once more on whatever the DSN leads to now.
func (n *node) write(ctx context.Context, op string, run func(context.Context, Tx) error) error {
	err := n.statement(ctx, run)
	if serialization(err) && ctx.Err() == nil {
		err = n.statement(ctx, atReadCommitted(run))
	}
	if connectionLost(err) {
		n.dropIdle(ctx)
	}
	failed := databaseError(ctx, op, n, err)
	if !errors.Is(failed, ErrReadOnly) {
		return failed
	}
	n.dropIdle(ctx)
	return databaseError(ctx, op, n, n.statement(ctx, run))
}

// atReadCommitted gives a statement a transaction of its own. The others run at the isolation level that the database or
// its pool has by default, where a stricter one refuses what others do at the same time.
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

// dropIdle closes the connections that are idle now.
func (n *node) dropIdle(ctx context.Context) {
	for range n.db.Stats().Idle {
		conn, err := n.db.Conn(ctx)
		if err != nil {
			return
		}
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = conn.Close()
	}
}

// readFrom chooses the server for a lookup: the replicas that are usable in turn, else the primary; and the primary for what
// this Store wrote so lately that a replica may not have it.
func (s *Store) readFrom(k key) *node {
	if len(s.reads) == 0 || s.recent.has(k) {
		return s.primary
	}
	turn := s.next.Add(1)
	for i := range uint64(len(s.reads)) {
		n := s.reads[(turn+i)%uint64(len(s.reads))]
		if n.state.Load().usable {
			return n
		}
	}
	return s.primary
}
