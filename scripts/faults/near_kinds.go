package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// A nearKind is a kind of fault of the near mode. It happens again and again, on clusters of its own, until
// enough sessions are revoked.
type nearKind struct {
	kind     *kind // the first of kinds, under the name of all
	kinds    []*kind
	site     *siteKind // nil for a primary and two replicas behind proxies
	clusters int
}

// promotions is how many clusters share the revokes of a kind that happens once on each.
const promotions = 5

// allNearKinds are the kinds of the near mode. open is how long its open transaction takes.
func allNearKinds(open time.Duration) []*nearKind {
	var kinds []*nearKind
	add := func(name string, from, to time.Duration, runs ...func(context.Context, *group, *fault) error) {
		k := &nearKind{clusters: 1}
		for _, run := range runs {
			k.kinds = append(k.kinds, &kind{name: name, from: from, to: to, run: run})
		}
		kinds = append(kinds, k)
	}
	add("load", long, hang, hammer)
	add("SIGSTOP, program", short, hang, stopProgram)
	add("SIGSTOP, primary", short, hang, suspend(onPrimary))
	add("kill -9, primary", short/6, short, kill(onPrimary))
	add("promotion", long, 2*long, promote)
	last := kinds[len(kinds)-1]
	last.clusters, last.kinds[0].promotes = promotions, true
	add("packets dropped", short/2, hang, halfOpen(onPrimary), halfOpen(onBoth))
	add("packets of a replica dropped", short/2, hang, halfOpen(onReplica))
	add("slow replicas", hang, 2*hang, slowReplicas)
	add("open transaction", open, open+short, revokeInTransaction)
	if clockSteps {
		add("wall clock steps", short, hang, stepWallClock)
	}
	for _, site := range bouncerSites() {
		if strings.HasSuffix(site.name, " transaction") {
			kinds = append(kinds, &nearKind{kinds: site.kinds, site: site, clusters: 1})
		}
	}
	add("TRUNCATE", long, 2*long, truncate)
	add("replica lags", short/2, 3*short, pauseReplay)
	add("late answers to polls", hang, 2*hang, delayPolls)
	for _, k := range kinds {
		first := *k.kinds[0]
		if k.site != nil {
			first.name = k.site.name
		}
		k.kind = &first
	}
	return kinds
}

// hammer calls a Store from many goroutines without a pause.
func hammer(ctx context.Context, g *group, f *fault) error {
	const callers = 16
	deadline := time.Now().Add(f.hold)
	ended := make(chan error, callers)
	for range callers {
		go func() {
			s := g.logouts.store
			for time.Now().Before(deadline) {
				token, err := s.Insert(ctx, "load", nil)
				for range 10 {
					if err == nil {
						_, _, err = s.Lookup(ctx, token)
					}
				}
				if err == nil {
					_, err = s.Update(ctx, token, "more load", anyVersion)
				}
				if err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
	}
	var err error
	for range callers {
		if failed := <-ended; failed != nil {
			err = failed
		}
	}
	return err
}

// slowReplicas lets the replicas' answers arrive later than the changes of their rows.
func slowReplicas(ctx context.Context, g *group, f *fault) error {
	for _, proxy := range g.proxies[1:] {
		proxy.Slow(64, time.Millisecond)
	}
	err := sleep(ctx, f.hold)
	for _, proxy := range g.proxies[1:] {
		proxy.Pass()
	}
	return err
}

func stopProgram(ctx context.Context, g *group, f *fault) error {
	p := g.logouts.readers[f.replica-1]
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	if err := sleep(ctx, f.hold); err != nil {
		return err
	}
	return p.signal(syscall.SIGCONT)
}

// stepWallClock sets a reader's wall clock forward or back, and then right.
func stepWallClock(ctx context.Context, g *group, f *fault) error {
	p := g.logouts.readers[f.replica-1]
	step := []int{1, -1, 3600, -3600}[f.number%4]
	if err := p.tell(fmt.Sprintf("step %d", step)); err != nil {
		return err
	}
	if err := sleep(ctx, f.hold); err != nil {
		return err
	}
	return p.tell("step 0")
}

// truncate ends all sessions at once. No write is under way meanwhile, because a session that begins after
// it would count as ended.
func truncate(ctx context.Context, g *group, f *fault) error {
	l := g.logouts
	err := func() error {
		l.writing.Lock()
		defer l.writing.Unlock()
		if err := administer(ctx, g.nodes[0], "TRUNCATE sessionsql.session"); err != nil {
			return err
		}
		l.ended(true, l.live...)
		l.live = nil
		return nil
	}()
	if err != nil {
		return err
	}
	return sleep(ctx, f.hold)
}

// revokeInTransaction revokes sessions in a transaction that stays open, and so has a much lower number than
// the other writes, which commit meanwhile.
func revokeInTransaction(ctx context.Context, g *group, f *fault) error {
	l := g.logouts
	conn, err := connect(ctx, g.nodes[0])
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	var taken []*victim
	err = every(ctx, f.hold, 100*time.Millisecond, func() error {
		v := l.take(1)
		if v == nil {
			return nil
		}
		taken = append(taken, v)
		_, err := tx.Exec(ctx, "SELECT sessionsql.end_session($1)", v.token)
		return err
	})
	if err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	l.ended(true, taken...)
	return nil
}

// delayPolls lets the answers to polls come late, with a snapshot from their begin, as a slow network does.
// Prepared statements hold on to the function, so its body is replaced.
func delayPolls(ctx context.Context, g *group, f *fault) error {
	const delay = 3 * maxStaleness / 4
	prompt, err := askAt(ctx, g.routes.direct[0], "SELECT pg_get_functiondef('sessionsql.changes'::regproc)")
	if err != nil {
		return err
	}
	renamed := strings.NewReplacer("sessionsql.changes(", "public.prompt_changes(", "changes.last", "last")
	err = administer(ctx, g.nodes[0], renamed.Replace(prompt), fmt.Sprintf(`
		CREATE OR REPLACE FUNCTION sessionsql.changes(last pg_snapshot)
		RETURNS SETOF sessionsql.change_feed LANGUAGE plpgsql AS $$ BEGIN
		  RETURN QUERY SELECT * FROM public.prompt_changes(changes.last);
		  PERFORM pg_sleep(%v);
		END $$`, delay.Seconds()))
	if err != nil {
		return err
	}
	if err := sleep(ctx, f.hold); err != nil {
		return err
	}
	return administer(ctx, g.nodes[0], prompt)
}
