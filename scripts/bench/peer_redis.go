package main

import (
	"context"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// keyPrefix is the usual prefix of an application's session keys.
const keyPrefix = "session:"

// goRedis uses the most common client, with one connection for each caller, because its default of 10
// connections for each processor makes callers queue.
type goRedis struct {
	server *process
	client *redis.Client
	keys   []string
}

func openGoRedis(server *process, callers int) *goRedis {
	return &goRedis{server: server, client: redis.NewClient(&redis.Options{
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
				pipe.Set(ctx, keyPrefix+key, payload, idleTimeout)
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
	return g.client.Set(ctx, keyPrefix+key, payload, idleTimeout).Err()
}

func (g *goRedis) clear(ctx context.Context) error { return g.client.FlushDB(ctx).Err() }

func (g *goRedis) page(ctx context.Context, v view) error {
	if err := g.client.GetEx(ctx, keyPrefix+g.keys[v.slot], idleTimeout).Err(); err != nil {
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
}

func openRueidis(server *process) (*rueidisPeer, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.address}})
	return &rueidisPeer{server: server, client: client}, err
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

func (r *rueidisPeer) insert(ctx context.Context) error {
	return r.client.Do(ctx,
		r.client.B().Set().Key(keyPrefix+newKey()).Value(payload).Ex(idleTimeout).Build()).Error()
}

func (r *rueidisPeer) clear(ctx context.Context) error {
	return r.client.Do(ctx, r.client.B().Flushdb().Build()).Error()
}
