package main

import (
	"context"
	"fmt"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

// Polls is the CPU time that idle Stores take in a second.
type Polls struct {
	Stores  int   `json:"stores"`
	With    Usage `json:"with"` // a near cache
	Without Usage `json:"without"`
}

// A Usage is CPU time in a second of time, in milliseconds.
type Usage struct {
	Client float64 `json:"client_cpu_ms"`
	Server float64 `json:"server_cpu_ms"`
}

// loggedChanges stand in the log while the Stores poll, which is far more than a poll returns.
const loggedChanges = 100_000

// nearPolls measures the polls of a number of Stores. Without a near cache the Stores still probe their
// server.
func (b *bench) nearPolls(ctx context.Context, d *database) error {
	err := d.exec(ctx, fmt.Sprintf(
		"INSERT INTO sessionsql.change (ids) SELECT ARRAY[g] FROM generate_series(1, %d) AS g",
		loggedChanges))
	if err != nil {
		return err
	}
	for _, number := range b.nearStores {
		b.say("near: polls of %d Stores", number)
		p := Polls{Stores: number}
		with := *quiet
		with.NearCache.MaxBytes = ampleBytes
		if p.With, err = b.idleUsage(ctx, d, number, &with); err != nil {
			return err
		}
		if p.Without, err = b.idleUsage(ctx, d, number, quiet); err != nil {
			return err
		}
		b.report.Polls = append(b.report.Polls, p)
	}
	return nil
}

// idleUsage opens Stores and returns the CPU time of them and of the server.
func (b *bench) idleUsage(
	ctx context.Context, d *database, number int, options *sessionsql.Options,
) (usage Usage, err error) {
	var stores []*ours
	defer func() { closeAll(stores) }()
	for range number {
		store, err := openOurs(ctx, d, options)
		if err != nil {
			return usage, err
		}
		stores = append(stores, store)
	}
	wait := func(d time.Duration) func() error {
		return func() error {
			select {
			case <-time.After(d):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	if err := wait(b.nearPolling / 5)(); err != nil { // because the first poll opens a connection
		return usage, err
	}
	var t tally
	if err := t.measure(contestant{cpu: stores[0].cpu()}, wait(b.nearPolling)); err != nil {
		return usage, err
	}
	perSecond := func(cpu time.Duration) float64 { return 1e3 * cpu.Seconds() / t.time.Seconds() }
	return Usage{perSecond(t.client), perSecond(t.server)}, nil
}
