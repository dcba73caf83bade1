package sessionsql

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"time"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgtext"
)

// Fetch returns a live entry, or else calls load and sets the entry to its result. Of all callers of a key,
// in every program, one loads; the others wait for its result. With [CacheOptions.StaleFor] they get the
// value whose TTL is over, and the load goes on in the background.
//
// A load has the values of its first caller's context, and 30 seconds; Close ends it. A caller whose ctx ends
// leaves alone. An error or a panic of load reaches the callers of this program, and then a caller of another
// program may load. When the program that loads dies, another one takes over within five seconds.
//
// It returns the error of load, ErrEntryEnded after a final delete, and the errors of Get and Set. It also
// returns a value that it could not write, because no server answered.
func (c *Cache) Fetch(
	ctx context.Context, key string, ttl time.Duration, load func(context.Context) ([]byte, error),
) ([]byte, error) {
	if err := c.check("cache fetch", key); err != nil {
		return nil, err
	}
	if err := c.checkTTL("cache fetch", ttl); err != nil {
		return nil, err
	}
	s, k := c.store, c.key(key)
	row, kept := c.inMemory(k)
	entry, fresh := c.fresh(row)
	if kept && fresh {
		return entry.Value, nil
	}
	if !s.calls.enter() {
		return nil, ErrClosed
	}
	defer s.calls.leave()
	var err error
	if !kept {
		row, err = c.fromServer(ctx, k)
		entry, fresh = c.fresh(row)
	}
	if err != nil && !errors.Is(err, ErrNoEntry) {
		return nil, s.countError("cache fetch", err)
	}
	if err == nil && fresh {
		return entry.Value, nil
	}
	s.stats.cacheMisses.Add(1)
	f := fetch{Cache: c, key: key, ttl: ttl, load: load, stale: err == nil}
	for pause := firstLeasePause; ; pause = min(2*pause, maxLeasePause) {
		loading := s.loads.DoChan(string(k.hash[:]), func() (any, error) { return f.run(ctx, k) })
		if f.stale {
			return entry.Value, nil
		}
		select {
		case result := <-loading:
			if p, panicked := result.Err.(loadPanic); panicked {
				panic(p.value)
			}
			if result.Err != errLeased {
				value, _ := result.Val.([]byte)
				return bytes.Clone(value), result.Err // because each caller may change its own
			}
			// The callers of this program wake together, and share the next round trip.
			if !s.sleep(ctx, pause) && ctx.Err() == nil {
				return nil, ErrClosed
			}
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return nil, s.countError("cache fetch", contextError(ctx, "cache fetch"))
		}
	}
}

// A fetch loads an entry for all callers of its key in this program.
type fetch struct {
	*Cache
	key   string
	ttl   time.Duration
	load  func(context.Context) ([]byte, error)
	stale bool // its callers have a value, and nobody waits
}

// A loadPanic is the error of a load that panicked.
type loadPanic struct{ value any }

func (loadPanic) Error() string { return "sessionsql: cache fetch: the load panicked" }

const (
	// leaseTime is how long the lease of a program that died keeps the others from loading.
	leaseTime = 5 * time.Second

	// A caller that waits for the load of another program asks for the result after the first pause, and then
	// after longer ones.
	firstLeasePause = 10 * time.Millisecond
	maxLeasePause   = 250 * time.Millisecond
)

var (
	// errLeased is the error of a fetch that another program's lease kept from loading.
	errLeased = errors.New("sessionsql: cache fetch: another program loads the entry")

	// errNoReturn is the error of a load that ended its goroutine, as t.FailNow does.
	errNoReturn = errors.New("sessionsql: cache fetch: the load did not return")
)

// run takes the lease and loads, if no other program has done so meanwhile and none is about to.
func (f *fetch) run(values context.Context, k entryKey) (value []byte, err error) {
	s := f.store
	if !s.calls.enter() {
		return nil, ErrClosed
	}
	defer s.calls.leave()
	defer func() { // a driver's hook that the application wrote may panic too
		if p := recover(); p != nil {
			err = loadPanic{p}
		}
	}()
	ctx, cancel := s.detached(values, backgroundTimeout)
	defer cancel()
	if f.stale { // Close waits for nothing that nobody waits for
		defer context.AfterFunc(s.interruptible, cancel)()
	}
	owner := make([]byte, 16)
	_, _ = rand.Read(owner) // it never fails
	row, err := f.lease(ctx, k, owner)
	switch {
	case err != nil:
		return nil, s.countError("cache fetch", err)
	case row.Leased:
		return f.hold(ctx, k, owner)
	case row.ExpiresIn.Valid: // another program has loaded it, or loads it while it is stale
		return row.Value, nil
	}
	return nil, errLeased
}

func (f *fetch) lease(ctx context.Context, k entryKey, owner []byte) (row db.CacheFetchLeaseRow, err error) {
	err = f.store.primary.write(ctx, "cache fetch", func(ctx context.Context, on Tx) (err error) {
		row, err = f.store.queries.CacheFetchLease(ctx, on, db.CacheFetchLeaseParams{
			Key:          k.hash,
			LeaseKey:     leaseKey(k).hash,
			Space:        k.space,
			Owner:        owner,
			LeaseSeconds: leaseTime.Seconds(),
			StaleSeconds: f.options.StaleFor.Seconds(),
		})
		return err
	})
	return row, err
}

// hold loads while it renews the lease, sets the entry, and gives the lease back.
func (f *fetch) hold(ctx context.Context, k entryKey, owner []byte) (value []byte, err error) {
	s := f.store
	s.stats.cacheLoads.Add(1)
	loaded := f.begin(ctx)
	renew := time.NewTicker(leaseTime / 3)
	defer renew.Stop()
	for {
		select {
		case result := <-loaded:
			if result.err != nil {
				_ = s.countError("cache load", result.err)
			} else {
				result.err = f.keep(ctx, result.value)
			}
			// A failed reload keeps its lease until that lapses, so that a source that is down is asked every
			// five seconds while the stale value serves.
			if result.err == nil || !f.stale {
				f.swapLease(ctx, k, owner, nil)
			}
			if result.err != nil {
				return nil, result.err
			}
			return result.value, nil
		case <-renew.C:
			f.swapLease(ctx, k, owner, owner)
		case <-ctx.Done():
			return nil, s.countError("cache load", contextError(ctx, "cache load"))
		}
	}
}

type loadResult struct {
	value []byte
	err   error
}

// begin calls load in a goroutine of its own, because a load need not look at its context.
func (f *fetch) begin(ctx context.Context) <-chan loadResult {
	loaded := make(chan loadResult, 1)
	go func() {
		result := loadResult{err: errNoReturn}
		defer func() {
			if p := recover(); p != nil {
				result.err = loadPanic{p}
			}
			loaded <- result
		}()
		value, err := f.load(ctx)
		result = loadResult{append([]byte{}, value...), err}
	}()
	return loaded
}

// keep sets the entry. If no server answers, the callers get the value all the same.
func (f *fetch) keep(ctx context.Context, value []byte) error {
	w, err := f.newWrite("cache fetch", f.key, value, f.ttl)
	if err == nil {
		err = f.set(ctx, w)
	}
	if errors.Is(err, ErrUnavailable) {
		return nil // set has counted it
	}
	return err
}

// swapLease renews the lease or, with a new value of nil, gives it back. If that fails, the lease lapses.
func (f *fetch) swapLease(ctx context.Context, k entryKey, owner, new []byte) {
	lease := Cache{store: f.store, space: f.space}
	_ = lease.swap(ctx, entryWrite{
		key: leaseKey(k), value: new, seconds: sql.NullFloat64{Float64: leaseTime.Seconds(), Valid: true},
	}, owner)
}

// leaseKey returns the key of an entry's lease, as the function sessionsql.cache_lease_key does.
func leaseKey(k entryKey) entryKey {
	sum := sha256.Sum256(k.hash[:])
	return entryKey{hash: pgtext.Key(sum[:16]), space: k.space}
}
