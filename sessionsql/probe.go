package sessionsql

import (
	"context"
	"errors"
	"time"

	"github.com/sessionsql/postgres/db"
)

const (
	// probeInterval is how often each server is probed, and how long it has to answer. With a small
	// MaxReplicaLag probes come more often.
	probeInterval    = time.Second
	minProbeInterval = 50 * time.Millisecond
)

type probeResult struct {
	begun, ended time.Time // by this program's clock
	node         db.Node
	err          error
}

func (s *Store) probeEvery() time.Duration {
	return min(probeInterval, max(s.options.MaxReplicaLag/10, minProbeInterval))
}

func (s *Store) probe(ctx context.Context, on Tx) (result probeResult) {
	ctx, cancel := context.WithTimeout(ctx, probeInterval)
	defer cancel()
	result.begun = time.Now()
	ask := func(ctx context.Context, on Tx) (err error) {
		result.node, err = s.queries.Node(ctx, on)
		return err
	}
	result.err = recovered(func() error {
		if err := ask(ctx, on); !serialization(err) {
			return err
		}
		return atReadCommitted(ask)(ctx, on)
	})
	result.ended = time.Now()
	return result
}

// probeTwice probes a replica on two connections at once, if the pool has room. Both must lead to one server,
// because otherwise the probe tells nothing about the server that a lookup reaches.
func (s *Store) probeTwice(ctx context.Context, pool DB) (result probeResult) {
	ctx, cancel := context.WithTimeout(ctx, probeInterval)
	defer cancel()
	first, err := pool.Conn(ctx)
	if err != nil {
		return probeResult{begun: time.Now(), ended: time.Now(), err: err}
	}
	result = s.probe(ctx, first)
	if errors.Is(result.err, errPanic) {
		return result // without closing the connection, because Close would hang; see onConnection
	}
	defer func() { _ = first.Close() }()
	stats := pool.Stats()
	if result.err != nil || stats.MaxOpenConnections > 0 && stats.InUse >= stats.MaxOpenConnections {
		return result
	}
	second, err := pool.Conn(ctx)
	if err != nil {
		return result
	}
	other := s.probe(ctx, second)
	if !errors.Is(other.err, errPanic) {
		defer func() { _ = second.Close() }()
	}
	if other.err == nil && otherStart(other.node.StartedAt, result.node.StartedAt) {
		result.err = errManyServers
	}
	return result
}

// clockOffset returns how far a server's clock is ahead of this program's, give or take the uncertainty.
func (p *probeResult) clockOffset() (offset, uncertainty time.Duration) {
	uncertainty = p.ended.Sub(p.begun) / 2
	middle := p.begun.Add(uncertainty)
	clock := time.UnixMicro(int64(p.node.Clock * 1e6))
	return clock.Sub(middle.Round(0)), uncertainty
}

// clockSkew returns how far the clocks of two servers certainly differ.
func clockSkew(a, b *probeResult) time.Duration {
	offsetA, uncertaintyA := a.clockOffset()
	offsetB, uncertaintyB := b.clockOffset()
	return max((offsetA-offsetB).Abs()-uncertaintyA-uncertaintyB, 0)
}
