package main

import (
	"context"
	"fmt"
	"slices"
)

// fetchesPerMiss says that one in so many fetches asks for a key that no storage has.
const fetchesPerMiss = 50

// counters is how many counters the callers increment, as many as a program has clients to limit.
const counters = 10_000

// A cacheRace is one operation on cache entries.
type cacheRace struct {
	name string
	op   func(ctx context.Context, on cacher, key string, c *caller) error
}

var cacheRaces = []cacheRace{
	{"cache: get", func(ctx context.Context, on cacher, key string, _ *caller) error {
		found, err := on.get(ctx, key)
		if err == nil && !found {
			return fmt.Errorf("%s is gone", key)
		}
		return err
	}},
	{"cache: set", func(ctx context.Context, on cacher, key string, _ *caller) error {
		return on.set(ctx, key)
	}},
	{"cache: increment", func(ctx context.Context, on cacher, _ string, c *caller) error {
		return on.increment(ctx, counterKeys[c.rng.IntN(counters)])
	}},
	{"cache: get and touch", func(ctx context.Context, on cacher, key string, _ *caller) error {
		return on.getAndTouch(ctx, key)
	}},
	{"cache: fetch", func(ctx context.Context, on cacher, key string, c *caller) error {
		if c.rng.IntN(fetchesPerMiss) == 0 {
			key = newKey()
		}
		return on.fetch(ctx, key, func() string { return cacheValue })
	}},
}

// counterKeys are the keys of the counters.
var counterKeys = func() (keys []string) {
	for number := range counters {
		keys = append(keys, fmt.Sprintf("counter:%d", number))
	}
	return keys
}()

// cache measures the operations on cache entries, what a missing entry costs that many want at once, and
// whether a byte budget keeps the table small.
func (b *bench) cache(ctx context.Context) error {
	if err := b.cacheOperations(ctx); err != nil {
		return err
	}
	if err := b.stampedes(ctx); err != nil {
		return err
	}
	return b.cacheChurn(ctx)
}

func (b *bench) cacheOperations(ctx context.Context) error {
	d, err := b.servers.database(ctx, "cache")
	if err != nil {
		return err
	}
	defer d.close()
	peers, err := b.openCachers(ctx, d)
	if err != nil {
		return err
	}
	defer closeAll(peers)
	b.say("cache: loading %d entries into each storage", b.lookupRows)
	for _, each := range peers {
		if err := each.seed(ctx, b.lookupRows); err != nil {
			return err
		}
	}
	keys := slotKeys(b.lookupRows)
	for _, r := range cacheRaces {
		var contestants []contestant
		for _, each := range peers {
			contestants = append(contestants, contestant{
				name: each.name(), cpu: each.cpu(),
				op: func(ctx context.Context, c *caller) error {
					return r.op(ctx, each, keys[c.rng.IntN(len(keys))], c)
				},
			})
		}
		// Nothing else would send the touches, because the Store's loop does not run.
		contestants[0].finish = peers[0].(*oursCache).store.Flush
		for _, callers := range b.lookupCallers {
			results, err := b.race(ctx, r.name, turn{callers: callers, slice: b.slice}, contestants)
			if err != nil {
				return err
			}
			if callers == ratioCallers {
				b.cacheRatios(r.name, results)
			}
		}
	}
	return clearRedis(ctx, peers)
}

func (b *bench) cacheRatios(race string, results []Result) {
	to := func(peer string) float64 { return ratio(results[0], byName(results, peer), throughput) }
	switch race {
	case "cache: get":
		b.report.Ratios["cache_get_vs_rueidis"] = to("rueidis")
		b.report.Ratios["cache_get_vs_goredis"] = to("go-redis")
	case "cache: set":
		b.report.Ratios["cache_set_vs_goredis"] = to("go-redis")
		b.report.Ratios["cache_set_vs_unlogged"] = to("pgx, UNLOGGED")
	}
}

// openCachers opens every storage of cache entries, ours first.
func (b *bench) openCachers(ctx context.Context, d *database) (all []cacher, err error) {
	defer func() {
		if err != nil {
			closeAll(all)
		}
	}()
	ours, err := openOursCache(ctx, d, quiet, nil)
	if err != nil {
		return nil, err
	}
	all = append(all, ours)
	rueidis, err := openRueidis(b.servers.redis)
	if err != nil {
		return all, err
	}
	callers := slices.Max(b.lookupCallers)
	goRedis := openGoRedis(b.servers.redis, callers)
	memcached := openMemcached(b.servers.memcached, callers)
	rueidis.value, goRedis.value, memcached.value = cacheValue, cacheValue, cacheValue
	all = append(all, rueidis, goRedis, memcached)
	plain, err := openPlainCache(ctx, d)
	if err != nil {
		return all, err
	}
	return append(all, plain), nil
}
