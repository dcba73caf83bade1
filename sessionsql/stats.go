package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Stats holds the counters of a [Store] since it was opened, and the present state of its servers.
type Stats struct {
	Lookups       int64 // calls of Lookup, Touch and Peek with a well-formed token
	NearHits      int64 // lookups that the near cache answered
	ReplicaReads  int64 // lookups and cache gets that a replica answered
	PrimaryReads  int64 // lookups and cache gets that the primary answered
	ReplicaMisses int64 // those that a replica had no row for and the primary answered
	Inserts       int64 // sessions inserted
	Updates       int64 // payloads written
	Rotates       int64 // sessions rotated
	Revokes       int64 // sessions revoked, by token, id or subject

	LookupBatches int64 // round trips of lookups; fewer than the lookups when callers shared them
	InsertBatches int64 // round trips of inserts, without InsertTx
	UpdateBatches int64 // round trips of updates
	RevokeBatches int64 // round trips of logouts by token

	CacheGets       int64 // keys that Get, GetMany, GetAndTouch and Fetch asked for
	CacheMisses     int64 // those that had no entry
	CacheSets       int64 // entries that Set, SetMany and Fetch wrote
	CacheLoads      int64 // loads that Fetch began
	CacheGetBatches int64 // round trips of gets, without GetMany
	CacheSetBatches int64 // round trips of sets, without SetMany

	TouchesPending   int64 // sessions and cache entries whose touch waits for a flush
	TouchesSent      int64 // touches that a flush sent
	TouchesDropped   int64 // touches that found the buffer full or belong to another primary
	SessionsExtended int64 // sessions whose expiry a touch extended; the others were not due
	EntriesExtended  int64 // the same of cache entries
	FlushErrors      int64 // failed statements of flushes; their touches are sent again
	Reaped           int64 // expired sessions deleted by this Store
	EntriesReaped    int64 // expired cache entries deleted by this Store
	EntriesEvicted   int64 // live cache entries deleted by this Store for a budget
	ReapErrors       int64 // failed rounds of the reaper loop

	LastFlush time.Time // when a flush last sent touches; zero before the first
	LastReap  time.Time // when a reap last succeeded; zero before the first

	// Errors counts failed calls and, with the Op "cache load", failed loads. ErrNoSession, ErrConflict,
	// ErrRotated, ErrNoEntry and ErrEntryEnded are answers and not counted.
	Errors map[ErrorKey]int64

	Primary  ServerStats
	Replicas []ServerStats // in the order given to Open
}

// An ErrorKey names a group of failed calls.
type ErrorKey struct {
	Op   string // "lookup", "insert"
	Kind string // "unavailable", "read-only", "not installed", "context", "closed", "refused"
}

// ServerStats is the state of one server.
type ServerStats struct {
	Usable bool          // a replica: lookups may read from it; the primary: it answers
	Since  time.Time     // when Usable last changed
	Lag    time.Duration // a replica: the age of the first write that it lacks; 0 when it has all
	Err    error         // the reason why it is not usable
	Pool   sql.DBStats   // its connections
}

type counters struct {
	lookups, replicaReads, primaryReads                        atomic.Int64
	replicaMisses                                              atomic.Int64
	inserts, updates, rotates, revokes                         atomic.Int64
	touchesSent, touchesDropped, sessionsExtended, flushErrors atomic.Int64
	reaped, reapErrors                                         atomic.Int64
	cacheGets, cacheMisses, cacheSets, cacheLoads              atomic.Int64
	entriesExtended, entriesReaped, entriesEvicted             atomic.Int64
	lastFlush, lastReap                                        atomic.Pointer[time.Time]

	nearLookups, nearGets busyCounter // the near cache answered them; lookups and cacheGets are without them

	mu     sync.Mutex
	errors map[ErrorKey]int64
}

func (s *Store) countError(op string, err error) error {
	kind := "refused"
	switch {
	case errors.Is(err, ErrNoSession):
		return err
	case errors.Is(err, ErrReadOnly):
		kind = "read-only"
	case errors.Is(err, ErrClosed):
		kind = "closed"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		kind = "context"
	case errors.Is(err, ErrUnavailable):
		kind = "unavailable"
	case errors.Is(err, ErrNotInstalled):
		kind = "not installed"
	}
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	if s.stats.errors == nil {
		s.stats.errors = map[ErrorKey]int64{}
	}
	s.stats.errors[ErrorKey{op, kind}]++
	return err
}

func setNow(at *atomic.Pointer[time.Time]) {
	t := time.Now()
	at.Store(&t)
}

// Stats returns the counters. It makes no round trip, and works on a closed Store.
func (s *Store) Stats() Stats {
	nearLookups, nearGets := s.stats.nearLookups.sum(), s.stats.nearGets.sum()
	stats := Stats{
		Lookups:          s.stats.lookups.Load() + nearLookups,
		NearHits:         nearLookups + nearGets,
		ReplicaReads:     s.stats.replicaReads.Load(),
		PrimaryReads:     s.stats.primaryReads.Load(),
		ReplicaMisses:    s.stats.replicaMisses.Load(),
		Inserts:          s.stats.inserts.Load(),
		Updates:          s.stats.updates.Load(),
		Rotates:          s.stats.rotates.Load(),
		Revokes:          s.stats.revokes.Load(),
		LookupBatches:    s.primary.lookups.Trips(),
		InsertBatches:    s.inserts.Trips(),
		UpdateBatches:    s.updates.Trips(),
		RevokeBatches:    s.revokes.Trips(),
		CacheGets:        s.stats.cacheGets.Load() + nearGets,
		CacheMisses:      s.stats.cacheMisses.Load(),
		CacheSets:        s.stats.cacheSets.Load(),
		CacheLoads:       s.stats.cacheLoads.Load(),
		CacheGetBatches:  s.primary.gets.Trips(),
		CacheSetBatches:  s.sets.Trips(),
		TouchesPending:   int64(s.touches.len() + s.entryTouches.len()),
		TouchesSent:      s.stats.touchesSent.Load(),
		TouchesDropped:   s.stats.touchesDropped.Load(),
		SessionsExtended: s.stats.sessionsExtended.Load(),
		EntriesExtended:  s.stats.entriesExtended.Load(),
		FlushErrors:      s.stats.flushErrors.Load(),
		Reaped:           s.stats.reaped.Load(),
		EntriesReaped:    s.stats.entriesReaped.Load(),
		EntriesEvicted:   s.stats.entriesEvicted.Load(),
		ReapErrors:       s.stats.reapErrors.Load(),
	}
	if at := s.stats.lastFlush.Load(); at != nil {
		stats.LastFlush = *at
	}
	if at := s.stats.lastReap.Load(); at != nil {
		stats.LastReap = *at
	}
	s.stats.mu.Lock()
	stats.Errors = maps.Clone(s.stats.errors)
	s.stats.mu.Unlock()
	stats.Primary = s.primary.serverStats()
	for _, n := range s.replicas {
		stats.LookupBatches += n.lookups.Trips()
		stats.CacheGetBatches += n.gets.Trips()
		stats.Replicas = append(stats.Replicas, n.serverStats())
	}
	return stats
}

func (n *node) serverStats() ServerStats {
	state := n.state.Load()
	return ServerStats{
		Usable: state.usable, Since: state.since, Lag: state.lag, Err: state.err, Pool: n.db.Stats(),
	}
}
