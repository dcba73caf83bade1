package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

// A Steady is the table of one variant over time.
type Steady struct {
	Contestant string        `json:"contestant"`
	Live       int           `json:"live"`           // sessions or entries aimed at
	Lost       int64         `json:"expired_in_use"` // lookups of used sessions or entries that found none
	Samples    []SteadyState `json:"samples"`
}

// A SteadyState is the state of the table at one moment.
type SteadyState struct {
	Seconds    float64 `json:"seconds"`
	TableBytes float64 `json:"table_bytes"`
	IndexBytes float64 `json:"index_bytes"`
	LiveBytes  float64 `json:"live_bytes"` // of the live rows, their tuples and line pointers
	LiveRows   float64 `json:"live_rows"`
	Backlog    float64 `json:"backlog"` // expired rows that the reaper has not found yet
	DeadTuples float64 `json:"dead_tuples"`
	HOT        float64 `json:"hot"`           // share of all updates so far
	P99        float64 `json:"lookup_p99_us"` // since the previous sample
}

// A session is used for usedShare of its life. It lives for idleShare more by its idle timeout, and for the
// slack of up to a third of that.
const (
	longestLife = 100 * time.Second
	usedShare   = 0.3
	idleShare   = 0.6
)

// steadyChurn measures the table while sessions come and go. Timeouts are about thirty times shorter than
// usual, and autovacuum_naptime with them; all other settings are the server's defaults. The variants run one
// after the other, so that each has the machine for itself.
func (b *bench) steadyChurn(ctx context.Context) error {
	variants := []struct {
		name   string
		change string
	}{
		{"as shipped", "SELECT 1"},
		{"server's defaults", `
			ALTER TABLE sessionsql.session RESET (
				fillfactor, vacuum_truncate,
				autovacuum_vacuum_threshold, autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_delay,
				toast.vacuum_truncate,
				toast.autovacuum_vacuum_threshold, toast.autovacuum_vacuum_scale_factor,
				toast.autovacuum_vacuum_cost_delay
			)`},
	}
	for i, variant := range variants {
		b.say("steady: %v of churn with storage parameters %s", b.steady, variant.name)
		result, err := b.churn(ctx, fmt.Sprintf("steady_%d", i), variant.change)
		if err != nil {
			return fmt.Errorf("steady: %s: %w", variant.name, err)
		}
		result.Contestant = variant.name
		b.report.Steady = append(b.report.Steady, result)
	}
	b.report.Notes = append(b.report.Notes,
		"steady: autovacuum_naptime was "+b.steadyNaptime+" there, shortened as the timeouts are")
	if enough := 2 * time.Minute; b.steady < enough {
		b.report.Notes = append(b.report.Notes, fmt.Sprintf(
			"steady: %v is too short for autovacuum to keep up, because it looks once a second at most; "+
				"sizes mean little below %v", b.steady, enough))
	}
	shipped := b.report.Steady[0]
	b.report.Ratios["steady_growth"] = shipped.growth()
	b.report.Ratios["steady_size_vs_live"] = medianOf(shipped.lastThird(),
		func(s SteadyState) float64 { return s.TableBytes / s.LiveBytes })
	return nil
}

func (s Steady) lastThird() []SteadyState { return s.Samples[len(s.Samples)*2/3:] }

// growth is the size of the table in the last third of the time to that in the middle third.
func (s Steady) growth() float64 {
	tableBytes := func(s SteadyState) float64 { return s.TableBytes }
	middle := s.Samples[len(s.Samples)/3 : len(s.Samples)*2/3]
	return mean(s.lastThird(), tableBytes) / mean(middle, tableBytes)
}

func (b *bench) churn(ctx context.Context, name, change string) (result Steady, err error) {
	d, err := b.servers.database(ctx, name)
	if err != nil {
		return result, err
	}
	defer d.close()
	if err := d.exec(ctx, change); err != nil {
		return result, err
	}
	undo, err := d.alterSystem(ctx, map[string]string{"autovacuum_naptime": b.steadyNaptime})
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, undo()) }()

	life := min(longestLife, b.steady/3)
	idle := time.Duration(idleShare * float64(life))
	result.Live = int(life.Seconds() * float64(b.steadySession))
	// The table starts with its final number of sessions, which expire as evenly as the later ones.
	expiry := fmt.Sprintf("now() + make_interval(secs => %f * random())", life.Seconds())
	if err := d.seedSessions(ctx, result.Live, expiry); err != nil {
		return result, err
	}
	// The interval is shortened like the timeouts, but to no less than a second. Shorter runs reap ten times
	// in a session's life.
	reap := min(max(idle/180, time.Second), life/10)
	store, err := d.openStore(ctx, &sessionsql.Options{IdleTimeout: idle, ReapInterval: reap})
	if err != nil {
		return result, err
	}
	defer store.Close(context.WithoutCancel(ctx))

	used := newRing[sessionsql.Token](int(usedShare*life.Seconds()*float64(b.steadySession)) + 1)
	var lost atomic.Int64
	result.Samples, err = b.watchUnder(ctx, d, "sessionsql.session", traffic{
		write: func(ctx context.Context, _ *caller) error {
			token, err := store.Insert(ctx, payload, nil)
			if err == nil {
				used.add(token)
			}
			return err
		},
		read: func(ctx context.Context, c *caller) error {
			token, ok := used.pick(c.rng.IntN)
			if !ok {
				return nil
			}
			_, err := store.Lookup(ctx, token)
			if errors.Is(err, sessionsql.ErrNoSession) {
				lost.Add(1)
				return nil
			}
			return err
		},
	})
	result.Lost = lost.Load()
	return result, err
}

// A traffic writes steadily and reads three times as often.
type traffic struct {
	write, read func(context.Context, *caller) error
}

// watchUnder takes samples of a table while traffic comes.
func (b *bench) watchUnder(
	ctx context.Context, d *database, table string, t traffic,
) (samples []SteadyState, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	latencies := newLatencyLog()
	var wait sync.WaitGroup
	offer := func(p pacing, op func(context.Context, *caller) error) {
		wait.Go(func() {
			if _, err := pace(ctx, p, op); err != nil {
				cancel(err)
			}
		})
	}
	offer(pacing{rate: b.steadySession, workers: 16, duration: b.steady}, t.write)
	offer(pacing{rate: 3 * b.steadySession, workers: 32, duration: b.steady, log: latencies}, t.read)
	samples, err = b.watch(ctx, d, table, latencies)
	if err != nil {
		cancel(err)
	}
	wait.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return samples, nil
}

// watch takes 60 samples of a table.
func (b *bench) watch(
	ctx context.Context, d *database, table string, latencies *latencyLog,
) ([]SteadyState, error) {
	var samples []SteadyState
	begin := time.Now()
	interval := max(b.steady/60, 100*time.Millisecond)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for time.Since(begin)+interval/2 < b.steady {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-ticker.C:
		}
		s := SteadyState{Seconds: time.Since(begin).Seconds(), P99: microseconds(latencies.take(), 99)}
		// A tuple takes its length rounded up to 8 bytes, and a line pointer takes 4.
		err := d.pool.QueryRowContext(ctx, fmt.Sprintf(`
			SELECT
				pg_table_size(t.oid), pg_indexes_size(t.oid),
				r.live_bytes, r.live_rows, r.backlog,
				pg_stat_get_dead_tuples(t.oid),
				COALESCE(pg_stat_get_tuples_hot_updated(t.oid)::float8
					/ NULLIF(pg_stat_get_tuples_updated(t.oid), 0), 1)
			FROM (SELECT '%[1]s'::regclass AS oid) AS t
			CROSS JOIN (
				SELECT
					COALESCE(sum((pg_column_size(s.*) + 7) / 8 * 8 + 4)
						FILTER (WHERE s.expires_at > now()), 0)::float8 AS live_bytes,
					count(*) FILTER (WHERE s.expires_at > now()) AS live_rows,
					count(*) FILTER (WHERE s.expires_at <= now()) AS backlog
				FROM %[1]s AS s
			) AS r`, table)).
			Scan(&s.TableBytes, &s.IndexBytes, &s.LiveBytes, &s.LiveRows, &s.Backlog, &s.DeadTuples, &s.HOT)
		if err != nil {
			return nil, err
		}
		samples = append(samples, s)
	}
	return samples, nil
}

// A ring holds the keys in use, which are the ones written last.
type ring[K ~string] struct {
	mu   sync.RWMutex
	keys []K
	next int
}

func newRing[K ~string](size int) *ring[K] { return &ring[K]{keys: make([]K, 0, size)} }

func (r *ring[K]) add(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.keys) < cap(r.keys) {
		r.keys = append(r.keys, key)
		return
	}
	r.keys[r.next] = key
	r.next = (r.next + 1) % len(r.keys)
}

func (r *ring[K]) pick(intN func(int) int) (K, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.keys) == 0 {
		return "", false
	}
	return r.keys[intN(len(r.keys))], true
}

func mean[T any](all []T, pick func(T) float64) float64 {
	sum := 0.0
	for _, each := range all {
		sum += pick(each)
	}
	return sum / float64(max(len(all), 1))
}
