package main

import (
	"context"
	"strings"
	"time"

	"github.com/sessionsql/postgres/scripts/faults/tools"
)

// A haproxySite is a patroniSite with HAProxy before it.
type haproxySite struct {
	*patroniSite
	haproxy *tools.HAProxy
}

func haproxySites() []*siteKind {
	return []*siteKind{{
		name:  "HAProxy",
		start: startHAProxySite,
		kinds: []*kind{
			{"HAProxy, switchover", short, long, false, switchover},
			{"HAProxy, kill -9 server", short, long, false, killServer},
			{"HAProxy, kill -9 both", short, long, false, killMember},
			{"HAProxy, kill -9 HAProxy", short / 6, short, false, killHAProxy},
		},
	}}
}

func startHAProxySite(ctx context.Context) (site, error) {
	servers, err := startPatroniSite(ctx, false)
	if err != nil {
		return nil, err
	}
	s := &haproxySite{patroniSite: servers}
	if s.haproxy, err = tools.StartHAProxy(ctx, s.box, s.patroni); err != nil {
		return nil, s.closeAfter(ctx, err)
	}
	return s, nil
}

// balanced is the number of the replica that is a balancer before several servers.
const balanced = 1

// routes lead to the leader by one port, to each server by its own, and to both replicas by one. The Stores
// must refuse the last one.
func (s *haproxySite) routes() routes {
	r := s.patroniSite.routes()
	h := s.haproxy
	r.dial = callDeadline
	r.clients = []string{h.DSN(h.Primary), h.DSN(h.Replica)}
	for _, port := range h.Each {
		r.clients = append(r.clients, h.DSN(port))
	}
	return r
}

// killHAProxy also checks that the Stores, whose connections are all new then, do not read from the balancer.
// While only one replica runs, the balancer leads to one server, and no client can tell.
func killHAProxy(ctx context.Context, g *group, f *fault) error {
	h := g.servers.(*haproxySite).haproxy
	if err := h.Kill(); err != nil {
		return err
	}
	if err := sleep(ctx, f.hold); err != nil {
		return err
	}
	if err := h.Start(ctx); err != nil {
		return err
	}
	const why = "more than one server"
	for deadline := time.Now().Add(settleTimeout); ; {
		seen := g.ownPools.Stats().Replicas[balanced-1]
		if seen.Err != nil && strings.Contains(seen.Err.Error(), why) {
			return nil
		}
		if time.Now().After(deadline) {
			g.report("a balancer is read from, or left out for another reason: %v", seen.Err)
			return nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}
