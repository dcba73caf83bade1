package sessionsql

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/db/native"
	"github.com/sessionsql/postgres/internal/coalesce"
)

// DB is a pool of connections: *[sql.DB], or a type that embeds one, such as *sqlx.DB. The function
// stdlib.OpenDBFromPool of pgx makes one from a pgxpool.Pool.
type DB interface {
	Tx
	Conn(ctx context.Context) (*sql.Conn, error)
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
	Stats() sql.DBStats
}

// Tx runs statements: *[sql.Tx] or *[sql.Conn], or a type that embeds one, such as *sqlx.Tx.
type Tx = db.DBTX

// A Store keeps sessions and cache entries in one primary and any number of read replicas. It is safe for
// concurrent use. While it is open, its goroutines flush touches, reap expired rows, and probe each server;
// Close ends them.
type Store struct {
	options  Options
	queries  *db.Queries
	native   *native.Queries
	primary  *node
	upkeep   *node // the primary once more, with the pool and the time limit of background statements
	replicas []*node
	turns    atomic.Uint64 // counts lookups, so that the replicas take turns

	inserts  *coalesce.Group[newSession, int64]
	updates  *coalesce.Group[payloadWrite, int32]
	revokes  *coalesce.Group[key, bool]
	touches  touchBuffer[int64]
	recent   recentWrites
	others   recentWrites // those by other programs, as the polls tell
	near     nearCache
	cluster  clusterView
	silences silences
	stats    counters
	log      logbook

	sets         *coalesce.Group[entryWrite, bool]
	deletes      *coalesce.Group[entryKey, struct{}]
	finalDeletes *coalesce.Group[entryKey, struct{}]
	entryTouches touchBuffer[entryTouch]
	loads        singleflight.Group // of Fetch
	budgets      cacheBudgets
	unlogged     unloggedMemory

	router atomic.Pointer[bool] // nil until isRouter has asked

	flushEvery  atomic.Int64  // a Duration: FlushInterval, or less for entries of a short TTL
	flushSooner chan struct{} // holds an element when flushEvery has become less
	touchUrgent chan struct{} // holds an element when a touch cannot wait for the next flush

	closing    sync.Mutex // Close holds it
	calls      gate
	loops      sync.WaitGroup
	stopping   chan struct{}   // closed by Close, so that the loops begin no further round
	background context.Context // parent of all background work; abort ends it
	abort      func()
	pools      []*sql.DB // those that Open made and Close closes

	// interruptible is the parent of the work that loses nothing when it is cut short; interrupt ends it.
	interruptible context.Context
	interrupt     func()
}

// Format implements [fmt.Formatter]. It reads no field, because other goroutines change them.
func (s *Store) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "sessionsql.Store") }

func newStore(primary, upkeep DB, replicas []DB, options *Options) (*Store, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("sessionsql: open: %w", err)
	}
	s := &Store{options: o, queries: db.New(), native: native.New(), stopping: make(chan struct{})}
	s.log.logger = o.Logger
	s.silences.opened = time.Now()
	background, abort := context.WithCancelCause(context.Background())
	s.background, s.abort = background, func() { abort(ErrClosed) }
	s.interruptible, s.interrupt = context.WithCancel(s.background)
	s.flushEvery.Store(int64(o.FlushInterval))
	s.flushSooner, s.touchUrgent = make(chan struct{}, 1), make(chan struct{}, 1)
	s.touches = touchBuffer[int64]{send: s.sendTouches, part: func(id int64) uint64 { return uint64(id) }}
	s.touches.init(s)
	s.entryTouches = touchBuffer[entryTouch]{send: s.sendEntryTouches, part: entryTouch.part}
	s.entryTouches.init(s)
	s.recent.off, s.others.off = len(replicas) == 0, len(replicas) == 0
	s.near.init(o.NearCache)
	s.primary = s.newNode(0, primary)
	s.upkeep = s.newNode(0, upkeep)
	s.upkeep.statements.limit = backgroundTimeout
	for i, replica := range replicas {
		s.replicas = append(s.replicas, s.newNode(i+1, replica))
	}
	s.cluster.replicas = make([]replicaRecord, len(replicas))
	onPrimary := func(values context.Context) (context.Context, func()) {
		return s.detached(values, o.Timeout)
	}
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
	s.revokes = coalesce.New(coalesce.Config[key, bool]{
		One: s.revokeOne, Many: s.revokeMany, Context: onPrimary,
		Left: func(ctx context.Context) error { return contextError(ctx, "revoke") },
	})
	s.sets = coalesce.New(coalesce.Config[entryWrite, bool]{
		One: s.setOne, Many: s.setMany, Context: onPrimary,
		Left:     func(ctx context.Context) error { return contextError(ctx, "cache set") },
		Size:     func(w entryWrite) int { return len(w.value) },
		MaxBytes: o.MaxBatchBytes,
	})
	s.deletes, s.finalDeletes = s.newDeletes(false, onPrimary), s.newDeletes(true, onPrimary)
	return s, nil
}
