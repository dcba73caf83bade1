package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/db/native"
)

// DB is a pool of connections: *[sql.DB], or a type that embeds one, such as *sqlx.DB.
type DB interface {
	Tx
	Conn(ctx context.Context) (*sql.Conn, error)
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
	Stats() sql.DBStats
}

// Tx is what runs statements: *[sql.Tx] or *[sql.Conn], or a type that embeds one, such as *sqlx.Tx.
type Tx = db.DBTX

// A Store keeps sessions in one primary and any number of read replicas. It is safe for concurrent use. While it is open,
// three goroutines keep used sessions alive, reap expired ones, and watch the replicas; Close ends them.
type Store struct {
	options Options
	queries *db.Queries
	native  *native.Queries
	primary *node
	upkeep  *node         // the primary, for what runs in the background
	reads   []*node       // replicas
	next    atomic.Uint64 // counts reads, to take the replicas in turn

	inserts *coalescer[newSession, int64]
	updates *coalescer[payloadWrite, int32]
	touches touchBuffer
	recent  recentWrites
	history positions // of the primary; used by one look at a time
	stats   counters

	close     sync.Mutex // held by the Close that closes
	calls     gate       // calls under way
	loops     sync.WaitGroup
	stopping  chan struct{}                    // closed: no further rounds
	interrupt func()                           // ends rounds that lose nothing when cut short
	abort     func()                           // ends everything in the background
	detached  func() (context.Context, func()) // a context for background work, with a deadline
	pools     []*sql.DB                        // opened by Open, so closed by Close
}

// Format implements [fmt.Formatter]: a Store is at work while it is printed, so no verb looks into it.
func (s *Store) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "sessionsql.Store") }

// backgroundTimeout bounds every statement that no caller's context bounds.
const backgroundTimeout = 30 * time.Second

// Open connects to a primary and its read replicas, and checks that the primary accepts writes and holds this version of the
// bundle (see [Install]). A replica that does not answer yet is not an error: it is read from once it does.
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
	for i, dsn := range append([]string{primaryDSN}, replicaDSNs...) {
		config, err := pgx.ParseConfig(dsn)
		if err != nil {
			// Without the cause, which quotes the DSN and with it perhaps a password.
			return fail(fmt.Errorf("sessionsql: open: %s: %w", nodeName(i), ErrDSN))
		}
		config.ConnectTimeout = orDefault(config.ConnectTimeout, connectTimeout)
		if i == 0 {
			pools = append(pools, openPool(config, upkeepConnections))
		}
		pools = append(pools, openPool(config, maxConnections))
	}
	store, err := newStore(pools[1], pools[0], pools[2:], options)
	if err != nil {
		return fail(err)
	}
	if err := store.check(ctx); err != nil {
		return fail(err)
	}
	store.pools = pools
	store.look(ctx)
	store.start()
	return store, nil
}

// connectTimeout is for a DSN that does not say connect_timeout: a server that does not answer is then reported as
// unavailable, and not waited for until the operating system gives up.
const connectTimeout = 5 * time.Second

const (
	// maxConnections is enough for each server: reads, inserts and updates share a few connections, and the other operations
	// hold one for a single round trip.
	maxConnections = 16

	// upkeepConnections is one for each loop: a keepalive must not wait behind a hundred logouts for a connection.
	upkeepConnections = 3
)

func openPool(config *pgx.ConnConfig, connections int) *sql.DB {
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	return pool
}

// OpenDB makes a Store from pools that the application already has, of any PostgreSQL driver. Like [sql.OpenDB] it does not
// connect: a missing bundle or a read-only primary is reported by the first operation. Close leaves the pools open.
func OpenDB(primary DB, replicas []*sql.DB, options *Options) (*Store, error) {
	if primary == nil {
		return nil, fmt.Errorf("sessionsql: open: %w: no primary", ErrOptions)
	}
	store, err := newStore(primary, primary, replicas, options)
	if err != nil {
		return nil, err
	}
	store.start()
	return store, nil
}

func newStore(primary, upkeep DB, replicas []*sql.DB, options *Options) (*Store, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("sessionsql: open: %w", err)
	}
	s := &Store{options: o, queries: db.New(), native: native.New(), stopping: make(chan struct{})}
	s.touches.init(o.MaxPendingTouches)
	s.primary = s.newNode(0, primary)
	s.upkeep = s.newNode(0, upkeep)
	for i, replica := range replicas {
		if replica == nil {
			return nil, fmt.Errorf("sessionsql: open: %w: %s is nil", ErrOptions, nodeName(i+1))
		}
		s.reads = append(s.reads, s.newNode(i+1, replica))
	}
	s.inserts = newCoalescer("insert", s.insertOne, s.insertMany, s.batchContext)
	s.updates = newCoalescer("update", s.updateOne, s.updateMany, s.batchContext)
	return s, nil
}

// check asks the primary whether it can serve.
func (s *Store) check(ctx context.Context) error {
	installed, err := s.version(ctx, "open")
	if err != nil {
		return err
	}
	if err := checkVersion(installed); err != nil {
		return err
	}
	var server db.Node
	err = s.primary.read(ctx, "open", func(ctx context.Context, on Tx) (err error) {
		server, err = s.queries.Node(ctx, on)
		return err
	})
	if err != nil {
		return err
	}
	if server.InRecovery {
		return &Error{Op: "open", Node: s.primary.name, kind: ErrReadOnly}
	}
	return nil
}

// start starts the loops. Their contexts end when Close says so.
func (s *Store) start() {
	background, abort := context.WithCancelCause(context.Background())
	interruptible, interrupt := context.WithCancel(background)
	s.abort = func() { abort(ErrClosed) }
	s.interrupt = interrupt
	late := fmt.Errorf("%w: no answer within %v", ErrUnavailable, backgroundTimeout)
	s.detached = func() (context.Context, func()) {
		return context.WithTimeoutCause(background, backgroundTimeout, late)
	}

	loop := func(enabled bool, run func()) {
		if enabled {
			s.loops.Go(run)
		}
	}
	loop(s.options.FlushInterval > 0, func() { s.keepAliveLoop() })
	loop(s.options.ReapInterval > 0, func() { s.reapLoop(interruptible) })
	loop(len(s.reads) > 0, func() { s.watchReplicas(interruptible) })
}

// Close stops the loops, waits for calls under way, keeps alive what waits for it, and closes the pools that Open made.
// Further calls return ErrClosed; a further Close returns nil.
//
// When ctx ends first, Close cuts the rest short and returns its error: what was not flushed lives as long as its last
// keepalive let it.
func (s *Store) Close(ctx context.Context) error {
	s.close.Lock()
	defer s.close.Unlock()
	if !s.calls.shut() {
		return nil
	}
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
		s.inserts.relieve()
		s.updates.relieve()
		for _, n := range append(s.reads, s.primary) {
			n.lookups.relieve()
		}
	}
	for _, pool := range s.pools {
		err = errors.Join(err, pool.Close())
	}
	return err
}

// batchContext is the context of a round trip that several callers share, so that none of theirs can end it.
func (s *Store) batchContext() (context.Context, func()) { return s.detached() }
