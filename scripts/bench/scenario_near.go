package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A NearShare is the share of lookups that near caches answered in a race, and the bytes that they had.
type NearShare struct {
	Contestant string  `json:"contestant"`
	Callers    int     `json:"callers"`
	Percent    int     `json:"percent"` // the share that the race is about
	Bytes      int64   `json:"bytes"`
	Hits       float64 `json:"hits"`
}

// A nearLevel is a share of hits, with the bytes that lead to it. Both caches get the same share and not the
// same bytes, because a miss costs a multiple of a hit, so that a hundredth more of them would decide the
// race. The report shows the bytes, and the share that each cache reached.
type nearLevel struct {
	percent       int
	ours, docache int64
}

const (
	// ratioPercent is the level of the ratios.
	ratioPercent = 90

	// hotSessions all fit into the near caches.
	hotSessions = 1000

	// ampleBytes hold every session of a run.
	ampleBytes = 1 << 30
)

// near measures the near cache beside the client-side cache of rueidis.
func (b *bench) near(ctx context.Context) error {
	d, err := b.servers.database(ctx, "near")
	if err != nil {
		return err
	}
	defer d.close()
	seeder := openGoRedis(b.servers.redis, 1)
	defer seeder.close()
	b.say("near: loading %d sessions into each store", b.lookupRows)
	if err := d.seedSessions(ctx, b.lookupRows, freshExpiry); err != nil {
		return err
	}
	if err := seeder.seed(ctx, b.lookupRows); err != nil {
		return err
	}
	for _, part := range []func(context.Context, *database) error{
		b.nearHit, b.nearThroughput, b.nearStaleness, b.nearPolls,
	} {
		if err := part(ctx, d); err != nil {
			return err
		}
	}
	if err := seeder.clear(ctx); err != nil {
		return err
	}
	return b.nearLog(ctx, d)
}

// nearPair is a Store with a near cache, and rueidis with one.
type nearPair struct {
	ours    *ours
	docache *rueidisNear
}

func (b *bench) openNearPair(ctx context.Context, d *database, ours, docache int64) (*nearPair, error) {
	options := *quiet
	options.NearCache.MaxBytes = ours
	store, err := openOurs(ctx, d, &options)
	if err != nil {
		return nil, err
	}
	p := &nearPair{ours: store}
	store.tokens = seededTokens(b.lookupRows)
	address := b.servers.redis.address
	if p.docache, err = openRueidisNear(address, b.servers.redis, docache, time.Second); err != nil {
		store.close()
		return nil, err
	}
	return p, p.docache.seed(ctx, b.lookupRows)
}

func (p *nearPair) close() { closeAll([]peer{p.ours, p.docache}) }

// fill looks up every session once, the most used last. The Store keeps nothing before its first poll. It
// sends the touches, so that the race begins as a flush interval does. A race is shorter than that interval.
func (p *nearPair) fill(ctx context.Context, z *zipf) error {
	for p.ours.store.Stats().NearHits == 0 {
		if err := p.ours.lookup(ctx, z.ranked[0]); err != nil {
			return err
		}
	}
	for _, each := range []peer{p.docache, p.ours} {
		err := fill(ctx, len(z.ranked), func(i int) error {
			return each.lookup(ctx, z.ranked[len(z.ranked)-1-i])
		})
		if err != nil {
			return err
		}
	}
	return p.ours.store.Flush(ctx)
}

// contestants look up what z draws.
func (p *nearPair) contestants(z *zipf, callers int) []contestant {
	p.docache.counts = make([]hitCount, callers)
	return []contestant{
		{
			name: p.ours.name(), cpu: p.ours.cpu(),
			op: func(ctx context.Context, c *caller) error { return p.ours.lookup(ctx, z.draw(c)) },
		},
		{
			name: p.docache.name(), cpu: p.docache.cpu(),
			op: func(ctx context.Context, c *caller) error {
				hit, err := p.docache.find(ctx, z.draw(c))
				count := &p.docache.counts[c.index]
				count.lookups++
				if hit {
					count.hits++
				}
				return err
			},
		},
	}
}

// nearHit measures a hit. Each sample includes the draw and the clock of the loop around it, which the race
// shows as a contestant of its own.
func (b *bench) nearHit(ctx context.Context, d *database) error {
	pair, err := b.openNearPair(ctx, d, ampleBytes, ampleBytes)
	if err != nil {
		return err
	}
	defer pair.close()
	z := newZipf(min(hotSessions, b.lookupRows))
	for _, callers := range b.lookupCallers {
		if err := pair.fill(ctx, z); err != nil {
			return err
		}
		field := append(pair.contestants(z, callers), contestant{
			name: "nothing", cpu: pair.ours.cpu(),
			op: func(_ context.Context, c *caller) error {
				if z.draw(c) < 0 {
					return errors.New("a slot below 0")
				}
				return nil
			},
		})
		results, err := b.race(ctx, "near: hit", turn{callers: callers, slice: b.nearSlice}, field)
		if err != nil {
			return err
		}
		if callers == 1 {
			loop := results[2]
			// In a smoke run the loop may take longer than a hit.
			hit := func(one Result) float64 { return max(one.Median.CPU()-loop.Median.CPU(), 0.01) }
			b.report.Ratios["near_hit_cpu_us"] = hit(results[0])
			b.report.Ratios["near_hit_vs_docache"] = hit(results[0]) / hit(results[1])
		}
	}
	return nil
}

// nearThroughput measures how many sessions many callers look up at each share of hits. The race is over
// before the first entry reaches its age, because a turn must not refetch what has aged in the others' turns.
// So a turn is one part, since the garbage collection before each part takes a quarter of a second here.
func (b *bench) nearThroughput(ctx context.Context, d *database) error {
	without, err := openRueidis(b.servers.redis)
	if err != nil {
		return err
	}
	defer without.close()
	if err := without.seed(ctx, b.lookupRows); err != nil {
		return err
	}
	z := newZipf(b.lookupRows)
	for _, level := range b.nearLevels {
		for _, callers := range b.nearCallers {
			if err := b.nearAtLevel(ctx, d, level, callers, z, without); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) nearAtLevel(
	ctx context.Context, d *database, level nearLevel, callers int, z *zipf, without *rueidisPeer,
) error {
	pair, err := b.openNearPair(ctx, d, level.ours, level.docache)
	if err != nil {
		return err
	}
	defer pair.close()
	if err := pair.fill(ctx, z); err != nil {
		return err
	}
	field := append(pair.contestants(z, callers), contestant{
		name: without.name(), cpu: without.cpu(),
		op: func(ctx context.Context, c *caller) error { return without.lookup(ctx, z.draw(c)) },
	})
	before := pair.ours.store.Stats()
	results, err := b.race(ctx, fmt.Sprintf("near: %d %% hits", level.percent),
		turn{callers: callers, slice: b.nearSlice, parts: 1}, field)
	if err != nil {
		return err
	}
	after := pair.ours.store.Stats()
	hits, lookups := after.NearHits-before.NearHits, after.Lookups-before.Lookups
	shares := []NearShare{
		{Bytes: level.ours, Hits: float64(hits) / float64(lookups)},
		{Bytes: level.docache, Hits: pair.docache.share()},
	}
	for i, share := range shares {
		share.Contestant, share.Callers, share.Percent = results[i].Contestant, callers, level.percent
		b.report.Near = append(b.report.Near, share)
	}
	if callers == ratioCallers && level.percent == ratioPercent {
		b.report.Ratios["near90_vs_docache"] = ratio(results[0], results[1], throughput)
		b.report.Ratios["near90_vs_rueidis"] = ratio(results[0], results[2], throughput)
	}
	return nil
}
