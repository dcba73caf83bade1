package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/sessionsql/postgres/db"
)

const (
	maxRamp       = 2 * time.Second // all users come within it
	finishTimeout = 20 * time.Second

	// A terminal overwrites the progress line, and other outputs keep each one.
	terminalProgress = 500 * time.Millisecond
	lineProgress     = 5 * time.Second
)

// load lets the users use the site for the duration, and returns the result. It ends early with ctx.
func load(
	ctx context.Context, c config, rules rules, address string, m *monitor, screen *screen,
) (*result, error) {
	d := m.database
	beating, stopBeating := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBeating()
	t := &tally{pulse: &pulse{}}
	var pulse sync.WaitGroup
	pulse.Go(func() {
		t.pulse.run(beating, func(ctx context.Context) error {
			_, err := db.New().Node(ctx, d.pool)
			return err
		})
	})

	screen.say("%d users use the site at %s", c.users, address)
	screen.say("open %s/status in a browser: it draws how the site does, for %v", address, c.duration)
	begin := time.Now()
	m.watchLoad(t, begin.Add(c.duration))
	failedOver := make(chan error, 1)
	go func() {
		var err error
		if c.crash && rest(ctx, c.duration/2) {
			err = d.failOver(ctx, &t.crash, screen)
		}
		failedOver <- err
	}()
	drive(ctx, c, rules, address, t, func() { screen.progress(progressLine(begin, c, t, d)) },
		screen.terminal)
	elapsed := time.Since(begin)
	screen.endProgress()
	err := <-failedOver
	stopBeating()
	pulse.Wait()
	if err != nil {
		return nil, fmt.Errorf("failing over: %w", err)
	}
	t.settle()

	finishing, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	return measure(finishing, c, rules, elapsed, t, m.site, d, screen)
}

// drive lets all users live until the duration is over and the last answer has come.
func drive(
	ctx context.Context, c config, rules rules, address string, t *tally, report func(), terminal bool,
) {
	ctx, cancel := context.WithTimeout(ctx, c.duration)
	defer cancel()
	transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	defer transport.CloseIdleConnections()
	ramp := min(maxRamp, c.duration/5)
	tokens := newTokens(c.users)

	var users sync.WaitGroup
	for number := range c.users {
		u := &user{
			name:    userName(number),
			rules:   rules,
			browser: newBrowser(address, transport),
			tally:   t,
			tokens:  tokens,
			number:  number,
		}
		users.Go(func() {
			if rest(ctx, rand.N(ramp)) {
				u.live(ctx)
			}
		})
	}
	interval := lineProgress
	if terminal {
		interval = terminalProgress
	}
	for rest(ctx, interval) {
		report()
	}
	users.Wait()
}

func progressLine(begin time.Time, c config, t *tally, d *database) string {
	elapsed := time.Since(begin)
	requests := t.requests.Load()
	wrong, doubtful := t.faults()
	return fmt.Sprintf("%3.0f of %.0f s   %d requests, %.0f a second   "+
		"%d answers wrong, %d in doubt, %d errors   %d expired sessions reaped",
		elapsed.Seconds(), c.duration.Seconds(), requests, float64(requests)/elapsed.Seconds(),
		wrong, doubtful, t.errors.Load(), d.store.Stats().Reaped)
}
