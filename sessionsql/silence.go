package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// maxSilence is how long the primary may not answer until another server may have been promoted. The tools
// that promote wait for longer.
const maxSilence = 2 * time.Second

// silences counts the times in which the primary did not answer for maxSilence. A primary that hangs may be
// replaced meanwhile, and still accepts writes when it goes on, which are lost.
type silences struct {
	opened time.Time
	last   atomic.Int64  // when the primary last answered, since opened
	count  atomic.Uint64 // increases at the end of a silence, and when the primary has changed

	mu         sync.Mutex
	began, end time.Time     // of the last silence
	doubted    time.Time     // when count last increased
	looked     chan struct{} // closed when each replica has been probed since; nil before
	lookEnd    time.Time     // when nobody waits for that any more
}

// noteAnswer returns the count of silences, the one that the answer ends included.
func (s *silences) noteAnswer() uint64 {
	now := time.Now()
	since := int64(now.Sub(s.opened))
	if since-s.last.Load() > int64(maxSilence) {
		s.mu.Lock()
		// Another answer may have ended the silence meanwhile.
		if last := s.last.Load(); since-last > int64(maxSilence) {
			s.began, s.end = s.opened.Add(time.Duration(last)), now
			s.doubted, s.looked = now, nil
			s.count.Add(1)
			s.last.Store(since)
		}
		s.mu.Unlock()
	}
	s.last.Store(since)
	return s.count.Load()
}

// distrust makes confirm ask every connection again, because the primary has changed.
func (s *silences) distrust() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubted, s.looked = time.Now(), nil
	s.count.Add(1)
}

// hides reports whether a promotion may have happened in the last silence. It happened after a probe found a
// standby and before another one found a primary. A promotion beside a primary that answers is a mistake, and
// must not shut out that primary.
func (s *silences) hides(standby, promoted time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return promoted.After(s.began) && standby.Before(s.end)
}

func (s *silences) lastBegan() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}

// mayHide reports whether the primary has changed or been silent so lately that an old one may still answer.
func (s *silences) mayHide() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.doubted) < primaryMemory
}

// lookAround probes the replicas once after each silence, since one of them may be the new primary. It waits
// for them as long as a probe may take.
func (s *Store) lookAround(ctx context.Context, silence uint64) {
	if silence == 0 {
		return
	}
	q := &s.silences
	q.mu.Lock()
	if q.looked == nil {
		looked := make(chan struct{})
		q.looked, q.lookEnd = looked, time.Now().Add(probeInterval)
		go func() {
			defer close(looked)
			var wait sync.WaitGroup
			for i := range s.replicas {
				wait.Go(func() { s.probeReplica(s.background, i) })
			}
			wait.Wait()
		}()
	}
	looked, end := q.looked, q.lookEnd
	q.mu.Unlock()
	timer := time.NewTimer(time.Until(end))
	defer timer.Stop()
	select {
	case <-looked:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// confirmedKey is the key of a connection's own data. The value is the last silence after which the server's
// timeline was confirmed.
const confirmedKey = "sessionsql.confirmed"

// confirm follows each answer of the primary. After a silence it asks each connection once whether it leads
// to a server that has been replaced. Then the answer does not count, and a write is lost.
func (s *Store) confirm(ctx context.Context, conn *sql.Conn, pg *pgconn.PgConn, _ *nodeState) error {
	silence := s.silences.noteAnswer()
	if silence == 0 || pg.CustomData()[confirmedKey] == silence {
		return nil
	}
	answering, ok, err := serverOf(context.WithoutCancel(ctx), pg)
	if ok {
		err = s.trust(ctx, silence, answering)
	}
	if err == nil {
		pg.CustomData()[confirmedKey] = silence
		return nil
	}
	discard(conn)
	if errors.Is(err, errOldPrimary) {
		return errOldPrimary
	}
	return errUnconfirmed // hides whether the driver may send again what the server has done
}

// confirmTx is confirm for a transaction of the application. It asks each of them for a while, because it
// does not know their connections.
func (s *Store) confirmTx(ctx context.Context, tx Tx) error {
	silence := s.silences.noteAnswer()
	if silence == 0 || !s.silences.mayHide() {
		return nil
	}
	node, err := s.queries.Node(ctx, tx)
	if err != nil {
		return err
	}
	return s.trust(ctx, silence, server{identifier: node.SystemIdentifier, timeline: node.Timeline})
}

// trust returns errOldPrimary if another server has replaced this one in the last silence.
func (s *Store) trust(ctx context.Context, silence uint64, answering server) error {
	if s.cluster.promotes(answering, s.silences.lastBegan()) {
		return nil
	}
	s.lookAround(ctx, silence)
	if s.cluster.replaced(answering.identifier, answering.timeline) {
		return errOldPrimary
	}
	return ctx.Err() // it may have ended before the replicas were asked
}
