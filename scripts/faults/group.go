package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessionsql/postgres/internal/faultproxy"
	"github.com/sessionsql/postgres/internal/pgcluster"
)

// A group is one cluster, the Stores over it, and the faults that befall it in turn. A promotion is the last
// of them.
type group struct {
	number   int
	servers  servers
	nodes    []*pgcluster.Node   // the first primary, then the replicas
	proxies  []*faultproxy.Proxy // the Stores reach nodes[i] through proxies[i]
	routes   routes
	stores   []sessions
	ownPools *store // the Store over the application's pools
	history  *history
	meter    meter
	log      *stateLog
	stalls   stallMeter

	manyHosts bool // the primary's DSN names every server, so a Store finds a promoted one by itself
	leader    int  // routes.direct[leader] leads to the primary

	canaries []canary // sessions without writes
	beats    []string // the tokens of the probes' sessions, one for each Store
	slots    []atomic.Pointer[session]
	entries  []atomic.Pointer[session]
	users    []*user
	logouts  *logouts // of the near mode, which has no workload

	writes, lookups     []*series // of the Stores
	rawWrites, rawReads []*series // of connections without a Store

	stopping chan struct{}
	running  sync.WaitGroup

	mu         sync.Mutex
	current    *fault
	reported   map[string]bool
	violations []violation
}

// servers are the programs that a group ends with.
type servers interface {
	Close() error
	Log() string
}

// routes lead to the servers, to the primary first.
type routes struct {
	clients []string // as the Stores and the probes reach them
	direct  []string // past proxies and poolers

	dial           time.Duration // the time limit for making a connection without a Store
	noTransactions bool          // a pooler refuses them
	rawWrite       string        // the write of such a connection, with a place for its number
}

type canary struct{ token, payload string }

const (
	canaryCount = 6

	// canaryIdle is longer than any fault, and short enough for keepalives within the time of a group.
	canaryIdle = 20 * time.Second
)

// beat is the write of a connection without a Store by default.
const beat = "UPDATE faults_beat SET beats = beats + 1 WHERE id = %d"

func newGroup(
	ctx context.Context, number int, cluster *pgcluster.Cluster, log io.Writer,
) (*group, error) {
	g := emptyGroup(number, cluster, log)
	err := g.putProxies(cluster)
	if err == nil {
		err = g.open(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// emptyGroup returns a group that knows no way to its servers.
func emptyGroup(number int, servers servers, log io.Writer) *group {
	g := &group{
		number:   number,
		servers:  servers,
		history:  newHistory(),
		stopping: make(chan struct{}),
		reported: map[string]bool{},
	}
	g.log = newStateLog(g.history, log)
	return g
}

// putProxies puts a proxy before each server of a cluster.
func (g *group) putProxies(cluster *pgcluster.Cluster) error {
	g.nodes = append([]*pgcluster.Node{cluster.Primary}, cluster.Replicas...)
	g.manyHosts = g.number%4 > 1
	g.routes.dial = callDeadline
	var addresses []string
	for _, node := range g.nodes {
		proxy, err := faultproxy.New(node.Address())
		if err != nil {
			return err
		}
		g.proxies = append(g.proxies, proxy)
		addresses = append(addresses, proxy.Addr())
		g.routes.clients = append(g.routes.clients, dsnOf(proxy.Addr()))
		g.routes.direct = append(g.routes.direct, node.SocketDSN("postgres"))
	}
	if g.manyHosts {
		g.routes.clients[0] = dsnOf(addresses...)
	}
	return nil
}

// dsnOf leads to a server, or to the one of several that accepts writes.
func dsnOf(addresses ...string) string {
	dsn := "postgres://postgres@" + strings.Join(addresses, ",") + "/postgres?sslmode=disable"
	if len(addresses) > 1 {
		dsn += "&target_session_attrs=read-write"
	}
	return dsn
}

// open opens the Stores.
func (g *group) open(ctx context.Context) error {
	primary := g.routes.direct[0]
	if err := install(ctx, primary); err != nil {
		return err
	}
	table := "CREATE TABLE faults_beat (id integer PRIMARY KEY, beats bigint NOT NULL)"
	rows := fmt.Sprintf("INSERT INTO faults_beat SELECT i, 0 FROM generate_series(0, %d) AS i", storeCount)
	if err := administerAt(ctx, primary, table, rows); err != nil {
		return err
	}
	for i := range storeCount {
		ownPools := i == storeCount-1
		s, err := openStore(ctx, g.routes.clients[0], g.routes.clients[1:], ownPools, g.log.logger(i))
		if err != nil {
			return err
		}
		if ownPools {
			g.ownPools = s
		}
		g.stores = append(g.stores, plant(s))
	}
	if err := g.seed(ctx); err != nil {
		return err
	}
	return g.waitReplayed(ctx)
}

// seed makes the sessions that the probes use.
func (g *group) seed(ctx context.Context) error {
	s, err := openStore(ctx, g.routes.direct[0], nil, true, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { _ = s.Close(ctx) }()
	for i := range canaryCount {
		payload := fmt.Sprintf("canary %d", i)
		token, err := s.InsertTx(ctx, payload, &insertOptions{IdleTimeout: canaryIdle})
		if err != nil {
			return err
		}
		g.canaries = append(g.canaries, canary{token, payload})
	}
	for range g.stores {
		token, err := s.InsertTx(ctx, "probe", nil)
		if err != nil {
			return err
		}
		g.beats = append(g.beats, token)
	}
	return nil
}

// waitReplayed waits until every replica has all WAL of the primary.
func (g *group) waitReplayed(ctx context.Context) error {
	position, err := askAt(ctx, g.routes.direct[0], "SELECT pg_current_wal_lsn()::text")
	if err != nil {
		return err
	}
	query := "SELECT (pg_last_wal_replay_lsn() >= '" + position + "'::pg_lsn)::text"
	for _, replica := range g.routes.direct[1:] {
		for {
			reached, err := askAt(ctx, replica, query)
			if err != nil {
				return err
			}
			if reached == "true" {
				break
			}
			if err := sleep(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// run lets the workload run while the faults befall the servers.
func (g *group) run(
	ctx context.Context, faults []*fault, seed uint64, unknownPerSecond int,
) ([]finding, error) {
	g.startProbes(unknownPerSecond)
	g.running.Go(g.watchStalls)
	g.startWorkload(seed, 100*time.Millisecond)
	var findings []finding
	err := sleep(ctx, 1200*time.Millisecond) // the Stores look at the replicas once a second
	for _, f := range faults {
		if err != nil {
			break
		}
		var found finding
		if found, err = g.inject(ctx, f); err == nil {
			findings = append(findings, found)
		}
	}
	if err == nil {
		err = g.checkKeepalive(ctx)
	}
	for i := range findings { // with the lines between two faults
		next := g.history.now()
		if i+1 < len(findings) {
			next = findings[i+1].window.from
		}
		findings[i].logLines = g.log.most(interval{findings[i].window.from, next})
	}
	g.stop(ctx)
	return findings, err
}

// checkKeepalive waits until every canary has nearly the whole time of a use left, because the probes use
// them all the time.
func (g *group) checkKeepalive(ctx context.Context) error {
	const patience, behind = 5 * time.Second, 3 * time.Second
	query := fmt.Sprintf(`SELECT (count(*) = %d)::text FROM sessionsql.session AS s
		WHERE s.payload LIKE 'canary %%' AND s.expires_at > clock_timestamp() + interval '%d seconds'`,
		canaryCount, (canaryIdle-behind)/time.Second)
	for deadline := time.Now().Add(patience); ; {
		alive, err := askAt(ctx, g.routes.direct[g.leader], query)
		if err != nil || alive == "true" {
			return err
		}
		if time.Now().After(deadline) {
			g.report("sessions in use were not kept alive within %v after the last fault", patience)
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// runCalm lets the workload run without faults.
func (g *group) runCalm(ctx context.Context, seed uint64, length time.Duration) error {
	g.startWorkload(seed, 20*time.Millisecond)
	err := sleep(ctx, length)
	g.stop(ctx)
	return err
}

// stop ends the workload and closes the Stores. A call that hangs is a violation.
func (g *group) stop(ctx context.Context) {
	close(g.stopping)
	ended := make(chan struct{})
	go func() {
		g.running.Wait()
		var closing sync.WaitGroup
		for i, s := range g.stores {
			closing.Go(func() { g.closeStore(ctx, i, s) })
		}
		closing.Wait()
		close(ended)
	}()
	const patience = 20 * time.Second
	select {
	case <-ended:
	case <-time.After(patience):
		g.report("calls of a Store, or its Close, hang for more than %v", patience)
		now := g.history.now()
		g.meter.add("a call that hangs", now-int64(patience), now)
	}
}

// closeStore closes a Store and checks its duration, but not whether its last flush worked.
func (g *group) closeStore(ctx context.Context, i int, s sessions) {
	const deadline, bound = 3 * time.Second, 4 * time.Second
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	start := time.Now()
	_ = s.Close(ctx)
	if took := time.Since(start); took > bound {
		g.report("store %d: Close took %v with a deadline of %v", i, took.Round(time.Millisecond), deadline)
	}
}

func (g *group) close() error {
	var err error
	for _, proxy := range g.proxies {
		err = errors.Join(err, proxy.Close())
	}
	return errors.Join(err, g.servers.Close())
}

func sleep(ctx context.Context, length time.Duration) error {
	select {
	case <-time.After(length):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
