package main

import (
	"context"
	"errors"

	"github.com/sessionsql/postgres/sessionsql"
)

// oursCache uses a cache of a Store.
type oursCache struct {
	db    *database
	store *sessionsql.Store
	cache *sessionsql.Cache
}

func openOursCache(
	ctx context.Context, db *database, options *sessionsql.Options, cache *sessionsql.CacheOptions,
) (*oursCache, error) {
	store, err := db.openStore(ctx, options)
	if err != nil {
		return nil, err
	}
	return &oursCache{db: db, store: store, cache: store.Cache("bench", cache)}, nil
}

func (o *oursCache) name() string { return "sessionsql" }
func (o *oursCache) cpu() meter   { return o.db.servers.postgresMeter() }
func (o *oursCache) close()       { _ = o.store.Close(context.Background()) }

func (o *oursCache) seed(ctx context.Context, rows int) error {
	keys := slotKeys(rows)
	if err := fill(ctx, rows, func(slot int) error { return o.set(ctx, keys[slot]) }); err != nil {
		return err
	}
	return o.db.exec(ctx, "VACUUM (ANALYZE) sessionsql.cache_entry")
}

func (o *oursCache) get(ctx context.Context, key string) (bool, error) {
	_, err := o.cache.Get(ctx, key)
	if errors.Is(err, sessionsql.ErrNoEntry) {
		return false, nil
	}
	return err == nil, err
}

func (o *oursCache) set(ctx context.Context, key string) error {
	return o.cache.Set(ctx, key, []byte(cacheValue), idleTimeout)
}

func (o *oursCache) increment(ctx context.Context, key string) error {
	_, err := o.cache.Increment(ctx, key, 1, idleTimeout)
	return err
}

func (o *oursCache) getAndTouch(ctx context.Context, key string) error {
	_, err := o.cache.GetAndTouch(ctx, key, idleTimeout)
	return err
}

func (o *oursCache) fetch(ctx context.Context, key string, load func() string) error {
	_, err := o.cache.Fetch(ctx, key, idleTimeout, func(context.Context) ([]byte, error) {
		return []byte(load()), nil
	})
	return err
}

func (o *oursCache) clear(ctx context.Context) error {
	return o.db.exec(ctx, "TRUNCATE sessionsql.cache_entry")
}
