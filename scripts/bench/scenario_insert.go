package main

import (
	"context"
	"slices"
)

// ratioCallers is the number of callers for ratios of throughput.
const ratioCallers = 64

// openPeers opens every peer on one database, ours first.
func (b *bench) openPeers(ctx context.Context, d *database) (peers []peer, err error) {
	defer func() {
		if err != nil {
			closeAll(peers)
		}
	}()
	callers := slices.Max(slices.Concat(b.insertCallers, b.lookupCallers))
	store, err := openOurs(ctx, d, quiet)
	if err != nil {
		return nil, err
	}
	peers = append(peers, store)
	rueidis, err := openRueidis(b.servers.redis)
	if err != nil {
		return peers, err
	}
	peers = append(peers, rueidis, openGoRedis(b.servers.redis, callers),
		openMemcached(b.servers.memcached, callers))
	unlogged, err := openPlain(ctx, d)
	if err != nil {
		return peers, err
	}
	pgx, postgres, err := openSCS(ctx, d)
	if err != nil {
		return peers, err
	}
	return append(peers, unlogged, pgx, postgres), nil
}

// insert measures how many new sessions a second many callers get.
func (b *bench) insert(ctx context.Context) error {
	d, err := b.servers.database(ctx, "insert")
	if err != nil {
		return err
	}
	defer d.close()
	peers, err := b.openPeers(ctx, d)
	if err != nil {
		return err
	}
	defer closeAll(peers)
	var contestants []contestant
	for _, each := range peers {
		contestants = append(contestants,
			contestant{name: each.name(), cpu: each.cpu(), op: insertOp(each), reset: each.clear})
	}
	for _, callers := range b.insertCallers {
		results, err := b.race(ctx, "insert", turn{callers: callers, slice: b.slice}, contestants)
		if err != nil {
			return err
		}
		if callers == ratioCallers {
			ours := byName(results, "sessionsql")
			b.report.Ratios["insert_vs_unlogged"] = ratio(ours, byName(results, "database/sql, UNLOGGED"),
				throughput)
			b.report.Ratios["insert_vs_goredis"] = ratio(ours, byName(results, "go-redis"), throughput)
			b.report.Ratios["insert_cpu_vs_goredis"] = ratio(ours, byName(results, "go-redis"), cpu)
		}
	}
	return nil
}
