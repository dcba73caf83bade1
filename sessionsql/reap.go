package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/sessionsql/postgres/db"
)

// A ReapResult reports the work of one call of Reap or ReapCache.
type ReapResult struct {
	Reaped  int64 // expired rows deleted
	Evicted int64 // live cache entries deleted, because their cache is over its budget
	Pages   int64 // pages of the table read (8 kB each as a rule)
	LapDone bool  // this call reached the end of the table, so the next one begins at its start
	Busy    bool  // this call did nothing, because another reaper is at work
}

// These bounds keep a call within a few milliseconds. The loop calls again while there is work.
const (
	reapRows  = 1000
	reapPages = 4096
)

// Reap deletes up to 1,000 expired sessions from the next 4,096 pages of the table. A Store calls it by
// itself, unless [Options.ReapInterval] is negative. It returns ErrUnavailable.
func (s *Store) Reap(ctx context.Context) (ReapResult, error) {
	if !s.calls.enter() {
		return ReapResult{}, ErrClosed
	}
	defer s.calls.leave()
	return s.reap(ctx)
}

func (s *Store) reap(ctx context.Context) (ReapResult, error) {
	var row db.ReapResult
	busy := false
	err := s.upkeep.write(ctx, "reap", func(ctx context.Context, on Tx) (err error) {
		row, err = s.queries.Reap(ctx, on, db.ReapParams{MaxRows: reapRows, MaxPages: reapPages})
		if busy = errors.Is(err, sql.ErrNoRows); busy {
			return nil
		}
		return err
	})
	if err != nil {
		return ReapResult{}, err
	}
	s.stats.reaped.Add(row.Reaped)
	setNow(&s.stats.lastReap)
	return ReapResult{Reaped: row.Reaped, Pages: row.Pages, LapDone: row.LapDone, Busy: busy}, nil
}

func (s *Store) reapLoop(ctx context.Context) {
	reaping := condition{bad: "reaping failed, and is tried again", good: "reaping works again"}
	for s.sleep(ctx, jitter(s.options.ReapInterval)) {
		err := recovered(func() error { return s.reapRound(ctx) })
		if s.stopped() {
			return
		}
		if err != nil {
			s.stats.reapErrors.Add(1)
		}
		s.log.note(&reaping, err)
	}
}

// reapRound reaps sessions and, if the Store has a Cache, cache entries. An older bundle need not have these.
func (s *Store) reapRound(ctx context.Context) error {
	err := s.reapMany(ctx, s.reap)
	if s.budgets.inUse() {
		err = errors.Join(err, s.reapMany(ctx, s.reapCache))
	}
	return err
}

// reapMany reaps until a call finds no work or ends the lap, or until its time is up.
func (s *Store) reapMany(ctx context.Context, reap func(context.Context) (ReapResult, error)) error {
	for begin := time.Now(); time.Since(begin) < s.options.ReapInterval/2; {
		once, cancel := context.WithTimeout(ctx, backgroundTimeout)
		result, err := reap(once)
		cancel()
		if err != nil || result.Busy || result.LapDone || result.Reaped+result.Evicted == 0 {
			return err
		}
	}
	return nil
}
