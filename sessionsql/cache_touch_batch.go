package sessionsql

import (
	"context"
	"database/sql"
	"encoding/binary"
	"time"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgtext"
)

// Touch extends a live entry, by the rule of sessions: an entry that is touched at least once every ttl lives
// on, and it dies between ttl and four thirds of it after the last touch. Touch never shortens, a ttl of 0
// makes the entry live for ever, and a negative one does nothing.
//
// Touch makes no round trip. The touch waits for the next flush, which comes every [Options.FlushInterval],
// or every tenth of ttl if that is less. An entry that ends before is gone; GetAndTouch sees that coming.
func (c *Cache) Touch(ctx context.Context, key string, ttl time.Duration) error {
	if err := c.enter("cache touch", key); err != nil {
		return err
	}
	defer c.leave()
	return c.touch("cache touch", c.key(key), ttl, ttl)
}

// GetAndTouch is Get and Touch. An entry that may end before the flush after next is extended at once.
func (c *Cache) GetAndTouch(ctx context.Context, key string, ttl time.Duration) (Entry, error) {
	if err := c.enter("cache get", key); err != nil {
		return Entry{}, err
	}
	defer c.leave()
	k := c.key(key)
	row, kept := c.inMemory(k)
	var err error
	if !kept {
		row, err = c.fromServer(ctx, k)
	}
	entry, err := c.answer(row, err)
	if err == nil && entry.ExpiresIn > 0 {
		err = c.touch("cache get", k, ttl, entry.ExpiresIn)
	}
	return entry, err
}

// An entryTouch is the touch of an entry that waits for a flush.
type entryTouch struct {
	key     pgtext.Key
	seconds float64 // as life returns them, without jitter; 0 for ever
}

func (t entryTouch) part() uint64 { return binary.BigEndian.Uint64(t.key[8:]) }

func (c *Cache) touch(op string, k entryKey, ttl, expiresIn time.Duration) error {
	if ttl < 0 {
		return nil
	}
	if err := c.checkTTL(op, ttl); err != nil {
		return err
	}
	t := entryTouch{key: k.hash}
	if ttl > 0 {
		t.seconds = (ttl + c.options.StaleFor).Seconds()
	}
	s := c.store
	interval := s.flushAtLeastEvery(ttl / 10)
	if interval > 0 && ttl > 0 && expiresIn < 2*interval && s.entryTouches.addUrgent(t) {
		return nil
	}
	s.entryTouches.add(t)
	return nil
}

// minFlushInterval bounds how often touches of a short TTL make the Store flush.
const minFlushInterval = 100 * time.Millisecond

func (s *Store) flushInterval() time.Duration { return time.Duration(s.flushEvery.Load()) }

// flushAtLeastEvery makes the Store flush that often, if it flushes by itself, and returns the interval; 0
// changes nothing.
func (s *Store) flushAtLeastEvery(interval time.Duration) time.Duration {
	for now := s.flushInterval(); ; now = s.flushInterval() {
		wanted := max(interval, minFlushInterval)
		if interval == 0 || now <= wanted {
			return now
		}
		if s.flushEvery.CompareAndSwap(int64(now), int64(wanted)) {
			select {
			case s.flushSooner <- struct{}{}:
			default:
			}
			return wanted
		}
	}
}

// sendEntryTouches sends each key once, with the longest of its TTLs.
func (s *Store) sendEntryTouches(ctx context.Context, touches []entryTouch) error {
	longest := make(map[pgtext.Key]float64, len(touches))
	for _, t := range touches {
		seconds, known := longest[t.key]
		if !known || seconds != 0 && (t.seconds == 0 || t.seconds > seconds) {
			longest[t.key] = t.seconds
		}
	}
	var params db.CacheTouchBatchParams
	for key, seconds := range longest {
		params.Keys = append(params.Keys, key)
		params.TTLSeconds = append(params.TTLSeconds, sql.NullFloat64{Float64: seconds, Valid: seconds != 0})
	}
	return s.sendTouchBatch(ctx, len(touches), &s.stats.entriesExtended,
		func(ctx context.Context, on Tx) (int64, error) { return s.queries.CacheTouchBatch(ctx, on, params) })
}
