package sessionsql

import (
	"sync/atomic"
	"time"
)

// Stats counts what a [Store] has done since it was opened, and says how it stands.
type Stats struct {
	Lookups       int64 // calls of Lookup and Touch with a well-formed token
	ReplicaReads  int64 // lookups that a replica answered
	PrimaryReads  int64 // lookups that the primary answered
	ReplicaMisses int64 // lookups that a replica had no session for, so that the primary was asked
	Inserts       int64 // sessions made
	Updates       int64 // payloads written
	Rotates       int64 // secrets renewed
	Revokes       int64 // sessions ended, also by subject

	TouchesPending   int64 // sessions that wait to be kept alive
	TouchesSent      int64 // sessions that a flush sent
	TouchesDropped   int64 // sessions not kept alive, because the buffer was full
	SessionsExtended int64 // of those sent, the ones that were due and had their expiry moved
	FlushErrors      int64 // failed statements; what they held is sent again
	Reaped           int64 // expired rows deleted by this Store
	ReapErrors       int64 // failed rounds of the reaper loop

	Replicas []ReplicaStats // in the order given to Open
}

// ReplicaStats is the state of one replica.
type ReplicaStats struct {
	Usable bool          // it is read from
	Lag    time.Duration // how old the first write is that it does not have; 0 when it has all
	Err    error         // why it is not usable
}

type counters struct {
	lookups, replicaReads, primaryReads, replicaMisses         atomic.Int64
	inserts, updates, rotates, revokes                         atomic.Int64
	touchesSent, touchesDropped, sessionsExtended, flushErrors atomic.Int64
	reaped, reapErrors                                         atomic.Int64
}

// Stats returns the counters. It costs next to nothing, and works on a closed Store.
func (s *Store) Stats() Stats {
	stats := Stats{
		Lookups:          s.stats.lookups.Load(),
		ReplicaReads:     s.stats.replicaReads.Load(),
		PrimaryReads:     s.stats.primaryReads.Load(),
		ReplicaMisses:    s.stats.replicaMisses.Load(),
		Inserts:          s.stats.inserts.Load(),
		Updates:          s.stats.updates.Load(),
		Rotates:          s.stats.rotates.Load(),
		Revokes:          s.stats.revokes.Load(),
		TouchesPending:   int64(s.touches.len()),
		TouchesSent:      s.stats.touchesSent.Load(),
		TouchesDropped:   s.stats.touchesDropped.Load(),
		SessionsExtended: s.stats.sessionsExtended.Load(),
		FlushErrors:      s.stats.flushErrors.Load(),
		Reaped:           s.stats.reaped.Load(),
		ReapErrors:       s.stats.reapErrors.Load(),
	}
	for _, n := range s.reads {
		state := n.state.Load()
		stats.Replicas = append(stats.Replicas, ReplicaStats{Usable: state.usable, Lag: state.lag, Err: state.err})
	}
	return stats
}
