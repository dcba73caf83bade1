package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

// entryOverhead is what a budget counts for each entry beside its value, in bytes.
const entryOverhead = 120

// cacheChurn sets ever new entries that never expire into a cache with a byte budget, which holds a sixth of
// them. The table starts with as many entries as the budget holds.
func (b *bench) cacheChurn(ctx context.Context) (err error) {
	d, err := b.servers.database(ctx, "cache_churn")
	if err != nil {
		return err
	}
	defer d.close()
	undo, err := d.alterSystem(ctx, map[string]string{"autovacuum_naptime": b.steadyNaptime})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, undo()) }()

	result := Steady{Contestant: "as shipped", Live: int(b.steady.Seconds() * float64(b.steadySession) / 6)}
	b.say("cache: %v of churn under a budget of %d entries", b.steady, result.Live)
	ours, err := openOursCache(ctx, d,
		&sessionsql.Options{ReapInterval: max(b.steady/300, 100*time.Millisecond)},
		&sessionsql.CacheOptions{MaxBytes: int64(result.Live * (len(cacheValue) + entryOverhead))})
	if err != nil {
		return err
	}
	defer ours.close()
	if err := ours.seed(ctx, result.Live); err != nil {
		return err
	}
	// The callers want the newest half of the entries, so one that is gone was evicted too early.
	wanted := newRing[string](result.Live / 2)
	var lost atomic.Int64
	result.Samples, err = b.watchUnder(ctx, d, "sessionsql.cache_entry", traffic{
		write: func(ctx context.Context, _ *caller) error {
			key := newKey()
			err := ours.cache.Set(ctx, key, []byte(cacheValue), 0)
			if err == nil {
				wanted.add(key)
			}
			return err
		},
		read: func(ctx context.Context, c *caller) error {
			key, ok := wanted.pick(c.rng.IntN)
			if !ok {
				return nil
			}
			found, err := ours.get(ctx, key)
			if err == nil && !found {
				lost.Add(1)
			}
			return err
		},
	})
	if err != nil {
		return fmt.Errorf("cache churn: %w", err)
	}
	result.Lost = lost.Load()
	b.report.Churn = append(b.report.Churn, result)
	b.report.Ratios["cache_churn_growth"] = result.growth()
	return nil
}
