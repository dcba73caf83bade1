package main

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// keyPrefix is like the prefix that an application gives to all keys of one kind.
const keyPrefix = "session:"

// goRedis uses the most common client, with one connection for each caller, because its default of 10
// connections for each processor makes callers queue.
type goRedis struct {
	server *process
	client *redis.Client
	keys   []string
	value  string
}

func openGoRedis(server *process, callers int) *goRedis {
	return &goRedis{server: server, value: payload, client: redis.NewClient(&redis.Options{
		Addr:         server.address,
		PoolSize:     callers,
		MaxIdleConns: callers,
	})}
}

func (g *goRedis) name() string { return "go-redis" }
func (g *goRedis) cpu() meter   { return g.server.meter() }
func (g *goRedis) close()       { _ = g.client.Close() }

func (g *goRedis) seed(ctx context.Context, rows int) error {
	g.keys = slotKeys(rows)
	const batch = 1000
	for from := 0; from < rows; from += batch {
		_, err := g.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, key := range g.keys[from:min(from+batch, rows)] {
				pipe.Set(ctx, keyPrefix+key, g.value, idleTimeout)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *goRedis) lookup(ctx context.Context, slot int) error {
	return g.client.Get(ctx, keyPrefix+g.keys[slot]).Err()
}

func (g *goRedis) insert(ctx context.Context) error { return g.set(ctx, newKey()) }

func (g *goRedis) set(ctx context.Context, key string) error {
	return g.client.Set(ctx, keyPrefix+key, g.value, idleTimeout).Err()
}

func (g *goRedis) clear(ctx context.Context) error { return g.client.FlushDB(ctx).Err() }

func (g *goRedis) get(ctx context.Context, key string) (bool, error) {
	err := g.client.Get(ctx, keyPrefix+key).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, err
}

// increment gives a new counter its expiry.
func (g *goRedis) increment(ctx context.Context, key string) error {
	count, err := g.client.Incr(ctx, keyPrefix+key).Result()
	if err == nil && count == 1 {
		err = g.client.Expire(ctx, keyPrefix+key, idleTimeout).Err()
	}
	return err
}

func (g *goRedis) getAndTouch(ctx context.Context, key string) error {
	return g.client.GetEx(ctx, keyPrefix+key, idleTimeout).Err()
}

func (g *goRedis) fetch(ctx context.Context, key string, load func() string) error {
	return cacheAside(ctx, g, key, load)
}

func (g *goRedis) page(ctx context.Context, v view) error {
	if err := g.getAndTouch(ctx, g.keys[v.slot]); err != nil {
		return err
	}
	if v.write {
		if err := g.set(ctx, g.keys[v.slot]); err != nil {
			return err
		}
	}
	if v.relog {
		if err := g.client.Del(ctx, keyPrefix+g.keys[v.slot]).Err(); err != nil {
			return err
		}
		g.keys[v.slot] = newKey()
		return g.set(ctx, g.keys[v.slot])
	}
	return nil
}

// rueidisPeer uses the fastest client, which pipelines concurrent commands by default.
type rueidisPeer struct {
	server *process
	client rueidis.Client
	keys   []string
	value  string
}

func openRueidis(server *process) (*rueidisPeer, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.address}})
	return &rueidisPeer{server: server, client: client, value: payload}, err
}

func (r *rueidisPeer) name() string { return "rueidis" }
func (r *rueidisPeer) cpu() meter   { return r.server.meter() }
func (r *rueidisPeer) close()       { r.client.Close() }

// seed writes nothing, because goRedis has filled the same server.
func (r *rueidisPeer) seed(_ context.Context, rows int) error {
	r.keys = slotKeys(rows)
	return nil
}

func (r *rueidisPeer) lookup(ctx context.Context, slot int) error {
	_, err := r.client.Do(ctx, r.client.B().Get().Key(keyPrefix+r.keys[slot]).Build()).ToString()
	return err
}

func (r *rueidisPeer) insert(ctx context.Context) error { return r.set(ctx, newKey()) }

func (r *rueidisPeer) set(ctx context.Context, key string) error {
	return r.client.Do(ctx,
		r.client.B().Set().Key(keyPrefix+key).Value(r.value).Ex(idleTimeout).Build()).Error()
}

func (r *rueidisPeer) get(ctx context.Context, key string) (bool, error) {
	_, err := r.client.Do(ctx, r.client.B().Get().Key(keyPrefix+key).Build()).ToString()
	if rueidis.IsRedisNil(err) {
		return false, nil
	}
	return err == nil, err
}

// increment gives a new counter its expiry.
func (r *rueidisPeer) increment(ctx context.Context, key string) error {
	count, err := r.client.Do(ctx, r.client.B().Incr().Key(keyPrefix+key).Build()).AsInt64()
	if err == nil && count == 1 {
		err = r.client.Do(ctx, r.client.B().Expire().Key(keyPrefix+key).
			Seconds(int64(idleTimeout.Seconds())).Build()).Error()
	}
	return err
}

func (r *rueidisPeer) getAndTouch(ctx context.Context, key string) error {
	_, err := r.client.Do(ctx, r.client.B().Getex().Key(keyPrefix+key).Ex(idleTimeout).Build()).ToString()
	return err
}

func (r *rueidisPeer) fetch(ctx context.Context, key string, load func() string) error {
	return cacheAside(ctx, r, key, load)
}

func (r *rueidisPeer) clear(ctx context.Context) error {
	return r.client.Do(ctx, r.client.B().Flushdb().Build()).Error()
}
