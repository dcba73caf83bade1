// Command faults lets faults befall PostgreSQL servers while many callers use sessions, and checks the whole
// history of their calls with a model. scripts/faults.sh starts it.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sessionsql/postgres/internal/pgcluster"
)

// options are the flags.
type options struct {
	seed    uint64
	times   int
	groups  int
	kinds   string
	json    bool
	plan    bool
	full    bool
	near    bool
	revokes int
	log     bool
	planted int
	calm    time.Duration
}

func parse() options {
	var o options
	flag.Uint64Var(&o.seed, "seed", 1+rand.Uint64N(1e6), "decides on the faults, their order and their times")
	flag.IntVar(&o.times, "times", 0, "how many times each kind happens (0: 2, and 3 of --full's own kinds)")
	flag.BoolVar(&o.full, "full", false, "also with PgBouncer, Patroni, HAProxy and full disks; takes root")
	flag.BoolVar(&o.near, "near", false, "only revokes, while programs with near caches look the sessions up")
	flag.IntVar(&o.revokes, "revokes", fullRevokes, "how many under each kind of fault of --near")
	flag.IntVar(&o.groups, "groups", 0, "only so many clusters (0: all of the plan)")
	flag.StringVar(&o.kinds, "kinds", "", "only the kinds that begin so, separated by semicolons")
	flag.BoolVar(&o.json, "json", false, "print one JSON object as the last line")
	flag.BoolVar(&o.plan, "plan", false, "only print the plan")
	flag.BoolVar(&o.log, "log", false, "show what the Stores log")
	flag.IntVar(&o.planted, "planted-found", 0, "how many planted bugs were found, for --json")
	flag.DurationVar(&o.calm, "calm", 0, "only the workload, for this long and without faults")
	flag.Parse()
	return o
}

// The exit status is 0 if no rule was broken, 1 if one was, and 2 if the program itself failed.
func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	if os.Getenv(roleVariable) == roleReader {
		if err := beReader(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "faults: reader:", err)
			os.Exit(2)
		}
		return
	}
	o := parse()
	if o.full && !o.plan {
		enterOwnSystem()
	}
	broken, err := run(ctx, o)
	switch {
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "faults: interrupted")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(2)
	case broken > 0:
		os.Exit(1)
	}
}

// run returns how many rules and bounds were broken.
func run(ctx context.Context, o options) (broken int, err error) {
	if o.calm > 0 {
		return runCalm(ctx, o)
	}
	if o.near {
		return runNear(ctx, o)
	}
	p, full, kinds, err := o.plans()
	if err != nil {
		return 0, err
	}
	if o.plan {
		p.print(os.Stdout)
		full.print(os.Stdout)
		return 0, nil
	}
	fmt.Printf("seed %d\n", o.seed)
	r := &report{seed: o.seed, started: time.Now()}
	if err := runPlan(ctx, p, o, r); err != nil {
		return 0, err
	}
	if err := full.run(ctx, o, r); err != nil {
		return 0, err
	}
	r.print(os.Stdout, kinds)
	broken = r.violations + r.missed(os.Stdout)
	if o.json {
		err = r.summary(kinds, o.planted).print(os.Stdout)
	}
	return broken, err
}

// plans returns the quick plan, the full one, and the kinds of both.
func (o options) plans() (plan, fullPlan, []*kind, error) {
	quick, sites := allKinds(), []*siteKind(nil)
	if o.full {
		sites = allSites()
	}
	kinds, err := choose(o.kinds, append(quick, kindsOf(sites)...))
	if err != nil {
		return nil, nil, nil, err
	}
	p := newPlan(o.seed, intersect(kinds, quick), cmp.Or(o.times, 2))
	full := newFullPlan(o.seed, sites, kinds, cmp.Or(o.times, 3), p)
	if o.groups > 0 {
		p = p[:min(o.groups, len(p))]
		full = full[:min(o.groups-len(p), len(full))]
	}
	return p, full, kinds, nil
}

// runPlan runs one group after the other. The next cluster starts while the Stores of a group warm up.
func runPlan(ctx context.Context, p plan, o options, r *report) error {
	if len(p) == 0 {
		return nil
	}
	next := startCluster(ctx, 2)
	defer func() { next.close() }()
	for i, faults := range p {
		cluster, err := next.wait()
		if err != nil {
			return err
		}
		next = nil
		if i+1 < len(p) {
			next = startCluster(ctx, 2)
		}
		if err := runGroup(ctx, i+1, cluster, faults, o, r); err != nil {
			return err
		}
	}
	return nil
}

func runGroup(
	ctx context.Context, number int, cluster *pgcluster.Cluster, faults []*fault, o options, r *report,
) error {
	g, err := newGroup(ctx, number, cluster, o.storesLog())
	if err != nil {
		return err
	}
	return g.runFaults(ctx, faults, o, r)
}

// runFaults lets the faults befall a group, closes it, and reports its findings.
func (g *group) runFaults(ctx context.Context, faults []*fault, o options, r *report) (err error) {
	defer func() { err = errors.Join(err, g.close()) }()
	// Half of the groups get lookups of unknown tokens.
	ready := time.Since(r.started)
	findings, err := g.run(ctx, faults, o.seed+uint64(g.number), 200*((g.number+1)%2))
	if err != nil {
		if ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, g.servers.Log())
		}
		return err
	}
	ran := time.Since(r.started)
	violations := append(g.broken(), g.history.check()...)
	fmt.Printf("group %d: ready at %.1f s, ended at %.1f s, checked at %.1f s\n", g.number,
		ready.Seconds(), ran.Seconds(), time.Since(r.started).Seconds())
	for _, f := range findings {
		fmt.Printf("%3d  %-30s %7.3f to %7.3f: writes %.2f s (%s; raw %.2f s), lookups %.2f s\n",
			f.fault.number, f.fault.kind.name, seconds(f.window.from), seconds(f.window.to),
			f.writesAway.Seconds(), f.worst, f.rawAway.Seconds(), f.lookupsAway.Seconds())
	}
	r.add(g, findings, violations, os.Stdout)
	return nil
}

// storesLog returns the writer for the Stores' logs, which discards them unless they are wanted.
func (o options) storesLog() io.Writer {
	if o.log {
		return os.Stderr
	}
	return io.Discard
}

// runCalm runs the workload on one server without faults, in order to find planted bugs.
func runCalm(ctx context.Context, o options) (violations int, err error) {
	cluster, err := startCluster(ctx, 0).wait()
	if err != nil {
		return 0, err
	}
	r := &report{seed: o.seed, started: time.Now()}
	g, err := newGroup(ctx, 1, cluster, io.Discard)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if err := g.runCalm(ctx, o.seed, o.calm); err != nil {
		return 0, err
	}
	found := append(g.broken(), g.history.check()...)
	r.add(g, nil, found, os.Stdout)
	fmt.Printf("%d calls, of which memory answered %d; %d violations\n", r.calls, r.recalled, r.violations)
	return r.violations, nil
}

// A starting is a cluster that starts in the background.
type starting struct {
	ended   chan struct{}
	cluster *pgcluster.Cluster
	err     error
}

func startCluster(ctx context.Context, replicas int) *starting {
	s := &starting{ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.cluster, s.err = pgcluster.Start(ctx, &pgcluster.Options{
			Replicas: replicas,
			Settings: map[string]string{"shared_buffers": "64MB"},
		})
	}()
	return s
}

func (s *starting) wait() (*pgcluster.Cluster, error) {
	<-s.ended
	return s.cluster, s.err
}

// close ends a cluster that no group has taken.
func (s *starting) close() {
	if s == nil {
		return
	}
	if cluster, err := s.wait(); err == nil {
		_ = cluster.Close()
	}
}
