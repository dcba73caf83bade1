package sessionsql

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
	"github.com/sessionsql/postgres/internal/pgtext"
)

// Set writes an entry, whatever it was before. Its TTL is exact. With a negative TTL no entry is left.
// Concurrent calls share round trips. A Touch of the same key that waits for its flush still extends the
// entry.
//
// It returns ErrEntryEnded after a final delete, a *[PayloadError] for a value that is too large, ErrOptions,
// or ErrUnavailable. After ErrUnavailable, or when ctx ends, the write may have been done.
func (c *Cache) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := c.enter("cache set", key); err != nil {
		return err
	}
	defer c.leave()
	w, err := c.newWrite("cache set", key, value, ttl)
	if err != nil {
		return err
	}
	return c.set(ctx, w)
}

func (c *Cache) set(ctx context.Context, w entryWrite) error {
	refused, err := c.store.sets.Do(ctx, w)
	switch {
	case err != nil:
		return c.store.countError("cache set", err)
	case refused:
		return ErrEntryEnded
	}
	c.store.stats.cacheSets.Add(1)
	return nil
}

// SetMany writes entries as Set does, up to 1,000 in a round trip. After ErrEntryEnded it has written all
// entries but those that a final delete ended; after another error it may have written some.
func (c *Cache) SetMany(ctx context.Context, values map[string][]byte, ttl time.Duration) error {
	if err := c.enter("cache set", slices.Collect(maps.Keys(values))...); err != nil {
		return err
	}
	defer c.leave()
	writes := make([]entryWrite, 0, len(values))
	for key, value := range values {
		w, err := c.newWrite("cache set", key, value, ttl)
		if err != nil {
			return err
		}
		writes = append(writes, w)
	}
	ended := false
	for len(writes) > 0 {
		n := c.store.fitting(writes)
		refused, err := c.store.setEntries(ctx, writes[:n])
		if err != nil {
			return c.store.countError("cache set", err)
		}
		c.store.stats.cacheSets.Add(int64(n - len(refused)))
		ended = ended || len(refused) > 0
		writes = writes[n:]
	}
	if ended {
		return ErrEntryEnded
	}
	return nil
}

// fitting returns how many of these writes go into one statement.
func (s *Store) fitting(writes []entryWrite) int {
	size := 0
	for i, w := range writes {
		if size += len(w.value); i == maxBatchKeys || i > 0 && size > s.options.MaxBatchBytes {
			return i
		}
	}
	return len(writes)
}

// An entryWrite is an entry as a Set writes it.
type entryWrite struct {
	key      entryKey
	value    []byte
	seconds  sql.NullFloat64 // as life returns them
	plainKey []byte
	slack    float64 // seconds
}

func (c *Cache) newWrite(op, key string, value []byte, ttl time.Duration) (entryWrite, error) {
	if largest := c.store.options.MaxPayloadBytes; len(value) > largest {
		return entryWrite{}, &PayloadError{Reason: "is too large", Size: len(value), Max: largest}
	}
	seconds, err := c.life(op, ttl)
	if err != nil {
		return entryWrite{}, err
	}
	slack := c.options.Slack
	if ttl != 0 {
		slack = min(slack, max(ttl/3, 0))
	}
	return entryWrite{
		key: c.key(key),
		// The caller may change its value while a batch that it has left is under way.
		value:    append([]byte{}, value...),
		seconds:  seconds,
		plainKey: c.plainKey(key),
		slack:    slack.Seconds(),
	}, nil
}

// setOne reports whether a final delete refused the write.
func (s *Store) setOne(ctx context.Context, w entryWrite) (refused bool, err error) {
	keys, err := s.setEntries(ctx, []entryWrite{w})
	return len(keys) > 0, err
}

// setMany writes a batch in one statement. Of several writes of one key the last counts, as if they had come
// one after the other. When the server refuses the batch, it has written none, so each caller tries alone.
// When it does not answer, it may have committed, so nothing is sent twice.
func (s *Store) setMany(ctx context.Context, calls []*coalesce.Call[entryWrite, bool]) {
	writes := make([]entryWrite, 0, len(calls))
	positions := make(map[entryKey]int, len(calls)) // of each key in writes
	for _, call := range calls {
		if i, twice := positions[call.Question.key]; twice {
			writes[i] = call.Question
			continue
		}
		positions[call.Question.key] = len(writes)
		writes = append(writes, call.Question)
	}
	ended, err := s.setEntries(ctx, writes)
	if refused(err) {
		err = coalesce.ErrAlone
	}
	for _, call := range calls {
		call.Answer, call.Err = slices.Contains(ended, call.Question.key.hash), err
	}
}

// setEntries writes entries of different keys, and returns the keys that a final delete refused.
func (s *Store) setEntries(ctx context.Context, writes []entryWrite) (ended []pgtext.Key, err error) {
	params, keys := setParams(writes)
	err = s.primary.write(ctx, "cache set", func(ctx context.Context, on Tx) (err error) {
		ended, err = s.setRows(ctx, on, params)
		return err
	})
	s.noteEntries(keys...)
	return ended, err
}

// setParams returns the parameters of a batch and its keys. The arrays that few caches use are null when no
// write of the batch needs them, because each costs time on the server.
func setParams(writes []entryWrite) (params db.CacheSetBatchParams, keys []entryKey) {
	keep, slack := false, false
	for _, w := range writes {
		keys = append(keys, w.key)
		params.Keys = append(params.Keys, w.key.hash)
		params.Spaces = append(params.Spaces, w.key.space)
		params.EntryValues = append(params.EntryValues, w.value)
		params.TTLSeconds = append(params.TTLSeconds, w.seconds)
		params.PlainKeys = append(params.PlainKeys, w.plainKey)
		params.SlackSeconds = append(params.SlackSeconds, sql.NullFloat64{Float64: w.slack, Valid: true})
		keep, slack = keep || w.plainKey != nil, slack || w.slack > 0
	}
	if !keep {
		params.PlainKeys = nil
	}
	if !slack {
		params.SlackSeconds = nil
	}
	return params, keys
}

// setRows sends a batch. On a connection of pgx it bypasses database/sql, as lookupRows does.
func (s *Store) setRows(
	ctx context.Context, on Tx, params db.CacheSetBatchParams,
) (ended []pgtext.Key, err error) {
	sent, err := onPgx(on, func(conn *pgx.Conn) error {
		keys := make([]pgtype.UUID, len(params.Keys))
		for i, key := range params.Keys {
			keys[i] = pgtype.UUID{Bytes: key, Valid: true}
		}
		rows, err := s.native.CacheSetBatch(ctx, conn, keys, params.Spaces, params.EntryValues,
			float8s(params.TTLSeconds), params.PlainKeys, float8s(params.SlackSeconds))
		for _, key := range rows {
			ended = append(ended, key.Bytes)
		}
		return err
	})
	if sent || err != nil {
		return ended, err
	}
	return s.queries.CacheSetBatch(ctx, on, params)
}

// float8s returns numbers as pgx takes them; nil stays nil, which is a null array.
func float8s(seconds pgtext.Seconds) (numbers []pgtype.Float8) {
	for _, number := range seconds {
		numbers = append(numbers, pgtype.Float8(number))
	}
	return numbers
}
