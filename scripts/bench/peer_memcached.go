package main

import (
	"context"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// memcached uses gomemcache with a connection for each caller.
type memcached struct {
	server *process
	client *memcache.Client
	keys   []string
}

func openMemcached(server *process, callers int) *memcached {
	client := memcache.New(server.address)
	client.MaxIdleConns = callers
	client.Timeout = 10 * time.Second // because a slow machine is no failure
	return &memcached{server: server, client: client}
}

func (m *memcached) name() string { return "gomemcache" }
func (m *memcached) cpu() meter   { return m.server.meter() }
func (m *memcached) close()       { _ = m.client.Close() }

func (m *memcached) seed(ctx context.Context, rows int) error {
	m.keys = slotKeys(rows)
	const callers = 16
	errs := make([]error, callers)
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			for slot := i; slot < rows && errs[i] == nil && ctx.Err() == nil; slot += callers {
				errs[i] = m.set(m.keys[slot])
			}
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (m *memcached) set(key string) error {
	return m.client.Set(&memcache.Item{
		Key: keyPrefix + key, Value: []byte(payload), Expiration: int32(idleTimeout.Seconds()),
	})
}

func (m *memcached) lookup(_ context.Context, slot int) error {
	_, err := m.client.Get(keyPrefix + m.keys[slot])
	return err
}

func (m *memcached) insert(context.Context) error { return m.set(newKey()) }

func (m *memcached) clear(context.Context) error { return m.client.FlushAll() }
