package main

import (
	"context"
	"time"

	"github.com/sessionsql/postgres/internal/pgcluster"
)

// halfOpen lets no byte pass to and from servers, while connections stay open.
func halfOpen(which targets) func(context.Context, *group, *fault) error {
	return func(ctx context.Context, g *group, f *fault) error {
		for _, i := range which(f) {
			g.proxies[i].Freeze()
		}
		err := sleep(ctx, f.hold)
		for _, i := range which(f) {
			g.proxies[i].Pass()
		}
		return err
	}
}

// refuseConnections cuts off the primary and one replica.
func refuseConnections(ctx context.Context, g *group, f *fault) error {
	for _, i := range onBoth(f) {
		g.proxies[i].Refuse()
	}
	err := sleep(ctx, f.hold)
	for _, i := range onBoth(f) {
		g.proxies[i].Pass()
	}
	return err
}

// resetConnections resets every connection again and again.
func resetConnections(ctx context.Context, g *group, f *fault) error {
	return every(ctx, f.hold, 400*time.Millisecond, func() error {
		for _, proxy := range g.proxies {
			proxy.Reset()
		}
		return nil
	})
}

func slowConnections(bytes int, delay time.Duration) func(context.Context, *group, *fault) error {
	return func(ctx context.Context, g *group, f *fault) error {
		for _, proxy := range g.proxies {
			proxy.Slow(bytes, delay)
		}
		err := sleep(ctx, f.hold)
		for _, proxy := range g.proxies {
			proxy.Pass()
		}
		return err
	}
}

// terminateBackends ends every server process of a client again and again.
func terminateBackends(ctx context.Context, g *group, f *fault) error {
	return every(ctx, f.hold, 400*time.Millisecond, func() error {
		for _, node := range g.nodes {
			if err := terminate(ctx, node); err != nil {
				return err
			}
		}
		return nil
	})
}

// terminate ends the processes of a server's clients.
func terminate(ctx context.Context, node *pgcluster.Node) error {
	return administer(ctx, node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "+
		"WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
}

// shrinkPools leaves one connection to each server to the Store over the application's pools.
func shrinkPools(ctx context.Context, g *group, f *fault) error {
	g.ownPools.limitPools(1)
	err := sleep(ctx, f.hold)
	g.ownPools.limitPools(poolSize)
	return err
}

// every repeats a function until the time is up.
func every(ctx context.Context, length, interval time.Duration, do func() error) error {
	for deadline := time.Now().Add(length); time.Now().Before(deadline); {
		if err := do(); err != nil {
			return err
		}
		if err := sleep(ctx, interval); err != nil {
			return err
		}
	}
	return nil
}
