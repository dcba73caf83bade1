package main

import (
	"context"

	"github.com/sessionsql/postgres/sessionsql"
)

// lookup measures how many random live sessions a second many callers read.
func (b *bench) lookup(ctx context.Context) error {
	mib, err := touchBufferMiB(ctx, b.pendingTouches)
	if err != nil {
		return err
	}
	b.report.Ratios["touch_buffer_mib"] = mib
	b.say("lookup: %d pending touches take %.1f MiB", b.pendingTouches, mib)

	d, err := b.servers.database(ctx, "lookup")
	if err != nil {
		return err
	}
	defer d.close()
	peers, err := b.openPeers(ctx, d)
	if err != nil {
		return err
	}
	defer closeAll(peers)

	b.say("lookup: loading %d sessions into each store", b.lookupRows)
	var contestants []contestant
	for _, each := range peers {
		if err := each.seed(ctx, b.lookupRows); err != nil {
			return err
		}
		contestants = append(contestants,
			contestant{name: each.name(), cpu: each.cpu(), op: b.lookupOp(each)})
	}
	// page-load and keepalive measure the touches. Here the buffer only has to be empty at the start of each
	// turn.
	contestants[0].reset = peers[0].(*ours).store.Flush

	const selectOne = "SELECT 1"
	for _, callers := range b.lookupCallers {
		field := contestants
		if callers == 1 {
			field = append(field, contestant{name: selectOne, cpu: peers[0].cpu(), op: selectOneOp(d)})
		}
		results, err := b.race(ctx, "lookup", turn{callers: callers, slice: b.slice}, field)
		if err != nil {
			return err
		}
		ours := byName(results, "sessionsql")
		if callers == 1 {
			b.report.Ratios["lookup1_p50_vs_select1"] = ratio(ours, byName(results, selectOne), p50)
		}
		if callers == ratioCallers {
			b.report.Ratios["lookup_vs_rueidis"] = ratio(ours, byName(results, "rueidis"), throughput)
			b.report.Ratios["lookup_cpu_vs_rueidis"] = ratio(ours, byName(results, "rueidis"), cpu)
			b.report.Ratios["lookup_vs_goredis"] = ratio(ours, byName(results, "go-redis"), throughput)
			b.report.Ratios["lookup_vs_scs_pgxstore"] = ratio(ours, byName(results, "scs pgxstore"),
				throughput)
		}
	}
	return clearRedis(ctx, peers)
}

func (b *bench) lookupOp(p peer) func(context.Context, *caller) error {
	return func(ctx context.Context, c *caller) error { return p.lookup(ctx, c.rng.IntN(b.lookupRows)) }
}

// selectOneOp makes the cheapest round trip on a pool like the Store's.
func selectOneOp(d *database) func(context.Context, *caller) error {
	return func(ctx context.Context, _ *caller) error {
		var one int
		return d.pool.QueryRowContext(ctx, "SELECT 1").Scan(&one)
	}
}

// clearRedis removes a scenario's keys from the servers that outlive its database.
func clearRedis[S storage](ctx context.Context, all []S) error {
	for _, each := range all {
		switch s := storage(each).(type) {
		case *goRedis, *memcached:
			if err := s.clear(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// quiet turns a Store's loops off.
var quiet = &sessionsql.Options{FlushInterval: -1, ReapInterval: -1}
