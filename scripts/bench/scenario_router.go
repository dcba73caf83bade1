package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/sessionsql/postgres/examples/shards"
	"github.com/sessionsql/postgres/sessionsql"
	bundle "github.com/sessionsql/postgres/sql"
)

const (
	routerShards       = 4
	routerRatioCallers = 256

	// routerUser is the user of the router on the shards.
	routerUser = "bench_router"
)

// router measures lookups on one primary, through a router, and by programs that choose the shard themselves.
// All databases are on one server, whose CPU time so counts the router and the shards together.
func (b *bench) router(ctx context.Context) error {
	primary, err := b.servers.database(ctx, "router_primary")
	if err != nil {
		return err
	}
	defer primary.close()
	if available, err := primary.has(ctx, "plproxy"); err != nil || !available {
		return cmp.Or(err, error(errNoProxy))
	}
	b.say("router: loading %d sessions into a primary, and into %d shards", b.lookupRows, routerShards)
	one, err := openOurs(ctx, primary, quiet)
	if err != nil {
		return err
	}
	defer one.close()
	if err := one.seed(ctx, b.lookupRows); err != nil {
		return err
	}
	s, err := b.openShards(ctx)
	defer s.close()
	if err != nil {
		return err
	}

	field := []contestant{{name: one.name(), cpu: one.cpu(), op: b.lookupOp(one), reset: one.store.Flush}}
	for _, each := range []struct {
		name string
		of   func(sessionsql.Token) *sessionsql.Store
		all  shards.Stores
	}{
		{"router", func(sessionsql.Token) *sessionsql.Store { return s.router }, shards.Stores{s.router}},
		{"a Store for each shard", s.stores.Of, s.stores},
	} {
		field = append(field, contestant{
			name: each.name, cpu: one.cpu(),
			op: func(ctx context.Context, c *caller) error {
				token := one.tokens[c.rng.IntN(b.lookupRows)]
				_, err := each.of(token).Lookup(ctx, token)
				return err
			},
			reset: func(ctx context.Context) error {
				for _, store := range each.all {
					if err := store.Flush(ctx); err != nil {
						return err
					}
				}
				return nil
			},
		})
	}
	for _, callers := range b.routerCallers {
		results, err := b.race(ctx, "router", turn{callers: callers, slice: b.slice}, field)
		if err != nil {
			return err
		}
		if callers == routerRatioCallers {
			b.report.Ratios["router_lookup_cpu_vs_primary"] = ratio(results[1], results[0], serverCPU)
		}
	}
	return nil
}

// routed are Stores over the same shards: one through a router, and one for each shard.
type routed struct {
	router    *sessionsql.Store
	stores    shards.Stores
	databases []*database
}

// openShards makes seeded shards and a router over them. What it returns with an error is to be closed too.
func (b *bench) openShards(ctx context.Context) (*routed, error) {
	r := &routed{}
	address := b.servers.cluster.Primary
	var options []string
	for i := range routerShards {
		d, err := b.servers.database(ctx, fmt.Sprint("router_shard", i))
		if err != nil {
			return r, err
		}
		r.databases = append(r.databases, d)
		statements := []string{
			bundle.Roles(),
			fmt.Sprintf("SELECT sessionsql.shard(%d, %d)", routerShards, i),
		}
		if i == 0 {
			statements = append(statements, "CREATE ROLE "+routerUser+" LOGIN",
				"GRANT sessionsql_app, sessionsql_support TO "+routerUser)
		}
		if err := d.exec(ctx, statements...); err != nil {
			return r, err
		}
		if err := d.seedShard(ctx, b.lookupRows, freshExpiry, routerShards, i); err != nil {
			return r, err
		}
		store, err := d.openStore(ctx, quiet)
		if err != nil {
			return r, err
		}
		r.stores = append(r.stores, store)
		options = append(options,
			fmt.Sprintf("p%d 'host=%s port=%d dbname=%s'", i, loopback, address.Port, d.name))
	}
	d, err := b.servers.database(ctx, "router")
	if err != nil {
		return r, err
	}
	r.databases = append(r.databases, d)
	err = d.exec(ctx, bundle.Roles(), bundle.Router(),
		"CREATE SERVER sessionsql FOREIGN DATA WRAPPER plproxy OPTIONS ("+strings.Join(options, ", ")+")",
		"GRANT USAGE ON FOREIGN SERVER sessionsql TO sessionsql_owner",
		"CREATE USER MAPPING FOR sessionsql_owner SERVER sessionsql OPTIONS (user '"+routerUser+"')",
	)
	if err == nil {
		r.router, err = d.openStore(ctx, quiet)
	}
	return r, err
}

func (r *routed) close() {
	for _, store := range append(r.stores, r.router) {
		if store != nil {
			_ = store.Close(context.Background())
		}
	}
	for _, d := range r.databases {
		d.close()
	}
}
