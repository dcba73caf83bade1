package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/sessionsql/postgres/db"
)

const (
	// Each server is looked at this often, and has as long to answer. A small MaxReplicaLag takes more looks.
	lookInterval    = time.Second
	minLookInterval = 50 * time.Millisecond

	// maxClockSkew is how far a replica's clock may be from the primary's. Expiry is judged by the clock of the server
	// that answers, so one that is behind would keep dead sessions.
	maxClockSkew = time.Second

	// promotionLasts is for how long a primary is refused after one of a higher timeline was seen. Without an end, a
	// cluster that was restored to an earlier timeline would be refused until this program restarts.
	promotionLasts = time.Minute

	// maxPenalty is how long a replica is left out at most that fails again as soon as it is read from.
	maxPenalty = 30 * time.Second
)

var (
	errNotAReplica   = errors.New("sessionsql: server is not in recovery: it is no replica of this primary (any more)")
	errOtherCluster  = errors.New("sessionsql: server belongs to another cluster than the primary")
	errOtherTimeline = errors.New("sessionsql: server does not follow the primary's timeline, or has not caught up with a failover")
	errAhead         = errors.New("sessionsql: server is ahead of the primary, so it is none of its replicas")
	errManyServers   = errors.New("sessionsql: the DSN leads to more than one server; give each replica a DSN of its own")
)

// A picture is what is known of all servers together. Each is looked at by a goroutine of its own, with its own deadline, so
// that none waits for another; after each look the replicas are judged by the picture.
type picture struct {
	mu       sync.Mutex
	primary  sighting
	seen     bool // the primary has been seen at least once
	replicas []replicaSight
	history  positions
}

// promoted reports whether there may be an old primary. The first timeline follows no other.
func (p *picture) promoted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen && p.primary.node.Timeline > 1
}

// outdates reports whether a newer primary has been seen than one of a cluster and timeline.
func (p *picture) outdates(identifier int64, timeline int32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	newest := &p.primary.node
	return p.seen && identifier == newest.SystemIdentifier && timeline < newest.Timeline &&
		time.Since(p.primary.ended) < promotionLasts
}

// A sighting is what one look at a server found.
type sighting struct {
	begun, ended time.Time // by this program's clock
	node         db.Node
	err          error
}

// A replicaSight is the last sighting of a replica, and what is remembered of earlier ones.
type replicaSight struct {
	sighting
	lag       time.Duration
	fails     int       // how often it failed soon after it was read from again
	back      time.Time // when it was last read from again
	notBefore time.Time // when it may be read from again
}

// lookEvery is the interval between two looks at a server.
func (s *Store) lookEvery() time.Duration {
	return min(lookInterval, max(s.options.MaxReplicaLag/10, minLookInterval))
}

// watch looks at one server until the Store is closed.
func (s *Store) watch(ctx context.Context, look func(context.Context)) {
	for {
		look(ctx)
		if !s.sleep(ctx, jitter(s.lookEvery())) {
			return
		}
	}
}

// sight asks a server for its state.
func (s *Store) sight(ctx context.Context, on Tx) (seen sighting) {
	ctx, cancel := context.WithTimeout(ctx, lookInterval)
	defer cancel()
	seen.begun = time.Now()
	ask := func(ctx context.Context, on Tx) (err error) {
		seen.node, err = s.queries.Node(ctx, on)
		return err
	}
	seen.err = recovered(func() error {
		if err := ask(ctx, on); !serialization(err) {
			return err
		}
		return atReadCommitted(ask)(ctx, on)
	})
	seen.ended = time.Now()
	return seen
}

// sightReplica asks on two connections at once, where the pool has room: they must lead to one server.
func (s *Store) sightReplica(ctx context.Context, pool DB) (seen sighting) {
	ctx, cancel := context.WithTimeout(ctx, lookInterval)
	defer cancel()
	first, err := pool.Conn(ctx)
	if err != nil {
		return sighting{begun: time.Now(), ended: time.Now(), err: err}
	}
	seen = s.sight(ctx, first)
	if errors.Is(seen.err, errPanic) {
		return seen // and its connection is lost; see onConnection
	}
	defer func() { _ = first.Close() }()
	if stats := pool.Stats(); seen.err != nil || stats.MaxOpenConnections > 0 && stats.InUse >= stats.MaxOpenConnections {
		return seen
	}
	second, err := pool.Conn(ctx)
	if err != nil {
		return seen
	}
	other := s.sight(ctx, second)
	if !errors.Is(other.err, errPanic) {
		defer func() { _ = second.Close() }()
	}
	if other.err == nil && other.node.StartedAt != seen.node.StartedAt {
		seen.err = errManyServers
	}
	return seen
}

// lookAtPrimary notes the primary's position, which covers the writes that were acknowledged before.
func (s *Store) lookAtPrimary(ctx context.Context) {
	s.recent.closeGeneration()
	seen := s.sight(ctx, s.upkeep.db)
	if s.stopped() {
		return
	}
	p := &s.picture
	switch {
	case seen.err != nil:
	case seen.node.InRecovery:
		seen.err = errStandby
	case p.outdates(seen.node.SystemIdentifier, seen.node.Timeline):
		seen.err = errOldPrimary
		s.upkeep.sift(ctx, discard) // the next look is at another server, if the DSN leads to one
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if seen.err != nil {
		// What was known stands: replicas go on serving, and nobody's lag grows because the primary is away.
		s.primary.become(nodeState{err: s.primary.databaseError("watch", seen.err)})
		return
	}
	s.primary.become(nodeState{usable: true})
	if p.seen && seen.node.Timeline != p.primary.node.Timeline {
		p.history = nil // positions of another timeline do not compare
		s.loops.Go(func() {
			// What is idle may lead to the old primary.
			s.primary.sift(ctx, discard)
			s.upkeep.sift(ctx, discard)
		})
	}
	p.primary, p.seen = seen, true
	p.history.add(seen.begun, seen.node.FlushedPosition, s.options.MaxReplicaLag)
	s.recent.covered(seen.node.WalPosition)
	s.judge()
	if seen.node.NotedTimeline != seen.node.Timeline && len(s.replicas) > 0 {
		s.loops.Go(func() { s.noteTimeline(ctx) })
	}
}

// noteTimeline has the primary write its timeline down, for the replicas to show that they follow it.
func (s *Store) noteTimeline(ctx context.Context) {
	_ = recovered(func() error { // or the next look does it
		return s.upkeep.write(ctx, "note timeline", func(ctx context.Context, on Tx) error {
			return s.queries.NoteTimeline(ctx, on)
		})
	})
}

// lookAtReplica notes a replica's state.
func (s *Store) lookAtReplica(ctx context.Context, i int) {
	n := s.replicas[i]
	if before := n.state.Load(); !before.usable && before.err != errNotSeenYet {
		n.renew(ctx, (*sql.Conn).PingContext) // a look must not find the one connection that works
	}
	seen := s.sightReplica(ctx, n.db)
	if s.stopped() {
		return
	}
	p := &s.picture
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &p.replicas[i]
	r.sighting = seen
	switch {
	case seen.err == nil:
		// As of the last look at the primary: while it is away, nobody's lag grows.
		r.lag = p.history.lag(p.primary.begun, seen.node.WalPosition)
	case !errors.Is(seen.err, errManyServers):
		r.err = n.databaseError("watch", seen.err)
	}
	s.judge()
}

// judge decides which replicas are read from, and forgets recent writes that they all have. The picture's mutex is held.
func (s *Store) judge() {
	p := &s.picture
	slowest := int64(math.MaxInt64)
	for i, n := range s.replicas {
		r := &p.replicas[i]
		if r.ended.IsZero() || r.err == nil && !p.seen {
			continue // nobody knows yet how far behind it is
		}
		state := n.state.Load()
		if !state.usable && state.err != errNotSeenYet && r.begun.Before(state.since) {
			continue // what was seen before it failed says nothing
		}
		err := s.verdict(r)
		if err == nil && state.err != nil && time.Now().Before(r.notBefore) && !s.lastResort(n) {
			err = state.err
		}
		if err == nil && !state.usable && state.err != errNotSeenYet {
			r.returns(time.Now())
		}
		n.become(nodeState{usable: err == nil, lag: r.lag, err: err})
		if err == nil {
			slowest = min(slowest, r.node.WalPosition)
		}
	}
	s.recent.forget(slowest)
}

// lastResort reports whether there is no other server to read from, because a replica that often fails is
// better than none. The picture's mutex is held.
func (s *Store) lastResort(n *node) bool {
	late := time.Since(s.picture.primary.ended) > max(2*s.lookEvery(), readBudget)
	answers := s.primary.state.Load().usable && !late
	return !answers && !slices.ContainsFunc(s.replicas, func(other *node) bool {
		return other != n && other.state.Load().usable
	})
}

// verdict says why a replica is not read from; nil when it is.
func (s *Store) verdict(r *replicaSight) error {
	p := &s.picture
	primary, lag := p.primary.node, r.lag.Round(time.Millisecond)
	// Three looks may come late: the one that first saw the write, the one at the primary that the lag is told by, and
	// the next one at the replica. The pauses between them vary by a tenth.
	bound := max(s.options.MaxReplicaLag-s.lookEvery()*33/10, 0)
	skew := r.skew(&p.primary)
	switch {
	case r.err != nil:
		return r.err
	case !r.node.InRecovery:
		return errNotAReplica
	case r.node.SystemIdentifier != primary.SystemIdentifier:
		return errOtherCluster
	case r.node.NotedTimeline < primary.Timeline, r.node.NotedTimeline > primary.Timeline && s.primary.state.Load().usable:
		return errOtherTimeline // a higher one is that of a promotion which this program has yet to see
	case p.primary.begun.After(r.ended) && r.node.WalPosition > primary.WalPosition:
		return errAhead
	case skew > maxClockSkew:
		return fmt.Errorf("sessionsql: its clock differs from the primary's by %v, more than %v", skew, maxClockSkew)
	case r.lag > bound || !s.recent.reached(r.node.WalPosition):
		return fmt.Errorf("sessionsql: it is %v behind, and may be %v", lag, bound)
	}
	return nil
}

// skew is how far two servers' clocks are apart for certain: what the round trips leave open is taken off.
func (r *replicaSight) skew(primary *sighting) time.Duration {
	a, openA := r.offset()
	b, openB := primary.offset()
	return max((a-b).Abs()-openA-openB, 0)
}

// offset is how far a server's clock is ahead of this program's, and by how much that may be wrong.
func (seen *sighting) offset() (offset, open time.Duration) {
	open = seen.ended.Sub(seen.begun) / 2
	middle := seen.begun.Add(open)
	clock := time.UnixMicro(int64(seen.node.Clock * 1e6))
	return clock.Sub(middle.Round(0)), open
}

// returns notes that a replica is read from again. The more often it has failed soon after that, the longer it waits when it
// fails the next time.
func (r *replicaSight) returns(now time.Time) {
	if now.Sub(r.back) > maxPenalty {
		r.fails = 0
	}
	r.fails++
	r.back = now
	r.notBefore = now.Add(min(lookInterval<<min(r.fails, 5), maxPenalty))
}

// positions remembers when the primary was seen at which position, which is what lag is measured with: a replica is as far
// behind as the first position that it has not reached is old. An idle primary makes nobody lag.
type positions []position

type position struct {
	at    time.Time
	bytes int64
}

// add remembers a position, and forgets those that are older than the bound, but for one to tell that they were passed.
func (p *positions) add(at time.Time, bytes int64, bound time.Duration) {
	seen := *p
	if n := len(seen); n > 0 && bytes < seen[n-1].bytes {
		seen = nil // another primary: its positions do not compare
	}
	seen = append(seen, position{at, bytes})
	for len(seen) > 1 && at.Sub(seen[1].at) > bound {
		seen = seen[1:]
	}
	*p = seen
}

func (p positions) lag(now time.Time, replayed int64) time.Duration {
	for _, seen := range p {
		if seen.bytes > replayed {
			return now.Sub(seen.at)
		}
	}
	return 0
}
