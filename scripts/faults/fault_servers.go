package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/sessionsql/postgres/internal/pgcluster"
)

// kill ends servers by SIGKILL and starts them again.
func kill(which targets) func(context.Context, *group, *fault) error {
	return func(ctx context.Context, g *group, f *fault) error {
		for _, i := range which(f) {
			start := g.history.now()
			if err := g.nodes[i].Kill(); err != nil {
				return err
			}
			if i == 0 {
				loss := start - int64(asyncLoss)
				g.crashed(crashWindow{start: start, asynchronous: loss, strict: never, doubtful: never})
			}
		}
		if err := sleep(ctx, f.hold); err != nil {
			return err
		}
		return g.startAll(ctx, which(f))
	}
}

func (g *group) startAll(ctx context.Context, servers []int) error {
	for _, i := range servers {
		if err := g.nodes[i].Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// restart ends servers in good order, which loses nothing, and starts them again.
func restart(which targets) func(context.Context, *group, *fault) error {
	return func(ctx context.Context, g *group, f *fault) error {
		for _, i := range which(f) {
			if err := g.nodes[i].Stop(ctx); err != nil {
				return err
			}
		}
		if err := sleep(ctx, f.hold); err != nil {
			return err
		}
		return g.startAll(ctx, which(f))
	}
}

// suspend stops every process of the servers, and continues them.
func suspend(which targets) func(context.Context, *group, *fault) error {
	return func(ctx context.Context, g *group, f *fault) error {
		for _, i := range which(f) {
			if err := signalServer(g.nodes[i], syscall.SIGSTOP); err != nil {
				return err
			}
		}
		if err := sleep(ctx, f.hold); err != nil {
			return err
		}
		for _, i := range which(f) {
			if err := signalServer(g.nodes[i], syscall.SIGCONT); err != nil {
				return err
			}
		}
		return nil
	}
}

// signalServer signals the postmaster first, because a stopped one starts no further process.
func signalServer(node *pgcluster.Node, signal syscall.Signal) error {
	pid := node.PID()
	if pid == 0 {
		return errors.New("the server does not run")
	}
	if err := syscall.Kill(pid, signal); err != nil {
		return err
	}
	return node.Signal("", signal)
}

// pauseReplay lets a replica receive WAL and not replay it.
func pauseReplay(ctx context.Context, g *group, f *fault) error {
	node := g.nodes[f.replica]
	if err := administer(ctx, node, "SELECT pg_wal_replay_pause()"); err != nil {
		return err
	}
	if err := sleep(ctx, f.hold); err != nil {
		return err
	}
	return administer(ctx, node, "SELECT pg_wal_replay_resume()")
}

// stopReceiver stops a replica's reception of WAL while its connection to the primary stays.
func stopReceiver(ctx context.Context, g *group, f *fault) error {
	node := g.nodes[f.replica]
	if err := node.Signal("walreceiver", syscall.SIGSTOP); err != nil {
		return err
	}
	if err := sleep(ctx, f.hold); err != nil {
		return err
	}
	return node.Signal("walreceiver", syscall.SIGCONT)
}

// promote ends the primary in good order, so that each replica has all WAL, and promotes one.
func promote(ctx context.Context, g *group, f *fault) error {
	if err := g.nodes[0].Stop(ctx); err != nil {
		return err
	}
	if err := g.lead(ctx, f.replica); err != nil {
		return err
	}
	if err := g.follow(f.replica); err != nil {
		return err
	}
	return sleep(ctx, f.hold)
}

// promoteBehind promotes a replica that lacks WAL of the other one. The other one then follows no server.
func promoteBehind(ctx context.Context, g *group, f *fault) error {
	behind := g.nodes[f.replica]
	stopped := g.history.now()
	if err := behind.Signal("walreceiver", syscall.SIGSTOP); err != nil {
		return err
	}
	if err := sleep(ctx, short); err != nil {
		return err
	}
	start := g.history.now()
	if err := g.nodes[0].Kill(); err != nil {
		return err
	}
	loss := stopped - int64(asyncLoss)
	g.crashed(crashWindow{start: start, asynchronous: loss, strict: loss, doubtful: loss})
	// The receiver must end before it reads the WAL that has arrived.
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		if err := behind.Signal("walreceiver", signal); err != nil {
			return err
		}
	}
	if err := g.lead(ctx, f.replica); err != nil {
		return err
	}
	return sleep(ctx, f.hold)
}

// promoteUnsent kills a primary whose last WAL no replica has received, and promotes one.
func promoteUnsent(synchronous bool) func(context.Context, *group, *fault) error {
	return func(ctx context.Context, g *group, f *fault) error {
		if synchronous {
			setting := fmt.Sprintf("ALTER SYSTEM SET synchronous_standby_names = 'replica%d'", f.replica)
			if err := administer(ctx, g.nodes[0], setting, "SELECT pg_reload_conf()"); err != nil {
				return err
			}
			if err := sleep(ctx, short); err != nil {
				return err
			}
		}
		loss := g.history.now() - int64(asyncLoss)
		if err := g.nodes[0].Signal("walsender", syscall.SIGSTOP); err != nil {
			return err
		}
		if err := sleep(ctx, long); err != nil {
			return err
		}
		// Others can see a commit that waits for a replica after its client has given up.
		w := crashWindow{asynchronous: loss, strict: loss, doubtful: loss}
		if synchronous {
			w.strict = never
		}
		w.start = g.history.now()
		if err := g.nodes[0].Kill(); err != nil {
			return err
		}
		g.crashed(w)
		if err := g.lead(ctx, f.replica); err != nil {
			return err
		}
		if err := g.follow(f.replica); err != nil {
			return err
		}
		return sleep(ctx, f.hold)
	}
}

// lead promotes a replica, and points the primary's proxy at it if the Stores know one host.
func (g *group) lead(ctx context.Context, replica int) error {
	if err := g.nodes[replica].Promote(ctx); err != nil {
		return err
	}
	g.leader = replica
	if g.manyHosts {
		return nil
	}
	g.proxies[0].SetTarget(g.nodes[replica].Address())
	g.proxies[0].Reset()
	return nil
}

// follow lets the replicas that were not promoted follow the one that was.
func (g *group) follow(leader int) error {
	for i, node := range g.nodes[1:] {
		if i+1 == leader {
			continue
		}
		if err := node.Follow(g.nodes[leader]); err != nil {
			return err
		}
	}
	return nil
}
