package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/sessionsql/postgres/db"
)

// cacheBudgets are the budgets of a Store's caches.
type cacheBudgets struct {
	mu       sync.Mutex
	used     bool            // the Store has a Cache
	maxBytes map[int32]int64 // by space; no entry without a budget
}

func (b *cacheBudgets) note(space int32, maxBytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used = true
	if maxBytes == 0 {
		return
	}
	if b.maxBytes == nil {
		b.maxBytes = map[int32]int64{}
	}
	b.maxBytes[space] = maxBytes
}

func (b *cacheBudgets) inUse() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

func (b *cacheBudgets) params() (params db.CacheReapParams) {
	b.mu.Lock()
	defer b.mu.Unlock()
	params.MaxRows, params.MaxPages = reapRows, reapPages
	for space, maxBytes := range b.maxBytes {
		params.Spaces = append(params.Spaces, space)
		params.Budgets = append(params.Budgets, maxBytes)
	}
	return params
}

// ReapCache is Reap for cache entries. It also deletes live entries of the caches that this Store has made
// with [CacheOptions.MaxBytes] and that are over it. A Store that has made a Cache calls it by itself, unless
// [Options.ReapInterval] is negative. It returns ErrUnavailable.
func (s *Store) ReapCache(ctx context.Context) (ReapResult, error) {
	if !s.calls.enter() {
		return ReapResult{}, ErrClosed
	}
	defer s.calls.leave()
	return s.reapCache(ctx)
}

func (s *Store) reapCache(ctx context.Context) (ReapResult, error) {
	params := s.budgets.params()
	var row db.CacheReapResult
	busy := false
	err := s.upkeep.write(ctx, "cache reap", func(ctx context.Context, on Tx) (err error) {
		row, err = s.queries.CacheReap(ctx, on, params)
		if busy = errors.Is(err, sql.ErrNoRows); busy {
			return nil
		}
		return err
	})
	if err != nil {
		return ReapResult{}, err
	}
	s.stats.entriesReaped.Add(row.Reaped)
	s.stats.entriesEvicted.Add(row.Evicted)
	return ReapResult{
		Reaped: row.Reaped, Evicted: row.Evicted, Pages: row.Pages, LapDone: row.LapDone, Busy: busy,
	}, nil
}
