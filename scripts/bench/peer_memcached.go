package main

import (
	"context"
	"errors"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// memcached uses gomemcache with a connection for each caller.
type memcached struct {
	server *process
	client *memcache.Client
	keys   []string
	value  string
}

func openMemcached(server *process, callers int) *memcached {
	client := memcache.New(server.address)
	client.MaxIdleConns = callers
	client.Timeout = 10 * time.Second // because a slow machine is no failure
	return &memcached{server: server, client: client, value: payload}
}

const memcachedTTL = int32(idleTimeout / time.Second)

func (m *memcached) name() string { return "gomemcache" }
func (m *memcached) cpu() meter   { return m.server.meter() }
func (m *memcached) close()       { _ = m.client.Close() }

func (m *memcached) seed(ctx context.Context, rows int) error {
	m.keys = slotKeys(rows)
	return fill(ctx, rows, func(slot int) error { return m.set(ctx, m.keys[slot]) })
}

func (m *memcached) set(_ context.Context, key string) error {
	return m.client.Set(m.item(key, m.value))
}

func (m *memcached) item(key, value string) *memcache.Item {
	return &memcache.Item{Key: keyPrefix + key, Value: []byte(value), Expiration: memcachedTTL}
}

func (m *memcached) lookup(_ context.Context, slot int) error {
	_, err := m.client.Get(keyPrefix + m.keys[slot])
	return err
}

func (m *memcached) insert(ctx context.Context) error { return m.set(ctx, newKey()) }

func (m *memcached) get(_ context.Context, key string) (bool, error) {
	_, err := m.client.Get(keyPrefix + key)
	if errors.Is(err, memcache.ErrCacheMiss) {
		return false, nil
	}
	return err == nil, err
}

// increment adds a missing counter. When another caller adds it first, it increments that one.
func (m *memcached) increment(_ context.Context, key string) error {
	_, err := m.client.Increment(keyPrefix+key, 1)
	if !errors.Is(err, memcache.ErrCacheMiss) {
		return err
	}
	if err := m.client.Add(m.item(key, "1")); !errors.Is(err, memcache.ErrNotStored) {
		return err
	}
	_, err = m.client.Increment(keyPrefix+key, 1)
	return err
}

func (m *memcached) getAndTouch(_ context.Context, key string) error {
	_, err := m.client.GetAndTouch(keyPrefix+key, memcachedTTL)
	return err
}

func (m *memcached) fetch(ctx context.Context, key string, load func() string) error {
	return cacheAside(ctx, m, key, load)
}

func (m *memcached) clear(context.Context) error { return m.client.FlushAll() }
