package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sessionsql/postgres/internal/pgtext"
	"github.com/sessionsql/postgres/sessionsql"
)

// A ReapLoop is the effect of one reaper on concurrent lookups.
type ReapLoop struct {
	Contestant string  `json:"contestant"`
	P50        float64 `json:"p50_us"` // of lookups; the median over the rounds
	P99        float64 `json:"p99_us"`
	Backlog    float64 `json:"backlog"` // the most expired rows left at the end of a round
}

const (
	offeredLookups = 2000 // a second, few enough that no lookup queues
	expiries       = 2000 // a second
)

// reapBesideLookups offers lookups at a fixed rate while sessions expire, in turns without a reaper, with a
// Store's loop, and with the other ways of reaping at the same interval.
func (b *bench) reapBesideLookups(ctx context.Context) error {
	d, err := b.servers.database(ctx, "reap_loop")
	if err != nil {
		return err
	}
	defer d.close()
	b.say("reap: loading %d sessions to look up beside the reaper's loop", b.reapLoopRows)
	if err := d.seedSessions(ctx, b.reapLoopRows, freshExpiry); err != nil {
		return err
	}
	store, err := d.openStore(ctx, quiet)
	if err != nil {
		return err
	}
	defer store.Close(context.WithoutCancel(ctx))

	phases := []reapPhase{
		{"idle", func(context.Context) error { return nil }},
		{"Store's loop", func(ctx context.Context) error { return b.storeLoop(ctx, d) }},
	}
	if b.reapLoopPeers {
		phases = append(phases,
			reapPhase{
				limitedName,
				func(ctx context.Context) error { return b.deleteLoop(ctx, d, limitedDelete) },
			},
			reapPhase{
				unboundedName,
				func(ctx context.Context) error { return b.deleteLoop(ctx, d, unboundedDelete) },
			})
	}
	// Sessions with even ids expire, and the others are looked up.
	victims := randomIDs(b.reapLoopRows / 2)
	for i := range victims {
		victims[i] *= 2
	}
	measured := make([][]ReapLoop, len(phases))
	for round := range b.rounds {
		if round > 0 && b.late() {
			break
		}
		for i, phase := range phases {
			b.say("reap: round %d of %d: %s", round+1, b.rounds, phase.name)
			one, left, err := b.runReapPhase(ctx, d, store, phase, victims)
			if err != nil {
				return fmt.Errorf("%s: %w", phase.name, err)
			}
			victims = left
			measured[i] = append(measured[i], one)
		}
	}
	for i, phase := range phases {
		result := ReapLoop{
			Contestant: phase.name,
			P50:        medianOf(measured[i], func(r ReapLoop) float64 { return r.P50 }),
			P99:        medianOf(measured[i], func(r ReapLoop) float64 { return r.P99 }),
		}
		for _, each := range measured[i] {
			result.Backlog = max(result.Backlog, each.Backlog)
		}
		b.report.ReapLoop = append(b.report.ReapLoop, result)
	}
	var ratios []float64
	for round := range measured[0] {
		ratios = append(ratios, measured[1][round].P99/measured[0][round].P99)
	}
	b.report.Ratios["reap_lookup_p99_vs_idle"] = median(ratios)
	return nil
}

// A reapPhase runs a reaper until its context ends.
type reapPhase struct {
	name string
	reap func(context.Context) error
}

// runReapPhase returns the lookups' latencies beside a reaper, and the victims that are left.
func (b *bench) runReapPhase(
	ctx context.Context, d *database, store *sessionsql.Store, phase reapPhase, victims pgtext.IDs,
) (result ReapLoop, left pgtext.IDs, err error) {
	background, stop := context.WithCancel(ctx)
	defer stop()
	var wait sync.WaitGroup
	var reapErr, expireErr error
	wait.Go(func() { reapErr = phase.reap(background) })
	wait.Go(func() { left, expireErr = expireSteadily(background, d, victims) })
	latencies, err := pace(ctx, pacing{rate: offeredLookups, workers: 16, duration: b.reapLoopPhase},
		func(ctx context.Context, c *caller) error {
			_, err := store.Lookup(ctx, seededToken(int64(1+2*c.rng.IntN(b.reapLoopRows/2))))
			return err
		})
	stop()
	wait.Wait()
	for _, each := range []error{err, reapErr, expireErr} {
		if each != nil {
			return result, nil, each
		}
	}
	result.P50, result.P99 = microseconds(latencies, 50), microseconds(latencies, 99)
	err = d.pool.QueryRowContext(ctx,
		"SELECT count(*) FROM sessionsql.session WHERE expires_at <= now()").Scan(&result.Backlog)
	if err == nil {
		err = d.exec(ctx, unboundedDelete) // because the next phase starts without a backlog
	}
	return result, left, err
}

// storeLoop lets a new Store reap.
func (b *bench) storeLoop(ctx context.Context, d *database) error {
	store, err := d.openStore(ctx, &sessionsql.Options{FlushInterval: -1, ReapInterval: b.reapLoopPause})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return store.Close(context.WithoutCancel(ctx))
}

// deleteLoop runs a DELETE at every interval.
func (b *bench) deleteLoop(ctx context.Context, d *database, statement string) error {
	ticker := time.NewTicker(b.reapLoopPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := d.exec(ctx, statement); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// expireSteadily makes sessions expire until the context ends, and returns the rest of them.
func expireSteadily(ctx context.Context, d *database, victims pgtext.IDs) (pgtext.IDs, error) {
	const step = 50 * time.Millisecond
	const batch = expiries * int(step) / int(time.Second)
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return victims, nil
		case <-ticker.C:
			now := victims[:min(batch, len(victims))]
			victims = victims[len(now):]
			_, err := d.pool.ExecContext(ctx,
				"UPDATE sessionsql.session SET expires_at = now() WHERE id = ANY ($1::bigint[])", now)
			if err != nil && ctx.Err() == nil {
				return victims, err
			}
		}
	}
}
