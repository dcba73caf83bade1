package main

import "context"

// pageLoad measures whole page views, each of which reads the session and keeps it alive. Some write the
// payload, and a few log in or out.
func (b *bench) pageLoad(ctx context.Context) error {
	d, err := b.servers.database(ctx, "page_load")
	if err != nil {
		return err
	}
	defer d.close()
	// Each turn ends with a measured flush, because a flush in the background would fall into another
	// contestant's turn. In a full run a turn is as long as a Store's flush interval. In a shorter turn
	// keepalive costs more than in use, because each turn sends a session again.
	store, err := openOurs(ctx, d, quiet)
	if err != nil {
		return err
	}
	peers := []pager{store}
	defer func() { closeAll(peers) }()
	web, err := openWebAdvice(ctx, d)
	if err != nil {
		return err
	}
	pgx, _, err := openSCS(ctx, d) // postgresstore sends the same statements and is slower
	if err != nil {
		return err
	}
	peers = append(peers, web, pgx, openGoRedis(b.servers.redis, b.pageCallers))

	b.say("page-load: loading %d sessions into each store", b.pageRows)
	for _, each := range peers {
		if err := each.seed(ctx, b.pageRows); err != nil {
			return err
		}
	}
	// From here on each page's first write costs a full-page image, except in Redis and on the UNLOGGED
	// table.
	if err := d.exec(ctx, "CHECKPOINT"); err != nil {
		return err
	}
	finish := map[string]func(context.Context) error{
		store.name(): store.store.Flush,
		web.name():   web.deleteExpired,
	}
	var contestants []contestant
	for _, each := range peers {
		contestants = append(contestants, contestant{
			name: each.name(),
			cpu:  each.cpu(),
			op: func(ctx context.Context, c *caller) error {
				return each.page(ctx, c.view(b.pageRows))
			},
			finish: finish[each.name()],
		})
	}
	results, err := b.race(ctx, "page-load", turn{callers: b.pageCallers, slice: b.pageSlice}, contestants)
	if err != nil {
		return err
	}
	ours := byName(results, store.name())
	b.report.Ratios["page_vs_web_advice"] = ratio(ours, byName(results, web.name()), throughput)
	b.report.Ratios["page_vs_scs_pgxstore"] = ratio(ours, byName(results, pgx.name()), throughput)
	b.report.Ratios["page_vs_goredis"] = ratio(ours, byName(results, "go-redis"), throughput)
	return clearRedis(ctx, peers)
}
