package sessionsql

import (
	"sync"
	"time"
)

// primaryMemory is how long the Store refuses an older primary after it last probed the newest one. Without
// an end it would refuse a cluster that was restored to an earlier timeline until the program restarts.
const primaryMemory = time.Minute

// A clusterView holds the results of the probes of all servers. Each server has a goroutine that probes it,
// so that no server waits for another; after each probe the replicas are judged by the whole view.
type clusterView struct {
	mu          sync.Mutex
	primary     probeResult // of the last probe that succeeded
	primarySeen bool        // at least one probe of the primary succeeded
	successor   probeResult // the last one that found a replica promoted while the primary was silent
	replicas    []replicaRecord
	positions   primaryPositions
}

// A replicaRecord holds the last probe of a replica, and the history that later judgements need.
type replicaRecord struct {
	probeResult
	lag       time.Duration
	standby   time.Time // when a probe last found a standby
	promoted  time.Time // when a probe first found a primary after that
	failures  int       // counts how often it failed soon after its return
	returned  time.Time // when lookups last began to read from it again
	notBefore time.Time // when they may begin again
}

// promoted reports whether there may be an old primary. The first timeline has no predecessor.
func (c *clusterView) promoted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.primarySeen && max(c.primary.node.Timeline, c.successor.node.Timeline) > 1
}

// promotes reports whether a server is a newer primary than all that were probed. It is then the successor
// that a probe of the replicas would find.
func (c *clusterView) promotes(s server) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.primarySeen && s.identifier == c.primary.node.SystemIdentifier &&
		s.timeline > max(c.primary.node.Timeline, c.successor.node.Timeline)
}

// replaced reports whether a primary of a higher timeline has replaced one of this cluster and timeline.
func (c *clusterView) replaced(identifier int64, timeline int32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, newer := range []*probeResult{&c.primary, &c.successor} {
		if identifier == newer.node.SystemIdentifier && timeline < newer.node.Timeline &&
			time.Since(newer.ended) < primaryMemory {
			return true
		}
	}
	return false
}
