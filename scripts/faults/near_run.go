package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// fullRevokes is how many revokes under each kind of fault show the near cache's bound.
const fullRevokes = 10_000

// runNear revokes sessions under each kind of fault, and returns how many rules were broken.
func runNear(ctx context.Context, o options) (violations int, err error) {
	open := 5 * time.Second
	if o.revokes >= fullRevokes {
		open = 5 * time.Minute
	}
	all := allNearKinds(open)
	var names []*kind
	for _, k := range all {
		names = append(names, k.kind)
	}
	if names, err = choose(o.kinds, names); err != nil {
		return 0, err
	}
	fmt.Printf("seed %d\n", o.seed)
	var rows []*nearRow
	number := 0
	for _, k := range all {
		if !slices.Contains(names, k.kind) {
			continue
		}
		row := &nearRow{name: k.kind.name}
		for range k.clusters {
			number++
			if err := k.run(ctx, number, (o.revokes+k.clusters-1)/k.clusters, o, row); err != nil {
				return 0, fmt.Errorf("%s: %w", row.name, err)
			}
		}
		fmt.Printf("%s: %d revokes, %d violations, at most %.3f s stale from memory\n",
			row.name, row.revokes, row.violations, row.fromMemory.Seconds())
		rows = append(rows, row)
	}
	return printNear(os.Stdout, o, rows)
}

// run lets the kind happen to one cluster until so many sessions are revoked.
func (k *nearKind) run(ctx context.Context, number, revokes int, o options, row *nearRow) (err error) {
	g, err := k.start(ctx, number, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	seed := o.seed + nameHash(k.kind.name) + uint64(number)
	if g.logouts, err = g.startLogouts(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.logouts.close(ctx)) }()
	rng := rand.New(rand.NewPCG(seed, 0))
	if err := sleep(ctx, maxStaleness); err != nil { // in which the readers get to know the first sessions
		return err
	}
	for i := 0; g.logouts.revoked() < revokes; i++ {
		if i > 0 {
			if err := sleep(ctx, long); err != nil { // because some faults let nobody log out
				return err
			}
			if k.kind.promotes {
				continue
			}
		}
		one := k.kinds[i%len(k.kinds)]
		if _, err := g.inject(ctx, newFault(rng, i, one)); err != nil {
			return err
		}
		row.faults++
	}
	if err := g.logouts.judge(ctx, row); err != nil {
		return err
	}
	broken := g.broken()
	row.violations += len(broken)
	const shown = 4
	for _, v := range broken[:min(shown, len(broken))] {
		fmt.Printf("VIOLATION in group %d, %s\n  %s\n", g.number, k.kind.name, v.what)
	}
	return nil
}

// start starts the servers.
func (k *nearKind) start(ctx context.Context, number int, o options) (*group, error) {
	if k.site != nil {
		running, err := k.site.start(ctx)
		if err != nil {
			return nil, err
		}
		g := emptyGroup(number, running, o.storesLog())
		g.routes = running.routes()
		return g, nil
	}
	cluster, err := startCluster(ctx, 2).wait()
	if err != nil {
		return nil, err
	}
	g := emptyGroup(number, cluster, o.storesLog())
	if err := g.putProxies(cluster); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// A nearRow is a row of the near mode's table.
type nearRow struct {
	name                      string
	faults, revokes, held     int // held: of sessions that a memory had held
	lookups, hits, violations int
	fromMemory, fromAny       time.Duration // the largest staleness
}

// A nearSummary is the object that --json prints in the near mode.
type nearSummary struct {
	Kinds        int     `json:"kinds"`
	Revokes      int     `json:"revokes"`
	Lookups      int     `json:"lookups"`
	Hits         int     `json:"hits"`
	Violations   int     `json:"violations"`
	StalenessMax float64 `json:"near_staleness_max_s"`
	PlantedFound int     `json:"planted_found"`
	Seed         uint64  `json:"seed"`
}

func printNear(to io.Writer, o options, rows []*nearRow) (violations int, err error) {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "fault\ttimes\trevokes\tof those in memory\tlookups\tfrom memory\tviolations\t"+
		"stalest from memory\tstalest of all\t")
	s := nearSummary{Kinds: len(rows), Seed: o.seed, PlantedFound: o.planted}
	for _, row := range rows {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%.3f s\t%.3f s\t\n", row.name,
			row.faults, row.revokes, row.held, row.lookups, row.hits, row.violations,
			row.fromMemory.Seconds(), row.fromAny.Seconds())
		s.Revokes += row.revokes
		s.Lookups += row.lookups
		s.Hits += row.hits
		s.Violations += row.violations
		s.StalenessMax = max(s.StalenessMax, row.fromMemory.Seconds())
	}
	_ = table.Flush()
	fmt.Fprintf(to, "seed %d: %d kinds, %d revokes, %d violations; an answer from memory was at most %.3f s "+
		"old, with a bound of %v\n", s.Seed, s.Kinds, s.Revokes, s.Violations, s.StalenessMax, maxStaleness)
	if o.json {
		err = json.NewEncoder(to).Encode(s)
	}
	return s.Violations, err
}
