package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sessionsql/postgres/scripts/faults/tools"
)

// A patroniSite is three servers under Patroni.
type patroniSite struct {
	box         *tools.Box
	patroni     *tools.Patroni
	synchronous bool
	first       *tools.Member // the leader when the group began
}

// patroniSites returns one site for each kind of replication.
func patroniSites() []*siteKind {
	var sites []*siteKind
	for name, synchronous := range map[string]bool{"Patroni async": false, "Patroni sync": true} {
		sites = append(sites, &siteKind{
			name: name,
			start: func(ctx context.Context) (site, error) {
				return startPatroniSite(ctx, synchronous)
			},
			kinds: []*kind{
				{name + ", switchover", short, long, false, switchover},
				{name + ", kill -9 server", short, long, false, killServer},
				{name + ", kill -9 agent", short, long, false, killAgent},
				{name + ", kill -9 both", short, long, false, killMember},
				{name + ", freeze and thaw", short, long, false, freezeAndThaw},
			},
		})
	}
	slices.SortFunc(sites, func(a, b *siteKind) int { return strings.Compare(a.name, b.name) })
	return sites
}

func startPatroniSite(ctx context.Context, synchronous bool) (s *patroniSite, err error) {
	s = &patroniSite{synchronous: synchronous}
	if s.box, err = tools.NewBox(); err != nil {
		return nil, err
	}
	if s.patroni, err = tools.StartPatroni(ctx, s.box, synchronous); err != nil {
		return nil, s.closeAfter(ctx, err)
	}
	if s.first, err = s.patroni.WaitLeader(ctx, nil); err != nil {
		return nil, s.closeAfter(ctx, err)
	}
	return s, nil
}

// closeAfter closes the site after a failure, and returns the error with the programs' logs.
func (s *patroniSite) closeAfter(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		err = fmt.Errorf("%w\n%s", err, s.Log())
	}
	return errors.Join(err, s.Close())
}

// routes follow the advice of docs/operations.md: every host for the primary, and each host as a replica.
func (s *patroniSite) routes() routes {
	r := routes{dial: time.Duration(1+len(s.patroni.Members)) * time.Second}
	var hosts []string
	for _, m := range s.patroni.Members {
		hosts = append(hosts, fmt.Sprintf("127.0.0.1:%d", m.Port))
	}
	leader := dsnOf(hosts...) + "&connect_timeout=1"
	r.clients, r.direct = []string{leader}, []string{leader}
	for _, m := range s.patroni.Members {
		r.clients = append(r.clients, m.DSN())
		if m != s.first {
			r.direct = append(r.direct, m.DSN())
		}
	}
	return r
}

func (s *patroniSite) Log() string { return s.box.Log() }

func (s *patroniSite) Close() error { return s.box.Close() }

// switchover makes a planned change of the leader, which loses nothing.
func switchover(ctx context.Context, g *group, f *fault) error {
	p := g.servers.(patroniOwner).cluster().patroni
	if err := p.Switchover(ctx, f.replica); err != nil {
		return err
	}
	return p.WaitHealthy(ctx)
}

// patroniOwner is a site with Patroni.
type patroniOwner interface{ cluster() *patroniSite }

func (s *patroniSite) cluster() *patroniSite { return s }

// killServer leaves the agent, which restarts the server or lets another one take over.
func killServer(ctx context.Context, g *group, f *fault) error {
	s := g.servers.(patroniOwner).cluster()
	return s.crash(ctx, g, f, false, func(m *tools.Member) error { return m.KillServer() })
}

// killMember ends the agent and the server, as the end of their machine would.
func killMember(ctx context.Context, g *group, f *fault) error {
	s := g.servers.(patroniOwner).cluster()
	return s.crash(ctx, g, f, true, func(m *tools.Member) error {
		return errors.Join(m.KillAgent(), m.KillServer())
	})
}

// killAgent leaves the server, which stays a primary. The injector ends the server before the end of the
// lease, in place of a watchdog that would reset the machine.
func killAgent(ctx context.Context, g *group, f *fault) error {
	s := g.servers.(patroniOwner).cluster()
	leader, err := s.patroni.WaitLeader(ctx, nil)
	if err != nil {
		return err
	}
	if err := leader.KillAgent(); err != nil {
		return err
	}
	if err := sleep(ctx, tools.LeaseTime-tools.WatchdogMargin); err != nil {
		return err
	}
	return s.crash(ctx, g, f, true, func(m *tools.Member) error { return m.KillServer() })
}

// replicationLoss is the age of a write that no replica may have received. Asynchronous commits are sent when
// they are flushed, and others at once.
const replicationLoss = asyncLoss + 400*time.Millisecond

// loses returns the writes that a failover may lose if the leader fails now.
func (s *patroniSite) loses(g *group) crashWindow {
	start := g.history.now()
	loss := start - int64(replicationLoss)
	w := crashWindow{start: start, asynchronous: loss, strict: loss, doubtful: loss}
	if s.synchronous {
		w.strict = never
	}
	return w
}

// crash ends the leader, waits for the next one, and brings the member back after some time. The next leader
// is another one if the agent is gone too.
func (s *patroniSite) crash(
	ctx context.Context, g *group, f *fault, agentToo bool, end func(*tools.Member) error,
) error {
	leader, err := s.patroni.WaitLeader(ctx, nil)
	if err != nil {
		return err
	}
	w := s.loses(g)
	if err := end(leader); err != nil {
		return err
	}
	g.crashed(w)
	if _, err := s.patroni.WaitLeader(ctx, nil); err != nil {
		return err
	}
	if err := sleep(ctx, f.hold); err != nil {
		return err
	}
	if agentToo {
		if err := leader.StartAgent(); err != nil {
			return err
		}
	}
	return s.patroni.WaitHealthy(ctx)
}

// freezeAndThaw stops the leader and its agent until another one leads. A write to the old leader between its
// thaw and its demotion would be lost, so no Store may have such a write acknowledged.
func freezeAndThaw(ctx context.Context, g *group, f *fault) error {
	s := g.servers.(patroniOwner).cluster()
	leader, err := s.patroni.WaitLeader(ctx, nil)
	if err != nil {
		return err
	}
	w := s.loses(g)
	if err := leader.Freeze(); err != nil {
		return err
	}
	g.crashed(w)
	if _, err := s.patroni.WaitLeader(ctx, leader); err != nil {
		return errors.Join(err, leader.Thaw())
	}
	if err := sleep(ctx, f.hold); err != nil {
		return errors.Join(err, leader.Thaw())
	}
	written := g.writeMarks(fmt.Sprintf("thaw %d", f.number))
	if err := errors.Join(leader.Thaw(), s.patroni.WaitHealthy(ctx)); err != nil {
		written()
		return err
	}
	marks := written()
	now, err := s.patroni.WaitLeader(ctx, nil)
	if err != nil {
		return err
	}
	return g.checkMarks(ctx, now.DSN(), marks)
}
