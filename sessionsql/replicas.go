package sessionsql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"
)

const (
	watchInterval = time.Second
	watchTimeout  = 2 * time.Second
)

var errNotAReplica = errors.New("sessionsql: server is not in recovery: it is no replica of this primary (any more)")

// watchReplicas looks at the primary's position and at every replica's once a second, decides which replicas are read from,
// and forgets recent writes that have arrived.
func (s *Store) watchReplicas(ctx context.Context) {
	for {
		s.look(ctx)
		if !s.sleep(ctx, jitter(watchInterval)) {
			return
		}
	}
}

// look is one round.
func (s *Store) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()

	s.recent.closeGeneration()
	if primary, err := s.queries.Node(ctx, s.upkeep.db); err == nil {
		s.history.add(time.Now(), primary.WalPosition, s.options.MaxReplicaLag)
		s.recent.covered(primary.WalPosition)
	}

	replayed := make([]int64, len(s.reads))
	var wait sync.WaitGroup
	for i, n := range s.reads {
		wait.Go(func() { replayed[i] = s.lookAt(ctx, n) })
	}
	wait.Wait()

	slowest := int64(math.MaxInt64)
	for i, n := range s.reads {
		if n.state.Load().usable {
			slowest = min(slowest, replayed[i])
		}
	}
	s.recent.forget(slowest)
}

// lookAt decides whether a replica is read from, and returns how far it has replayed.
func (s *Store) lookAt(ctx context.Context, n *node) int64 {
	server, err := s.queries.Node(ctx, n.db)
	lag := s.history.lag(time.Now(), server.WalPosition)
	switch {
	case err != nil:
		err = databaseError(context.WithoutCancel(ctx), "watch", n, err)
	case !server.InRecovery:
		err = errNotAReplica
	case lag > s.options.MaxReplicaLag, !s.recent.reached(server.WalPosition):
		err = fmt.Errorf("sessionsql: %s is %v behind, more than %v", n.name, lag.Round(time.Millisecond), s.options.MaxReplicaLag)
	}
	before := n.state.Swap(&replicaState{usable: err == nil, lag: lag, err: err})
	if ctx.Err() != nil && s.stopped() {
		return server.WalPosition
	}
	switch {
	case err != nil && (before.usable || before.err == errNotSeenYet):
		s.options.Logger.Warn("sessionsql: replica left out", slog.String("node", n.name), slog.Any("err", err))
	case err == nil && !before.usable && before.err != errNotSeenYet:
		s.options.Logger.Info("sessionsql: replica is read from again", slog.String("node", n.name))
	}
	return server.WalPosition
}

// positions remembers when the primary was seen at which position, which is what lag is measured with: a replica is as far
// behind as the first position that it has not reached is old. An idle primary makes nobody lag.
type positions []sighting

type sighting struct {
	at       time.Time
	position int64
}

// add remembers a sighting, and forgets those that are older than the bound, but for one to tell that they were passed.
func (p *positions) add(at time.Time, position int64, bound time.Duration) {
	seen := *p
	if n := len(seen); n > 0 && position < seen[n-1].position {
		seen = nil // another primary: its positions do not compare
	}
	seen = append(seen, sighting{at: at, position: position})
	for len(seen) > 1 && at.Sub(seen[1].at) > bound {
		seen = seen[1:]
	}
	*p = seen
}

func (p positions) lag(now time.Time, replayed int64) time.Duration {
	for _, s := range p {
		if s.position > replayed {
			return now.Sub(s.at)
		}
	}
	return 0
}
