package sessionsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
)

// A node is one server: the primary or a replica.
type node struct {
	name    string
	db      DB
	replica bool
	limit   time.Duration // bounds each statement
	lookups *coalesce.Group[key, db.LiveSession]
	state   atomic.Pointer[nodeState]
	book    *logbook
	works   condition // what the log says of it

	certain atomic.Bool // every connection of its pool leads to a primary; see Store.acceptPrimary

	mu      sync.Mutex
	flight  *flight   // what is under way on a replica
	renewed time.Time // when idle connections were last closed
}

// nodeState is what is known of a server.
type nodeState struct {
	usable bool // a replica is read from; the primary answers
	lag    time.Duration
	err    error // why it is not usable
	since  time.Time
}

// A flight is what ends together when a replica is left out.
type flight struct {
	ctx context.Context
	end context.CancelFunc
}

const (
	// readBudget is how long a replica may take. Then the primary is asked, and the replica is left out.
	readBudget = 300 * time.Millisecond

	// renewInterval is how often idle connections are closed at most: all of them are closed for one that fails.
	renewInterval = time.Second

	// maxDeadConnections is how many connections a statement tries that turn out to be dead. A restarted server leaves a
	// pool full of them.
	maxDeadConnections = 32
)

var errNotSeenYet = errors.New("sessionsql: not known yet: it takes a look at the server and one at the primary")

func nodeName(i int) string {
	if i == 0 {
		return "primary"
	}
	return fmt.Sprintf("replica %d", i)
}

func (s *Store) newNode(i int, pool DB) *node {
	n := &node{name: nodeName(i), db: pool, replica: i > 0, limit: s.options.Timeout, book: &s.book}
	n.works = condition{worse: "primary does not answer", better: "primary answers again", node: n.name}
	if n.replica {
		n.works.worse, n.works.better = "replica left out", "replica is read from again"
		n.limit = min(readBudget, s.options.Timeout)
		n.takeOff()
	}
	n.state.Store(&nodeState{err: errNotSeenYet, since: time.Now()})
	n.lookups = coalesce.New(coalesce.Config[key, db.LiveSession]{
		One:     func(ctx context.Context, k key) (db.LiveSession, error) { return s.lookupOne(ctx, n, k) },
		Many:    func(ctx context.Context, calls []*lookupCall) { s.lookupMany(ctx, n, calls) },
		Context: func(values context.Context) (context.Context, func()) { return s.detached(values, 2*n.limit) },
		Left:    func(ctx context.Context) error { return contextError(ctx, "lookup") },
	})
	return n
}

// takeOff begins a new flight.
func (n *node) takeOff() *flight {
	ctx, end := context.WithCancel(context.Background())
	n.flight = &flight{ctx, end}
	return n.flight
}

// fail leaves a replica out until a look at it finds it well, and ends what is under way on it: whatever hangs there is
// asked on the primary.
func (n *node) fail(err error) {
	n.become(nodeState{lag: n.state.Load().lag, err: err})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flight.end()
	n.takeOff()
}

// become notes the state of a server, and has the log tell of a change.
func (n *node) become(now nodeState) {
	before := n.state.Load()
	now.since = before.since
	if now.usable != before.usable {
		now.since = time.Now()
	}
	if !n.state.CompareAndSwap(before, &now) {
		return // somebody else has just noted something newer
	}
	n.book.note(&n.works, now.err)
}

// read runs one statement that may be run again, until it meets a connection that is not dead.
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

// write runs one write on the primary. What was under way on a connection that is lost may have been done, so it is not
// tried again; but the next one does not have to find the other dead connections.
//
// A server that was demoted keeps its connections, and a pool would hand them out until the program restarts. A write that
// is refused as read-only was not done: it is tried once more on whatever the DSN leads to now.
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
		n.renew(ctx, (*sql.Conn).PingContext)
	}
	failed := databaseError(ctx, op, n, err)
	if !errors.Is(failed, ErrReadOnly) || !n.renew(ctx, discard) {
		return failed
	}
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

// discard is the test that no connection passes.
func discard(*sql.Conn, context.Context) error { return driver.ErrBadConn }

// renew closes the idle connections that fail a test, unless it did so a moment ago; it reports whether it did.
func (n *node) renew(ctx context.Context, test func(*sql.Conn, context.Context) error) bool {
	n.mu.Lock()
	if time.Since(n.renewed) < renewInterval {
		n.mu.Unlock()
		return false
	}
	n.renewed = time.Now()
	n.mu.Unlock()
	n.sift(ctx, test)
	return true
}

// sift closes the idle connections that fail a test. They are taken out of the pool together, so that each is tested once.
func (n *node) sift(ctx context.Context, test func(*sql.Conn, context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, renewInterval)
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
		if test(conn, ctx) != nil {
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
		_ = conn.Close()
	}
}

// readFrom chooses the server for a lookup: the replicas that are usable in turn, else the primary; and the primary for what
// this Store wrote so lately that a replica may not have it.
func (s *Store) readFrom(k key) *node {
	if len(s.replicas) == 0 || s.recent.has(k) {
		return s.primary
	}
	turn := s.next.Add(1)
	for i := range uint64(len(s.replicas)) {
		n := s.replicas[(turn+i)%uint64(len(s.replicas))]
		if n.state.Load().usable {
			return n
		}
	}
	return s.primary
}
