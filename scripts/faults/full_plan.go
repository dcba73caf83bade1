package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"slices"
	"time"
)

// A siteKind is an arrangement of servers and real tools, with its faults.
type siteKind struct {
	name  string
	start func(context.Context) (site, error)
	kinds []*kind
}

// A site is a running siteKind.
type site interface {
	servers
	routes() routes
}

// allSites returns the sites of the full mode.
func allSites() []*siteKind {
	return slices.Concat(bouncerSites(), patroniSites(), haproxySites(), diskSites())
}

func kindsOf(sites []*siteKind) []*kind {
	var kinds []*kind
	for _, s := range sites {
		kinds = append(kinds, s.kinds...)
	}
	return kinds
}

func intersect(a, b []*kind) []*kind {
	return slices.DeleteFunc(slices.Clone(a), func(k *kind) bool { return !slices.Contains(b, k) })
}

// A fullPlan is the faults of each site. It depends only on the seed, the kinds and the number of times.
type fullPlan []*siteGroup

type siteGroup struct {
	number int
	site   *siteKind
	faults []*fault
}

// newFullPlan lets each kind happen so many times. Each site has two groups, because every other group gets
// lookups of unknown tokens. The numbers continue those of the quick plan.
func newFullPlan(seed uint64, sites []*siteKind, chosen []*kind, times int, quick plan) fullPlan {
	const perSite = 2
	number := 0
	for _, faults := range quick {
		number += len(faults)
	}
	var p fullPlan
	for _, site := range sites {
		// The faults of a site do not depend on the other chosen sites.
		rng := rand.New(rand.NewPCG(seed, nameHash(site.name)))
		var kinds []*kind
		for range times {
			kinds = append(kinds, intersect(site.kinds, chosen)...)
		}
		rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		for i := range perSite {
			own := kinds[i*len(kinds)/perSite : (i+1)*len(kinds)/perSite]
			if len(own) == 0 {
				continue
			}
			group := &siteGroup{number: len(quick) + len(p) + 1, site: site}
			for _, k := range own {
				number++
				group.faults = append(group.faults, newFault(rng, number, k))
			}
			p = append(p, group)
		}
	}
	return p
}

func nameHash(name string) uint64 {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(name))
	return sum.Sum64()
}

// print lists the plan.
func (p fullPlan) print(to io.Writer) {
	for _, group := range p {
		printFaults(to, group.number, group.faults)
	}
}

// run runs one group after the other.
func (p fullPlan) run(ctx context.Context, o options, r *report) error {
	for _, planned := range p {
		if err := planned.run(ctx, o, r); err != nil {
			return fmt.Errorf("%s: %w", planned.site.name, err)
		}
	}
	return nil
}

func (s *siteGroup) run(ctx context.Context, o options, r *report) error {
	running, err := s.site.start(ctx)
	if err != nil {
		return err
	}
	g, err := newSiteGroup(ctx, s.number, running, o.storesLog())
	if err != nil {
		return err
	}
	return g.runFaults(ctx, s.faults, o, r)
}

// newSiteGroup opens Stores over a site, and closes the site after a failure.
func newSiteGroup(ctx context.Context, number int, running site, log io.Writer) (*group, error) {
	g := emptyGroup(number, running, log)
	g.routes = running.routes()
	if err := g.open(ctx); err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("%w\n%s", err, running.Log())
		}
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// patience bounds the waits of the injectors.
const patience = time.Minute
