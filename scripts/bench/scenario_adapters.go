package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	sessionsqlfiber "github.com/sessionsql/postgres/adapters/fiber"
	sessionsqlscs "github.com/sessionsql/postgres/adapters/scs"
)

// adapters measures frameworks over our cache and over other tables: the page views of scs's middleware, and
// the gets and sets of fiber's.
func (b *bench) adapters(ctx context.Context) error {
	d, err := b.servers.database(ctx, "adapters")
	if err != nil {
		return err
	}
	defer d.close()
	store, err := d.openStore(ctx, quiet)
	if err != nil {
		return err
	}
	defer store.Close(context.WithoutCancel(ctx))

	ours, err := newSCS("sessionsql", d, sessionsqlscs.NewStore(store, nil), sessionsqlscs.Codec{}, func() {})
	if err != nil {
		return err
	}
	if err := b.scsPages(ctx, d, ours); err != nil {
		return err
	}
	return b.fiberStorages(ctx, d, sessionsqlfiber.NewStorage(store, "fiber", nil))
}

// scsSlack is the default Slack of our store: a view writes a session that was not written for so long.
const scsSlack = time.Minute

func (b *bench) scsPages(ctx context.Context, d *database, ours *scsStore) error {
	pgx, _, err := openSCS(ctx, d)
	if err != nil {
		return err
	}
	defer pgx.close()
	b.say("adapters: loading %d sessions into each store", b.pageRows)
	if err := pgx.seed(ctx, b.pageRows); err != nil {
		return err
	}
	// The sessions were written at different times, so the views find as many due as in long use.
	ours.keys = slotKeys(b.pageRows)
	err = fill(ctx, b.pageRows, func(slot int) error {
		expiry := time.Now().Add(idleTimeout - rand.N(scsSlack))
		return ours.store.Commit(ours.keys[slot], ours.data, expiry)
	})
	if err != nil {
		return err
	}
	if err := d.exec(ctx, "VACUUM (ANALYZE) sessionsql.cache_entry", "CHECKPOINT"); err != nil {
		return err
	}
	var contestants []contestant
	for _, each := range []*scsStore{ours, pgx} {
		contestants = append(contestants, contestant{
			name: each.name(), cpu: each.cpu(),
			op: func(ctx context.Context, c *caller) error { return each.serve(ctx, c.view(b.pageRows)) },
		})
	}
	results, err := b.race(ctx, "adapters: scs page", turn{callers: b.pageCallers, slice: b.slice},
		contestants)
	if err != nil {
		return err
	}
	b.report.Ratios["scs_page_vs_pgxstore"] = ratio(results[0], results[1], throughput)
	return nil
}

// A fiberStorage is what fiber's middleware asks of a storage.
type fiberStorage interface {
	GetWithContext(ctx context.Context, key string) ([]byte, error)
	SetWithContext(ctx context.Context, key string, value []byte, expiry time.Duration) error
}

func (b *bench) fiberStorages(ctx context.Context, d *database, ours fiberStorage) error {
	gofiber, err := openGofiber(ctx, d)
	if err != nil {
		return err
	}
	defer gofiber.Close()
	keys := slotKeys(b.lookupRows)
	value := []byte(cacheValue)
	set := func(ctx context.Context, on fiberStorage, key string) error {
		return on.SetWithContext(ctx, key, value, idleTimeout)
	}
	get := func(ctx context.Context, on fiberStorage, key string) error {
		found, err := on.GetWithContext(ctx, key)
		if err == nil && len(found) != len(value) {
			return fmt.Errorf("%s is gone", key)
		}
		return err
	}
	b.say("adapters: loading %d entries into each storage", len(keys))
	storages := []fiberStorage{ours, gofiber}
	for _, each := range storages {
		err := fill(ctx, len(keys), func(slot int) error { return set(ctx, each, keys[slot]) })
		if err != nil {
			return err
		}
	}
	err = d.exec(ctx, "VACUUM (ANALYZE) sessionsql.cache_entry", "VACUUM (ANALYZE) "+gofiberTable)
	if err != nil {
		return err
	}
	for _, r := range []struct {
		race string
		op   func(ctx context.Context, on fiberStorage, key string) error
	}{{"adapters: fiber get", get}, {"adapters: fiber set", set}} {
		var contestants []contestant
		for i, each := range storages {
			contestants = append(contestants, contestant{
				name: []string{"sessionsql", "gofiber/storage/postgres"}[i], cpu: d.servers.postgresMeter(),
				op: func(ctx context.Context, c *caller) error {
					return r.op(ctx, each, keys[c.rng.IntN(len(keys))])
				},
			})
		}
		_, err := b.race(ctx, r.race, turn{callers: b.pageCallers, slice: b.slice}, contestants)
		if err != nil {
			return err
		}
	}
	return nil
}
