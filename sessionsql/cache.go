package sessionsql

import (
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/sessionsql/postgres/internal/pgtext"
)

// A Cache is a named space of entries by key, in the same servers as the sessions. It is safe for concurrent
// use, as is a second Cache of the same name.
//
// A TTL says how long an entry lives: 0 is for ever, and a negative one is over at once. The server's clock
// decides. A key is 1 byte or more, a value at most [Options.MaxPayloadBytes], and nil is an empty value.
//
// Entries of a name that begins with "near:" are kept in memory too, if the Store has a [NearCache].
//
// The database stores a hash of the key. It hides random keys, such as session ids, and no key that can be
// guessed.
//
// Every method returns ErrOptions if the name, the options, the key or the TTL are out of their range, and
// ErrUnavailable if no server could answer. Writes commit asynchronously, so a crash of the server may lose
// those of the last half second; a delete in a Final cache is durable before it returns.
type Cache struct {
	store   *Store
	space   int32
	near    bool // programs may keep its entries in memory
	options CacheOptions
	err     error // the name or the options are invalid
}

// Format implements [fmt.Formatter]. It does not follow the pointer to the Store, as [Store.Format] says.
func (c Cache) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "sessionsql.Cache") }

// CacheOptions says how a [Cache] behaves; nil is the zero value. Programs that share a name should share its
// options.
type CacheOptions struct {
	// Final makes a delete final for an hour: no Set, Add, Swap or Increment brings the entry back, and the
	// delete survives a crash. Set it where keys are session ids, or a request under way may bring a
	// logged-out session back.
	Final bool

	// KeepKeys stores keys in plain beside their hashes, which All needs.
	KeepKeys bool

	// MaxBytes is a budget for the keys and values of this name. The reapers of the Stores that know it (see
	// [Options.ReapInterval]) delete the entries that were not written for longest among those that they
	// meet, so the size comes down to the budget over a few rounds. Not with Final. Defaults to 0, no budget.
	MaxBytes int64

	// PrimaryFirst makes reads ask the primary, and replicas only once the primary is known to be away. Set
	// it where programs write back what they have read, as frameworks do with sessions: a replica may hold
	// less than another program has written, and the write back would undo that. Defaults to false, replicas
	// first.
	PrimaryFirst bool

	// StaleFor is how long Fetch may still serve an entry after its TTL, while one caller loads it again. For
	// Get such an entry is gone; Add, Swap and Increment still meet it. Defaults to 0.
	StaleFor time.Duration

	// Jitter shortens each TTL at random by up to this share, 0 to 1, so that entries that were set together
	// do not end together. Touch extends by the whole TTL. Defaults to 0.
	Jitter float64

	// Slack spares writes: a Set writes nothing if the entry has this value already and an expiry that is at
	// most Slack earlier than the new one. It counts for a third of the TTL at most, so that an entry in use
	// lives on. Defaults to 0.
	Slack time.Duration
}

const maxCacheName = 63 // bytes

// Cache returns the entries of a name of 1 to 63 bytes; nil options are the zero value. It makes no round
// trip. If the name or an option is invalid, the methods of the Cache return ErrOptions.
func (s *Store) Cache(name string, options *CacheOptions) *Cache {
	c := &Cache{store: s, space: spaceOf(name), near: strings.HasPrefix(name, "near:")}
	if options != nil {
		c.options = *options
	}
	if c.err = checkCache(name, &c.options); c.err == nil {
		s.budgets.note(c.space, c.options.MaxBytes)
	}
	return c
}

func checkCache(name string, o *CacheOptions) error {
	if name == "" {
		return fmt.Errorf("%w: the name of a cache is empty", ErrOptions)
	}
	if err := checkText("cache's name", name, maxCacheName); err != nil {
		return err
	}
	switch {
	case o.MaxBytes < 0:
		return fmt.Errorf("%w: MaxBytes is negative", ErrOptions)
	case o.MaxBytes > 0 && o.Final:
		return fmt.Errorf("%w: a Final cache may have no MaxBytes", ErrOptions)
	case o.StaleFor < 0 || o.StaleFor > maxTimeout:
		return fmt.Errorf("%w: StaleFor must be between 0 and 100 years", ErrOptions)
	case !(o.Jitter >= 0 && o.Jitter <= 1):
		return fmt.Errorf("%w: Jitter must be between 0 and 1", ErrOptions)
	case o.Slack < 0:
		return fmt.Errorf("%w: Slack is negative", ErrOptions)
	}
	return nil
}

// An entryKey names a row: the first 16 bytes of SHA-256 over the space and SHA-256 of the key. Those of a
// near cache begin with two bytes of ones. The function sessionsql.cache_key computes the same.
type entryKey struct {
	hash  pgtext.Key
	space int32
}

// isNear reports whether the change log has the writes of an entry; see sessionsql.first_near_key.
func (k entryKey) isNear() bool { return k.hash[0] == 0xff && k.hash[1] == 0xff }

func (k entryKey) near() nearKey { return nearKey{row: k.hash} }

// anySpace returns the key as the change log names it.
func (k entryKey) anySpace() entryKey { return entryKey{hash: k.hash} }

// spaceOf returns the number of a name: the first four bytes of its SHA-256.
func spaceOf(name string) int32 {
	sum := sha256.Sum256([]byte(name))
	return int32(binary.BigEndian.Uint32(sum[:]))
}

func (c *Cache) key(key string) entryKey {
	inner := sha256.Sum256([]byte(key))
	var text [4 + sha256.Size]byte
	binary.BigEndian.PutUint32(text[:], uint32(c.space))
	copy(text[4:], inner[:])
	sum := sha256.Sum256(text[:])
	if c.near {
		sum[0], sum[1] = 0xff, 0xff
	}
	return entryKey{hash: pgtext.Key(sum[:16]), space: c.space}
}

// enter lets a call in, as the Store's gate does, if the Cache is valid and no key is empty. If it returns
// nil, the caller calls leave at its end.
func (c *Cache) enter(op string, keys ...string) error {
	if err := c.check(op, keys...); err != nil {
		return err
	}
	if !c.store.calls.enter() {
		return ErrClosed
	}
	return nil
}

// check is enter for a call that memory may answer.
func (c *Cache) check(op string, keys ...string) error {
	if c.err != nil {
		return fmt.Errorf("sessionsql: %s: %w", op, c.err)
	}
	for _, key := range keys {
		if key == "" {
			return fmt.Errorf("sessionsql: %s: %w: the key is empty", op, ErrOptions)
		}
	}
	if c.store.calls.isShut() {
		return ErrClosed
	}
	return nil
}

func (c *Cache) leave() { c.store.calls.leave() }

// plainKey returns the key as the row keeps it: nil without KeepKeys.
func (c *Cache) plainKey(key string) []byte {
	if !c.options.KeepKeys {
		return nil
	}
	return []byte(key)
}

// life returns the seconds that a row of this TTL lives, StaleFor included; null is for ever.
func (c *Cache) life(op string, ttl time.Duration) (sql.NullFloat64, error) {
	switch {
	case ttl < 0:
		return sql.NullFloat64{Float64: -1, Valid: true}, nil
	case ttl == 0:
		return sql.NullFloat64{}, nil
	}
	seconds := ttl.Seconds()*(1-c.options.Jitter*rand.Float64()) + c.options.StaleFor.Seconds()
	return sql.NullFloat64{Float64: seconds, Valid: true}, c.checkTTL(op, ttl)
}

func (c *Cache) checkTTL(op string, ttl time.Duration) error {
	if ttl > maxTimeout-c.options.StaleFor {
		return fmt.Errorf("sessionsql: %s: %w: TTL of %v; with StaleFor it may be 100 years",
			op, ErrOptions, ttl)
	}
	return nil
}
