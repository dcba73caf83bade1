package main

import "context"

// pageLoad is what one page view costs from end to end: the session is read and kept alive, one view in 20
// writes the payload, one in 200 logs in or out.
func (b *bench) pageLoad(ctx context.Context) error {
	d, err := b.servers.database(ctx, "page_load")
	if err != nil {
		return err
	}
	defer d.close()
	// What was looked up is kept alive at the end of each turn, measured. Not in the background, where it
	// would fall into another contestant's turn. In a full run turns are as long as the flush interval of a
	// Store; in shorter ones keepalive costs more than in use, because a session that is looked up in several
	// of them is sent in each.
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
	pgx, _, err := openSCS(ctx, d) // postgresstore sends the same statements, a little slower
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
	// From here on each page's first write costs a full-page image, which the UNLOGGED table and Redis are
	// spared.
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
