package sessionsql

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
	"github.com/sessionsql/postgres/internal/pgtext"
)

// An Entry is a live entry of a [Cache]. No verb of package fmt prints its value.
type Entry struct {
	// Value is the entry's value; never nil.
	Value []byte

	// ExpiresIn is the time that the entry has left, by the server's clock; 0 is for ever.
	ExpiresIn time.Duration
}

// Format implements [fmt.Formatter]. Every verb prints the same text, without the value.
func (e Entry) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "sessionsql.Entry(%d bytes redacted)", len(e.Value))
}

// LogValue implements [slog.LogValuer], because a handler may marshal its values instead of formatting them.
func (e Entry) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(e)) }

// Get returns a live entry. Like Lookup it reads from a replica that is up to date, if there is one, asks the
// primary where the replica may be older, and shares round trips with concurrent calls.
//
// It returns ErrNoEntry or ErrUnavailable.
func (c *Cache) Get(ctx context.Context, key string) (Entry, error) {
	if err := c.check("cache get", key); err != nil {
		return Entry{}, err
	}
	k := c.key(key)
	if row, kept := c.inMemory(k); kept {
		return c.answer(row, nil)
	}
	if !c.store.calls.enter() {
		return Entry{}, ErrClosed
	}
	defer c.leave()
	return c.answer(c.fromServer(ctx, k))
}

// answer turns the row of a get into its answer.
func (c *Cache) answer(row entryRow, err error) (Entry, error) {
	entry, fresh := c.fresh(row)
	switch {
	case errors.Is(err, ErrNoEntry) || err == nil && !fresh:
		c.store.stats.cacheMisses.Add(1)
		return Entry{}, ErrNoEntry
	case err != nil:
		return Entry{}, c.store.countError("cache get", err)
	}
	return entry, nil
}

// GetMany returns the live entries of these keys by key; it leaves out the others. Keys that a replica does
// not have cost a second round trip.
func (c *Cache) GetMany(ctx context.Context, keys []string) (map[string]Entry, error) {
	if err := c.enter("cache get", keys...); err != nil {
		return nil, err
	}
	defer c.leave()
	entries := make(map[string]Entry, len(keys))
	for chunk := range slices.Chunk(keys, maxBatchKeys) {
		hashed := make([]entryKey, len(chunk))
		for i, key := range chunk {
			hashed[i] = c.key(key)
		}
		rows, err := c.entries(ctx, hashed)
		if err != nil {
			return nil, c.store.countError("cache get", err)
		}
		for i, key := range chunk {
			if row, live := rows[hashed[i].hash]; live {
				if entry, fresh := c.fresh(row); fresh {
					entries[key] = entry
				}
			}
		}
	}
	c.store.stats.cacheGets.Add(int64(len(keys)))
	c.store.stats.cacheMisses.Add(int64(len(keys) - len(entries)))
	return entries, nil
}

// maxBatchKeys bounds the keys of one statement of GetMany and SetMany.
const maxBatchKeys = 1000

// An entryRow is a live entry as a server has it.
type entryRow struct {
	value     pgtext.Value
	expiresIn float64
	standby   bool // a standby answered, which may lack a write that is known
}

// fresh returns the entry of a row, and false if it has outlived its TTL and waits for Fetch.
func (c *Cache) fresh(row entryRow) (Entry, bool) {
	entry := Entry{Value: row.value}
	if !math.IsInf(row.expiresIn, 1) {
		entry.ExpiresIn = fromSeconds(row.expiresIn) - c.options.StaleFor
		return entry, entry.ExpiresIn > 0
	}
	return entry, true
}

type getCall = coalesce.Call[entryKey, entryRow]

// inMemory returns an entry that the near cache answers. As lookupInMemory does, it writes no counter that
// other CPUs write.
func (c *Cache) inMemory(k entryKey) (row entryRow, kept bool) {
	if !k.isNear() {
		return row, false
	}
	at := now()
	e := c.store.near.find(k.near(), 0, at)
	if e == nil {
		return row, false
	}
	c.store.stats.nearGets.add()
	left := e.row.ExpiresIn - at.since(e.fetched).Seconds()
	return entryRow{value: pgtext.Value(e.row.Payload), expiresIn: left}, true
}

// fromServer asks for an entry that is not in memory, and keeps it there.
func (c *Cache) fromServer(ctx context.Context, k entryKey) (entryRow, error) {
	s := c.store
	s.stats.cacheGets.Add(1)
	if !k.isNear() {
		return c.askEntry(ctx, k, false)
	}
	fetch := s.near.begin(k.near(), now())
	defer fetch.end()
	written := s.others.hasEntry(k.anySpace())
	row, err := c.askEntry(ctx, k, written)
	if err == nil && !row.standby {
		kept := db.NearSession{Payload: pgtext.Payload(row.value), ExpiresIn: row.expiresIn, IsCurrent: true}
		fetch.keep(kept, 0)
	}
	return row, err
}

// askEntry asks a replica first, and then the primary, as lookupRow does. Other programs have written the
// entry lately if written is true, so a replica then answers only while the primary is away.
func (c *Cache) askEntry(ctx context.Context, k entryKey, written bool) (entryRow, error) {
	if n := c.chooseServer(written && c.store.pollsWork(), k); n.replica {
		row, err := n.gets.Do(ctx, k)
		row.standby = written
		if err == nil || ctx.Err() != nil {
			return row, err
		}
	}
	return c.store.primary.gets.Do(ctx, k)
}

// chooseServer returns the server for a read of these entries.
func (c *Cache) chooseServer(lately bool, keys ...entryKey) *node {
	s := c.store
	first := c.options.PrimaryFirst && s.primary.state.Load().usable
	return s.chooseServer(
		lately || first || s.unlogged.recently() || slices.ContainsFunc(keys, s.recent.hasEntry))
}

// entries reads entries as askEntry does, in a statement of their own.
func (c *Cache) entries(ctx context.Context, keys []entryKey) (map[pgtext.Key]entryRow, error) {
	s := c.store
	var found map[pgtext.Key]entryRow
	lately := slices.ContainsFunc(keys, func(k entryKey) bool {
		return k.isNear() && s.others.hasEntry(k.anySpace())
	})
	if n := c.chooseServer(lately && s.pollsWork(), keys...); n.replica {
		rows, err := s.getEntries(ctx, n, keys)
		if err == nil || ctx.Err() != nil {
			return rows, err
		}
		found = rows
		keys = slices.DeleteFunc(slices.Clone(keys), func(k entryKey) bool {
			_, known := rows[k.hash]
			return known
		})
	}
	rows, err := s.getEntries(ctx, s.primary, keys)
	if err != nil {
		return nil, err
	}
	maps.Copy(rows, found)
	return rows, nil
}

func (s *Store) getOne(ctx context.Context, n *node, k entryKey) (entryRow, error) {
	call := &getCall{Question: k}
	s.getMany(ctx, n, []*getCall{call})
	return call.Answer, call.Err
}

// getMany answers a batch of gets on one server.
func (s *Store) getMany(ctx context.Context, n *node, calls []*getCall) {
	keys := make([]entryKey, len(calls))
	for i, call := range calls {
		keys[i] = call.Question
	}
	rows, err := s.getEntries(ctx, n, keys)
	for _, call := range calls {
		row, live := rows[call.Question.hash]
		switch {
		case live:
			call.Answer = row
			row.value = bytes.Clone(row.value) // because each caller may change its own
			rows[call.Question.hash] = row
		case len(calls) > 1 && refused(err):
			call.Err = coalesce.ErrAlone
		case err != nil:
			call.Err = err
		default:
			call.Err = ErrNoEntry
		}
	}
}

// getEntries reads entries from one server, and leaves out the keys that have none. It returns an error
// beside the entries of a replica that lacks some, because only the primary may say that there is no entry.
func (s *Store) getEntries(
	ctx context.Context, n *node, keys []entryKey,
) (found map[pgtext.Key]entryRow, err error) {
	hashes := make(pgtext.Keys, 0, len(keys))
	asked := make(map[pgtext.Key]struct{}, len(keys))
	for _, k := range keys {
		if _, twice := asked[k.hash]; !twice {
			asked[k.hash] = struct{}{}
			hashes = append(hashes, k.hash)
		}
	}
	ask := func(ctx context.Context, on Tx) (err error) {
		found, err = s.entryRows(ctx, on, hashes)
		return err
	}
	err = n.read(ctx, "cache get", ask)
	switch {
	case err != nil:
		found = nil // because a server may have answered that cannot be confirmed
	case len(found) == len(hashes):
	case n.replica:
		err = sql.ErrNoRows
	case !n.neverStandby.Load():
		err = s.confirmMiss(ctx, n, "cache get", ask)
	}
	switch {
	case err == nil:
		s.countLookups(n, int64(len(hashes)))
		return found, nil
	case !n.replica:
		return nil, err
	}
	s.countLookups(n, int64(len(found)))
	if s.unlogged.note(err) {
		return found, errAskPrimary
	}
	return found, s.replicaGaveNoAnswer(ctx, n, int64(len(hashes)-len(found)), err)
}

// entryRows sends a batch. On a connection of pgx it bypasses database/sql, as lookupRows does.
func (s *Store) entryRows(
	ctx context.Context, on Tx, hashes pgtext.Keys,
) (map[pgtext.Key]entryRow, error) {
	found := make(map[pgtext.Key]entryRow, len(hashes))
	sent, err := onPgx(on, func(conn *pgx.Conn) error {
		keys := make([]pgtype.UUID, len(hashes))
		for i, hash := range hashes {
			keys[i] = pgtype.UUID{Bytes: hash, Valid: true}
		}
		rows, err := s.native.CacheGetBatch(ctx, conn, keys)
		for _, row := range rows {
			found[pgtext.Key(row.Key.Bytes)] = entryRow{row.Value, row.ExpiresIn, row.InRecovery}
		}
		return err
	})
	if sent || err != nil {
		return found, err
	}
	rows, err := s.queries.CacheGetBatch(ctx, on, hashes)
	for _, row := range rows {
		found[row.Key] = entryRow{row.Value, row.ExpiresIn, row.InRecovery}
	}
	return found, err
}
