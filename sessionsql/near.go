package sessionsql

import (
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/near"
	"github.com/sessionsql/postgres/internal/pgtext"
)

// NearCache bounds what a Store keeps in memory, so that a lookup may need no server: sessions, and the
// entries of each [Cache] whose name begins with "near:". The zero value keeps nothing.
type NearCache struct {
	// MaxBytes bounds the memory. Defaults to 0, no near cache. Behind a router of shards Open returns
	// ErrRouter if it is not 0, and a Store of OpenDB keeps nothing.
	MaxBytes int64

	// MaxStaleness bounds how old an answer from memory may be: after a logout or an update anywhere has
	// returned, a lookup that begins later than this never gets the older session from memory. The Store
	// asks the primary for changes four times as often. While the primary does not answer, nothing is
	// answered from memory. docs/near-cache.md has the proof and its assumptions.
	//
	// A Store with replicas asks for changes without a near cache too, and then reads the sessions that other
	// programs have ended or written from the primary, until the replicas have replayed that. Defaults to 1
	// second; at least 20 milliseconds.
	MaxStaleness time.Duration
}

const minStaleness = 20 * time.Millisecond

// maxNearAge bounds how long a session or entry is kept, whatever the log of changes says.
const maxNearAge = 30 * time.Second

// A nearCache holds sessions and cache entries that lookups have found. It answers only while it has a lease,
// which a poll of the changes renews; see Store.pollChanges. It keeps no token, and nothing about a token
// that opens no session.
type nearCache struct {
	entries   *near.Map[pgtext.Key, nearEntry] // nil without a near cache
	staleness time.Duration
	polled    atomic.Pointer[instant] // the begin of the last poll that succeeded; nil before the first

	// The ids of the sessions that a write to a subject has ended are unknown until the next poll. Until
	// then no session of the subject is answered that was fetched before the write.
	mu       sync.Mutex
	subjects map[string]instant
	marked   atomic.Int32 // the number of subjects
}

// A nearKey is the key of a session or of a cache entry.
type nearKey struct {
	row  pgtext.Key // the key of an entry, or the id of a session, of which no entry has the first bytes
	hash hash       // what opens the session, because an id alone proves nothing; zero for an entry
}

func (k key) near() nearKey {
	n := nearKey{hash: k.hash}
	binary.BigEndian.PutUint64(n.row[:], uint64(k.id))
	return n
}

// A nearEntry is a session as a lookup found it, or a cache entry in the form of one.
type nearEntry struct {
	hash    hash
	row     db.NearSession
	fetched instant       // when the lookup began
	keep    time.Duration // how long after that it is answered
	flush   uint32        // the low bits of the flush that its last touch waits for; atomic
}

const (
	// nearEntryBytes is what an entry occupies apart from its texts and the map's own.
	nearEntryBytes = 160

	// maxMarkedSubjects bounds the marks. Beyond it, everything is dropped instead.
	maxMarkedSubjects = 1024
)

func (c *nearCache) init(options NearCache) {
	c.staleness = options.MaxStaleness
	c.subjects = map[string]instant{}
	if options.MaxBytes > 0 {
		c.entries = near.New[pgtext.Key, nearEntry](options.MaxBytes)
	}
}

// An instant is a reading of the monotonic clock, which stands still while a machine is suspended, and of the
// wall clock, which may be set back.
type instant struct{ monotonic, wall time.Duration }

var programStart = time.Now()

func now() instant {
	t := time.Now()
	return instant{t.Sub(programStart), time.Duration(t.UnixNano())}
}

// since returns the time since an earlier instant by the clock that says more.
func (i instant) since(earlier instant) time.Duration {
	return max(i.monotonic-earlier.monotonic, i.wall-earlier.wall)
}

// on reports whether the near cache may be filled. Before the first poll that succeeds, the server may hold a
// bundle that is too old for it.
func (c *nearCache) on() bool { return c.entries != nil && c.polled.Load() != nil }

// find returns the entry that answers a lookup that begins at an instant, or nil. It reads lease and marks
// before the entry, because a poll drops entries before it renews the lease. In another order an entry would
// be answered under the lease of the poll that drops it.
func (c *nearCache) find(k nearKey, version int32, at instant) *nearEntry {
	if !c.on() {
		return nil
	}
	polled, marked := c.polled.Load(), c.marked.Load() > 0
	if at.since(*polled) >= c.staleness {
		return nil
	}
	e := c.entries.Get(k.row)
	switch {
	case e == nil || e.hash != k.hash || e.row.Version < version || at.since(e.fetched) >= e.keep:
		return nil
	case marked && (c.endedBySubject(e) || c.polled.Load() != polled): // a new poll may have removed the mark
		return nil
	}
	return e
}

// A nearFetch is a lookup whose answer may be kept.
type nearFetch struct {
	cache       *nearCache // nil if the answer is not kept
	placeholder near.Placeholder[pgtext.Key, nearEntry]
	hash        hash
	begun       instant
}

// begin begins a lookup. It must be called before a server is chosen for it. A token with a wrong secret does
// not displace the entry of the right one.
func (c *nearCache) begin(k nearKey, at instant) nearFetch {
	if !c.on() {
		return nearFetch{}
	}
	if e := c.entries.Get(k.row); e != nil && e.hash != k.hash && at.since(e.fetched) < e.keep {
		return nearFetch{}
	}
	return nearFetch{c, c.entries.Begin(k.row), k.hash, at}
}

// keep keeps an answer, unless its session was changed meanwhile. A row that the previous secret opened is
// not kept, because no change says when its grace ends. A session is not answered from memory in its last
// moments, so that a lookup extends its expiry in time.
func (f *nearFetch) keep(row db.NearSession, lastMoments time.Duration) {
	left := maxNearAge
	if !math.IsInf(row.ExpiresIn, 1) {
		left = min(fromSeconds(row.ExpiresIn)-lastMoments, maxNearAge)
	}
	if f.cache == nil || !row.IsCurrent || left <= 0 {
		return
	}
	e := nearEntry{hash: f.hash, row: row, fetched: f.begun, keep: left}
	size := nearEntryBytes + len(row.Payload) + len(row.Subject.String)
	f.cache.entries.Keep(f.placeholder, e, int64(size))
}

// end must be called after begin, whether the answer was kept or not.
func (f *nearFetch) end() {
	if f.cache != nil {
		f.cache.entries.End(f.placeholder)
	}
}

// drop drops the entries of keys, and the answers of lookups under way.
func (c *nearCache) drop(keys ...key) {
	if c.entries == nil {
		return
	}
	for _, k := range keys {
		c.entries.Drop(k.near().row)
	}
}

// dropEntries is drop for cache entries.
func (c *nearCache) dropEntries(keys ...entryKey) {
	if c.entries == nil {
		return
	}
	for _, k := range keys {
		if k.isNear() {
			c.entries.Drop(k.hash)
		}
	}
}

func (c *nearCache) dropAll() {
	if c.entries != nil {
		c.entries.Clear()
	}
}

// dropSubject stops the answers of a subject's sessions that were fetched before now.
func (c *nearCache) dropSubject(subject string) {
	if c.entries == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.subjects) >= maxMarkedSubjects {
		c.entries.Clear()
		return
	}
	c.subjects[subject] = now()
	c.marked.Store(int32(len(c.subjects)))
}

func (c *nearCache) endedBySubject(e *nearEntry) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, found := c.subjects[e.row.Subject.String]
	return found && e.fetched.monotonic <= at.monotonic
}

// renew renews the lease after the changes of a poll were dropped. Among them are the sessions that were
// ended by subject before the poll began, so these marks go, after the lease.
func (c *nearCache) renew(begun instant) {
	c.polled.Store(&begun)
	c.mu.Lock()
	defer c.mu.Unlock()
	for subject, at := range c.subjects {
		if at.monotonic < begun.monotonic {
			delete(c.subjects, subject)
		}
	}
	c.marked.Store(int32(len(c.subjects)))
}
