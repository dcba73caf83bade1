package sessionsql

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// maxClockSkew bounds the difference between the clocks of a replica and the primary. The server that
	// answers a lookup judges expiry by its clock, so a slow clock would keep expired sessions alive.
	maxClockSkew = time.Second

	// maxPenalty bounds how long a replica is left out that fails soon after each return.
	maxPenalty = 30 * time.Second
)

var (
	errNotAReplica = errors.New(
		"sessionsql: server is not in recovery, so it is no replica of this primary")
	errOtherCluster  = errors.New("sessionsql: server belongs to another cluster than the primary")
	errOtherTimeline = errors.New(
		"sessionsql: server does not follow the primary's timeline, or has not caught up with a failover")
	errAhead      = errors.New("sessionsql: server is ahead of the primary, so it is none of its replicas")
	errUnknownLag = errors.New(
		"sessionsql: server lacks what the primary had when the Store first saw it, so its lag is unknown")
	errLacksWrites = errors.New("sessionsql: server lacks writes that the other replicas have replayed")
)

// judgeReplicas decides which replicas are usable, and forgets the recent writes that all of these have
// replayed. The mutex of the cluster view is held.
func (s *Store) judgeReplicas() {
	c := &s.cluster
	slowest := int64(math.MaxInt64)
	for i, n := range s.replicas {
		r := &c.replicas[i]
		if r.ended.IsZero() || r.err == nil && !c.primarySeen {
			continue // because its lag is unknown
		}
		state := n.state.Load()
		if !state.usable && state.err != errNotProbedYet && r.begun.Before(state.since) {
			continue // because the probe began before a lookup left the replica out
		}
		err := s.refusal(r)
		if err == nil && state.err != nil && time.Now().Before(r.notBefore) && !s.lastResort(n) {
			err = state.err
		}
		if err == nil && !state.usable && state.err != errNotProbedYet {
			r.noteReturn(time.Now())
		}
		n.setState(nodeState{usable: err == nil, lag: r.lag, err: err, server: r.node})
		if err == nil {
			slowest = min(slowest, r.node.WalPosition)
		}
	}
	s.recent.forget(slowest)
	s.others.forget(slowest)
}

// refusal returns the reason to leave a replica out, or nil. The mutex of the cluster view is held.
func (s *Store) refusal(r *replicaRecord) error {
	primary := &s.cluster.primary
	timeline := primary.node.Timeline
	// Three probes may come late: the first that finds the write, the probe of the primary that the lag is
	// counted up to, and the next probe of the replica. The jitter makes each interval up to a tenth longer.
	bound := max(s.options.MaxReplicaLag-s.probeEvery()*33/10, 0)
	skew := clockSkew(&r.probeResult, primary)
	switch {
	case r.err != nil:
		return r.err
	case !r.node.InRecovery:
		return errNotAReplica
	case r.node.SystemIdentifier != primary.node.SystemIdentifier:
		return errOtherCluster
	case r.node.NotedTimeline < timeline:
		return errOtherTimeline
	case r.node.NotedTimeline > timeline && s.primary.state.Load().usable:
		return errOtherTimeline // this program has yet to see the promotion
	case primary.begun.After(r.ended) && r.node.WalPosition > primary.node.WalPosition:
		return errAhead
	case skew > maxClockSkew:
		return fmt.Errorf("sessionsql: its clock differs from the primary's by %v, more than %v",
			skew, maxClockSkew)
	case r.lag > bound:
		return fmt.Errorf("sessionsql: server lags by %v, more than %v", r.lag.Round(time.Millisecond), bound)
	case s.cluster.positions.lagUnknown(r.node.WalPosition):
		return errUnknownLag
	case !s.recent.reached(r.node.WalPosition), !s.others.reached(r.node.WalPosition):
		return errLacksWrites
	}
	return nil
}

// lastResort reports whether no other server is usable. Then a replica that often fails is better than none.
// The mutex of the cluster view is held.
func (s *Store) lastResort(n *node) bool {
	late := time.Since(s.cluster.primary.ended) > max(2*s.probeEvery(), readBudget)
	answers := s.primary.state.Load().usable && !late
	return !answers && !slices.ContainsFunc(s.replicas, func(other *node) bool {
		return other != n && other.state.Load().usable
	})
}

// noteReturn notes that lookups read from a replica again. After its next failure the replica waits the
// longer, the more often it has failed soon after a return.
func (r *replicaRecord) noteReturn(now time.Time) {
	if now.Sub(r.returned) > maxPenalty {
		r.failures = 0
	}
	r.failures++
	r.returned = now
	r.notBefore = now.Add(min(probeInterval<<min(r.failures, 5), maxPenalty))
}
