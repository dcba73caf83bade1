package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
)

// A node is one server: the primary or a replica.
type node struct {
	name       string
	db         DB
	replica    bool
	statements statements // under way
	lookups    *coalesce.Group[key, db.NearSession]
	gets       *coalesce.Group[entryKey, entryRow]
	state      atomic.Pointer[nodeState]
	log        *logbook
	condition  condition // guarded by the logbook

	// confirm follows each answer of the server. It gets the state from before the statement was sent.
	confirm func(context.Context, *sql.Conn, *pgconn.PgConn, *nodeState) error

	// neverStandby says that no connection of the pool can lead to a standby; see Store.acceptPrimary.
	neverStandby atomic.Bool

	mu          sync.Mutex
	idleDropped time.Time // when dropIdle last dropped connections
}

// nodeState is the state of a server.
type nodeState struct {
	usable bool // a replica: lookups may read from it; the primary: it answers
	lag    time.Duration
	err    error     // the reason why it is not usable
	since  time.Time // when usable last changed
	server db.Node   // a usable replica: what the probe found by which it was judged
}

// readBudget bounds a statement on a replica. After it, the primary is asked and the replica is left out.
const readBudget = 300 * time.Millisecond

var errNotProbedYet = errors.New("sessionsql: the Store has not probed both this server and the primary yet")

func nodeName(i int) string {
	if i == 0 {
		return "primary"
	}
	return fmt.Sprintf("replica %d", i)
}

func (s *Store) newNode(i int, pool DB) *node {
	n := &node{name: nodeName(i), db: pool, replica: i > 0, log: &s.log}
	n.statements.limit = s.options.Timeout
	n.confirm = s.confirm
	n.condition = condition{bad: "primary does not answer", good: "primary answers again", node: n.name}
	if n.replica {
		n.condition.bad, n.condition.good = "replica left out", "replica is read from again"
		n.statements.limit = min(readBudget, s.options.Timeout)
		n.confirm = n.confirmReplica
	}
	n.state.Store(&nodeState{err: errNotProbedYet, since: time.Now()})
	onNode := func(values context.Context) (context.Context, func()) {
		return s.detached(values, 2*n.statements.limit)
	}
	n.lookups = coalesce.New(coalesce.Config[key, db.NearSession]{
		One:     func(ctx context.Context, k key) (db.NearSession, error) { return s.lookupOne(ctx, n, k) },
		Many:    func(ctx context.Context, calls []*lookupCall) { s.lookupMany(ctx, n, calls) },
		Context: onNode,
		Left:    func(ctx context.Context) error { return contextError(ctx, "lookup") },
		Parts:   s.partsOfReads,
	})
	n.gets = coalesce.New(coalesce.Config[entryKey, entryRow]{
		One:     func(ctx context.Context, k entryKey) (entryRow, error) { return s.getOne(ctx, n, k) },
		Many:    func(ctx context.Context, calls []*getCall) { s.getMany(ctx, n, calls) },
		Context: onNode,
		Left:    func(ctx context.Context) error { return contextError(ctx, "cache get") },
		Parts:   s.partsOfReads,
	})
	return n
}

// leaveOut leaves a replica out until a probe finds it usable, and ends its statements under way, so that
// their callers ask the primary.
func (n *node) leaveOut(err error) {
	n.setState(nodeState{lag: n.state.Load().lag, err: err})
	n.statements.endAll()
}

// setState sets the state of a server, and logs a change.
func (n *node) setState(now nodeState) {
	before := n.state.Load()
	now.since = before.since
	if now.usable != before.usable {
		now.since = time.Now()
	}
	if !n.state.CompareAndSwap(before, &now) {
		return // another goroutine has just set a newer state
	}
	n.log.note(&n.condition, now.err)
}
