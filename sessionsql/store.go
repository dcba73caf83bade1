package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/db/native"
	"github.com/sessionsql/postgres/internal/coalesce"
)

// DB is a pool of connections: *[sql.DB], or a type that embeds one, such as *sqlx.DB. A pgxpool.Pool becomes one by
// pgx's stdlib.OpenDBFromPool.
type DB interface {
	Tx
	Conn(ctx context.Context) (*sql.Conn, error)
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
	Stats() sql.DBStats
}

// Tx is what runs statements: *[sql.Tx] or *[sql.Conn], or a type that embeds one, such as *sqlx.Tx.
type Tx = db.DBTX

// A Store keeps sessions in one primary and any number of read replicas. It is safe for concurrent use. While it is open,
// goroutines keep used sessions alive, reap expired ones, and watch each server; Close ends them.
type Store struct {
	options  Options
	queries  *db.Queries
	native   *native.Queries
	primary  *node
	upkeep   *node // the primary, for what runs in the background
	replicas []*node
	next     atomic.Uint64 // counts reads, to take the replicas in turn

	inserts *coalesce.Group[newSession, int64]
	updates *coalesce.Group[payloadWrite, int32]
	touches touchBuffer
	recent  recentWrites
	picture picture
	stats   counters
	book    logbook

	close      sync.Mutex // held by the Close that closes
	calls      gate       // calls under way
	loops      sync.WaitGroup
	stopping   chan struct{}   // closed: no further rounds
	background context.Context // ends when Close gives up on what is still under way
	abort      func()
	interrupt  func()    // ends rounds that lose nothing when cut short
	pools      []*sql.DB // opened by Open, so closed by Close
}

// Format implements [fmt.Formatter]: a Store is at work while it is printed, so no verb looks into it.
func (s *Store) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "sessionsql.Store") }

// backgroundTimeout bounds every statement that runs for no caller.
const backgroundTimeout = 30 * time.Second

// Open connects to a primary and its read replicas, and checks that the primary is no standby and holds a bundle that
// serves this program (see [Install]). Each DSN is one server; a primary's may name several hosts, of which one accepts
// writes. A replica that does not answer yet is not an error: it is read from once it does.
//
// It returns ErrDSN, ErrUnavailable, ErrReadOnly, ErrNotInstalled, a *[VersionError], or ErrOptions.
func Open(ctx context.Context, primaryDSN string, replicaDSNs []string, options *Options) (*Store, error) {
	pools := make([]*sql.DB, 0, 2+len(replicaDSNs))
	fail := func(err error) (*Store, error) {
		for _, pool := range pools {
			_ = pool.Close()
		}
		return nil, err
	}
	var store *Store
	accept := func(ctx context.Context, conn *pgconn.PgConn) error { return store.acceptPrimary(ctx, conn) }
	replicas := make([]DB, 0, len(replicaDSNs))
	for i, dsn := range append([]string{primaryDSN}, replicaDSNs...) {
		config, err := pgx.ParseConfig(dsn)
		switch {
		case err != nil:
			// Without the cause, which quotes the DSN and with it perhaps a password.
			return fail(fmt.Errorf("sessionsql: open: %s: %w", nodeName(i), ErrDSN))
		case i == 0:
			pools = append(pools, openPool(config.Copy(), upkeepConnections, accept), openPool(config, maxConnections, accept))
		default:
			pools = append(pools, openPool(config, maxConnections, nil))
			replicas = append(replicas, pools[i+1])
		}
	}
	made, err := newStore(pools[1], pools[0], replicas, options)
	if err != nil {
		return fail(err)
	}
	store = made // from here on there are connections
	store.primary.certain.Store(true)
	if err := store.check(ctx); err != nil {
		store.abort()
		return fail(err)
	}
	store.pools = pools
	store.look(ctx)
	store.start()
	return store, nil
}

// OpenDB makes a Store from pools that the application already has, of any PostgreSQL driver. Like [sql.OpenDB] it does not
// connect: a missing bundle or a read-only primary is reported by the first operation. Close leaves the pools open. Set a
// connect_timeout for their connections: nobody else bounds how long a server that does not answer is waited for.
func OpenDB(primary DB, replicas []DB, options *Options) (*Store, error) {
	for i, pool := range append([]DB{primary}, replicas...) {
		if isNil(pool) {
			return nil, fmt.Errorf("sessionsql: open: %w: the pool of %s is nil", ErrOptions, nodeName(i))
		}
	}
	store, err := newStore(primary, primary, replicas, options)
	if err != nil {
		return nil, err
	}
	store.start()
	return store, nil
}

// isNil also finds the nil pointer of a type that implements DB.
func isNil(pool DB) bool {
	value := reflect.ValueOf(pool)
	return !value.IsValid() || value.Kind() == reflect.Pointer && value.IsNil()
}

func newStore(primary, upkeep DB, replicas []DB, options *Options) (*Store, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("sessionsql: open: %w", err)
	}
	s := &Store{options: o, queries: db.New(), native: native.New(), stopping: make(chan struct{})}
	s.book.log = o.Logger
	background, abort := context.WithCancelCause(context.Background())
	s.background, s.abort = background, func() { abort(ErrClosed) }
	s.touches.init(o.MaxPendingTouches)
	s.recent.off = len(replicas) == 0
	s.primary = s.newNode(0, primary)
	s.upkeep = s.newNode(0, upkeep)
	s.upkeep.limit = backgroundTimeout
	for i, replica := range replicas {
		s.replicas = append(s.replicas, s.newNode(i+1, replica))
	}
	s.picture.replicas = make([]replicaSight, len(replicas))
	onPrimary := func(values context.Context) (context.Context, func()) { return s.detached(values, o.Timeout) }
	s.inserts = coalesce.New(coalesce.Config[newSession, int64]{
		One: s.insertOne, Many: s.insertMany, Context: onPrimary,
		Left:     func(ctx context.Context) error { return contextError(ctx, "insert") },
		Size:     func(session newSession) int { return len(session.payload) },
		MaxBytes: o.MaxBatchBytes,
	})
	s.updates = coalesce.New(coalesce.Config[payloadWrite, int32]{
		One: s.updateOne, Many: s.updateMany, Context: onPrimary,
		Left:     func(ctx context.Context) error { return contextError(ctx, "update") },
		Size:     func(w payloadWrite) int { return len(w.payload) },
		MaxBytes: o.MaxBatchBytes,
	})
	return s, nil
}

// detached returns the context of work that no caller's context may end, with a caller's values.
func (s *Store) detached(values context.Context, limit time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithTimeoutCause(s.background, limit, &lateError{limit})
	return &detachedContext{ctx, values}, cancel
}

// detachedContext has the values of one context and the end of another.
type detachedContext struct {
	context.Context
	values context.Context
}

// Value implements [context.Context].
func (c *detachedContext) Value(key any) any {
	if value := c.Context.Value(key); value != nil {
		return value
	}
	return c.values.Value(key)
}

// check asks the primary whether it can serve. Behind a pooler a connection does not say by itself that it leads to a standby.
func (s *Store) check(ctx context.Context) error {
	installed, err := s.version(ctx, "open")
	if err != nil {
		return err
	}
	if err := checkVersion(installed); err != nil {
		return err
	}
	return s.primary.read(ctx, "open", func(ctx context.Context, on Tx) error {
		standby, err := s.queries.InRecovery(ctx, on)
		if err == nil && standby {
			err = errStandby
		}
		return err
	})
}

// look looks at every server once, at the primary last: a replica that is ahead of it then is none of its replicas.
func (s *Store) look(ctx context.Context) {
	var wait sync.WaitGroup
	for i := range s.replicas {
		wait.Go(func() { s.lookAtReplica(ctx, i) })
	}
	wait.Wait()
	s.lookAtPrimary(ctx)
}

// start starts the loops. Their contexts end when Close says so.
func (s *Store) start() {
	interruptible, interrupt := context.WithCancel(s.background)
	s.interrupt = interrupt
	loop := func(enabled bool, run func()) {
		if enabled {
			s.loops.Go(run)
		}
	}
	loop(s.options.FlushInterval > 0, s.keepAliveLoop)
	loop(s.options.ReapInterval > 0, func() { s.reapLoop(interruptible) })
	loop(true, func() { s.watch(interruptible, s.lookAtPrimary) })
	for i := range s.replicas {
		loop(true, func() { s.watch(interruptible, func(ctx context.Context) { s.lookAtReplica(ctx, i) }) })
	}
}

// Close stops the loops, waits for calls under way, keeps alive what waits for it, and closes the pools that Open made.
// Further calls return ErrClosed; a further Close returns nil.
//
// It takes [Options.Timeout] at most. When that or ctx ends first, Close cuts the rest short and returns an error: what was
// not flushed lives as long as its last keepalive let it.
func (s *Store) Close(ctx context.Context) error {
	s.close.Lock()
	defer s.close.Unlock()
	if !s.calls.shut() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	close(s.stopping)
	s.interrupt()
	defer s.abort()

	ended := make(chan struct{})
	go func() {
		s.calls.wait()
		s.loops.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
		err = s.flush(ctx)
	case <-ctx.Done():
		err = contextError(ctx, "close")
		s.abort()
		s.inserts.Abandon()
		s.updates.Abandon()
		for _, n := range append(s.replicas, s.primary) {
			n.lookups.Abandon()
		}
	}
	return errors.Join(err, s.closePools(ctx))
}

// closePools closes what Open opened. A server that does not answer holds up the end of each of its connections; they end
// by themselves later.
func (s *Store) closePools(ctx context.Context) error {
	closed := make(chan error, len(s.pools))
	for _, pool := range s.pools {
		go func() { closed <- pool.Close() }()
	}
	var err error
	for range s.pools {
		select {
		case one := <-closed:
			err = errors.Join(err, one)
		case <-ctx.Done():
			return err
		}
	}
	return err
}
