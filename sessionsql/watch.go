package sessionsql

import (
	"context"
	"errors"
	"sync"
	"time"
)

// probeLoop probes one server until the Store is closed.
func (s *Store) probeLoop(ctx context.Context, probe func(context.Context)) {
	for {
		probe(ctx)
		if !s.sleep(ctx, jitter(s.probeEvery())) {
			return
		}
	}
}

// probeAll probes every server. The primary comes first, because a replica's lag is unknown until the replica
// has what the primary had then, and last, because a replica is refused when its position is higher than a
// later one of the primary.
func (s *Store) probeAll(ctx context.Context) {
	s.probePrimary(ctx)
	var wait sync.WaitGroup
	for i := range s.replicas {
		wait.Go(func() { s.probeReplica(ctx, i) })
	}
	wait.Wait()
	s.probePrimary(ctx)
}

// probePrimary records the primary's state. Its position covers every write acknowledged before the probe.
func (s *Store) probePrimary(ctx context.Context) {
	s.recent.closeGeneration()
	s.others.closeGeneration()
	result := s.probe(ctx, s.upkeep.db)
	if result.err == nil {
		result.err = errStandby
		if !result.node.InRecovery {
			result.err = s.trust(ctx, s.silences.noteAnswer(),
				server{identifier: result.node.SystemIdentifier, timeline: result.node.Timeline})
		}
	}
	if s.stopped() {
		return
	}
	if errors.Is(result.err, errOldPrimary) {
		s.upkeep.dropIdleNow(ctx, anyConnection) // so that the next probe may reach another server
	}
	c := &s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if result.err != nil {
		// The last good probe stays in the view, so no replica's lag grows and replicas go on serving.
		s.primary.setState(nodeState{err: s.primary.newError("watch", result.err)})
		return
	}
	s.primary.setState(nodeState{usable: true})
	if c.primarySeen && result.node.Timeline != c.primary.node.Timeline {
		c.changed = time.Now()
		c.positions = nil // because positions of different timelines do not compare
		s.silences.distrust()
		s.loops.Go(func() { // idle connections may lead to the old primary
			s.primary.dropIdleNow(ctx, anyConnection)
			s.upkeep.dropIdleNow(ctx, anyConnection)
		})
	}
	c.primary, c.primarySeen = result, true
	c.positions.add(result.begun, result.node.FlushedPosition, s.options.MaxReplicaLag)
	s.recent.covered(result.node.WalPosition)
	s.others.covered(result.node.WalPosition)
	s.judgeReplicas()
	if result.node.NotedTimeline != result.node.Timeline && len(s.replicas) > 0 {
		s.loops.Go(func() { s.noteTimeline(ctx) })
	}
}

// noteTimeline writes the primary's timeline into the database. A replica that has replayed the note follows
// that timeline. After a failure the next probe calls it again.
func (s *Store) noteTimeline(ctx context.Context) {
	_ = recovered(func() error {
		return s.upkeep.write(ctx, "note timeline", func(ctx context.Context, on Tx) error {
			return s.queries.NoteTimeline(ctx, on)
		})
	})
}

// noteRole notes when a replica became a primary. If that was in a silence of the primary, the replica is its
// successor. The mutex of the cluster view is held.
func (s *Store) noteRole(r *replicaRecord) {
	c := &s.cluster
	now, before := &r.node, &c.primary.node
	switch {
	case now.InRecovery:
		r.standby, r.promoted = r.begun, time.Time{}
		return
	case !c.primarySeen || now.SystemIdentifier != before.SystemIdentifier || now.Timeline <= before.Timeline:
		return
	case r.promoted.IsZero():
		r.promoted = r.ended
	}
	if s.silences.hides(r.standby, r.promoted) || now.Timeline == c.successor.node.Timeline {
		c.successor = r.probeResult
	}
}

// probeReplica records a replica's state.
func (s *Store) probeReplica(ctx context.Context, i int) {
	n := s.replicas[i]
	if before := n.state.Load(); !before.usable && before.err != errNotProbedYet {
		n.dropIdle(ctx, deadConnection) // or the probe may get the only one that works
	}
	result := s.probeTwice(ctx, n.db)
	if s.stopped() {
		return
	}
	c := &s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &c.replicas[i]
	if result.begun.Before(r.begun) {
		return // because a probe that began later has ended before
	}
	r.probeResult = result
	switch {
	case result.err == nil:
		s.noteRole(r)
		// The lag is counted up to the last good probe of the primary, so that it does not grow in an outage.
		r.lag = c.positions.lag(c.primary.begun, result.node.WalPosition)
	case !errors.Is(result.err, errManyServers):
		r.err = n.newError("watch", result.err)
	}
	s.judgeReplicas()
}
