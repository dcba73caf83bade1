package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/scripts/faults/tools"
)

// A bouncerSite is a primary and a replica, each behind a PgBouncer of its own.
type bouncerSite struct {
	cluster  *pgcluster.Cluster
	box      *tools.Box
	mode     string
	bouncers []*tools.PgBouncer // of the primary and of the replica
}

// bouncerSites returns one site for each pool mode.
func bouncerSites() []*siteKind {
	var sites []*siteKind
	for _, mode := range []string{"session", "transaction", "statement"} {
		name := "PgBouncer " + mode
		sites = append(sites, &siteKind{
			name:  name,
			start: func(ctx context.Context) (site, error) { return startBouncerSite(ctx, mode) },
			kinds: []*kind{
				{name + ", RELOAD", short, long, false, onBouncers(reloadBouncers)},
				{name + ", PAUSE", long, hang, false, pauseBouncers},
				{name + ", kill -9", short / 6, short, false, onBouncers(killBouncers)},
				{name + ", restart behind", short / 6, short, false, restartBehind},
			},
		})
	}
	return sites
}

func startBouncerSite(ctx context.Context, mode string) (_ site, err error) {
	s := &bouncerSite{mode: mode}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.box, err = tools.NewBox(); err != nil {
		return nil, err
	}
	if s.cluster, err = startCluster(ctx, 1).wait(); err != nil {
		return nil, err
	}
	for i, node := range s.nodes() {
		name := fmt.Sprintf("pgbouncer%d", i)
		bouncer, err := tools.StartPgBouncer(ctx, s.box, name, mode, node.Port)
		if err != nil {
			return nil, err
		}
		s.bouncers = append(s.bouncers, bouncer)
	}
	return s, nil
}

func (s *bouncerSite) nodes() []*pgcluster.Node {
	return append([]*pgcluster.Node{s.cluster.Primary}, s.cluster.Replicas...)
}

func (s *bouncerSite) routes() routes {
	r := routes{dial: callDeadline, noTransactions: s.mode == "statement"}
	for i, node := range s.nodes() {
		r.clients = append(r.clients, s.bouncers[i].DSN())
		r.direct = append(r.direct, node.DSN("postgres"))
	}
	return r
}

func (s *bouncerSite) Log() string { return s.box.Log() + s.cluster.Log() }

func (s *bouncerSite) Close() error {
	var err error
	if s.box != nil {
		err = s.box.Close()
	}
	if s.cluster != nil {
		err = errors.Join(err, s.cluster.Close())
	}
	return err
}

// onBouncers lets a fault befall the primary's PgBouncer or both.
func onBouncers(do func(context.Context, []*tools.PgBouncer, time.Duration) error) func(
	context.Context, *group, *fault) error {
	return func(ctx context.Context, g *group, f *fault) error {
		return do(ctx, g.servers.(*bouncerSite).bouncers[:f.replica], f.hold)
	}
}

// reloadBouncers changes the size of the pools again and again.
func reloadBouncers(ctx context.Context, bouncers []*tools.PgBouncer, length time.Duration) error {
	return every(ctx, length, 100*time.Millisecond, func() error {
		for _, b := range bouncers {
			if err := b.Reload(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// pauseBouncers also ends the servers' client processes, because in session mode no connected client notices
// PAUSE.
func pauseBouncers(ctx context.Context, g *group, f *fault) error {
	s := g.servers.(*bouncerSite)
	ended := make(chan error, f.replica)
	for i, b := range s.bouncers[:f.replica] {
		go func() {
			ended <- b.Pause(ctx, func() error {
				return errors.Join(terminate(ctx, s.nodes()[i]), sleep(ctx, f.hold))
			})
		}()
	}
	var err error
	for range f.replica {
		err = errors.Join(err, <-ended)
	}
	return err
}

func killBouncers(ctx context.Context, bouncers []*tools.PgBouncer, length time.Duration) error {
	for _, b := range bouncers {
		if err := b.Kill(); err != nil {
			return err
		}
	}
	if err := sleep(ctx, length); err != nil {
		return err
	}
	for _, b := range bouncers {
		if err := b.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// restartBehind restarts the primary or both servers in good order, which loses nothing. In statement mode it
// also checks that a transaction is refused by name.
func restartBehind(ctx context.Context, g *group, f *fault) error {
	s := g.servers.(*bouncerSite)
	if s.mode == "statement" {
		g.refusesTransactions(ctx)
	}
	nodes := s.nodes()[:f.replica]
	for _, node := range nodes {
		if err := node.Stop(ctx); err != nil {
			return err
		}
	}
	if err := sleep(ctx, f.hold); err != nil {
		return err
	}
	for _, node := range nodes {
		if err := node.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// refusesTransactions checks that InsertTx and Install name the reason of their failure.
func (g *group) refusesTransactions(ctx context.Context) {
	const why = "statement pooling"
	if _, err := g.ownPools.InsertTx(ctx, "refused", nil); err == nil || !strings.Contains(err.Error(), why) {
		g.report("InsertTx in statement mode: %v, which does not say %q", err, why)
	}
	if err := install(ctx, g.routes.clients[0]); err == nil || !strings.Contains(err.Error(), why) {
		g.report("Install in statement mode: %v, which does not say %q", err, why)
	}
}
