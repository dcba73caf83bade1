package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/sessionsql/postgres/db"
)

// A ReapResult is what one call of Reap did.
type ReapResult struct {
	Reaped  int64 // expired sessions deleted
	Pages   int64 // pages of the table read (8 kB each as a rule)
	LapDone bool  // the end of the table was reached; the next call begins at its start
	Busy    bool  // nothing was done: another reaper is at work
}

// What one call may do: a few milliseconds of work. To keep up, it is called again.
const (
	reapRows  = 1000
	reapPages = 4096
)

// Reap deletes up to 1,000 expired sessions from the next 4,096 pages of the table. A Store does it by itself (see
// [Options.ReapInterval]); call it where that is turned off. It returns ErrUnavailable.
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
	now(&s.stats.lastReap)
	return ReapResult{Reaped: row.Reaped, Pages: row.Pages, LapDone: row.LapDone, Busy: busy}, nil
}

// reapLoop reaps at every interval.
func (s *Store) reapLoop(ctx context.Context) {
	reaping := condition{worse: "reaping failed, and is tried again", better: "reaping works again"}
	for s.sleep(ctx, jitter(s.options.ReapInterval)) {
		err := recovered(func() error { return s.reapRound(ctx, s.options.ReapInterval/2) })
		if s.stopped() {
			return
		}
		if err != nil {
			s.stats.reapErrors.Add(1)
		}
		s.book.note(&reaping, err)
	}
}

// reapRound calls reap again while it finds work, until the table is through or the time is up.
func (s *Store) reapRound(ctx context.Context, budget time.Duration) error {
	for begin := time.Now(); time.Since(begin) < budget; {
		result, err := s.reapOnce(ctx)
		if err != nil || result.Busy || result.LapDone || result.Reaped == 0 {
			return err
		}
	}
	return nil
}

func (s *Store) reapOnce(ctx context.Context) (ReapResult, error) {
	ctx, cancel := context.WithTimeout(ctx, backgroundTimeout)
	defer cancel()
	return s.reap(ctx)
}
